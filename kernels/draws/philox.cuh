// Philox4x32-10 and the Poisson(1) weight of a 16-bit lane, for the twins that draw.
// The layout and its meaning are documented in philox.py.
#pragma once

struct Words {
    unsigned int w0, w1, w2, w3;
};

__device__ __forceinline__ Words philox_words(
    unsigned int c0, unsigned int c1, unsigned int c2, unsigned int c3, unsigned long long seed
) {
    unsigned int k0 = static_cast<unsigned int>(seed);
    unsigned int k1 = static_cast<unsigned int>(seed >> 32);
#pragma unroll
    for (int turn = 0; turn < 10; ++turn) {
        unsigned int high0 = __umulhi(0xD2511F53u, c0), low0 = 0xD2511F53u * c0;
        unsigned int high1 = __umulhi(0xCD9E8D57u, c2), low1 = 0xCD9E8D57u * c2;
        c0 = high1 ^ c1 ^ k0;
        c1 = low1;
        c2 = high0 ^ c3 ^ k1;
        c3 = low0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return Words{c0, c1, c2, c3};
}

__device__ __forceinline__ int poisson_weight(unsigned int lane) {
    return (lane < 41426u) + (lane < 17317u) + (lane < 5263u) + (lane < 1244u) + (lane < 242u) +
           (lane < 39u) + (lane < 5u);
}
