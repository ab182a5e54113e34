// Twin of quantiles.py; the meaning, units and errors are documented there.
//
// One block per row. The value of a rank is found by halving the range of int64: each step counts the
// row's values below the middle, all threads together.
extern "C" __global__ void quantiles(
    const long long* values, const long long* ranks, long long n_values, int n_ranks, long long* out
) {
    __shared__ unsigned long long counted[2];
    const long long* row = values + static_cast<long long>(blockIdx.x) * n_values;
    const unsigned long long sign = 1ull << 63;  // order of int64 as order of unsigned words
    for (int j = 0; j < n_ranks; ++j) {
        unsigned long long word = 0;
        for (int bit = 63; bit >= 0; --bit) {
            unsigned long long tried = word | 1ull << bit;
            unsigned long long below = 0;
            if (threadIdx.x == 0) counted[bit & 1] = 0;
            __syncthreads();
            for (long long i = threadIdx.x; i < n_values; i += blockDim.x)
                below += (static_cast<unsigned long long>(row[i]) ^ sign) < tried;
            atomicAdd(&counted[bit & 1], below);
            __syncthreads();
            if (counted[bit & 1] < static_cast<unsigned long long>(ranks[j])) word = tried;
        }
        if (threadIdx.x == 0)
            out[static_cast<long long>(blockIdx.x) * n_ranks + j] =
                static_cast<long long>(word ^ sign);
    }
}
