#include "store/convert/boxed.h"

#include "store/convert/channel.h"
#include "store/convert/passed_files.h"

#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

static void *map_channel(size_t channel_size_bytes)
{
    void *memory =
        mmap(NULL, channel_size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, BOX_CHANNEL_FD, 0);
    if (memory == MAP_FAILED)
        return NULL;
    close(BOX_CHANNEL_FD);
    return memory;
}

int boxed_main(int argc, const char *command, size_t channel_size_bytes,
               bool (*work)(void *channel, struct error *error))
{
    /* One arena: the others would each reserve address space out of the limit. */
    mallopt(M_ARENA_MAX, 1);
    struct box_outcome *outcome = argc == 2 ? map_channel(channel_size_bytes) : NULL;
    if (!outcome) {
        dprintf(STDERR_FILENO, "larder %s: is started by larder itself\n", command);
        return 2;
    }
    bool done = work(outcome, &outcome->error);
    outcome->verdict = done ? BOX_SUCCEEDED : BOX_FAILED;
    /* No handlers: after a failure other threads may still be at work. */
    _exit(0);
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
