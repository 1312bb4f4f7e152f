/*
 * Put before a process by LD_PRELOAD: makes its disk fail and its clock jump, as files in a folder say.
 *
 * $SHIM_CONTROL/disk: lines "ERRNO PREFIX"; while it is there, whatever makes, writes, lengthens or syncs a file whose
 * path begins with PREFIX fails with ERRNO. With EROFS nothing can be opened for writing, renamed or removed either.
 * $SHIM_CONTROL/reads: lines "ERRNO BYTE PREFIX"; reading such a file fails with ERRNO from that byte on.
 * $SHIM_CONTROL/clock: seconds by which the wall clock is off. The monotonic clock goes on as ever.
 *
 * The files are read with bare system calls at each call, so that nothing of the C library is entered twice.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define NEXT(type, name, ...) (((type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)))

/* --- what the control files say ---------------------------------------------------------------------------------- */

static int control(const char *name, char *text, size_t size) {
    const char *folder = getenv("SHIM_CONTROL");
    char path[PATH_MAX];
    if (folder == NULL || snprintf(path, sizeof path, "%s/%s", folder, name) >= (int)sizeof path) return 0;
    int file = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return 0;
    long count = syscall(SYS_read, file, text, size - 1);
    syscall(SYS_close, file);
    if (count <= 0) return 0;
    text[count] = '\0';
    return 1;
}

/* The errno that this path meets now; 0: none. Of reads, also from which byte on. */
static int fault_in(const char *kind, const char *path, long *from_byte) {
    char rules[4 * PATH_MAX], absolute[2 * PATH_MAX], *rest = NULL;
    int saved = errno, fault = 0;
    if (path == NULL || !control(kind, rules, sizeof rules)) {
        errno = saved;
        return 0;
    }
    if (path[0] != '/') {
        char here[PATH_MAX];
        if (syscall(SYS_getcwd, here, sizeof here) < 0) here[0] = '\0';
        snprintf(absolute, sizeof absolute, "%s/%s", here, path);
        path = absolute;
    }
    for (char *line = strtok_r(rules, "\n", &rest); line != NULL && !fault; line = strtok_r(NULL, "\n", &rest)) {
        char *prefix;
        long number = strtol(line, &prefix, 10);
        if (from_byte != NULL) *from_byte = strtol(prefix, &prefix, 10);
        if (*prefix == ' ' && strncmp(path, prefix + 1, strlen(prefix + 1)) == 0) fault = (int)number;
    }
    errno = saved;
    return fault;
}

static int fault_of_path(const char *path) {
    return fault_in("disk", path, NULL);
}

static int path_of_file(int file, char *path, size_t size) {
    char link[64];
    int saved = errno;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    long length = syscall(SYS_readlinkat, AT_FDCWD, link, path, size - 1);
    errno = saved;
    if (length <= 0) return 0;
    path[length] = '\0';
    return 1;
}

static int fault_of_file(int file) {
    char path[PATH_MAX];
    return path_of_file(file, path, sizeof path) ? fault_of_path(path) : 0;
}

/* How much of this can be read before the fault; with none of it, -1 and errno. */
static ssize_t readable(int file, size_t count, off64_t at) {
    char path[PATH_MAX];
    long from_byte = 0;
    int fault = path_of_file(file, path, sizeof path) ? fault_in("reads", path, &from_byte) : 0;
    if (!fault || at + (off64_t)count <= from_byte) return (ssize_t)count;
    if (at < from_byte) return (ssize_t)(from_byte - at);
    errno = fault;
    return -1;
}

static int fault_of_opening(const char *path, int flags) {
    int makes = (flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE;
    int writes = (flags & O_ACCMODE) != O_RDONLY;
    if (!makes && !writes) return 0;
    int fault = fault_of_path(path);
    return makes || fault == EROFS ? fault : 0;
}

static time_t clock_is_off_s(void) {
    char text[32];
    int saved = errno;
    time_t off_s = control("clock", text, sizeof text) ? (time_t)strtol(text, NULL, 10) : 0;
    errno = saved;
    return off_s;
}

#define FAIL_IF(fault_expression) \
    do { \
        int fault = (fault_expression); \
        if (fault) { \
            errno = fault; \
            return -1; \
        } \
    } while (0)

/* --- the disk ---------------------------------------------------------------------------------------------------- */

#define OPENS(name) \
    int name(const char *path, int flags, ...) { \
        va_list rest; \
        va_start(rest, flags); \
        mode_t mode = va_arg(rest, mode_t); \
        va_end(rest); \
        FAIL_IF(fault_of_opening(path, flags)); \
        return NEXT(int, #name, const char *, int, ...)(path, flags, mode); \
    }
OPENS(open)
OPENS(open64)

#define OPENS_AT(name) \
    int name(int folder, const char *path, int flags, ...) { \
        va_list rest; \
        va_start(rest, flags); \
        mode_t mode = va_arg(rest, mode_t); \
        va_end(rest); \
        FAIL_IF(fault_of_opening(path, flags)); \
        return NEXT(int, #name, int, const char *, int, ...)(folder, path, flags, mode); \
    }
OPENS_AT(openat)
OPENS_AT(openat64)

ssize_t read(int file, void *data, size_t count) {
    off64_t at = syscall(SYS_lseek, file, 0, SEEK_CUR);
    ssize_t left = at < 0 ? (ssize_t)count : readable(file, count, at);
    return left < 0 ? -1 : NEXT(ssize_t, "read", int, void *, size_t)(file, data, (size_t)left);
}

ssize_t pread(int file, void *data, size_t count, off_t at) {
    ssize_t left = readable(file, count, at);
    return left < 0 ? -1 : NEXT(ssize_t, "pread", int, void *, size_t, off_t)(file, data, (size_t)left, at);
}

ssize_t pread64(int file, void *data, size_t count, off64_t at) {
    ssize_t left = readable(file, count, at);
    return left < 0 ? -1 : NEXT(ssize_t, "pread64", int, void *, size_t, off64_t)(file, data, (size_t)left, at);
}

ssize_t write(int file, const void *data, size_t count) {
    FAIL_IF(fault_of_file(file));
    return NEXT(ssize_t, "write", int, const void *, size_t)(file, data, count);
}

ssize_t pwrite(int file, const void *data, size_t count, off_t at) {
    FAIL_IF(fault_of_file(file));
    return NEXT(ssize_t, "pwrite", int, const void *, size_t, off_t)(file, data, count, at);
}

ssize_t pwrite64(int file, const void *data, size_t count, off64_t at) {
    FAIL_IF(fault_of_file(file));
    return NEXT(ssize_t, "pwrite64", int, const void *, size_t, off64_t)(file, data, count, at);
}

ssize_t writev(int file, const struct iovec *parts, int count) {
    FAIL_IF(fault_of_file(file));
    return NEXT(ssize_t, "writev", int, const struct iovec *, int)(file, parts, count);
}

int fsync(int file) {
    FAIL_IF(fault_of_file(file));
    return NEXT(int, "fsync", int)(file);
}

int fdatasync(int file) {
    FAIL_IF(fault_of_file(file));
    return NEXT(int, "fdatasync", int)(file);
}

int ftruncate(int file, off_t size) {
    FAIL_IF(fault_of_file(file));
    return NEXT(int, "ftruncate", int, off_t)(file, size);
}

int ftruncate64(int file, off64_t size) {
    FAIL_IF(fault_of_file(file));
    return NEXT(int, "ftruncate64", int, off64_t)(file, size);
}

int mkdir(const char *path, mode_t mode) {
    FAIL_IF(fault_of_path(path));
    return NEXT(int, "mkdir", const char *, mode_t)(path, mode);
}

int rename(const char *before, const char *after) {
    if (fault_of_path(after) == EROFS) FAIL_IF(EROFS);
    return NEXT(int, "rename", const char *, const char *)(before, after);
}

int unlink(const char *path) {
    if (fault_of_path(path) == EROFS) FAIL_IF(EROFS);
    return NEXT(int, "unlink", const char *)(path);
}

/* --- the wall clock ---------------------------------------------------------------------------------------------- */

int clock_gettime(clockid_t clock, struct timespec *now) {
    int status = (int)syscall(SYS_clock_gettime, clock, now);
    if (status == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += clock_is_off_s();
    return status;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    int status = (int)syscall(SYS_gettimeofday, now, zone);
    if (status == 0) now->tv_sec += clock_is_off_s();
    return status;
}

time_t time(time_t *told) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (told != NULL) *told = now.tv_sec;
    return now.tv_sec;
}
