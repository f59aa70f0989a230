/* The commands of the one binary. Each gets the arguments behind its name and
 * returns the exit code: 0, 1 for a failure, 2 for arguments that cannot be meant. */
#ifndef LARDER_SERVER_COMMANDS_H
#define LARDER_SERVER_COMMANDS_H

#include "server/options.h"

[[nodiscard]] int command_serve(int argc, char *const *argv);
/* Its exit codes are those of fsck(8). */
[[nodiscard]] int command_fsck(int argc, char *const *argv);
[[nodiscard]] int command_migrate(int argc, char *const *argv);
[[nodiscard]] int command_crash_points(int argc, char *const *argv);
[[nodiscard]] int command_token(int argc, char *const *argv);
[[nodiscard]] int command_version(int argc, char *const *argv);

/* Prints the routes, their query parameters and the problem codes as JSON, for the tests
 * that hold openapi.yaml against them. */
[[nodiscard]] int command_interface(int argc, char *const *argv);

/* 2 for ERROR_INVALID_ARGUMENT, else 1. */
[[nodiscard]] int command_exit_code(const struct error *error);
/* Prints "larder: <message>" to stderr; the exit code. */
[[nodiscard]] int command_fail(const struct error *error);

#endif
