#include "server/commands.h"

#include <stdio.h>

int command_version(int argc, char *const *argv)
{
    struct error error;
    if (argc > 0) {
        error_set(&error, ERROR_INVALID_ARGUMENT, "version takes no arguments, and \"%s\" is one",
                  argv[0]);
        return command_fail(&error);
    }
    printf("larder %s\n", LARDER_VERSION);
    return 0;
}

int command_exit_code(const struct error *error)
{
    return error->code == ERROR_INVALID_ARGUMENT ? 2 : 1;
}

int command_fail(const struct error *error)
{
    fprintf(stderr, "larder: %s\n", error->message);
    return command_exit_code(error);
}
