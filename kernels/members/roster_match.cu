// Twin of roster_match.py; the meaning, units and errors are documented there.
// One thread per visit.

__device__ static int matching_entry(int npi, int tin, int day, const int* npi_first,
                                     const int* entry_tin, const int* entry_start,
                                     const int* entry_end) {
    for (int e = npi_first[npi]; e < npi_first[npi + 1]; ++e) {
        const bool same_tin = entry_tin[e] == -1 || entry_tin[e] == tin;
        if (same_tin && entry_start[e] <= day && day < entry_end[e]) return e;
    }
    return -1;
}

extern "C" __global__ void roster_match(
    const int* rendering_npi, const int* billing_npi, const int* tin, const int* day,
    const int* paid_day, const int* procedure, const unsigned char* place,
    const unsigned char* marks, const int* npi_first, const int* entry_tin, const int* entry_start,
    const int* entry_end, const int* entry_group, const unsigned char* entry_kind,
    const unsigned char* class_of, const unsigned char* place_marks, const unsigned char* barred,
    const unsigned char* step_of, int n_kinds, int first_day, int end_day, int cutoff_day,
    long long n_visits, int* group, unsigned char* step) {
    const long long v = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (v >= n_visits) return;
    group[v] = -1;
    step[v] = 0;
    const int d = day[v];
    if (d < first_day || d >= end_day || paid_day[v] > cutoff_day) return;
    const unsigned char c = class_of[procedure[v]];
    if ((marks[v] | place_marks[place[v]]) & barred[c]) return;
    int e = matching_entry(rendering_npi[v], tin[v], d, npi_first, entry_tin, entry_start,
                           entry_end);
    if (e < 0) {
        e = matching_entry(billing_npi[v], tin[v], d, npi_first, entry_tin, entry_start,
                           entry_end);
    }
    if (e < 0) return;
    const unsigned char s = step_of[c * n_kinds + entry_kind[e]];
    if (s == 0) return;
    group[v] = entry_group[e];
    step[v] = s;
}
