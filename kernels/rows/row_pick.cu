// Twin of row_pick.py; the meaning, units and errors are documented there.
// One thread per row of the result; `width` is the size of a value in bytes.

extern "C" __global__ void row_pick(
    const unsigned char* values, const int* index, int indexed, const int* order, int width,
    long long m, unsigned char* out) {
    const long long j = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (j >= m) return;
    long long at = order[j];
    if (indexed) at = index[at];
    for (int b = 0; b < width; ++b) out[j * width + b] = values[at * width + b];
}
