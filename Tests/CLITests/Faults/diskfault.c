/* A disk that fails when it is told to. Preloaded into a server, it lets calls on the database and its log fail.
 *
 * DISKFAULT_FILE names a file. While that holds "write ENOSPC", "write EIO", "sync EIO" or "sync ENOSPC", what writes (or
 * sizes) or what syncs a file whose path ends with .sqlite or .sqlite-wal fails with that error; else all goes on as usual.
 * A failed sync does nothing: what was written stays in the kernel's hands, as on a disk that refuses it.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

/* Past this library's own functions. */
static int order(char *text, size_t size) {
    const char *path = getenv("DISKFAULT_FILE");
    if (!path) return 0;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return 0;
    ssize_t count = read(file, text, size - 1);
    syscall(SYS_close, file);
    if (count <= 0) return 0;
    text[count] = 0;
    return 1;
}

static int ends_with(const char *text, size_t length, const char *end) {
    size_t tail = strlen(end);
    return length >= tail && memcmp(text + length - tail, end, tail) == 0;
}

static int is_database(int descriptor) {
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, sizeof path);
    return length > 0 && (ends_with(path, length, ".sqlite") || ends_with(path, length, ".sqlite-wal"));
}

/* Whether this call fails now; errno says how. */
static int fails(int descriptor, const char *kind) {
    int before = errno;
    char text[64];
    int verdict = order(text, sizeof text) && strncmp(text, kind, strlen(kind)) == 0 && is_database(descriptor);
    errno = verdict ? (strstr(text, "ENOSPC") ? ENOSPC : EIO) : before;
    return verdict;
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t write(int descriptor, const void *bytes, size_t count) {
    return fails(descriptor, "write") ? -1 : NEXT(write)(descriptor, bytes, count);
}

ssize_t writev(int descriptor, const struct iovec *parts, int count) {
    return fails(descriptor, "write") ? -1 : NEXT(writev)(descriptor, parts, count);
}

ssize_t pwrite(int descriptor, const void *bytes, size_t count, off_t offset) {
    return fails(descriptor, "write") ? -1 : NEXT(pwrite)(descriptor, bytes, count, offset);
}

ssize_t pwrite64(int descriptor, const void *bytes, size_t count, off64_t offset) {
    return fails(descriptor, "write") ? -1 : NEXT(pwrite64)(descriptor, bytes, count, offset);
}

int ftruncate(int descriptor, off_t length) {
    return fails(descriptor, "write") ? -1 : NEXT(ftruncate)(descriptor, length);
}

int ftruncate64(int descriptor, off64_t length) {
    return fails(descriptor, "write") ? -1 : NEXT(ftruncate64)(descriptor, length);
}

int fsync(int descriptor) {
    return fails(descriptor, "sync") ? -1 : NEXT(fsync)(descriptor);
}

int fdatasync(int descriptor) {
    return fails(descriptor, "sync") ? -1 : NEXT(fdatasync)(descriptor);
}
