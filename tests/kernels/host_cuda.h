// Runs a CUDA kernel on the host, so that its text can be checked where no GPU is.
//
// A kernel without __syncthreads() runs its threads one after another. One with it (the build then
// defines HOST_CUDA_BARRIERS) runs each block on real threads that meet at a barrier. Every array
// is an allocation of its own, of exactly its size, so that the address sanitizer sees a stray index.
#pragma once
#include <algorithm>
#include <barrier>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <thread>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __constant__ static const
#define __launch_bounds__(...)
#define __shared__ static
#define __CUDACC_HOST_SHIM__ 1

struct dim3 {
    unsigned int x = 1, y = 1, z = 1;
};
static dim3 gridDim, blockDim;
static thread_local dim3 blockIdx, threadIdx;

using std::max;
using std::min;

template <class T>
inline T __ldg(const T* at) { return *at; }
inline int __popc(unsigned int x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __ffsll(long long x) { return __builtin_ffsll(x); }
inline int __clz(int x) { return x ? __builtin_clz(static_cast<unsigned int>(x)) : 32; }
inline int __clzll(long long x) { return x ? __builtin_clzll(static_cast<unsigned long long>(x)) : 64; }
inline unsigned int __umulhi(unsigned int a, unsigned int b) {
    return static_cast<unsigned int>((static_cast<unsigned long long>(a) * b) >> 32);
}
inline double __hiloint2double(int high, int low) {
    unsigned long long bits = (static_cast<unsigned long long>(static_cast<unsigned int>(high)) << 32) |
                              static_cast<unsigned int>(low);
    double value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}
inline double __dadd_rn(double a, double b) { return a + b; }
inline double __dsub_rn(double a, double b) { return a - b; }
inline double __dmul_rn(double a, double b) { return a * b; }
inline double __ddiv_rn(double a, double b) { return a / b; }
inline long long __double2ll_rn(double x) { return std::llrint(x); }

template <class T>
inline T atomicAdd(T* at, T value) { return __atomic_fetch_add(at, value, __ATOMIC_RELAXED); }
template <class T>
inline T atomicOr(T* at, T value) { return __atomic_fetch_or(at, value, __ATOMIC_RELAXED); }

#ifdef HOST_CUDA_BARRIERS
static std::unique_ptr<std::barrier<>> host_cuda_barrier;
inline void __syncthreads() { host_cuda_barrier->arrive_and_wait(); }
#endif

namespace host_cuda {

inline void take(void* to, size_t size) {
    if (size && std::fread(to, 1, size, stdin) != size) std::exit(0);
}
inline void give(const void* from, size_t size) {
    if (size && std::fwrite(from, 1, size, stdout) != size) std::exit(2);
}

struct Argument {
    std::unique_ptr<char[]> bytes;
    size_t size = 0;
    bool is_array = false;
};

template <class T>
T as(Argument& argument) {
    if constexpr (std::is_pointer_v<T>) {
        if (!argument.is_array) { std::fputs("expected an array\n", stderr); std::exit(3); }
        return reinterpret_cast<T>(argument.bytes.get());
    } else {
        if (argument.is_array || argument.size != sizeof(T)) {
            std::fprintf(stderr, "expected a scalar of %zu bytes, got %zu\n", sizeof(T), argument.size);
            std::exit(3);
        }
        T value;
        std::memcpy(&value, argument.bytes.get(), sizeof(T));
        return value;
    }
}

template <class... A, size_t... I>
void launch(void (*kernel)(A...), std::vector<Argument>& arguments, std::index_sequence<I...>) {
    if (arguments.size() != sizeof...(A)) {
        std::fprintf(stderr, "expected %zu arguments, got %zu\n", sizeof...(A), arguments.size());
        std::exit(3);
    }
    auto values = std::make_tuple(as<A>(arguments[I])...);
    for (unsigned int z = 0; z < gridDim.z; ++z)
        for (unsigned int y = 0; y < gridDim.y; ++y)
            for (unsigned int x = 0; x < gridDim.x; ++x) {
                auto one = [&](unsigned int thread) {
                    blockIdx = {x, y, z};
                    threadIdx = {thread % blockDim.x, thread / blockDim.x, 0};
                    std::apply(kernel, values);
                };
                unsigned int threads = blockDim.x * blockDim.y;
#ifdef HOST_CUDA_BARRIERS
                host_cuda_barrier = std::make_unique<std::barrier<>>(threads);
                std::vector<std::thread> pool;
                for (unsigned int t = 0; t < threads; ++t)
                    pool.emplace_back([&, t] { one(t); host_cuda_barrier->arrive_and_drop(); });
                for (auto& thread : pool) thread.join();
#else
                for (unsigned int t = 0; t < threads; ++t) one(t);
#endif
            }
}

// Reads cases from standard input until it ends: grid, block, then each argument as
// (is_array, size in bytes, bytes). Writes every array back after each case.
template <class... A>
int serve(void (*kernel)(A...)) {
    for (;;) {
        int64_t shape[5], count;
        take(shape, sizeof shape);
        take(&count, sizeof count);
        gridDim = {static_cast<unsigned>(shape[0]), static_cast<unsigned>(shape[1]), static_cast<unsigned>(shape[2])};
        blockDim = {static_cast<unsigned>(shape[3]), static_cast<unsigned>(shape[4]), 1};
        std::vector<Argument> arguments(static_cast<size_t>(count));
        for (auto& argument : arguments) {
            int64_t head[2];
            take(head, sizeof head);
            argument.is_array = head[0] != 0;
            argument.size = static_cast<size_t>(head[1]);
            argument.bytes = std::make_unique<char[]>(argument.size);
            take(argument.bytes.get(), argument.size);
        }
        launch(kernel, arguments, std::index_sequence_for<A...>{});
        for (auto& argument : arguments)
            if (argument.is_array) give(argument.bytes.get(), argument.size);
        std::fflush(stdout);
    }
}

}  // namespace host_cuda
