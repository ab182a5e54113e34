// Twin of history_fates.py; the meaning, units and errors are documented there.
// One thread per family, which is short; scratch has the family's own place in arrays of all rows.

enum { PLAIN = 0, REPLACES = 1, VOID = 2, NEGATIVE = 3 };
enum { STANDS = 0, VOIDED = 1, SUPERSEDED = 2, ORPHAN_VOID = 3, MOVED = 4 };

struct Family {
    const long long* when;
    const unsigned char* phase;
    const int* claim;
    const unsigned long long* line;
    const long long* cents;
    const int* own;
    const int* other;
    unsigned char* fate;
    int* batch;
    int* size;
    bool* layered;
    int* version;
    int* of_claim;
    int* partner;
    long long* sums;  // by version, then by batch
    int* counts;
    int* lasts;
    int n;
    int n_claims;
};

__device__ int group_end(const Family& f, int r) {
    int e = r + 1;
    while (e < f.n && f.when[e] == f.when[r] && f.phase[e] == f.phase[r] &&
           f.claim[e] == f.claim[r])
        ++e;
    return e;
}

__device__ bool is_named(const Family& f, int c, int head, int end) {
    if (f.claim[head] == c) return true;
    for (int r = head; r < end; ++r) {
        if (f.batch[r] == head && (f.own[r] == c || f.other[r] == c)) return true;
    }
    return false;
}

__device__ bool answers(const Family& f, int r, int q) {
    if (f.line[q] != f.line[r]) return false;
    if (f.claim[q] != f.claim[r] && f.own[r] != f.claim[q] && f.other[r] != f.claim[q])
        return false;
    const long long x = f.cents[r];
    return f.cents[q] == (f.phase[r] == VOID ? (x < 0 ? -x : x) : -x);
}

__device__ bool is_open(const Family& f, int q, long long now) {
    return f.fate[q] == STANDS && (f.version[q] >= 0 || f.when[q] == now);
}

__device__ void mark(const Family& f, int head, int end, unsigned char value) {
    for (int r = head; r < end; ++r) {
        if (f.batch[r] == head) f.fate[r] = value;
    }
}

__device__ long long amount_of(const Family& f, int head, int end) {
    long long amount = 0;
    for (int r = head; r < end; ++r) {
        if (f.batch[r] == head) amount += f.cents[r];
    }
    return amount < 0 ? -amount : amount;
}

__device__ bool cancel_by_amount(const Family& f, int head, int end, int known, long long now,
                                 bool superseded) {
    const long long amount = amount_of(f, head, end);
    if (amount == 0) return false;
    for (int q = 0; q < 2 * f.n; ++q) {
        f.counts[q] = 0;
        f.sums[q] = 0;
    }
    for (int q = 0; q < known; ++q) {
        if (!(superseded ? f.fate[q] == SUPERSEDED : is_open(f, q, now))) continue;
        if (f.version[q] >= 0 && !superseded) {
            const int v = f.version[q];
            f.sums[v] += f.cents[q];
            f.counts[v] += 1;
            f.lasts[v] = q;
        }
        const int h = f.n + f.batch[q];
        f.sums[h] += f.cents[q];
        f.counts[h] += 1;
        f.lasts[h] = q;
    }
    int best_level = -1, best_at = -1, best_last = -1;
    bool best_named = false, best_whole = false, best_before = false;
    for (int level = 0; level < 2; ++level) {
        for (int at = 0; at < known; ++at) {
            const int k = level * f.n + at;
            if (f.counts[k] == 0 || f.sums[k] != amount) continue;
            bool whole = level == 0;
            const int last = f.lasts[k];
            if (level == 1) {
                if (!superseded && f.version[last] < 0) {
                    whole = true;
                } else if (f.counts[k] != f.size[at]) {
                    continue;
                }
            }
            const bool named = is_named(f, f.claim[last], head, end);
            const bool before = f.when[last] < now;
            if (best_at >= 0) {
                bool better;
                if (named != best_named) {
                    better = named;
                } else if (whole != best_whole) {
                    better = whole;
                } else if (before != best_before) {
                    better = before;
                } else {
                    better = last > best_last;
                }
                if (!better) continue;
            }
            best_level = level;
            best_at = at;
            best_last = last;
            best_named = named;
            best_whole = whole;
            best_before = before;
        }
    }
    if (best_at < 0) return false;
    const unsigned char taken = superseded ? SUPERSEDED : STANDS;
    for (int q = 0; q < known; ++q) {
        const bool mine = best_level == 0 ? f.version[q] == best_at : f.batch[q] == best_at;
        if (mine && f.fate[q] == taken) f.fate[q] = VOIDED;
    }
    mark(f, head, end, VOIDED);
    return true;
}

__device__ bool cancel_latest(const Family& f, int head, int end, bool any_claim, int known) {
    for (int q = 0; q < known; ++q) f.lasts[q] = -1;
    for (int q = 0; q < known; ++q) {
        if (f.fate[q] == STANDS && f.version[q] >= 0) f.lasts[f.version[q]] = q;
    }
    int best = -1;
    for (int c = 0; c < f.n_claims; ++c) {
        const int v = f.of_claim[c];
        if (v < 0 || f.lasts[v] < 0) continue;
        if (!any_claim && !is_named(f, c, head, end)) continue;
        if (best < 0 || f.lasts[v] > f.lasts[best]) best = v;
    }
    if (best < 0) return false;
    for (int q = 0; q < known; ++q) {
        if (f.version[q] == best && f.fate[q] == STANDS) f.fate[q] = VOIDED;
    }
    mark(f, head, end, VOIDED);
    return true;
}

__device__ bool line_by_line(const Family& f, int head, int end, int known, long long now) {
    bool complete = true;
    for (int r = head; r < end; ++r) {
        if (f.batch[r] != head) continue;
        f.partner[r] = -1;
        for (int q = known - 1; q >= 0; --q) {
            if (!is_open(f, q, now) || !(f.layered[r] || f.layered[q]) || !answers(f, r, q))
                continue;
            f.partner[r] = q;
            f.fate[q] = VOIDED;
            break;
        }
        if (f.partner[r] < 0) complete = false;
    }
    for (int r = head; r < end; ++r) {
        if (f.batch[r] != head) continue;
        if (complete) {
            f.fate[r] = VOIDED;
        } else if (f.partner[r] >= 0) {
            f.fate[f.partner[r]] = STANDS;
        }
    }
    return complete;
}

__device__ void lay_batches(const Family& f) {
    for (int r = 0; r < f.n;) {
        const int end = group_end(f, r);
        int n_layers = 0, layer = 0;
        for (int q = r; q < end; ++q) {
            layer = q > r && f.line[q] == f.line[q - 1] ? layer + 1 : 0;
            if (layer == n_layers) f.partner[n_layers++] = q;
            f.batch[q] = f.partner[layer];
            f.size[f.partner[layer]] += 1;
        }
        for (int q = r; q < end; ++q) f.layered[q] = n_layers > 1;
        r = end;
    }
}

__device__ void reverse_rows(const Family& f, int head, int end, int known, long long now) {
    for (int r = head; r < end; ++r) {
        if (f.batch[r] != head) continue;
        int best = -1;
        bool best_own = false, best_before = false;
        for (int q = 0; q < known; ++q) {
            if (!is_open(f, q, now) || !answers(f, r, q)) continue;
            const bool own = f.claim[q] == f.claim[r], before = f.when[q] < now;
            if (best >= 0) {
                if (own != best_own) {
                    if (best_own) continue;
                } else if (before != best_before && best_before) {
                    continue;
                }
            }
            best = q;
            best_own = own;
            best_before = before;
        }
        if (best >= 0) f.fate[r] = f.fate[best] = VOIDED;
    }
}

__device__ void enter_plain(const Family& f, int from, int to, int additional) {
    for (int r = from; r < to; ++r) {
        if (f.fate[r] != STANDS) continue;
        for (int q = 0; q < from && !additional; ++q) {
            if (f.claim[q] == f.claim[r] && f.line[q] == f.line[r] && f.fate[q] == STANDS &&
                f.version[q] >= 0)
                f.fate[q] = SUPERSEDED;
        }
        if (f.of_claim[f.claim[r]] < 0) f.of_claim[f.claim[r]] = r;
        f.version[r] = f.of_claim[f.claim[r]];
    }
}

__device__ void replace(const Family& f, int from, int to) {
    bool any = false;
    for (int r = from; r < to; ++r) any |= f.fate[r] == STANDS;
    if (!any) return;
    for (int q = 0; q < from; ++q) {
        if (f.version[q] >= 0 && f.fate[q] == STANDS) f.fate[q] = SUPERSEDED;
    }
    for (int c = 0; c < f.n_claims; ++c) f.of_claim[c] = -1;
    for (int r = from; r < to; ++r) f.partner[r] = f.fate[r];
    for (int r = from; r < to; ++r) {
        if (f.partner[r] != STANDS) continue;
        for (int q = from; q < to; ++q) {
            if (f.partner[q] != STANDS) continue;
            const int c = f.claim[r], d = f.claim[q];
            const bool names = d == c || f.own[q] == c || f.other[q] == c;
            const bool named = d == c || f.own[r] == d || f.other[r] == d;
            if (names && !named) {
                f.fate[r] = SUPERSEDED;
                break;
            }
        }
    }
    for (int r = from; r < to; ++r) {
        if (f.partner[r] != STANDS) continue;
        f.version[r] = f.batch[r];
        if (f.fate[r] == STANDS) f.of_claim[f.claim[r]] = f.batch[r];
    }
}

__device__ void left_over(const Family& f, int first, int known, int from, int to) {
    for (int r = from; r < to; ++r) {
        if (f.fate[r] != STANDS) continue;
        int best = -1;
        for (int q = 0; q < known; ++q) {
            if (f.fate[q] == SUPERSEDED && answers(f, r, q)) best = q;
        }
        if (best >= 0) {
            f.fate[r] = f.fate[best] = VOIDED;
            continue;
        }
        int beside = -1;
        bool free = true;
        for (int q = first; q < known; ++q) {
            if (f.claim[q] != f.claim[r]) continue;
            if (f.line[q] == f.line[r]) free = false;
            if (f.fate[q] == STANDS) beside = q;
        }
        if (beside >= 0 && free) {
            f.version[r] = f.version[beside];
        } else {
            f.fate[r] = MOVED;
        }
    }
}

__device__ int phase_end(const Family& f, int r, long long now, int phase) {
    while (r < f.n && f.when[r] == now && f.phase[r] == phase) ++r;
    return r;
}

extern "C" __global__ void history_fates(
    const long long* when, const unsigned char* phase, const int* claim,
    const unsigned long long* line, const long long* cents, const int* own, const int* other,
    const long long* offsets, int additional, long long n_families, int* batch, int* size,
    bool* layered, int* version, int* of_claim, int* partner, long long* sums, int* counts,
    int* lasts, unsigned char* fate) {
    const long long k = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (k >= n_families) return;
    const long long a = offsets[k];
    Family f = {when + a,    phase + a, claim + a,    line + a,     cents + a,
                own + a,     other + a, fate + a,     batch + a,    size + a,
                layered + a, version + a, of_claim + a, partner + a, sums + 2 * a,
                counts + 2 * a, lasts + 2 * a, (int)(offsets[k + 1] - a), 0};
    for (int r = 0; r < f.n; ++r) {
        f.fate[r] = STANDS;
        f.version[r] = f.of_claim[r] = -1;
        f.size[r] = 0;
        if (f.claim[r] >= f.n_claims) f.n_claims = f.claim[r] + 1;
    }
    lay_batches(f);
    for (int i = 0; i < f.n;) {
        const long long now = f.when[i];
        const int p1 = phase_end(f, i, now, PLAIN);
        const int p2 = phase_end(f, p1, now, REPLACES);
        const int p3 = phase_end(f, p2, now, VOID);
        const int p4 = phase_end(f, p3, now, NEGATIVE);
        for (int h = p2; h < p4; ++h) {
            if (f.batch[h] != h) continue;
            const int end = group_end(f, h);
            if (!cancel_by_amount(f, h, end, p2, now, false) && f.phase[h] == NEGATIVE)
                reverse_rows(f, h, end, p2, now);
        }
        for (int h = p2; h < p3; ++h) {
            if (f.batch[h] != h || f.fate[h] != STANDS) continue;
            const int end = group_end(f, h);
            if (line_by_line(f, h, end, p2, now)) continue;
            if (cancel_by_amount(f, h, end, p2, now, true)) continue;
            if (cancel_latest(f, h, end, false, p2)) continue;
            if (amount_of(f, h, end) == 0 || (f.size[h] == 1 && f.line[h] == 0))
                cancel_latest(f, h, end, true, p2);
        }
        enter_plain(f, i, p1, additional);
        for (int h = p2; h < p3; ++h) {
            if (f.batch[h] != h || f.fate[h] != STANDS) continue;
            const int end = group_end(f, h);
            if (!cancel_latest(f, h, end, false, p2)) mark(f, h, end, ORPHAN_VOID);
        }
        replace(f, p1, p2);
        left_over(f, i, p2, p3, p4);
        i = p4;
        while (i < f.n && f.when[i] == now) ++i;
    }
}
