// Twin of risk_score.py; the meaning, units and errors are documented there.
// One thread per member; the member's bits are worked on in place in `terms`.

typedef unsigned long long word_t;

enum { PATCH, HIER, EXCLUDE, GROUP, AND, RANK, CROSS, COUNT, DURATION, CELL };

__device__ static int count_bits(word_t word) {
    int count = 0;
    for (; word; word &= word - 1) ++count;
    return count;
}

__device__ static bool any_bit(const word_t* bits, const word_t* masks, int k, int n_words) {
    for (int w = 0; w < n_words; ++w)
        if (bits[w] & masks[(long long)k * n_words + w]) return true;
    return false;
}

__device__ static void clear_bits(word_t* bits, const word_t* masks, int k, int n_words) {
    for (int w = 0; w < n_words; ++w) bits[w] &= ~masks[(long long)k * n_words + w];
}

__device__ static int first_set(const word_t* bits, const int* list, int count) {
    for (int i = 0; i < count; ++i)
        if (bits[list[i] >> 6] >> (list[i] & 63) & 1) return i;
    return -1;
}

__device__ static void hierarchy(word_t* bits, const word_t* before, const word_t* parents,
                                 const word_t* children, int n_input, bool simultaneous) {
    for (int bit = 0; bit < 64 * n_input; ++bit) {
        word_t one = (word_t)1 << (bit & 63);
        if (!(parents[bit >> 6] & one)) continue;
        if (!((simultaneous ? before : bits)[bit >> 6] & one)) continue;
        for (int v = 0; v < n_input; ++v) bits[v] &= ~children[(long long)bit * n_input + v];
    }
}

#define MOST_WORDS 16

extern "C" __global__ void risk_score(
    const word_t* words, const short* age, const unsigned char* sex, const unsigned char* months,
    const unsigned char* segment, const int* row, const int* flags, const int* steps,
    const word_t* masks, const word_t* children, const int* table,
    const long long* coefficients_micro, long long n_members, int n_input, int n_words,
    int n_steps, long long* score_micro, word_t* terms) {
    long long m = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (m >= n_members) return;
    word_t* bits = terms + m * n_words;
    for (int w = 0; w < n_words; ++w) bits[w] = w < n_input ? words[m * n_input + w] : 0;
    for (int s = 0; s < n_steps; ++s) {
        const int* step = steps + 11LL * s;
        int a = step[4], b = step[5], x = step[8], y = step[9], z = step[10], put = -1;
        if (!(step[1] >> segment[m] & 1) || (step[2] & flags[m]) != step[2]) continue;
        switch (step[0]) {
        case PATCH:
            if (!any_bit(bits, masks, b, n_words)) clear_bits(bits, masks, a, n_words);
            break;
        case HIER: {
            word_t before[MOST_WORDS];
            for (int w = 0; w < n_input; ++w) before[w] = bits[w];
            hierarchy(bits, before, masks + (long long)a * n_words, children, n_input, x != 0);
            break;
        }
        case EXCLUDE:
            clear_bits(bits, masks, a, n_words);
            break;
        case GROUP:
            if (any_bit(bits, masks, a, n_words)) {
                if (x != 0) clear_bits(bits, masks, a, n_words);
                put = step[3];
            }
            break;
        case AND: {
            bool all = true;
            for (int k = 4; k < 8; ++k)
                if (step[k] >= 0 && !any_bit(bits, masks, step[k], n_words)) all = false;
            if (all) put = step[3];
            break;
        }
        case RANK:
            if (a < 0 || any_bit(bits, masks, a, n_words)) {
                put = z;
                for (int i = 0; i < y; ++i)
                    if (any_bit(bits, masks, table[x + 2 * i], n_words)) {
                        put = table[x + 2 * i + 1];
                        break;
                    }
            }
            break;
        case CROSS: {
            int n1 = table[x], n2 = table[x + 1];
            int i = first_set(bits, table + x + 2, n1);
            int j = first_set(bits, table + x + 2 + n1, n2);
            if (i >= 0 && j >= 0) put = table[x + 2 + n1 + n2 + i * n2 + j];
            break;
        }
        case COUNT:
            if (b < 0 || any_bit(bits, masks, b, n_words)) {
                int count = 0;
                for (int w = 0; w < n_words; ++w)
                    count += count_bits(bits[w] & masks[(long long)a * n_words + w]);
                put = table[x + (count < y - 1 ? count : y - 1)];
            }
            break;
        case DURATION:
            if (b < 0 || any_bit(bits, masks, b, n_words))
                put = table[x + (months[m] < y - 1 ? months[m] : y - 1)];
            break;
        case CELL:
            if (age[m] >= 0 && age[m] < 128) {
                int variant = flags[m] >> y & ((1 << z) - 1);
                put = table[x + (variant * 3 + sex[m]) * 128 + age[m]];
            }
            break;
        }
        if (put >= 0) bits[put >> 6] |= (word_t)1 << (put & 63);
    }
    long long total = 0;
    const long long* coefficient = coefficients_micro + 64LL * n_words * row[m];
    for (int w = 0; w < n_words; ++w)
        for (int k = 0; k < 64; ++k)
            if (bits[w] >> k & 1) total += coefficient[64 * w + k];
    score_micro[m] = total;
}
