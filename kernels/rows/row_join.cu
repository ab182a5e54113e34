// Twin of row_join.py; the meaning, units and errors are documented there.
// One block per piece, its threads going through the rows; `width` is the size of a value in bytes.

extern "C" __global__ void row_join(
    const unsigned char* stored, const long long* at, const signed char* kind,
    const long long* base, const long long* ends, const unsigned char* values, int width,
    unsigned char* out) {
    const int p = blockIdx.x;
    const long long first = p ? ends[p - 1] : 0;
    const unsigned char* numbers = stored + at[p];
    for (long long j = threadIdx.x; first + j < ends[p]; j += blockDim.x) {
        long long number = 0;
        switch (kind[p]) {
            case 1: number = numbers[j]; break;
            case 2: number = ((const unsigned short*)numbers)[j]; break;
            case -2: number = ((const short*)numbers)[j]; break;
            case -4: number = ((const int*)numbers)[j]; break;
            case 8: number = ((const long long*)numbers)[j]; break;
        }
        unsigned char* row = out + (first + j) * width;
        if (base[p] >= 0) {
            const unsigned char* value = values + (base[p] + number) * width;
            for (int b = 0; b < width; ++b) row[b] = value[b];
        } else {
            for (int b = 0; b < width; ++b) row[b] = (unsigned char)(number >> (8 * b));
        }
    }
}
