// Twin of list_words.py; the meaning, units and errors are documented there.
// One thread per row, launched twice: it counts into at[i + 1]; then, once the counts have been
// summed, it writes from at[i] on.

extern "C" __global__ void list_words(
    const unsigned long long* words, const int* starts, const int* codes,
    const unsigned long long* parts, long long n, int write, long long* at,
    unsigned long long* out) {
    const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    const unsigned long long word = words[i];
    const int first = starts[i], stop = starts[i + 1];
    int before = 0, alike = 0;  // the list of the row before, where that has the same word
    if (i > 0 && words[i - 1] == word) {
        before = starts[i - 1];
        alike = first - before;
    }
    long long to = write ? at[i] : 0;
    for (int k = 0; k < stop - first; ++k) {
        const int code = codes[first + k];
        if (k < alike && codes[before + k] == code) continue;
        if (write) out[to] = word | parts[code];
        ++to;
    }
    if (!write) at[i + 1] = to;
}
