// Twin of segment_cost.py; the meaning, units and errors are documented there.
// One thread per member.

typedef long long i64;
typedef unsigned long long u64;
typedef unsigned int u32;

#define MONTHS 12
#define OUTSIDE 255
#define MICRO 1000000LL
#define MAX_SLOTS 48
#define MAX_CELLS 32

__device__ static i64 floor_div(i64 a, i64 b) {
    const i64 q = a / b;
    return (a % b != 0 && (a < 0) != (b < 0)) ? q - 1 : q;
}

// cents x micro / 10^6, half to even.
__device__ static i64 micro_of(i64 cents, i64 micro) {
    const i64 whole = floor_div(cents, MICRO);
    const i64 part = (cents - whole * MICRO) * micro;
    const i64 quotient = part / MICRO;
    const i64 remainder = part - quotient * MICRO;
    const i64 result = whole * micro + quotient;
    const bool up = 2 * remainder > MICRO || (2 * remainder == MICRO && (result & 1));
    return up ? result + 1 : result;
}

// taken x through / total, half to even: a double estimate, corrected by its wrapped remainder.
__device__ static i64 share_of(i64 taken, i64 through, i64 total) {
    const double product = (double)taken * (double)through;
    const double ratio = product / (double)total;
    i64 estimate = (i64)ratio;
    i64 remainder = (i64)((u64)taken * (u64)through - (u64)estimate * (u64)total);
    while (remainder < 0) {
        --estimate;
        remainder += total;
    }
    while (remainder >= total) {
        ++estimate;
        remainder -= total;
    }
    if (2 * remainder > total || (2 * remainder == total && (estimate & 1))) ++estimate;
    return estimate;
}

__device__ static int slot(int day, int first_day, int n_days, const unsigned char* slot_of_day) {
    const i64 i = (i64)day - first_day;
    return (i >= 0 && i < n_days) ? slot_of_day[i] : OUTSIDE;
}

extern "C" __global__ void segment_cost(
    const i64* amount_cents, const i64* paid_cents, const int* incurred_day, const int* paid_day,
    const unsigned char* category, const unsigned char* kind, const i64* offsets,
    const unsigned char* month_cell, const unsigned char* slot_of_day, const u32* include_bits,
    const i64* cap_cents, const i64* keep_micro, const bool* floor_at_zero,
    const bool* prorate_cap, const unsigned char* cell_order, const int* cutoff_days,
    int first_day, u32 kind_bits, u32 paid_kind_bits, int n_rules, int n_periods, int n_cells, int n_categories,
    int n_days, i64 n_members, i64* cell_cents, i64* cell_taken_cents, i64* uncapped_cents,
    i64* capped_cents, i64* above_cap_cents, i64* floored_cents, i64* out_paid_cents,
    i64* category_cents) {
    const i64 m = (i64)blockIdx.x * blockDim.x + threadIdx.x;
    if (m >= n_members) return;
    const i64 a = offsets[m];
    const i64 b = offsets[m + 1];
    i64 month_sum[MAX_SLOTS];
    i64 cells[MAX_CELLS];
    for (int r = 0; r < n_rules; ++r) {
        for (int s = 0; s < MONTHS * n_periods; ++s) month_sum[s] = 0;
        for (i64 v = a; v < b; ++v) {
            const int at = slot(incurred_day[v], first_day, n_days, slot_of_day);
            if (at == OUTSIDE) continue;
            const int p = at / MONTHS;
            if (paid_day[v] > cutoff_days[p]) continue;
            if (r == 0 && ((paid_kind_bits >> kind[v]) & 1)) {
                out_paid_cents[p * n_members + m] += paid_cents[v];
            }
            if (!((kind_bits >> kind[v]) & (include_bits[r] >> category[v]) & 1)) continue;
            month_sum[at] += amount_cents[v];
            const unsigned char cell =
                month_cell[(p * n_members + m) * MONTHS + at - p * MONTHS];
            if (n_categories > 0 && cell != OUTSIDE) {
                const i64 row = (i64)(r * n_periods + p) * n_categories + category[v];
                category_cents[row * n_members + m] += amount_cents[v];
            }
        }
        for (int p = 0; p < n_periods; ++p) {
            const i64 rp = (i64)r * n_periods + p;
            const i64 here = rp * n_members + m;
            for (int k = 0; k < n_cells; ++k) cells[k] = 0;
            i64 months = 0, total = 0;
            for (int month = 0; month < MONTHS; ++month) {
                const unsigned char cell = month_cell[(p * n_members + m) * MONTHS + month];
                if (cell == OUTSIDE) continue;
                const i64 cents = month_sum[p * MONTHS + month];
                ++months;
                cells[cell] += cents;
                total += cents;
            }
            i64 settles = total;
            if (floor_at_zero[r] && total < 0) {
                settles = 0;
                floored_cents[here] = -total;
            }
            i64 cap = cap_cents[r];
            if (cap >= 0 && prorate_cap[r]) {
                const i64 share = cap * months;
                cap = share / MONTHS;
                const i64 left = share - cap * MONTHS;
                if (2 * left > MONTHS || (2 * left == MONTHS && (cap & 1))) ++cap;
            }
            if (cap >= 0 && settles > cap) {
                settles = cap + micro_of(settles - cap, keep_micro[r]);
                above_cap_cents[here] = total - settles;
            }
            uncapped_cents[here] = total;
            capped_cents[here] = settles;
            i64 through = 0, before = 0;
            for (int j = 0; j < n_cells; ++j) {
                const int k = cell_order[r * n_cells + j];
                const i64 at = (rp * n_cells + k) * n_members + m;
                i64 lost = 0;
                if (settles != total && cells[k] != 0) {
                    through += cells[k];
                    const i64 up_to =
                        settles == 0 ? through : share_of(total - settles, through, total);
                    lost = up_to - before;
                    before = up_to;
                    cell_taken_cents[at] = lost;
                }
                if (cells[k] != lost) cell_cents[at] = cells[k] - lost;
            }
        }
    }
}
