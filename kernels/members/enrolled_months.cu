// Twin of enrolled_months.py; the meaning, units and errors are documented there.
// One thread per member; the outputs arrive filled (month_cell with 255, the rest with 0).

#define MONTHS 12

extern "C" __global__ void enrolled_months(
    const int* first_month, const int* n_months, const unsigned char* rate_cell,
    const unsigned char* flags, const long long* offsets, const unsigned char* alive_from,
    const unsigned char* alive_to, const unsigned char* from_month,
    const unsigned char* flag_bits, int n_flags, int january, int exclude, long long n_members,
    unsigned char* month_cell, unsigned short* spanned, unsigned short* covered,
    unsigned short* countable, unsigned short* flagged, long long* months) {
    const long long m = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (m >= n_members) return;
    for (long long s = offsets[m]; s < offsets[m + 1]; ++s) {
        long long low = (long long)first_month[s] - january;
        long long high = low + n_months[s];
        if (low < 0) low = 0;
        if (high > MONTHS) high = MONTHS;
        if (high <= low) continue;
        spanned[m] |= (unsigned short)((1 << high) - (1 << low));
        if (low < alive_from[m]) low = alive_from[m];
        if (high > alive_to[m]) high = alive_to[m];
        if (high <= low) continue;
        const unsigned short mask = (unsigned short)((1 << high) - (1 << low));
        covered[m] |= mask;
        for (int j = 0; j < n_flags; ++j) {
            if (flags[s] & flag_bits[j]) flagged[j * n_members + m] |= mask;
        }
        if (flags[s] & exclude) continue;
        countable[m] |= mask;
        if (low < from_month[m]) low = from_month[m];
        if (high <= low) continue;
        months[rate_cell[s] * n_members + m] += high - low;
        for (long long i = low; i < high; ++i) month_cell[m * MONTHS + i] = rate_cell[s];
    }
}
