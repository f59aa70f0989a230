#include "server/node.h"

#include <string.h>

static enum log_format log_format_of(const struct options *options)
{
    if (options->log_format)
        return strcmp(options->log_format, "json") == 0 ? LOG_JSON : LOG_TEXT;
    return isatty(STDERR_FILENO) ? LOG_TEXT : LOG_JSON;
}

bool node_start(struct node *node, const struct options *options, struct error *error)
{
    (void)error;
    *node = (struct node){.options = options};
    node->log = (struct log){.fd = STDERR_FILENO, .format = log_format_of(options)};
    return true;
}

void node_stop(struct node *node)
{
    *node = (struct node){0};
}
