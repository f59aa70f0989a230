/* larder migrate: bring the catalogue up to date and leave. `serve` does it too. */
#include "server/commands.h"
#include "server/node.h"

#include <stdio.h>

int command_migrate(int argc, char *const *argv)
{
    struct error error;
    cleanup_options struct options options = {0};
    struct node node;
    if (!options_parse(OPTIONS_MIGRATE, argc, argv, &options, &error))
        return command_fail(&error);
    if (options.help) {
        printf("Usage: larder migrate [FLAG...]\n\n");
        options_print_help(OPTIONS_MIGRATE, stdout);
        return 0;
    }
    bool migrated = node_open_catalogue(&node, &options, &error);
    node_stop(&node);
    return migrated ? 0 : command_fail(&error);
}
