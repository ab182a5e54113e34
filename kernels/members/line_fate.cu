// Twin of line_fate.py; the meaning, units and errors are documented there.
// One thread per member; the ledger is integer atomics, so without order.

typedef long long i64;
typedef unsigned long long u64;
typedef unsigned int u32;

#define MONTHS 12
#define OUTSIDE 255
#define N_FATES 8

__device__ static int slot(int day, int first_day, int n_days, const unsigned char* slot_of_day) {
    const i64 i = (i64)day - first_day;
    return (i >= 0 && i < n_days) ? slot_of_day[i] : OUTSIDE;
}

extern "C" __global__ void line_fate(
    const i64* cents, const int* incurred_day, const int* paid_day,
    const unsigned char* category, const unsigned char* kind, const unsigned char* table,
    const unsigned short* file, const i64* offsets, const unsigned short* enrolled,
    const unsigned char* month_cell, const unsigned char* standing, const int* rule,
    const unsigned char* slot_of_day, const u32* include_bits, int first_day, int cutoff_day, u32 kind_bits, u32 never_bits,
    int n_files, int n_days, i64 n_members, unsigned char* fate, i64* ledger) {
    const i64 m = (i64)blockIdx.x * blockDim.x + threadIdx.x;
    if (m >= n_members) return;
    for (i64 v = offsets[m]; v < offsets[m + 1]; ++v) {
        const int at = slot(incurred_day[v], first_day, n_days, slot_of_day);
        const int p = at / MONTHS, month = at % MONTHS;
        const i64 here = p * n_members + m;  // of a period only where `at` is in one
        int found;
        if (paid_day[v] > cutoff_day) {
            found = 0;
        } else if (at == OUTSIDE) {
            found = 1;
        } else if (!((enrolled[here] >> month) & 1)) {
            found = 2;
        } else if ((never_bits >> kind[v]) & 1) {
            found = 3;
        } else if (standing[here] == 0 || month_cell[here * MONTHS + month] == OUTSIDE) {
            found = 4;
        } else if (standing[here] == 1) {
            found = 5;
        } else {
            const u32 included = include_bits[rule[here]] >> category[v];
            found = ((kind_bits >> kind[v]) & included & 1) ? 7 : 6;
        }
        fate[v] = (unsigned char)found;
        i64* entry = ledger + (((i64)table[v] * n_files + file[v]) * N_FATES + found) * 2;
        atomicAdd((u64*)&entry[0], 1ULL);
        atomicAdd((u64*)&entry[1], (u64)cents[v]);
    }
}
