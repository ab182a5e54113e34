// Twin of settle_grid.py; the meaning, units and errors are documented there.
// One thread per scenario and replicate, striding over the grid. A thread's registers lie in the
// workspace [n_operations, n_threads], so that neighbouring threads touch neighbouring words.
// Compiled without contraction: a product and a sum stay two roundings.

__device__ static double read_register(int r, const double* sources, const double* constants,
                                       const double* workspace, int n_sources, int n_constants,
                                       long long n_replicates, long long scenario,
                                       long long replicate, long long n_threads, long long thread) {
    if (r < n_sources) return sources[(long long)r * n_replicates + replicate];
    if (r < n_sources + n_constants) return constants[scenario * n_constants + (r - n_sources)];
    return workspace[(long long)(r - n_sources - n_constants) * n_threads + thread];
}

extern "C" __global__ void settle_grid(const double* sources, const double* constants,
                                       const int* program, const int* outputs, int n_sources,
                                       int n_constants, int n_operations, int n_outputs,
                                       long long n_scenarios, long long n_replicates,
                                       double* workspace, double* result) {
    const long long n_threads = (long long)gridDim.x * blockDim.x;
    const long long thread = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    for (long long row = thread; row < n_scenarios * n_replicates; row += n_threads) {
        const long long scenario = row / n_replicates;
        const long long replicate = row % n_replicates;
        for (int i = 0; i < n_operations; ++i) {
            const int op = program[4 * i];
            double v[3] = {0.0, 0.0, 0.0};
            const int taken = op == 9 ? 3 : (op == 10 ? 1 : 2);
            for (int k = 0; k < taken; ++k) {
                v[k] = read_register(program[4 * i + 1 + k], sources, constants, workspace,
                                     n_sources, n_constants, n_replicates, scenario, replicate,
                                     n_threads, thread);
            }
            double out;
            switch (op) {
                case 0: out = v[0] + v[1]; break;
                case 1: out = v[0] - v[1]; break;
                case 2: out = v[0] * v[1]; break;
                case 3: out = v[1] != 0.0 ? v[0] / v[1] : 0.0; break;
                case 4: out = v[1] < v[0] ? v[1] : v[0]; break;
                case 5: out = v[1] > v[0] ? v[1] : v[0]; break;
                case 6: out = v[0] < v[1] ? 1.0 : 0.0; break;
                case 7: out = v[0] <= v[1] ? 1.0 : 0.0; break;
                case 8: out = v[0] == v[1] ? 1.0 : 0.0; break;
                case 9: out = v[0] != 0.0 ? v[1] : v[2]; break;
                default: out = rint(v[0]); break;
            }
            workspace[(long long)i * n_threads + thread] = out;
        }
        for (int position = 0; position < n_outputs; ++position) {
            result[(scenario * n_outputs + position) * n_replicates + replicate] =
                read_register(outputs[position], sources, constants, workspace, n_sources,
                              n_constants, n_replicates, scenario, replicate, n_threads, thread);
        }
    }
}
