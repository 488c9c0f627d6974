/* Loaded before the C library: counts the calls that change files under one folder, and makes the
 * n-th of them fail as on a full disk, or end the process. Everything that writes goes through here,
 * Python's own files as well as those of SQLite and HDF5. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { NOTHING, FAIL, FAIL_FROM_HERE, KILL };

/* Shared with the process that forked this one, which reads the count afterwards. */
struct control {
    long count, at;
    int action;
    char folder[4096];
};

static struct control *control;

__attribute__((constructor)) static void begin(void) {
    control = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
}

void faults_arm(const char *folder, long at, int action) {
    snprintf(control->folder, sizeof control->folder, "%s", folder);
    control->count = 0;
    control->at = at;
    control->action = action;
}

long faults_count(void) { return control->count; }

static int ours(const char *path) {
    size_t length = strlen(control->folder);
    if (!length) return 0;
    if (path[0] == '/') return !strncmp(path, control->folder, length);
    char where[4096];
    return getcwd(where, sizeof where) && !strncmp(where, control->folder, length);
}

static int ours_fd(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0) return 0;
    path[length] = 0;
    return ours(path);
}

/* Whether this call is to fail. */
static int strike(void) {
    long number = __sync_add_and_fetch(&control->count, 1);
    if (control->action == FAIL_FROM_HERE ? number < control->at : number != control->at) return 0;
    if (control->action == KILL) kill(getpid(), SIGKILL);
    if (control->action == NOTHING) return 0;
    errno = ENOSPC;
    return 1;
}

#define REAL(type, name, ...) \
    static type (*real)(__VA_ARGS__); \
    if (!real) real = (type (*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

#define COUNTED(type, name, parameters, arguments, concerns_us) \
    type name parameters { \
        static type(*real) parameters; \
        if (!real) real = (type(*) parameters)dlsym(RTLD_NEXT, #name); \
        if (concerns_us && strike()) return -1; \
        return real arguments; \
    }
#define BY_FD(type, name, parameters, arguments) \
    COUNTED(type, name, parameters, arguments, ours_fd(fd))
#define BY_PATH(type, name, parameters, arguments) \
    COUNTED(type, name, parameters, arguments, ours(path))

BY_FD(ssize_t, write, (int fd, const void *data, size_t size), (fd, data, size))
BY_FD(ssize_t, writev, (int fd, const struct iovec *parts, int count), (fd, parts, count))
BY_FD(ssize_t, pwrite, (int fd, const void *data, size_t size, off_t at), (fd, data, size, at))
BY_FD(ssize_t, pwrite64, (int fd, const void *data, size_t size, off64_t at), (fd, data, size, at))
BY_FD(int, fsync, (int fd), (fd))
BY_FD(int, fdatasync, (int fd), (fd))
BY_FD(int, ftruncate, (int fd, off_t size), (fd, size))
BY_FD(int, ftruncate64, (int fd, off64_t size), (fd, size))
BY_PATH(int, rename, (const char *path, const char *to), (path, to))
BY_PATH(int, mkdir, (const char *path, mode_t mode), (path, mode))
BY_PATH(int, unlink, (const char *path), (path))
BY_PATH(int, rmdir, (const char *path), (path))
BY_PATH(int, truncate, (const char *path, off_t size), (path, size))

int symlink(const char *target, const char *path) {
    REAL(int, "symlink", const char *, const char *);
    if (ours(path) && strike()) return -1;
    return real(target, path);
}

/* Python removes folders relative to an open one. */
int unlinkat(int fd, const char *path, int flags) {
    REAL(int, "unlinkat", int, const char *, int);
    if ((path[0] == '/' || fd == AT_FDCWD ? ours(path) : ours_fd(fd)) && strike()) return -1;
    return real(fd, path, flags);
}

static mode_t mode_of(int flags, va_list rest) {
    return flags & O_CREAT ? (mode_t)va_arg(rest, int) : 0;
}

#define OPEN(name) \
    int name(const char *path, int flags, ...) { \
        REAL(int, #name, const char *, int, ...); \
        va_list rest; \
        va_start(rest, flags); \
        mode_t mode = mode_of(flags, rest); \
        va_end(rest); \
        if (flags & O_CREAT && ours(path) && strike()) return -1; \
        return real(path, flags, mode); \
    }

OPEN(open)
OPEN(open64)
