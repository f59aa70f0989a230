#include "server/options.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

enum kind { KIND_TEXT, KIND_LIST, KIND_NUMBER, KIND_BYTES, KIND_DURATION, KIND_SWITCH };

struct option_row {
    const char *flag;
    enum kind kind;
    size_t offset; /* in struct options */
    unsigned commands;
    const char *value;        /* what the help calls it; NULL for a switch */
    const char *default_text; /* as typed; NULL for none */
    const char *help;
    uint64_t min;
    uint64_t max;
    const char *choices; /* "text|json"; NULL: any */
};

#define AT(field) offsetof(struct options, field)
static const uint64_t EXBIBYTE = 1ULL << 60;
static const uint64_t DAY_MS = 24ULL * 3600 * 1000;

static const struct option_row rows[] = {
    {"--listen", KIND_LIST, AT(listen), OPTIONS_SERVE, "ADDRESS", "127.0.0.1:8420",
     "host:port or unix:/path; several may be given; port 0 picks a free one", 0, 0, NULL},
    {"--data-dir", KIND_TEXT, AT(data_dir), OPTIONS_SERVE | OPTIONS_FSCK | OPTIONS_MIGRATE, "DIR",
     NULL, "the node's own files [/var/lib/larder, or $XDG_DATA_HOME/larder when not root]", 0, 0,
     NULL},
    {"--blob-dir", KIND_TEXT, AT(blob_dir), OPTIONS_SERVE | OPTIONS_FSCK, "DIR", NULL,
     "the directory that the fleet shares [<data-dir>/blobs]", 0, 0, NULL},
    {"--database", KIND_TEXT, AT(database), OPTIONS_SERVE | OPTIONS_FSCK | OPTIONS_MIGRATE, "URI",
     NULL, "libpq URI of the catalogue [a private PostgreSQL under <data-dir>/postgres]", 0, 0,
     NULL},
    {"--insecure-registry", KIND_LIST, AT(insecure_registries), OPTIONS_SERVE | OPTIONS_FSCK,
     "HOST[:PORT]", NULL,
     "a registry spoken to over plain HTTP, and which may be at a private address; several may be "
     "given [loopback only]",
     0, 0, NULL},
    {"--allow-registry", KIND_LIST, AT(allowed_registries), OPTIONS_SERVE | OPTIONS_FSCK, "GLOB",
     NULL,
     "a registry that may be pulled from; one without wildcards may be at a private address; "
     "several "
     "may be given [all]",
     0, 0, NULL},
    {"--registry-auth", KIND_TEXT, AT(registry_auth), OPTIONS_SERVE | OPTIONS_FSCK, "FILE", NULL,
     "Docker's config file [$DOCKER_CONFIG/config.json, ~/.docker/config.json]", 0, 0, NULL},
    {"--registry-ca", KIND_TEXT, AT(registry_ca), OPTIONS_SERVE | OPTIONS_FSCK, "FILE", NULL,
     "certificates (PEM) that registries may be signed by, beside the system's [$SSL_CERT_FILE]", 0,
     0, NULL},
    {"--registry-mirror", KIND_LIST, AT(registry_mirrors), OPTIONS_SERVE | OPTIONS_FSCK,
     "REGISTRY=URL", NULL,
     "a mirror asked before its registry: docker.io=http://mirror:5000; several may be given", 0, 0,
     NULL},
    {"--platform", KIND_TEXT, AT(platform), OPTIONS_SERVE | OPTIONS_FSCK, "OS/ARCH[/VARIANT]", NULL,
     "what is meant when nobody says [the machine's]", 0, 0, NULL},
    {"--pull-jobs", KIND_NUMBER, AT(pull_jobs), OPTIONS_SERVE | OPTIONS_FSCK, "N", "2",
     "pulls that this node runs at once", 1, 64, NULL},
    {"--layer-jobs", KIND_NUMBER, AT(layer_jobs), OPTIONS_SERVE | OPTIONS_FSCK, "N", "4",
     "layers that this node fetches and converts at once, over all its pulls; each pull gets one",
     1, 64, NULL},
    {"--max-layer-bytes", KIND_BYTES, AT(max_layer_bytes), OPTIONS_SERVE | OPTIONS_FSCK, "BYTES",
     "20GiB", "the largest layer taken, uncompressed; KiB, MiB, GiB and TiB may follow", 1,
     EXBIBYTE, NULL},
    {"--max-image-bytes", KIND_BYTES, AT(max_image_bytes), OPTIONS_SERVE | OPTIONS_FSCK, "BYTES",
     "64GiB", "the largest image taken: all its layers, uncompressed", 1, EXBIBYTE, NULL},
    {"--max-inflate-ratio", KIND_NUMBER, AT(max_inflate_ratio), OPTIONS_SERVE | OPTIONS_FSCK, "N",
     "200",
     "how many times its compressed size a layer over 256 MiB may hold, zeros not counted; 0: any",
     0, 1000000, NULL},
    {"--convert-timeout", KIND_DURATION, AT(convert_timeout_ms), OPTIONS_SERVE | OPTIONS_FSCK,
     "TIME", NULL,
     "for how long in all the converter of one layer may keep its pull waiting [5 minutes, and a "
     "second for each 20 MiB of --max-layer-bytes]",
     1000, 7 * DAY_MS, NULL},
    {"--max-archive-bytes", KIND_BYTES, AT(max_archive_bytes), OPTIONS_SERVE, "BYTES", "100GiB",
     "the largest archive that may be loaded, uncompressed", 1, EXBIBYTE, NULL},
    {"--max-image-layers", KIND_NUMBER, AT(max_image_layers), OPTIONS_SERVE | OPTIONS_FSCK, "N",
     "128", "the most layers of one image", 1, 1024, NULL},
    {"--sweep-seconds", KIND_NUMBER, AT(sweep_seconds), OPTIONS_SERVE, "SECONDS", "3600",
     "how often one of the nodes looks for files that the catalogue does not know", 1, INT32_MAX,
     NULL},
    {"--grace-seconds", KIND_NUMBER, AT(grace_seconds), OPTIONS_SERVE | OPTIONS_FSCK, "SECONDS",
     "3600", "how long such a file is left alone after it changed", 1, INT32_MAX, NULL},
    {"--scrub-bytes-per-second", KIND_BYTES, AT(scrub_bytes_per_second), OPTIONS_SERVE, "BYTES",
     "4MiB", "how fast files are read again and compared with their digests; 0: never", 0, EXBIBYTE,
     NULL},
    {"--max-connections", KIND_NUMBER, AT(max_connections), OPTIONS_SERVE, "N", "4096",
     "clients connected at once; more are told to come again", 16, 1000 * 1000, NULL},
    {"--max-connections-per-address", KIND_NUMBER, AT(max_connections_per_address), OPTIONS_SERVE,
     "N", "2048", "of one IPv4 address or IPv6 /64 network, or of one user on a unix socket", 4,
     1000 * 1000, NULL},
    {"--drain-delay", KIND_DURATION, AT(drain_delay_ms), OPTIONS_SERVE, "TIME", "0s",
     "for how long requests are still taken after SIGTERM, while /readyz says 503 already", 0,
     60 * 60 * 1000, NULL},
    {"--cache-bytes", KIND_BYTES, AT(cache_bytes), OPTIONS_SERVE, "BYTES", "64MiB",
     "the memory for finished answers", 1, EXBIBYTE, NULL},
    {"--max-staleness", KIND_DURATION, AT(max_staleness_ms), OPTIONS_SERVE, "TIME", "1s",
     "for how long a change made through another node may go unnoticed; ms, s, min or h", 10,
     60 * 1000, NULL},
    {"--max-stale-if-error", KIND_DURATION, AT(max_stale_if_error_ms), OPTIONS_SERVE, "TIME",
     "5min", "for how long reads go on from memory while the catalogue is away", 0, DAY_MS, NULL},
    {"--verify", KIND_SWITCH, AT(verify), OPTIONS_FSCK, NULL, NULL,
     "read every file and compare it with its digest, and ask fsck.erofs", 0, 0, NULL},
    {"--repair", KIND_SWITCH, AT(repair), OPTIONS_FSCK, NULL, NULL,
     "put aside what is damaged or unknown (in quarantine/), and pull what is missing", 0, 0, NULL},
    {"--adopt-directory", KIND_SWITCH, AT(adopt_directory), OPTIONS_FSCK, NULL, NULL,
     "make the blob directory the catalogue's, whatever its mark says", 0, 0, NULL},
    {"--json", KIND_SWITCH, AT(json), OPTIONS_FSCK, NULL, NULL, "print one JSON object", 0, 0,
     NULL},
    {"--log-format", KIND_TEXT, AT(log_format), OPTIONS_SERVE | OPTIONS_FSCK, "text|json", NULL,
     "how the log on stderr looks [text on a terminal, else json]", 0, 0, "text|json"},
    {"--tokens", KIND_TEXT, AT(tokens), OPTIONS_SERVE, "FILE", NULL,
     "who may come in: names, roles and hashes of bearer tokens; SIGHUP reads it again", 0, 0,
     NULL},
    {"--unix-user", KIND_LIST, AT(unix_users), OPTIONS_SERVE, "USER=ROLE[:NAME]", NULL,
     "lets a user in on unix sockets, beside root and the node's own; several may be given", 0, 0,
     NULL},
    {"--tls-cert", KIND_TEXT, AT(tls_cert), OPTIONS_SERVE, "FILE", NULL,
     "serve TLS with this certificate, PEM with its chain; SIGHUP reads it again", 0, 0, NULL},
    {"--tls-key", KIND_TEXT, AT(tls_key), OPTIONS_SERVE, "FILE", NULL,
     "the key of --tls-cert, which not everybody may read", 0, 0, NULL},
    {"--tls-client-ca", KIND_TEXT, AT(tls_client_ca), OPTIONS_SERVE, "FILE", NULL,
     "take clients' certificates of this authority; --tokens says what their names may do", 0, 0,
     NULL},
    {"--no-tls", KIND_SWITCH, AT(no_tls), OPTIONS_SERVE, NULL, NULL,
     "take tokens in the clear, also on an address that is not loopback", 0, 0, NULL},
    {"--open-metrics", KIND_SWITCH, AT(open_metrics), OPTIONS_SERVE, NULL, NULL,
     "GET /metrics needs no token", 0, 0, NULL},
    {"--role", KIND_TEXT, AT(token_role), OPTIONS_TOKEN, "reader|host|admin", NULL,
     "what the token lets do: read; pull and have sandboxes too; or everything", 0, 0, NULL},
    {"--name", KIND_TEXT, AT(token_name), OPTIONS_TOKEN, "NAME", NULL,
     "whose token it is; for the role host, the host that its sandboxes name", 0, 0, NULL},
    {"--no-auth", KIND_SWITCH, AT(no_auth), OPTIONS_SERVE, NULL, NULL,
     "serve whoever comes, also on an address that is not loopback", 0, 0, NULL},
};
enum { ROW_COUNT = sizeof(rows) / sizeof(rows[0]) };

static void *field_of(struct options *options, const struct option_row *row)
{
    return (char *)options + row->offset;
}

/* "--data-dir" as "LARDER_DATA_DIR". */
static void twin_name(const char *flag, char *name, size_t size)
{
    size_t used = (size_t)snprintf(name, size, "LARDER_");
    for (const char *at = flag + 2; *at && used + 1 < size; at++)
        name[used++] = *at == '-' ? '_' : (char)(*at - 'a' + 'A');
    name[used] = '\0';
}

static bool take_digits(const char *text, const char **end, uint64_t *value)
{
    if (*text < '0' || *text > '9')
        return false;
    char *stop = NULL;
    errno = 0;
    *value = strtoull(text, &stop, 10);
    *end = stop;
    return errno == 0;
}

static bool read_number(const struct option_row *row, const char *source, const char *text,
                        uint64_t *out, struct error *error)
{
    const char *end = text;
    if (!take_digits(text, &end, out) || *end || *out < row->min || *out > row->max)
        return error_set(error, ERROR_INVALID_ARGUMENT,
                         "%s \"%s\": allowed are whole numbers from %" PRIu64 " to %" PRIu64,
                         source, text, row->min, row->max);
    return true;
}

static bool read_bytes(const struct option_row *row, const char *source, const char *text,
                       uint64_t *out, struct error *error)
{
    static const char *const suffixes[] = {"", "KiB", "MiB", "GiB", "TiB"};
    const char *end = text;
    uint64_t value = 0;
    uint64_t factor = 1;
    bool good = take_digits(text, &end, &value);
    for (size_t i = 0; good && i < sizeof(suffixes) / sizeof(suffixes[0]); i++, factor <<= 10)
        if (strcmp(end, suffixes[i]) == 0 && !__builtin_mul_overflow(value, factor, out))
            if (*out >= row->min && *out <= row->max)
                return true;
    return error_set(error, ERROR_INVALID_ARGUMENT,
                     "%s \"%s\": allowed are 1 byte to 1 EiB, as 1073741824, 512MiB or 20GiB",
                     source, text);
}

static bool read_duration(const struct option_row *row, const char *source, const char *text,
                          uint64_t *out, struct error *error)
{
    static const struct {
        const char *suffix;
        uint64_t factor;
    } units[] = {{"ms", 1}, {"s", 1000}, {"min", 60 * 1000}, {"h", 3600 * 1000}};
    const char *end = text;
    uint64_t value = 0;
    bool good = take_digits(text, &end, &value);
    for (size_t i = 0; good && i < sizeof(units) / sizeof(units[0]); i++)
        if (strcmp(end, units[i].suffix) == 0 &&
            !__builtin_mul_overflow(value, units[i].factor, out))
            if (*out >= row->min && *out <= row->max)
                return true;
    return error_set(error, ERROR_INVALID_ARGUMENT,
                     "%s \"%s\": allowed are %" PRIu64 " ms to %" PRIu64
                     " s, with the unit: 500ms, 10s, 5min or 1h",
                     source, text, row->min, row->max / 1000);
}

static bool read_switch(const char *source, const char *text, bool *out, struct error *error)
{
    *out = strcmp(text, "true") == 0 || strcmp(text, "1") == 0;
    if (*out || strcmp(text, "false") == 0 || strcmp(text, "0") == 0)
        return true;
    return error_set(error, ERROR_INVALID_ARGUMENT, "%s \"%s\": allowed are true, false, 1 and 0",
                     source, text);
}

static bool is_choice(const char *choices, const char *text)
{
    size_t length = strlen(text);
    for (const char *at = choices; at; at = strchr(at, '|')) {
        at += *at == '|';
        if (strcspn(at, "|") == length && strncmp(at, text, length) == 0)
            return true;
    }
    return false;
}

static void append(struct arena *arena, struct option_list *list, const char *value)
{
    const char **values = arena_alloc_array(arena, list->count + 1, sizeof(*values));
    if (list->count > 0)
        memcpy(values, list->values, list->count * sizeof(*values));
    values[list->count++] = value;
    list->values = values;
}

/* Takes one value of the row; `source` is the flag or its twin, for errors. */
static bool take_value(struct options *options, const struct option_row *row, const char *source,
                       const char *text, struct error *error)
{
    void *field = field_of(options, row);
    if (text[0] == '\0')
        return error_set(error, ERROR_INVALID_ARGUMENT, "%s is empty; it takes %s", source,
                         row->value ? row->value : "true or false");
    switch (row->kind) {
    case KIND_NUMBER:
        return read_number(row, source, text, field, error);
    case KIND_BYTES:
        return read_bytes(row, source, text, field, error);
    case KIND_DURATION:
        return read_duration(row, source, text, field, error);
    case KIND_SWITCH:
        return read_switch(source, text, field, error);
    case KIND_LIST:
        append(&options->arena, field, text);
        return true;
    case KIND_TEXT:
        break;
    }
    if (row->choices && !is_choice(row->choices, text))
        return error_set(error, ERROR_INVALID_ARGUMENT, "%s \"%s\": allowed are %s", source, text,
                         row->choices);
    *(const char **)field = text;
    return true;
}

static bool take_list(struct options *options, const struct option_row *row, const char *source,
                      const char *text, struct error *error)
{
    for (const char *at = text;;) {
        size_t length = strcspn(at, ",");
        const char *value = arena_strndup(&options->arena, at, length);
        if (!take_value(options, row, source, value, error))
            return false;
        if (at[length] == '\0')
            return true;
        at += length + 1;
    }
}

/* What no flag said: the environment, then the default. */
static bool take_defaults(struct options *options, unsigned command, const bool *given,
                          struct error *error)
{
    for (size_t i = 0; i < ROW_COUNT; i++) {
        char twin[64];
        twin_name(rows[i].flag, twin, sizeof(twin));
        if (given[i] || !(rows[i].commands & command))
            continue;
        const char *text = getenv(twin);
        const char *source = twin;
        if (!text || !*text) {
            text = rows[i].default_text;
            source = rows[i].flag;
        }
        if (!text)
            continue;
        bool taken = rows[i].kind == KIND_LIST ? take_list(options, &rows[i], source, text, error)
                                               : take_value(options, &rows[i], source, text, error);
        if (!taken)
            return false;
    }
    return true;
}

static const struct option_row *find_row(const char *argument, unsigned command)
{
    size_t length = strcspn(argument, "=");
    for (size_t i = 0; i < ROW_COUNT; i++)
        if (strlen(rows[i].flag) == length && strncmp(rows[i].flag, argument, length) == 0)
            return rows[i].commands & command ? &rows[i] : NULL;
    return NULL;
}

/* Takes the flag at *next, and its value behind it. */
static bool take_flag(struct options *options, unsigned command, int argc, char *const *argv,
                      int *next, bool *given, struct error *error)
{
    const char *argument = argv[*next];
    const struct option_row *row = find_row(argument, command);
    if (!row)
        return error_set(error, ERROR_INVALID_ARGUMENT,
                         "There is no flag \"%s\" here; --help lists what there is", argument);
    const char *equals = strchr(argument, '=');
    const char *value = equals ? equals + 1 : NULL;
    if (!value && row->kind == KIND_SWITCH)
        value = "true";
    if (!value && ++*next < argc)
        value = argv[*next];
    if (!value)
        return error_set(error, ERROR_INVALID_ARGUMENT, "%s needs a value: %s", row->flag,
                         row->value);
    if (given[row - rows] && row->kind != KIND_LIST)
        return error_set(error, ERROR_INVALID_ARGUMENT, "%s is given twice", row->flag);
    given[row - rows] = true;
    return take_value(options, row, row->flag, value, error);
}

static const char *default_data_dir(struct arena *arena)
{
    if (geteuid() == 0)
        return "/var/lib/larder";
    const char *data_home = getenv("XDG_DATA_HOME");
    if (data_home && data_home[0] == '/')
        return arena_printf(arena, "%s/larder", data_home);
    const char *home = getenv("HOME");
    return arena_printf(arena, "%s/.local/share/larder", home && *home ? home : "/tmp");
}

bool options_parse(enum option_command command, int argc, char *const *argv,
                   struct options *options, struct error *error)
{
    bool given[ROW_COUNT] = {false};
    *options = (struct options){0};
    for (int next = 0; next < argc; next++) {
        if (strcmp(argv[next], "--help") == 0 || strcmp(argv[next], "-h") == 0) {
            options->help = true;
            return true;
        }
        if (!take_flag(options, command, argc, argv, &next, given, error))
            return false;
    }
    if (!take_defaults(options, command, given, error))
        return false;
    if (!options->data_dir)
        options->data_dir = default_data_dir(&options->arena);
    if (!options->blob_dir)
        options->blob_dir = arena_printf(&options->arena, "%s/blobs", options->data_dir);
    return true;
}

void options_free(struct options *options)
{
    arena_free(&options->arena);
}

void options_print_help(enum option_command command, FILE *out)
{
    for (size_t i = 0; i < ROW_COUNT; i++) {
        const struct option_row *row = &rows[i];
        char twin[64];
        if (!(row->commands & (unsigned)command))
            continue;
        twin_name(row->flag, twin, sizeof(twin));
        fprintf(out, "  %s%s%s\n      %s", row->flag, row->value ? " " : "",
                row->value ? row->value : "", row->help);
        if (row->default_text)
            fprintf(out, " [%s]", row->default_text);
        fprintf(out, "\n      environment: %s\n", twin);
    }
}
