/* larder token new: a bearer token, and its line for --tokens. */
#include "server/commands.h"
#include "server/tokens.h"

#include <stdio.h>
#include <string.h>

static bool run(const struct options *options, struct error *error)
{
    enum role role;
    char line[TOKEN_LINE_SIZE];
    char secret[TOKEN_SECRET_SIZE];
    if (!options->token_role || !options->token_name)
        return error_set(error, ERROR_INVALID_ARGUMENT,
                         "token new needs --role and --name, as: larder token new --role host "
                         "--name h7 >> tokens");
    if (!role_parse(options->token_role, &role, error))
        return error_context(error, "--role");
    if (!identity_name_is_valid(options->token_name))
        return error_set(error, ERROR_INVALID_ARGUMENT,
                         "--name is not 1 to 255 letters, digits and any of ._:@-");
    token_make(options->token_name, role, line, secret);
    fprintf(stderr, "%s\n", secret); /* shown this once */
    explicit_bzero(secret, sizeof(secret));
    return printf("%s\n", line) > 0 && fflush(stdout) == 0
               ? true
               : error_set(error, ERROR_INTERNAL, "The token's line could not be written");
}

int command_token(int argc, char *const *argv)
{
    struct error error;
    cleanup_options struct options options = {0};
    if (argc < 1 || strcmp(argv[0], "new") != 0) {
        error_set(&error, ERROR_INVALID_ARGUMENT, "token knows one word: token new");
        return command_fail(&error);
    }
    if (!options_parse(OPTIONS_TOKEN, argc - 1, argv + 1, &options, &error))
        return command_fail(&error);
    if (options.help) {
        printf("Usage: larder token new --role ROLE --name NAME >> FILE\n\nPrints a line for "
               "serve's --tokens on stdout, and the secret on stderr.\n\n");
        options_print_help(OPTIONS_TOKEN, stdout);
        return 0;
    }
    return run(&options, &error) ? 0 : command_fail(&error);
}
