// Twin of word_mix.py; the meaning, units and errors are documented there.
// One thread per word.

extern "C" __global__ void word_mix(unsigned long long* words, long long n) {
    const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    unsigned long long x = words[i];
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ULL;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBULL;
    words[i] = x ^ (x >> 31);
}
