// Twin of service_use.py; the meaning, units and errors are documented there.
// One thread per member; sums over members are integer atomics, so without order.

typedef long long i64;
typedef unsigned long long u64;
typedef unsigned int u32;

#define MONTHS 12
#define OUTSIDE 255
#define POOLED -1.0
#define NOT_SCALED -1
#define ONE_UNIT 1000LL
#define MAX_PERIODS 4
#define MAX_CATEGORIES 32

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

// Period of a day whose month counts, else -1.
__device__ static int period_of(int day, int first_day, int n_days,
                                const unsigned char* slot_of_day, const unsigned char* month_cell,
                                i64 m, i64 n_members) {
    const i64 i = (i64)day - first_day;
    const int at = (i >= 0 && i < n_days) ? slot_of_day[i] : OUTSIDE;
    if (at == OUTSIDE) return -1;
    const int p = at / MONTHS;
    return month_cell[(p * n_members + m) * MONTHS + at % MONTHS] == OUTSIDE ? -1 : p;
}

// Adds a service that is not 0 to its member's sums [category][3]; its place in the scale.
__device__ static int enter(i64* sums, int p, int c, i64 cents, int service, i64 units,
                            const double* rate, const i64* pool_cents, int n_categories,
                            int n_services, int with_scale, i64* scale) {
    sums[c * 3] += cents;
    if (cents < 0) return NOT_SCALED;
    const i64 place = (i64)p * n_services + service;
    const double own = rate[place];
    if (own == POOLED) {
        sums[c * 3 + 1] += pool_cents[p * n_categories + c];
    } else {
        const double product = (double)units * own;
        sums[c * 3 + 1] += (i64)rint(product);
    }
    sums[c * 3 + 2] += 1;
    if (with_scale) {
        atomicAdd((u64*)&scale[place * 4], 1ULL);
        atomicAdd((u64*)&scale[place * 4 + 1], (u64)cents);
        atomicAdd((u64*)&scale[place * 4 + 2], (u64)units);
    }
    return (int)place;
}

extern "C" __global__ void service_use(
    const i64* amount_cents, const i64* units_milli, const int* day, const int* paid_day,
    const unsigned char* category, const unsigned char* kind, const int* hcpcs,
    const int* revenue, const int* ndc, const int* claim, const i64* offsets,
    const int* claim_day, const int* claim_service, const i64* claim_offsets, const int* group,
    const unsigned char* month_cell, const unsigned char* slot_of_day, const double* rate,
    const i64* pool_cents, const unsigned char* category_order, int first_day, int cutoff_day,
    u32 kind_bits, u32 category_bits, int claim_category, int revenue_start, int ndc_start,
    i64 cap_cents, int n_periods, int n_categories, int n_groups, int n_services, int n_days,
    int with_scale, i64 n_members, i64* claim_sums, i64* cost_cents, i64* resource_cents,
    i64* services, i64* unpriced, bool* truncated, i64* by_category, i64* scale, int* line_place,
    int* claim_place, i64* claim_cents) {
    const i64 m = (i64)blockIdx.x * blockDim.x + threadIdx.x;
    if (m >= n_members) return;
    i64 all[MAX_PERIODS * MAX_CATEGORIES * 3];
    for (int i = 0; i < n_periods * n_categories * 3; ++i) all[i] = 0;
    for (i64 v = offsets[m]; v < offsets[m + 1]; ++v) {
        const int c = category[v];
        if (!((kind_bits >> kind[v]) & (category_bits >> c) & 1)) continue;
        if (paid_day[v] > cutoff_day) continue;
        if (c == claim_category && claim[v] >= 0) {
            claim_sums[2 * (i64)claim[v]] += 1;
            claim_sums[2 * (i64)claim[v] + 1] += amount_cents[v];
            continue;
        }
        const int p = period_of(day[v], first_day, n_days, slot_of_day, month_cell, m, n_members);
        if (p < 0) continue;
        if (amount_cents[v] == 0) {
            unpriced[p * n_members + m] += 1;
            continue;
        }
        int service = hcpcs[v];
        if (service == 0 && revenue[v] != 0) service = revenue_start + revenue[v];
        else if (service == 0 && ndc[v] != 0) service = ndc_start + ndc[v];
        const i64 units = units_milli[v] > 0 ? units_milli[v] : ONE_UNIT;
        const int place = enter(all + p * n_categories * 3, p, c, amount_cents[v], service, units,
                                rate, pool_cents, n_categories, n_services, with_scale, scale);
        if (with_scale) line_place[v] = place;
        if (with_scale && place >= 0 && units_milli[v] <= 0) {
            atomicAdd((u64*)&scale[(i64)place * 4 + 3], 1ULL);
        }
    }
    for (i64 k = claim_offsets[m]; k < claim_offsets[m + 1]; ++k) {
        if (claim_sums[2 * k] == 0) continue;
        const int p =
            period_of(claim_day[k], first_day, n_days, slot_of_day, month_cell, m, n_members);
        if (p < 0) continue;
        const i64 cents = claim_sums[2 * k + 1];
        if (cents == 0) {
            unpriced[p * n_members + m] += 1;
            continue;
        }
        const int place =
            enter(all + p * n_categories * 3, p, claim_category, cents, claim_service[k], ONE_UNIT,
                  rate, pool_cents, n_categories, n_services, with_scale, scale);
        if (with_scale && place >= 0) {
            claim_place[k] = place;
            claim_cents[k] = cents;
        }
    }
    for (int p = 0; p < n_periods; ++p) {
        i64* sums = all + p * n_categories * 3;
        const i64 here = p * n_members + m;
        i64 total = 0;
        for (int c = 0; c < n_categories; ++c) total += sums[c * 3];
        truncated[here] = cap_cents >= 0 && total > cap_cents;
        for (int what = 0; what < 2 && truncated[here]; ++what) {
            i64 through = 0, before = 0;
            for (int j = 0; j < n_categories; ++j) {
                i64* sum = &sums[category_order[j] * 3 + what];
                through += *sum;
                const i64 running = share_of(cap_cents, through, total);
                *sum = running - before;
                before = running;
            }
        }
        const int g = group[here];
        for (int c = 0; c < n_categories; ++c) {
            cost_cents[here] += sums[c * 3];
            resource_cents[here] += sums[c * 3 + 1];
            services[here] += sums[c * 3 + 2];
            if (g < 0) continue;
            i64* out = &by_category[(((i64)p * n_groups + g) * n_categories + c) * 3];
            for (int what = 0; what < 3; ++what) {
                if (sums[c * 3 + what] != 0) atomicAdd((u64*)&out[what], (u64)sums[c * 3 + what]);
            }
        }
    }
}
