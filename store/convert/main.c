/* The process itself: maps the channel, boxes itself in, runs the pipeline. */
#include "store/convert.h"
#include "store/convert/channel.h"
#include "store/convert/pipeline.h"
#include "store/convert/probe.h"
#include "store/convert/sandbox.h"

#include <iconv.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

/* What opens files when it is first used, which the box forbids: libcrypto its
 * configuration, iconv (libarchive's, for PAX names in the C locale) its modules. */
static void load_lazy_libraries(void)
{
    digest_state_free(digest_state_new());
    iconv_t conversion = iconv_open("ANSI_X3.4-1968", "UTF-8");
    if (conversion != (iconv_t)-1)
        iconv_close(conversion);
}

static bool convert(struct convert_channel *channel, struct error *error)
{
    /* Ours from here on: the node reads it again only when we are gone. */
    static struct convert_request request;
    request = channel->request;
    load_lazy_libraries();
    if (!sandbox_confine(&request.limits, error))
        return false;
    struct pipeline *pipeline =
        pipeline_start(&request, CONVERT_INPUT_FD, &channel->tar_bytes, error);
    return pipeline && sandbox_seal(error) &&
           pipeline_run(pipeline, CONVERT_OUTPUT_FD, &channel->report, error);
}

static struct convert_channel *map_channel(void)
{
    void *memory = mmap(NULL, sizeof(struct convert_channel), PROT_READ | PROT_WRITE, MAP_SHARED,
                        CONVERT_CHANNEL_FD, 0);
    if (memory == MAP_FAILED)
        return NULL;
    close(CONVERT_CHANNEL_FD);
    return memory;
}

int convert_main(int argc, char **argv)
{
    static const char probe_flag[] = "--probe=";
    /* One arena: the others would each reserve address space out of the limit. */
    mallopt(M_ARENA_MAX, 1);
    if (argc == 3 && strncmp(argv[2], probe_flag, sizeof(probe_flag) - 1) == 0)
        return convert_probe(argv[2] + sizeof(probe_flag) - 1);

    struct convert_channel *channel = argc == 2 ? map_channel() : NULL;
    if (!channel) {
        dprintf(STDERR_FILENO, "larder convert: is started by larder itself\n");
        return 2;
    }
    bool converted = convert(channel, &channel->error);
    channel->verdict = converted ? CONVERT_SUCCEEDED : CONVERT_FAILED;
    /* No handlers: after a failure the other threads may still be at work. */
    _exit(0);
}
