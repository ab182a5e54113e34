// Twin of replicate_totals.py; the meaning, units and errors are documented there.
//
// One thread: eight replicates of up to eight columns over one chunk of members of one group. Every
// thread of a warp reads the same member at the same time, so its loads are broadcasts; weights live
// in registers and are never stored. A thread's sums are exact and leave it as integers, so the order
// of the atomic additions cannot matter.
#include "philox.cuh"

// High word of the double that a lane's weight is; the low word is 0. `top` holds the lane in its
// upper 16 bits, so that thresholds are compared without taking it out. They descend: the last one
// met counts.
__device__ __forceinline__ unsigned int weight_high_word(unsigned int top) {
    unsigned int high = 0u;
    high = top < (41426u << 16) ? 0x3FF00000u : high;
    high = top < (17317u << 16) ? 0x40000000u : high;
    high = top < (5263u << 16) ? 0x40080000u : high;
    high = top < (1244u << 16) ? 0x40100000u : high;
    high = top < (242u << 16) ? 0x40140000u : high;
    high = top < (39u << 16) ? 0x40180000u : high;
    high = top < (5u << 16) ? 0x401C0000u : high;
    return high;
}

__device__ __forceinline__ void add_weighted(double& sum, unsigned int high, double x) {
    sum = fma(__hiloint2double(static_cast<int>(high), 0), x, sum);  // integers: exact, fused or not
}

__device__ __forceinline__ void add_weighted(long long& sum, unsigned int high, long long x) {
    sum += static_cast<long long>(__hiloint2double(static_cast<int>(high), 0)) * x;
}

template <class Number, int WIDTH>
__device__ __forceinline__ void sum_chunk(
    const Number* rows, const unsigned long long* member_key, long long from, long long to,
    unsigned long long seed, long long octet, long long first, long long n_replicates,
    int n_columns, int column, unsigned long long* out
) {
    Number sums[8][WIDTH];
#pragma unroll
    for (int lane = 0; lane < 8; ++lane)
#pragma unroll
        for (int c = 0; c < WIDTH; ++c) sums[lane][c] = 0;
    for (long long i = from; i < to; ++i) {
        unsigned long long key = __ldg(member_key + i);
        Words drawn = philox_words(
            static_cast<unsigned int>(key), static_cast<unsigned int>(key >> 32),
            static_cast<unsigned int>(octet), 0u, seed
        );
        unsigned int words[4] = {drawn.w0, drawn.w1, drawn.w2, drawn.w3};
        Number x[WIDTH];
#pragma unroll
        for (int c = 0; c < WIDTH; ++c) x[c] = __ldg(rows + i * n_columns + column + c);
#pragma unroll
        for (int lane = 0; lane < 8; ++lane) {
            unsigned int word = words[lane >> 1];
            unsigned int high = weight_high_word(lane & 1 ? word : word << 16);
            if (lane == 0 && octet == 0) high = 0x3FF00000u;  // replicate 0: as observed
#pragma unroll
            for (int c = 0; c < WIDTH; ++c) add_weighted(sums[lane][c], high, x[c]);
        }
    }
#pragma unroll
    for (int lane = 0; lane < 8; ++lane) {
        long long r = octet * 8 + lane - first;
        if (r < 0 || r >= n_replicates) continue;
#pragma unroll
        for (int c = 0; c < WIDTH; ++c)
            atomicAdd(
                out + r * n_columns + column + c,
                static_cast<unsigned long long>(static_cast<long long>(sums[lane][c]))
            );
    }
}

template <class Number>
__device__ __forceinline__ void sum_columns(
    const Number* rows, const unsigned long long* member_key, long long from, long long to,
    unsigned long long seed, long long octet, long long first, long long n_replicates,
    int n_columns, unsigned long long* out
) {
    int column = 8 * blockIdx.z;
    int left = n_columns - column;
#define SUM_CHUNK(width)                                                                        \
    sum_chunk<Number, width>(                                                                   \
        rows, member_key, from, to, seed, octet, first, n_replicates, n_columns, column, out    \
    )
    switch (left < 8 ? left : 8) {
        case 1: SUM_CHUNK(1); break;
        case 2: SUM_CHUNK(2); break;
        case 3: SUM_CHUNK(3); break;
        case 4: SUM_CHUNK(4); break;
        case 5: SUM_CHUNK(5); break;
        case 6: SUM_CHUNK(6); break;
        case 7: SUM_CHUNK(7); break;
        default: SUM_CHUNK(8);
    }
#undef SUM_CHUNK
}

// rows: [n_members, n_columns], members in order of group, double if in_double else long long.
// Chunk k is members chunk_start[k] to chunk_start[k + 1], all of group chunk_group[k].
// Grid: chunks, blocks of octets, eights of columns.
extern "C" __global__ void __launch_bounds__(128) replicate_totals(
    const void* rows,
    const unsigned long long* member_key,
    const int* chunk_group,
    const long long* chunk_start,
    unsigned long long seed,
    int in_double,
    int n_columns,
    long long n_replicates,
    long long first,
    unsigned long long* out
) {
    long long octet = (first >> 3) + static_cast<long long>(blockIdx.y) * blockDim.x + threadIdx.x;
    if (octet * 8 >= first + n_replicates) return;
    long long from = chunk_start[blockIdx.x], to = chunk_start[blockIdx.x + 1];
    unsigned long long* totals =
        out + static_cast<long long>(chunk_group[blockIdx.x]) * n_replicates * n_columns;
    if (in_double)
        sum_columns(
            static_cast<const double*>(rows), member_key, from, to, seed, octet, first,
            n_replicates, n_columns, totals
        );
    else
        sum_columns(
            static_cast<const long long*>(rows), member_key, from, to, seed, octet, first,
            n_replicates, n_columns, totals
        );
}
