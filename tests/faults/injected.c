// What of the file system fails, and when: loaded before libc by LD_PRELOAD, armed by `fault_arm`.
//
// Counts calls that write below a folder (open to write, mkdir, write, sync, rename, link) and lets
// the at-th of them fail with an error of the system, that one alone or all from there, or kills the
// process in its place. Calls that only read or remove are let be.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum { MOST = 1 << 16 };
static char below[1024];
static size_t below_n;
static long at = -1, counted;
static int number, stays;
static char kinds[MOST + 1];

void fault_arm(const char *folder, long fails_at, int error, int from_there) {
    counted = 0;
    memset(kinds, 0, sizeof kinds);
    at = fails_at, number = error, stays = from_there;
    below_n = strlen(folder);
    memcpy(below, folder, below_n);
}
void fault_off(void) { below_n = 0; }
const char *fault_kinds(void) { return kinds; }

static int fails(char kind) {
    long n = __sync_fetch_and_add(&counted, 1);
    if (n < MOST) kinds[n] = kind;
    if (at < 0 || !(n == at || (stays && n > at))) return 0;
    if (number < 0) kill(getpid(), -number);
    errno = number;
    return 1;
}
static int path_counts(int folder, const char *path) {
    if (!below_n || !path) return 0;
    if (path[0] != '/') return folder != AT_FDCWD;  // relative to a folder of ours; or to the cwd, not ours
    return strncmp(path, below, below_n) == 0;
}
static int file_counts(int handle) {
    if (!below_n) return 0;
    char link[64], path[1024];
    snprintf(link, sizeof link, "/proc/self/fd/%d", handle);
    ssize_t n = readlink(link, path, sizeof path - 1);
    return n >= (ssize_t)below_n && strncmp(path, below, below_n) == 0;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define OF_FILE(type, name, kind, given, passed)                 \
    type name given {                                            \
        if (file_counts(handle) && fails(kind)) return -1;       \
        return REAL(name) passed;                                \
    }
OF_FILE(ssize_t, write, 'w', (int handle, const void *b, size_t n), (handle, b, n))
OF_FILE(ssize_t, writev, 'w', (int handle, const struct iovec *v, int n), (handle, v, n))
OF_FILE(ssize_t, pwrite, 'w', (int handle, const void *b, size_t n, off_t o), (handle, b, n, o))
OF_FILE(ssize_t, pwrite64, 'w', (int handle, const void *b, size_t n, off64_t o), (handle, b, n, o))
OF_FILE(int, fsync, 's', (int handle), (handle))
OF_FILE(int, fdatasync, 'd', (int handle), (handle))

#define OF_PATH(name, kind, folder, path, given, passed)         \
    int name given {                                             \
        if (path_counts(folder, path) && fails(kind)) return -1; \
        return REAL(name) passed;                                \
    }
OF_PATH(rename, 'r', AT_FDCWD, b, (const char *a, const char *b), (a, b))
OF_PATH(renameat, 'r', g, b, (int f, const char *a, int g, const char *b), (f, a, g, b))
OF_PATH(renameat2, 'x', g, b, (int f, const char *a, int g, const char *b, unsigned k), (f, a, g, b, k))
OF_PATH(link, 'l', AT_FDCWD, b, (const char *a, const char *b), (a, b))
OF_PATH(linkat, 'l', g, b, (int f, const char *a, int g, const char *b, int k), (f, a, g, b, k))
OF_PATH(mkdir, 'm', AT_FDCWD, p, (const char *p, mode_t m), (p, m))
OF_PATH(mkdirat, 'm', f, p, (int f, const char *p, mode_t m), (f, p, m))

#define OPENS(name, folder, given, passed)                                                     \
    int name given {                                                                           \
        mode_t mode = 0;                                                                       \
        if (flags & (O_CREAT | O_TMPFILE)) {                                                   \
            va_list more;                                                                      \
            va_start(more, flags);                                                             \
            mode = va_arg(more, mode_t);                                                       \
            va_end(more);                                                                      \
        }                                                                                      \
        if ((flags & (O_WRONLY | O_RDWR | O_CREAT)) && path_counts(folder, path) && fails('o')) \
            return -1;                                                                         \
        return REAL(name) passed;                                                              \
    }
OPENS(open, AT_FDCWD, (const char *path, int flags, ...), (path, flags, mode))
OPENS(open64, AT_FDCWD, (const char *path, int flags, ...), (path, flags, mode))
OPENS(openat, f, (int f, const char *path, int flags, ...), (f, path, flags, mode))
OPENS(openat64, f, (int f, const char *path, int flags, ...), (f, path, flags, mode))
