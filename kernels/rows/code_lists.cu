// Twin of code_lists.py; the meaning, units and errors are documented there.
// One thread per row, launched twice: it counts into starts[i + 1]; then, once the counts have been
// summed, it writes from starts[i] on.

extern "C" __global__ void code_lists(
    const int* codes, long long k, long long n, int write, int* starts, int* out) {
    const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    int at = write ? starts[i] : 0;
    for (long long column = 0; column < k; ++column) {
        const int code = codes[column * n + i];
        if (code <= 0) continue;
        if (write) out[at] = code;
        ++at;
    }
    if (!write) starts[i + 1] = at;
}
