// Twin of text_key.py; the meaning, units and errors are documented there.
// One thread per text.

__constant__ unsigned long long INITIAL[8] = {
    0x6A09E667F3BCC908ULL, 0xBB67AE8584CAA73BULL, 0x3C6EF372FE94F82BULL, 0xA54FF53A5F1D36F1ULL,
    0x510E527FADE682D1ULL, 0x9B05688C2B3E6C1FULL, 0x1F83D9ABFB41BD6BULL, 0x5BE0CD19137E2179ULL};
__constant__ unsigned char ORDER[10][16] = {
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
    {14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3},
    {11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4},
    {7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8},
    {9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13},
    {2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9},
    {12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11},
    {13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10},
    {6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5},
    {10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0}};

__device__ unsigned long long turned(unsigned long long word, int bits) {
    return (word >> bits) | (word << (64 - bits));
}

__device__ void mix(
    unsigned long long* v, int a, int b, int c, int d, unsigned long long x,
    unsigned long long y) {
    v[a] += v[b] + x;
    v[d] = turned(v[d] ^ v[a], 32);
    v[c] += v[d];
    v[b] = turned(v[b] ^ v[c], 24);
    v[a] += v[b] + y;
    v[d] = turned(v[d] ^ v[a], 16);
    v[c] += v[d];
    v[b] = turned(v[b] ^ v[c], 63);
}

extern "C" __global__ void text_key(
    const unsigned char* data, const long long* offsets, const unsigned long long* person,
    long long n, unsigned long long* out) {
    const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    const long long start = offsets[i], stop = offsets[i + 1];
    unsigned long long h[8], v[16], m[16];
    for (int k = 0; k < 8; ++k) h[k] = INITIAL[k];
    h[0] ^= 0x01010008ULL;
    h[6] ^= person[0];
    h[7] ^= person[1];
    long long at = start;
    do {
        const long long end = at + 128 < stop ? at + 128 : stop;
        for (int k = 0; k < 16; ++k) m[k] = 0;
        for (long long k = at; k < end; ++k)
            m[(k - at) >> 3] |= (unsigned long long)data[k] << (8 * ((k - at) & 7));
        for (int k = 0; k < 8; ++k) {
            v[k] = h[k];
            v[k + 8] = INITIAL[k];
        }
        v[12] ^= (unsigned long long)(end - start);
        if (end == stop) v[14] = ~v[14];
        for (int r = 0; r < 12; ++r) {
            const unsigned char* s = ORDER[r % 10];
            mix(v, 0, 4, 8, 12, m[s[0]], m[s[1]]);
            mix(v, 1, 5, 9, 13, m[s[2]], m[s[3]]);
            mix(v, 2, 6, 10, 14, m[s[4]], m[s[5]]);
            mix(v, 3, 7, 11, 15, m[s[6]], m[s[7]]);
            mix(v, 0, 5, 10, 15, m[s[8]], m[s[9]]);
            mix(v, 1, 6, 11, 12, m[s[10]], m[s[11]]);
            mix(v, 2, 7, 8, 13, m[s[12]], m[s[13]]);
            mix(v, 3, 4, 9, 14, m[s[14]], m[s[15]]);
        }
        for (int k = 0; k < 8; ++k) h[k] ^= v[k] ^ v[k + 8];
        at = end;
    } while (at < stop);
    out[i] = h[0];
}
