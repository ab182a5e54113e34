// Twin of condition_flags.py; the meaning, units and errors are documented there.
// One thread per member; a member's rows are contiguous, so nothing is shared and nothing is atomic.

#define NO_DAY (-2147483647 - 1)
#define ANY_AGE (-1)

__device__ static long long floor_divide(long long a, long long b) {
    long long q = a / b;
    return (a % b != 0 && a < 0) ? q - 1 : q;
}

// Year of a day number, and month * 32 + day of the month, by the civil calendar in integers.
__device__ static long long civil_year(long long day, long long* monthday) {
    long long z = day + 719468;  // days since 0000-03-01
    long long era = floor_divide(z, 146097);
    long long doe = z - era * 146097;
    long long yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    long long doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    long long mp = (5 * doy + 2) / 153;
    long long dom = doy - (153 * mp + 2) / 5 + 1;
    long long month = mp < 10 ? mp + 3 : mp - 9;
    *monthday = month * 32 + dom;
    return yoe + era * 400 + (month <= 2 ? 1 : 0);
}

__device__ static long long age_on(int birth_day, int day) {
    long long born_key, on_key;
    long long born = civil_year(birth_day, &born_key);
    long long on = civil_year(day, &on_key);
    return on - born - (on_key < born_key ? 1 : 0);
}

extern "C" __global__ void condition_flags(
    const int* codes, const int* days, const long long* offsets, const short* age,
    const unsigned char* sex, const int* birth_day, const int* entry, const int* rule_start,
    const int* rules, const unsigned long long* rule_masks, int code_edits, long long n_members,
    int n_words, unsigned long long* words, int* outcomes) {
    long long m = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (m >= n_members) return;
    unsigned long long* out = words + m * n_words;
    int fates[4] = {0, 0, 0, 0};
    for (long long row = offsets[m]; row < offsets[m + 1]; ++row) {
        int which = entry[codes[row]];
        int begin = rule_start[which], end = rule_start[which + 1];
        int fate = begin == end ? 0 : 3;
        int day = days[row];
        for (int r = begin; r < end; ++r) {
            const int* rule = rules + 7LL * r;
            if (rule[0] != 0 && rule[0] != sex[m]) continue;
            if (rule[1] != ANY_AGE && !(rule[1] <= age[m] && age[m] < rule[2])) continue;
            if (day != NO_DAY && !(rule[5] <= day && day < rule[6])) continue;
            if (code_edits && rule[3] != ANY_AGE) {
                long long at = age[m];
                if (day != NO_DAY && birth_day[m] != NO_DAY) at = age_on(birth_day[m], day);
                if (!(rule[3] <= at && at < rule[4])) {
                    if (fate == 3) fate = 2;
                    continue;
                }
            }
            fate = 1;
            for (int w = 0; w < n_words; ++w) out[w] |= rule_masks[(long long)r * n_words + w];
        }
        fates[fate] += 1;
    }
    for (int k = 0; k < 4; ++k) outcomes[4 * m + k] = fates[k];
}
