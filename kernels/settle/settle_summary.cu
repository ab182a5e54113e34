// Twin of settle_summary.py; the meaning, units and errors are documented there.
//
// One block per scenario, striding over the scenarios. Threads take replicates in turn; a thread's
// registers lie in the workspace [n_operations, n_threads of the grid], the block's payments in
// [n_blocks, n_replicates]. Sums and counts are integers, added in any order; a quantile is found by
// halving the range of int64, each step counting the payments below the middle.
// Compiled without contraction: a product and a sum stay two roundings.

__device__ static double read_register(int r, const double* sources, const double* constants,
                                       const double* workspace, int n_sources, int n_constants,
                                       long long n_replicates, long long scenario,
                                       long long replicate, long long n_threads, long long thread) {
    if (r < n_sources) return sources[(long long)r * n_replicates + replicate];
    if (r < n_sources + n_constants) return constants[scenario * n_constants + (r - n_sources)];
    return workspace[(long long)(r - n_sources - n_constants) * n_threads + thread];
}

extern "C" __global__ void settle_summary(
    const double* sources, const double* constants, const int* program, const long long* ranks,
    int n_sources, int n_constants, int n_operations, int output, int n_ranks,
    long long n_scenarios, long long n_replicates, double limit, double* workspace,
    long long* payments, long long* out, int* inexact
) {
    __shared__ unsigned long long added[3];
    __shared__ unsigned long long counted[2];
    const long long n_threads = (long long)gridDim.x * blockDim.x;
    const long long thread = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    long long* row = payments + (long long)blockIdx.x * n_replicates;
    const int width = 4 + n_ranks;
    for (long long scenario = blockIdx.x; scenario < n_scenarios; scenario += gridDim.x) {
        if (threadIdx.x < 3) added[threadIdx.x] = 0;
        __syncthreads();
        unsigned long long sum = 0, gains = 0, losses = 0;
        for (long long replicate = threadIdx.x; replicate < n_replicates; replicate += blockDim.x) {
            for (int i = 0; i < n_operations; ++i) {
                const int op = program[4 * i];
                double v[3] = {0.0, 0.0, 0.0};
                const int taken = op == 9 ? 3 : (op == 10 ? 1 : 2);
                for (int k = 0; k < taken; ++k) {
                    v[k] = read_register(program[4 * i + 1 + k], sources, constants, workspace,
                                         n_sources, n_constants, n_replicates, scenario, replicate,
                                         n_threads, thread);
                }
                double result;
                switch (op) {
                    case 0: result = v[0] + v[1]; break;
                    case 1: result = v[0] - v[1]; break;
                    case 2: result = v[0] * v[1]; break;
                    case 3: result = v[1] != 0.0 ? v[0] / v[1] : 0.0; break;
                    case 4: result = v[1] < v[0] ? v[1] : v[0]; break;
                    case 5: result = v[1] > v[0] ? v[1] : v[0]; break;
                    case 6: result = v[0] < v[1] ? 1.0 : 0.0; break;
                    case 7: result = v[0] <= v[1] ? 1.0 : 0.0; break;
                    case 8: result = v[0] == v[1] ? 1.0 : 0.0; break;
                    case 9: result = v[0] != 0.0 ? v[1] : v[2]; break;
                    default: result = rint(v[0]); break;
                }
                workspace[(long long)i * n_threads + thread] = result;
            }
            const double payment = read_register(output, sources, constants, workspace, n_sources,
                                                 n_constants, n_replicates, scenario, replicate,
                                                 n_threads, thread);
            const bool exact = payment > -limit && payment < limit;
            if (!exact) *inexact = 1;
            const long long cents = exact ? (long long)payment : 0;
            row[replicate] = cents;
            if (replicate == 0) {
                out[scenario * width] = cents;
            } else {
                sum += (unsigned long long)cents;  // two's complement: wraps back
                gains += cents > 0;
                losses += cents < 0;
            }
        }
        atomicAdd(&added[0], sum);
        atomicAdd(&added[1], gains);
        atomicAdd(&added[2], losses);
        __syncthreads();
        if (threadIdx.x < 3) out[scenario * width + 1 + threadIdx.x] = (long long)added[threadIdx.x];
        const unsigned long long sign = 1ull << 63;  // order of int64 as order of unsigned words
        for (int j = 0; j < n_ranks; ++j) {
            unsigned long long word = 0;
            for (int bit = 63; bit >= 0; --bit) {
                const unsigned long long tried = word | 1ull << bit;
                unsigned long long below = 0;
                if (threadIdx.x == 0) counted[bit & 1] = 0;
                __syncthreads();
                for (long long i = 1 + threadIdx.x; i < n_replicates; i += blockDim.x)
                    below += ((unsigned long long)row[i] ^ sign) < tried;
                atomicAdd(&counted[bit & 1], below);
                __syncthreads();
                if (counted[bit & 1] < (unsigned long long)ranks[j]) word = tried;
            }
            if (threadIdx.x == 0) out[scenario * width + 4 + j] = (long long)(word ^ sign);
        }
        __syncthreads();
    }
}
