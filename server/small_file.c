#include "server/small_file.h"

#include <fcntl.h>
#include <sys/stat.h>

static bool check(int fd, size_t limit, mode_t forbidden, size_t *size, struct error *error)
{
    struct stat status;
    if (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode))
        return error_set(error, ERROR_INVALID_ARGUMENT, "it is no file");
    if (status.st_mode & forbidden)
        return error_set(error, ERROR_INVALID_ARGUMENT, "everybody may %s it; chmod o-%s it",
                         status.st_mode & forbidden & S_IWOTH ? "write" : "read",
                         forbidden & S_IROTH ? "rw" : "w");
    if (status.st_size < 0 || (size_t)status.st_size > limit)
        return error_set(error, ERROR_INVALID_ARGUMENT, "it is larger than %zu bytes", limit);
    *size = (size_t)status.st_size;
    return true;
}

bool small_file_read(const char *path, size_t limit, mode_t forbidden, struct arena *arena,
                     struct small_file *file, struct error *error)
{
    size_t capacity = 0;
    size_t size = 0;
    cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return error_set_errno(error, ERROR_INVALID_ARGUMENT, errno, "it cannot be opened");
    if (!check(fd, limit, forbidden, &capacity, error))
        return false;
    char *bytes = arena_alloc(arena, capacity + 1);
    for (ssize_t count = 1; size < capacity && count > 0; size += (size_t)count) {
        count = read(fd, bytes + size, capacity - size);
        if (count < 0)
            return error_set_errno(error, ERROR_INVALID_ARGUMENT, errno, "it cannot be read");
    }
    *file = (struct small_file){.bytes = bytes, .size = size};
    return true;
}
