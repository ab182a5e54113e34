// Twin of row_hash.py; the meaning, units and errors are documented there.
// One thread per row; `width` is the size of an index in bytes, 0 where row i has word i.

__device__ unsigned long long mixed(unsigned long long word, unsigned long long seed) {
    const unsigned long long x = word * seed;
    return (x ^ (x >> 32)) * 0x94D049BB133111EBULL;
}

extern "C" __global__ void row_hash(
    unsigned long long* lanes, const unsigned long long* words, const void* index,
    const unsigned long long* seeds, int width, long long n) {
    const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    long long at = i;
    if (width == 1) at = ((const unsigned char*)index)[i];
    if (width == 2) at = ((const unsigned short*)index)[i];
    if (width == 4) at = ((const int*)index)[i];
    if (width == 8) at = ((const long long*)index)[i];
    lanes[i] += mixed(words[at], seeds[0]);
    lanes[n + i] += mixed(words[at], seeds[1]);
}
