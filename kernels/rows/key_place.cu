// Twin of key_place.py; the meaning, units and errors are documented there.
// One thread per key, which halves the table.

extern "C" __global__ void key_place(
    const unsigned long long* keys, const unsigned long long* table, long long n, long long n_table,
    int* out) {
    const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    long long low = 0, high = n_table;
    while (low < high) {
        const long long middle = low + (high - low) / 2;
        if (table[middle] < keys[i]) low = middle + 1;
        else high = middle;
    }
    out[i] = low < n_table && table[low] == keys[i] ? (int)low : -1;
}
