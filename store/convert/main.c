/* The process itself: maps the channel, boxes itself in, runs the pipeline. */
#include "store/convert.h"
#include "store/convert/boxed.h"
#include "store/convert/channel.h"
#include "store/convert/pipeline.h"
#include "store/convert/probe.h"
#include "store/convert/sandbox.h"

#include <string.h>

static bool convert(void *memory, struct error *error)
{
    struct convert_channel *channel = memory;
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
    if (argc == 3 && strncmp(argv[2], probe_flag, sizeof(probe_flag) - 1) == 0)
        return convert_probe(argv[2] + sizeof(probe_flag) - 1);

    return boxed_main(argc, "convert", sizeof(struct convert_channel), convert);
}
