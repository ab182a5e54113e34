// Twin of row_order.py; the meaning, units and errors are documented there.
// One thread per group, launched twice: it counts its rows into starts[group + 1]; then, once the
// counts have been summed, it writes the rows from starts[group] on.

extern "C" __global__ void row_order(
    const unsigned long long* keys, long long n, int n_groups, int fill, long long* starts,
    int* order) {
    const long long group = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (group >= n_groups) return;
    long long at = fill ? starts[group] : 0;
    for (long long i = 0; i < n; ++i) {
        if (keys[i] % (unsigned long long)n_groups != (unsigned long long)group) continue;
        if (fill) order[at] = (int)i;
        ++at;
    }
    if (!fill) starts[group + 1] = at;
}
