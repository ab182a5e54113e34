// Twin of text_pick.py; the meaning, units and errors are documented there.
// One thread per text of the result, launched twice: it writes its length to starts[j + 1]; then,
// once the lengths have been summed, it copies its bytes.

extern "C" __global__ void text_pick(
    const unsigned char* data, const long long* offsets, const int* index, int indexed,
    const int* order, long long r, int copy, long long* starts, unsigned char* out) {
    const long long j = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (j >= r) return;
    long long at = order[j];
    if (indexed) at = index[at];
    const long long length = offsets[at + 1] - offsets[at];
    if (!copy) {
        starts[j + 1] = length;
        return;
    }
    for (long long b = 0; b < length; ++b) out[starts[j] + b] = data[offsets[at] + b];
}
