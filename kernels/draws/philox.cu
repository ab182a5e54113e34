// Twin of philox.py; the meaning, units and errors are documented there.
#include "philox.cuh"

// One thread per counter.
extern "C" __global__ void philox(
    const unsigned int* counters, unsigned long long seed, long long n, unsigned int* words
) {
    long long i = static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (i >= n) return;
    const unsigned int* c = counters + 4 * i;
    Words drawn = philox_words(c[0], c[1], c[2], c[3], seed);
    words[4 * i] = drawn.w0;
    words[4 * i + 1] = drawn.w1;
    words[4 * i + 2] = drawn.w2;
    words[4 * i + 3] = drawn.w3;
}

// One thread per member and block of eight replicates, members fastest.
extern "C" __global__ void weights(
    const unsigned long long* member_key,
    unsigned long long seed,
    long long n,
    long long n_replicates,
    long long first,
    unsigned char* out
) {
    long long at = static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x;
    long long octets = ((first + n_replicates + 7) >> 3) - (first >> 3);
    if (at >= n * octets) return;
    long long i = at % n;
    long long octet = (first >> 3) + at / n;
    unsigned long long key = member_key[i];
    Words drawn = philox_words(
        static_cast<unsigned int>(key), static_cast<unsigned int>(key >> 32),
        static_cast<unsigned int>(octet), 0u, seed
    );
    unsigned int words[4] = {drawn.w0, drawn.w1, drawn.w2, drawn.w3};
    for (int lane = 0; lane < 8; ++lane) {
        long long replicate = octet * 8 + lane;
        long long row = replicate - first;
        if (row < 0 || row >= n_replicates) continue;
        unsigned int value = lane & 1 ? words[lane >> 1] >> 16 : words[lane >> 1] & 0xFFFFu;
        out[row * n + i] = replicate ? static_cast<unsigned char>(poisson_weight(value)) : 1;
    }
}
