/* Calls that change files below one folder, numbered, told, and made to fail: loaded before the C library.

   One process, one trial: `fault_watch(folder, told)` begins to tell, `fault_arm(operation, patterns, at, code, mode)`
   says which call fails and how: the one with number `at` of those of that operation whose path below the folder fits
   one of the patterns, which `|` parts. A call is told as "operation path" in one line to the descriptor `told`. Not seen:
   memory that is mapped, as SQLite's shared index is; a call that libraries make without the C library. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

enum { ONCE = 1, FROM_THEN_ON = 2, KILLED_BEFORE = 3, KILLED_AFTER = 4 };

static char watched[PATH_MAX];
static size_t watched_length;
static int told = -1;
static char armed_operation[32], armed_patterns[512];
static long number, armed_at;
static int armed_code, armed_mode, reached;

void fault_watch(const char *folder, int descriptor) {
    watched_length = (size_t)snprintf(watched, sizeof watched, "%s/", folder);
    told = descriptor;
}

void fault_arm(const char *operation, const char *patterns, long at, int code, int mode) {
    snprintf(armed_operation, sizeof armed_operation, "%s", operation);
    snprintf(armed_patterns, sizeof armed_patterns, "%s", patterns);
    armed_at = at;
    armed_code = code;
    armed_mode = mode;
}

static void die(void) {
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

static int fits(const char *operation, const char *path) {
    char patterns[sizeof armed_patterns], *rest = patterns, *pattern;
    if (strcmp(operation, armed_operation) != 0) return 0;
    memcpy(patterns, armed_patterns, sizeof patterns);
    while ((pattern = strsep(&rest, "|")) != NULL)
        if (fnmatch(pattern, path, 0) == 0) return 1;
    return 0;
}

/* What becomes of a call on `path`: 0 nothing, 1 the process is killed after it, -1 it fails. */
static int begin(const char *operation, const char *path, int takes_room) {
    if (watched_length == 0 || path == NULL || strncmp(path, watched, watched_length) != 0) return 0;
    path += watched_length;
    int before = errno;
    char line[PATH_MAX + 64];
    int length = snprintf(line, sizeof line, "%s %s\n", operation, path);
    if (syscall(SYS_write, told, line, (size_t)length) < 0) die();
    errno = before;
    if (armed_mode == 0) return 0;
    int now = fits(operation, path) && __atomic_add_fetch(&number, 1, __ATOMIC_SEQ_CST) == armed_at;
    if (now) reached = 1;
    if (armed_mode == KILLED_BEFORE && now) die();
    if (armed_mode == KILLED_AFTER) return now;
    return now || (armed_mode == FROM_THEN_ON && reached && takes_room) ? -1 : 0;
}

static void end(int now) {
    if (now > 0) die();
}

static const char *name_of(int descriptor, char *buffer) {
    char link[64];
    int before = errno;
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, buffer, PATH_MAX - 1);
    errno = before;
    if (length < 0) return NULL;
    buffer[length] = 0;
    return buffer;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

#define FAULTY(type, operation, path, room, call)   \
    do {                                            \
        int now = begin(operation, path, room);     \
        if (now < 0) {                              \
            errno = armed_code;                     \
            return (type)-1;                        \
        }                                           \
        type result = call;                         \
        end(now);                                   \
        return result;                              \
    } while (0)

#define ON_DESCRIPTOR(type, operation, descriptor, room, call)                       \
    do {                                                                             \
        if (watched_length == 0) return call;                                        \
        char buffer[PATH_MAX];                                                       \
        FAULTY(type, operation, name_of(descriptor, buffer), room, call);            \
    } while (0)

ssize_t write(int fd, const void *data, size_t size) {
    static __typeof__(&write) real;
    if (!real) real = REAL(write);
    ON_DESCRIPTOR(ssize_t, "write", fd, 1, real(fd, data, size));
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at) {
    static __typeof__(&pwrite) real;
    if (!real) real = REAL(pwrite);
    ON_DESCRIPTOR(ssize_t, "write", fd, 1, real(fd, data, size, at));
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) {
    static __typeof__(&pwrite64) real;
    if (!real) real = REAL(pwrite64);
    ON_DESCRIPTOR(ssize_t, "write", fd, 1, real(fd, data, size, at));
}

int fsync(int fd) {
    static __typeof__(&fsync) real;
    if (!real) real = REAL(fsync);
    ON_DESCRIPTOR(int, "fsync", fd, 0, real(fd));
}

int fdatasync(int fd) {
    static __typeof__(&fdatasync) real;
    if (!real) real = REAL(fdatasync);
    ON_DESCRIPTOR(int, "fsync", fd, 0, real(fd));
}

int ftruncate(int fd, off_t size) {
    static __typeof__(&ftruncate) real;
    if (!real) real = REAL(ftruncate);
    ON_DESCRIPTOR(int, "truncate", fd, 0, real(fd, size));
}

int ftruncate64(int fd, off64_t size) {
    static __typeof__(&ftruncate64) real;
    if (!real) real = REAL(ftruncate64);
    ON_DESCRIPTOR(int, "truncate", fd, 0, real(fd, size));
}

int rename(const char *from, const char *to) {
    static __typeof__(&rename) real;
    if (!real) real = REAL(rename);
    FAULTY(int, "rename", to, 0, real(from, to));
}

int link(const char *from, const char *to) {
    static __typeof__(&link) real;
    if (!real) real = REAL(link);
    FAULTY(int, "link", to, 1, real(from, to));
}

int unlink(const char *path) {
    static __typeof__(&unlink) real;
    if (!real) real = REAL(unlink);
    FAULTY(int, "unlink", path, 0, real(path));
}

int rmdir(const char *path) {
    static __typeof__(&rmdir) real;
    if (!real) real = REAL(rmdir);
    FAULTY(int, "rmdir", path, 0, real(path));
}

int mkdir(const char *path, mode_t mode) {
    static __typeof__(&mkdir) real;
    if (!real) real = REAL(mkdir);
    FAULTY(int, "mkdir", path, 1, real(path, mode));
}

/* Of the calls that open a file, those that make or empty one. */
static int opened(const char *path, int flags) {
    if (!(flags & (O_CREAT | O_TRUNC)) || watched_length == 0) return 0;
    struct stat facts;
    int before = errno, missing = stat(path, &facts) != 0;
    errno = before;
    return missing || (flags & (O_TRUNC | O_EXCL));
}

#define OPENING(name)                                                               \
    int name(const char *path, int flags, ...) {                                    \
        static int (*real)(const char *, int, ...);                                 \
        if (!real) real = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, #name); \
        mode_t mode = 0;                                                            \
        if (flags & (O_CREAT | O_TMPFILE)) {                                        \
            va_list rest;                                                           \
            va_start(rest, flags);                                                  \
            mode = va_arg(rest, mode_t);                                            \
            va_end(rest);                                                           \
        }                                                                           \
        if (!opened(path, flags)) return real(path, flags, mode);                   \
        FAULTY(int, "create", path, 1, real(path, flags, mode));                    \
    }

OPENING(open)
OPENING(open64)

int openat(int folder, const char *path, int flags, ...) {
    static int (*real)(int, const char *, int, ...);
    if (!real) real = (int (*)(int, const char *, int, ...))dlsym(RTLD_NEXT, "openat");
    mode_t mode = 0;
    if (flags & (O_CREAT | O_TMPFILE)) {
        va_list rest;
        va_start(rest, flags);
        mode = va_arg(rest, mode_t);
        va_end(rest);
    }
    if (!opened(path, flags)) return real(folder, path, flags, mode);
    FAULTY(int, "create", path, 1, real(folder, path, flags, mode));
}
