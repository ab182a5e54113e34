// Twin of word_pack.py; the meaning, units and errors are documented there.
// One thread per word; `width` is the size of a value in bytes, below zero where it has a sign.

extern "C" __global__ void word_pack(
    unsigned long long* words, const void* values, int width, unsigned long long least, int shift,
    long long n) {
    const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    unsigned long long value;
    switch (width) {
        case 1: value = ((const unsigned char*)values)[i]; break;
        case -1: value = ((const signed char*)values)[i]; break;
        case 2: value = ((const unsigned short*)values)[i]; break;
        case -2: value = ((const short*)values)[i]; break;
        case 4: value = ((const unsigned int*)values)[i]; break;
        case -4: value = ((const int*)values)[i]; break;
        default: value = ((const unsigned long long*)values)[i];
    }
    words[i] |= (value - least) << shift;
}
