/* The process itself: maps the channel, boxes itself in, runs the pipeline. */
#include "store/convert.h"
#include "store/convert/boxed.h"
#include "store/convert/channel.h"
#include "store/convert/pipeline.h"
#include "store/convert/probe.h"
#include "store/convert/sandbox.h"

#include <malloc.h>
#include <stdio.h>
#include <string.h>

static bool convert(struct convert_channel *channel, struct error *error)
{
    /* Ours from here on: the node reads it again only when we are gone. */
    static struct convert_request request;
    request = channel->request;
    if (!sandbox_confine(&request.limits, error))
        return false;
    struct pipeline *pipeline = pipeline_start(&request, BOX_INPUT_FD, &channel->tar_bytes, error);
    return pipeline && sandbox_seal(error) &&
           pipeline_run(pipeline, BOX_OUTPUT_FD, &channel->report, error);
}

int convert_main(int argc, char **argv)
{
    static const char probe_flag[] = "--probe=";
    /* One arena: the others would each reserve address space out of the limit. */
    mallopt(M_ARENA_MAX, 1);
    if (argc == 3 && strncmp(argv[2], probe_flag, sizeof(probe_flag) - 1) == 0)
        return convert_probe(argv[2] + sizeof(probe_flag) - 1);

    struct convert_channel *channel =
        argc == 2 ? boxed_map_channel(sizeof(struct convert_channel)) : NULL;
    if (!channel) {
        dprintf(STDERR_FILENO, "larder convert: is started by larder itself\n");
        return 2;
    }
    bool converted = convert(channel, &channel->outcome.error);
    channel->outcome.verdict = converted ? BOX_SUCCEEDED : BOX_FAILED;
    /* No handlers: after a failure the other threads may still be at work. */
    _exit(0);
}
