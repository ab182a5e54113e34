// Twin of text_hash.py; the meaning, units and errors are documented there.
// One thread per text, bytes read one by one: a text may start anywhere.

extern "C" __global__ void text_hash(
    const unsigned char* data, const long long* offsets, long long n, unsigned long long* out) {
    const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    const long long length = offsets[i + 1] - offsets[i];
    const unsigned char* text = data + offsets[i];
    unsigned long long x = (unsigned long long)length * 0x9E3779B97F4A7C15ULL;
    for (long long b = 0; b < length; b += 8) {
        const long long left = length - b < 8 ? length - b : 8;
        unsigned long long word = 0;
        for (long long k = 0; k < left; ++k) word |= (unsigned long long)text[b + k] << (8 * k);
        x = (x ^ word) * 0x9E3779B97F4A7C15ULL + (unsigned long long)(b + 1);
        x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ULL;
        x = (x ^ (x >> 27)) * 0x94D049BB133111EBULL;
        x ^= x >> 31;
    }
    out[i] = x;
}
