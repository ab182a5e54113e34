// Twin of plurality.py; the meaning, units and errors are documented there.
// One thread per member: a member's run is short, so groups are counted by scanning it again.

// Whether the visit has a group and a step, in a month that counts.
__device__ static bool counts(int group, unsigned char step, int day, unsigned short months,
                              const unsigned char* month_of, int first_day) {
    return group >= 0 && step > 0 && ((months >> month_of[day - first_day]) & 1);
}

extern "C" __global__ void plurality(const int* group, const unsigned char* step, const int* day,
                                     const long long* offsets, const unsigned short* months,
                                     const unsigned char* month_of, int first_day, int latest,
                                     long long n_members, int* out_group, unsigned char* out_step,
                                     int* out_count, bool* out_tied, int* out_first,
                                     long long* out_visit) {
    const long long m = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (m >= n_members) return;
    const long long a = offsets[m];
    const long long b = offsets[m + 1];
    const unsigned short open = months[m];
    int first_step = 256;
    for (long long v = a; v < b; ++v) {
        if (!counts(group[v], step[v], day[v], open, month_of, first_day)) continue;
        if (step[v] < first_step) first_step = step[v];
    }
    int best = -1, most = 0, best_last = 0, best_first = -2147483647 - 1;
    long long best_visit = -1;
    bool tied = false;
    for (long long v = a; v < b && first_step < 256; ++v) {
        if (step[v] != first_step || group[v] == best) continue;
        if (!counts(group[v], step[v], day[v], open, month_of, first_day)) continue;
        const int g = group[v];
        int count = 0, last = 0, first = 0;
        long long visit = -1;
        for (long long w = a; w < b; ++w) {
            if (group[w] != g || step[w] != first_step) continue;
            if (!counts(g, step[w], day[w], open, month_of, first_day)) continue;
            if (count == 0) first = day[w];
            if (count == 0 || day[w] != last) ++count;
            last = day[w];
            visit = w;
        }
        if (count < most) continue;
        bool better = count > most;
        if (better) {
            tied = false;
        } else {
            tied = true;
            better = (latest && last != best_last) ? last > best_last : g < best;
        }
        if (better) {
            best = g;
            most = count;
            best_last = last;
            best_first = first;
            best_visit = visit;
        }
    }
    out_group[m] = best;
    out_step[m] = first_step < 256 ? (unsigned char)first_step : 0;
    out_count[m] = most;
    out_tied[m] = tied;
    out_first[m] = best_first;
    out_visit[m] = best_visit;
}
