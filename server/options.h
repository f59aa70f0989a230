/* The command line: one table of flags, each with an environment twin
 * (`--data-dir`, `LARDER_DATA_DIR`), a default and a line of help. A flag wins over
 * its twin. Lists in the environment are separated by commas.
 */
#ifndef LARDER_SERVER_OPTIONS_H
#define LARDER_SERVER_OPTIONS_H

#include "store/arena.h"
#include "store/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct option_list {
    const char **values;
    size_t count;
};

/* Strings live in the arena, or are argv's and the environment's own. */
struct options {
    struct arena arena;
    bool help; /* --help was given: print it, do nothing else */
    struct option_list listen;
    const char *data_dir; /* filled in, like blob_dir */
    const char *blob_dir;
    const char *database; /* NULL: the node's own private PostgreSQL */
    struct option_list insecure_registries;
    struct option_list allowed_registries; /* globs; empty: all */
    struct option_list registry_mirrors;   /* `docker.io=http://mirror:5000` */
    const char *registry_auth;             /* NULL: where Docker keeps it */
    const char *registry_ca;               /* NULL: $SSL_CERT_FILE, or only the system's */
    const char *platform;                  /* NULL: the machine's */
    uint64_t pull_jobs;
    uint64_t layer_jobs;
    uint64_t max_layer_bytes;
    uint64_t max_image_bytes;
    uint64_t max_inflate_ratio;  /* 0: any */
    uint64_t convert_timeout_ms; /* 0: by max_layer_bytes */
    uint64_t max_archive_bytes;
    uint64_t max_image_layers;
    uint64_t sweep_seconds;
    uint64_t grace_seconds;
    uint64_t scrub_bytes_per_second; /* 0: none */
    uint64_t max_connections;
    uint64_t max_connections_per_address;
    uint64_t drain_delay_ms;
    uint64_t cache_bytes;
    uint64_t max_staleness_ms;
    uint64_t max_stale_if_error_ms;
    bool verify;
    bool repair;
    bool adopt_directory;
    bool json;
    bool join_postgres;     /* no flag: a command that works beside a running node sets it */
    const char *log_format; /* NULL: text on a terminal, else json */
    bool no_auth;
    const char *tls_cert; /* NULL: no TLS */
    const char *tls_key;
    const char *tls_client_ca;     /* NULL: clients show no certificates */
    const char *tokens;            /* NULL: none */
    bool no_tls;                   /* something in front encrypts */
    bool open_metrics;             /* /metrics needs no role */
    struct option_list unix_users; /* `vmm=host:h7` */
    const char *token_role;        /* of `token new` */
    const char *token_name;
};

/* Which command's flags count. */
enum option_command {
    OPTIONS_SERVE = 1,
    OPTIONS_MIGRATE = 2,
    OPTIONS_FSCK = 4,
    OPTIONS_TOKEN = 32
};

/* Reads the arguments behind the command's name. Fails with ERROR_INVALID_ARGUMENT
 * and a sentence that names the flag and what is allowed. */
[[nodiscard]] bool options_parse(enum option_command command, int argc, char *const *argv,
                                 struct options *options, struct error *error);
void options_free(struct options *options);
#define cleanup_options cleanup(options_free)

void options_print_help(enum option_command command, FILE *out);

#endif
