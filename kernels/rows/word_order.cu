// Twin of word_order.py; the meaning, units and errors are documented there.
// One thread per chunk of rows, one digit of eight bits a launch pair: first how often each digit
// stands in the chunk, then, with the places where those begin, the rows move. `places` is laid out
// by digit, then chunk, so that rows keep their order.

extern "C" __global__ void word_order(
    const unsigned long long* words, const long long* order, int shift, int chunk, long long n,
    long long* places, int scatter, unsigned long long* sorted_words, long long* sorted_order) {
    const long long mine = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    const long long chunks = (n + chunk - 1) / chunk;
    if (mine >= chunks) return;
    const long long stop = (mine + 1) * chunk < n ? (mine + 1) * chunk : n;
    for (long long i = mine * chunk; i < stop; ++i) {
        const long long digit = (long long)((words[i] >> shift) & 255ULL);
        const long long place = places[digit * chunks + mine]++;
        if (!scatter) continue;
        sorted_words[place] = words[i];
        sorted_order[place] = order[i];
    }
}
