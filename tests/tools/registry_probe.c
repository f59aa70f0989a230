/* Runs the registry client from the command line, for the integration tests.
 *
 *     registry_probe [option…] resolve|manifest|pull REFERENCE
 *
 * Options: --platform P, --docker-config FILE, --allow GLOB (up to 4), --insecure HOST,
 * --mirror R=URL, --attempts N, --stall-seconds N, --cancel-after-ms N, --repeat N,
 * --jobs N (threads that all do it, with one client).
 * `pull` chooses from an index, checks the config and streams every layer, checking
 * its digest. Prints what it found line by line; a failure as one line of code,
 * registry status, Retry-After and message, with exit status 1.
 */
#include "store/registry/image_config.h"
#include "store/registry/manifest.h"
#include "store/registry/registry_client.h"

#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct probe {
    struct registry_config config;
    const char *allow[4];
    const char *insecure;
    const char *platform;
    struct registry_mirror mirror;
    long cancel_after_ms;
    long repeat;
    long jobs;
    const char *command;
    atomic_bool failed;
    struct registry_client *client;
    struct reference reference;
    atomic_bool cancel;
};

static struct probe probe;
static _Thread_local struct arena arena;

static void print_digest(const char *name, const struct digest *digest)
{
    char text[DIGEST_TEXT_SIZE];
    digest_format(digest, text);
    printf("%s %s\n", name, text);
}

static bool hash(void *context, const void *bytes, size_t size_bytes, struct error *error)
{
    (void)error;
    digest_state_update(context, bytes, size_bytes);
    return true;
}

static bool pull_layer(const struct manifest_layer *layer, struct error *error)
{
    cleanup_digest_state struct digest_state *state = digest_state_new();
    if (!registry_fetch_blob(probe.client, &probe.reference, &layer->blob, BLOB_FROM_MIRRORS, hash,
                             state, &probe.cancel, error))
        return false;
    struct digest digest = digest_state_finish(state);
    if (!digest_equal(&digest, &layer->blob.digest))
        return error_set(error, ERROR_DIGEST_MISMATCH, "the layer has another digest");
    print_digest("layer", &digest);
    return true;
}

static bool fetch_entry(const struct index_entry *entry, struct registry_document *document,
                        struct manifest_document *manifest, struct error *error)
{
    return registry_fetch_manifest_by_digest(probe.client, &probe.reference,
                                             &entry->manifest.digest, &arena, &probe.cancel,
                                             document, error) &&
           manifest_parse(&arena, document->bytes, document->size_bytes, document->media_type,
                          manifest, error);
}

static bool fetch_image(struct registry_document *document, struct manifest_document *manifest,
                        const struct platform **platform, struct error *error)
{
    struct platform wanted;
    const struct index_entry *entry;
    if (!registry_fetch_manifest(probe.client, &probe.reference, &arena, &probe.cancel, document,
                                 error) ||
        !manifest_parse(&arena, document->bytes, document->size_bytes, document->media_type,
                        manifest, error))
        return false;
    if (manifest->kind == MEDIA_MANIFEST)
        return true;
    print_digest("index", &document->digest);
    if (!platform_parse(probe.platform, &wanted, error) ||
        !manifest_choose(manifest, &wanted, &entry, error))
        return false;
    *platform = entry->platform_is_known ? &entry->platform : NULL;
    return fetch_entry(entry, document, manifest, error);
}

static bool run_pull(struct error *error)
{
    struct registry_document document;
    struct manifest_document manifest;
    struct image_config config;
    const struct platform *platform = NULL;
    if (!fetch_image(&document, &manifest, &platform, error))
        return false;
    print_digest("manifest", &document.digest);
    if (!registry_fetch_config(probe.client, &probe.reference, &manifest.config, &arena,
                               &probe.cancel, &document, error) ||
        !image_config_parse(&arena, document.bytes, document.size_bytes, &config, error) ||
        !image_config_check(&config, manifest.layer_count, platform, error))
        return false;
    printf("config %s\n", image_config_detail_json(&arena, &config, &manifest.config.digest));
    for (size_t i = 0; i < manifest.layer_count; i++)
        if (!pull_layer(&manifest.layers[i], error))
            return false;
    return true;
}

static bool run_manifest(struct error *error)
{
    struct registry_document document;
    if (!registry_fetch_manifest(probe.client, &probe.reference, &arena, &probe.cancel, &document,
                                 error))
        return false;
    print_digest("digest", &document.digest);
    printf("media_type %s\n%s\n", document.media_type, document.bytes);
    return true;
}

static bool run_resolve(struct error *error)
{
    struct digest digest;
    if (!registry_resolve(probe.client, &probe.reference, &probe.cancel, &digest, error))
        return false;
    print_digest("digest", &digest);
    return true;
}

static bool run_command(const char *command, struct error *error)
{
    if (strcmp(command, "resolve") == 0)
        return run_resolve(error);
    if (strcmp(command, "manifest") == 0)
        return run_manifest(error);
    return run_pull(error);
}

static void *cancel_later(void *unused)
{
    (void)unused;
    nanosleep(&(struct timespec){.tv_sec = probe.cancel_after_ms / 1000,
                                 .tv_nsec = probe.cancel_after_ms % 1000 * 1000000},
              NULL);
    atomic_store(&probe.cancel, true);
    return NULL;
}

static void take_mirror(const char *text)
{
    struct error error;
    if (!registry_mirror_parse(text, &probe.mirror, &error))
        exit(2);
    probe.config.mirrors = &probe.mirror;
    probe.config.mirror_count = 1;
}

static void take_allowed(const char *glob)
{
    if (probe.config.allowed_registry_count == sizeof(probe.allow) / sizeof(probe.allow[0]))
        exit(2);
    probe.allow[probe.config.allowed_registry_count++] = glob;
}

static void take_option(int option)
{
    if (option == 'p')
        probe.platform = optarg;
    else if (option == 'd')
        probe.config.docker_config_path = optarg;
    else if (option == 'a')
        take_allowed(optarg);
    else if (option == 'i')
        probe.insecure = optarg;
    else if (option == 'm')
        take_mirror(optarg);
    else if (option == 't')
        probe.config.ca_path = optarg;
    else if (option == 'n')
        probe.config.max_attempts = (unsigned)strtoul(optarg, NULL, 10);
    else if (option == 's')
        probe.config.stall_timeout_seconds = (unsigned)strtoul(optarg, NULL, 10);
    else if (option == 'c')
        probe.cancel_after_ms = strtol(optarg, NULL, 10);
    else if (option == 'r')
        probe.repeat = strtol(optarg, NULL, 10);
    else if (option == 'j')
        probe.jobs = strtol(optarg, NULL, 10);
    else
        exit(2);
}

static void parse_options(int argc, char **argv)
{
    static const struct option options[] = {
        {"platform", required_argument, NULL, 'p'},
        {"docker-config", required_argument, NULL, 'd'},
        {"allow", required_argument, NULL, 'a'},
        {"insecure", required_argument, NULL, 'i'},
        {"mirror", required_argument, NULL, 'm'},
        {"ca", required_argument, NULL, 't'},
        {"attempts", required_argument, NULL, 'n'},
        {"stall-seconds", required_argument, NULL, 's'},
        {"cancel-after-ms", required_argument, NULL, 'c'},
        {"jobs", required_argument, NULL, 'j'},
        {"repeat", required_argument, NULL, 'r'},
        {NULL, 0, NULL, 0},
    };
    probe.platform = "linux/amd64";
    probe.repeat = 1;
    probe.jobs = 1;
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;)
        take_option(option);
    probe.config.allowed_registries = probe.allow;
    probe.config.insecure_registries = &probe.insecure;
    probe.config.insecure_registry_count = probe.insecure ? 1 : 0;
}

static void report(const struct error *error)
{
    printf("error %s %d %d %s\n", error_code_name(error->code), error->registry_status,
           error->retry_after_seconds, error->message);
    atomic_store(&probe.failed, true);
}

static void *run_job(void *unused)
{
    (void)unused;
    struct error error = {0};
    bool good = true;
    for (long i = 0; good && i < probe.repeat; i++)
        good = run_command(probe.command, &error);
    if (!good)
        report(&error);
    arena_free(&arena);
    return NULL;
}

static void run_jobs(void)
{
    enum { JOBS_MAX = 64 };
    pthread_t threads[JOBS_MAX];
    long started = 0;
    while (started < probe.jobs && started < JOBS_MAX &&
           pthread_create(&threads[started], NULL, run_job, NULL) == 0)
        started++;
    for (long i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
}

int main(int argc, char **argv)
{
    struct error error = {0};
    pthread_t canceller = 0;
    signal(SIGPIPE, SIG_IGN);
    parse_options(argc, argv);
    if (optind + 2 != argc)
        return 2;
    probe.command = argv[optind];
    if (!reference_parse(argv[optind + 1], &probe.reference, &error)) {
        report(&error);
        return 1;
    }
    probe.client = registry_client_new(&probe.config);
    if (probe.cancel_after_ms)
        pthread_create(&canceller, NULL, cancel_later, NULL);
    run_jobs();
    if (probe.cancel_after_ms)
        pthread_join(canceller, NULL);
    registry_client_free(probe.client);
    return probe.failed ? 1 : 0;
}
