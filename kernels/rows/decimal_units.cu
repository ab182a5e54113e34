// Twin of decimal_units.py; the meaning, units and errors are documented there.
// One thread per decimal.

extern "C" __global__ void decimal_units(
    const long long* words, const unsigned char* valid, int has_blanks, long long first,
    long long limit, long long n, long long* units, bool* blank, bool* beyond) {
    const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    const long long bit = first + i;
    const bool stated = !has_blanks || (valid[bit >> 3] >> (bit & 7) & 1);
    const long long low = stated ? words[2 * i] : 0, high = stated ? words[2 * i + 1] : 0;
    units[i] = low;
    blank[i] = !stated;
    beyond[i] = high != low >> 63 || low > limit || low < -limit;
}
