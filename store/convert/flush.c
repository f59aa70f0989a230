#include "store/convert/flush.h"

#include <errno.h>
#include <unistd.h>

bool flush_run(struct growth *growth, int fd, struct error *error)
{
    uint64_t written = 0;
    while (!growth_wait(growth, written, &written))
        if (fdatasync(fd) != 0)
            return error_set_errno(error, ERROR_INTERNAL, errno, "cannot flush the file");
    return true;
}
