// Twin of distinct_count.py; the meaning, units and errors are documented there.
// One thread per value of the sorted array: it marks the first of each run of equal ones.

extern "C" __global__ void distinct_count(
    const unsigned long long* sorted, long long n, unsigned char* first) {
    const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    first[i] = i == 0 || sorted[i] != sorted[i - 1];
}
