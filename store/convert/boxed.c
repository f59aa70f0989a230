#include "store/convert/boxed.h"

#include "store/convert/channel.h"
#include "store/convert/passed_files.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

void *boxed_map_channel(size_t channel_size_bytes)
{
    void *memory =
        mmap(NULL, channel_size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, BOX_CHANNEL_FD, 0);
    if (memory == MAP_FAILED)
        return NULL;
    close(BOX_CHANNEL_FD);
    return memory;
}

bool boxed_take_files(int *fds, size_t count, struct error *error)
{
    for (size_t done = 0; done < count;) {
        char byte;
        struct iovec bytes = {&byte, sizeof(byte)};
        size_t taken = 0;
        if (passed_files_receive(BOX_INPUT_FD, &bytes, fds + done, count - done, &taken) < 0)
            return error_set_errno(error, ERROR_INTERNAL, errno, "cannot take the files");
        if (taken == 0)
            return error_set(error, ERROR_INTERNAL, "%zu files came of %zu", done, count);
        done += taken;
    }
    return true;
}
