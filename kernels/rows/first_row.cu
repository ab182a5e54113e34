// Twin of first_row.py; the meaning, units and errors are documented there.
// One thread per row of an order in which alike rows stand together; each looks along its run.

extern "C" __global__ void first_row(
    const unsigned long long* words, const unsigned long long* within, const long long* order,
    long long n, long long* out) {
    const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    const long long row = order[i];
    long long first = row;
    for (long long k = i - 1; k >= 0; --k) {
        const long long other = order[k];
        if (words[other] != words[row] || within[other] != within[row]) break;
        if (other < first) first = other;
    }
    for (long long k = i + 1; k < n; ++k) {
        const long long other = order[k];
        if (words[other] != words[row] || within[other] != within[row]) break;
        if (other < first) first = other;
    }
    out[row] = first;
}
