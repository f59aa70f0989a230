/* larder: which command is meant. */
#include "server/commands.h"
#include "store/composer.h"
#include "store/convert.h"
#include "store/convert/nursery.h"
#include "store/load/archive.h"

#include <stdio.h>
#include <string.h>

struct command {
    const char *name;
    int (*run)(int argc, char *const *argv);
    const char *help;
};

static const struct command commands[] = {
    {"serve", command_serve, "run a node"},
    {"fsck", command_fsck, "compare the catalogue with the blob directory, and repair"},
    {"migrate", command_migrate, "bring the catalogue up to date"},
    {"token", command_token, "make a bearer token"},
    {"version", command_version, "print the version"},
};
enum { COMMAND_COUNT = sizeof(commands) / sizeof(commands[0]) };

static void print_help(FILE *out)
{
    fprintf(out, "Usage: larder COMMAND [FLAG...]\n\nCommands:\n");
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        fprintf(out, "  %-8s %s\n", commands[i].name, commands[i].help);
    fprintf(out, "\n`larder serve --help` lists the flags.\n");
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "nursery") == 0)
        nursery_main(argv); /* not for people: store/convert/nursery.h */
    const char *name = argc > 1 ? argv[1] : "";
    if (strcmp(name, "convert") == 0)
        return convert_main(argc, argv); /* nor is this: store/convert.h */
    if (strcmp(name, "compose") == 0)
        return composer_main(argc, argv); /* nor is this: store/composer.h */
    if (strcmp(name, "interface") == 0)
        return command_interface(argc - 2, argv + 2); /* nor is this: commands.h */
    if (strcmp(name, "unpack") == 0)
        return unpack_main(argc, argv); /* nor is this: store/load/archive.h */
    if (strcmp(name, "crash-points") == 0)
        return command_crash_points(argc - 2, argv + 2); /* nor this: store/crash_point.h */
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0) {
        print_help(stdout);
        return 0;
    }
    if (strcmp(name, "--version") == 0)
        name = "version";
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        if (strcmp(commands[i].name, name) == 0)
            return commands[i].run(argc - 2, argv + 2);
    if (*name)
        fprintf(stderr, "larder: there is no command \"%s\"\n", name);
    print_help(stderr);
    return 2;
}
