// Twin of least_words.py; the meaning, units and errors are documented there.
// One thread per word, words in order: marks the first of each kind.

extern "C" __global__ void least_words(
    const unsigned long long* words, int shift, long long n, bool* first) {
    const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    first[i] = i == 0 || words[i] >> shift != words[i - 1] >> shift;
}
