/* /healthz, /readyz and /version. */
#include "server/cache_lease.h"
#include "server/http_server.h"
#include "server/node.h"
#include "server/options.h"
#include "server/resources.h"
#include "store/blobdir.h"
#include "store/catalogue/catalogue.h"

bool health_alive(struct request *request, struct error *error)
{
    (void)error;
    cleanup_json_writer struct json_writer out = {0};
    json_begin_object(&out, NULL);
    json_write_text(&out, "status", "ok");
    json_end_object(&out);
    request_answer_json(request, 200, &out);
    return true;
}

/* A file can be made there, on the same filesystem where drafts are. */
static bool check_blob_directory(struct blobdir *blobdir, struct error *error)
{
    struct digest key = digest_of("readyz", 6);
    struct blob_draft *draft = blob_draft_new(blobdir, BLOB_LAYER, &key, error);
    blob_draft_free(draft);
    return draft;
}

static const char *status_name(bool ready)
{
    return ready ? "ready" : "not_ready";
}

static void write_check(struct json_writer *out, const char *name, bool ready,
                        const struct error *why)
{
    json_begin_object(out, name);
    json_write_text(out, "status", status_name(ready));
    json_write_text(out, "detail", ready ? NULL : why->message);
    json_end_object(out);
}

/* The catalogue was heard of lately enough for reads from memory. */
static bool check_memory(const struct node *node, struct error *error)
{
    int64_t age_ms = cache_lease_age_us(node->lease) / 1000;
    return age_ms <= (int64_t)node->options->max_stale_if_error_ms ||
           error_set(error, ERROR_CATALOGUE_UNAVAILABLE,
                     "PostgreSQL was not heard of for %lld s: what is in memory is too old",
                     (long long)(age_ms / 1000));
}

static bool check_catalogue(struct request *request, struct error *error)
{
    return http_server_is_connected(request->server, error) &&
           catalogue_ping(request->node->catalogue, error);
}

bool health_ready(struct request *request, struct error *error)
{
    struct error no_catalogue;
    struct error no_blobs;
    bool reads = false;
    if (!request_query_bool(request, "reads", false, &reads, error))
        return false;
    bool catalogue = http_server_takes_requests(request->server, &no_catalogue) &&
                     (reads ? check_memory(request->node, &no_catalogue)
                            : check_catalogue(request, &no_catalogue));
    bool blobs = check_blob_directory(request->node->blobdir, &no_blobs);
    cleanup_json_writer struct json_writer out = {0};
    json_begin_object(&out, NULL);
    json_write_text(&out, "status", status_name(catalogue && blobs));
    json_begin_object(&out, "checks");
    write_check(&out, "catalogue", catalogue, &no_catalogue);
    write_check(&out, "blob_directory", blobs, &no_blobs);
    json_end_object(&out);
    json_end_object(&out);
    request_answer_json(request, catalogue && blobs ? 200 : 503, &out);
    if (!catalogue || !blobs)
        request_add_header(request, MHD_HTTP_HEADER_RETRY_AFTER, "1");
    return true;
}

bool version_show(struct request *request, struct error *error)
{
    (void)error;
    cleanup_json_writer struct json_writer out = {0};
    json_begin_object(&out, NULL);
    json_write_text(&out, "version", LARDER_VERSION);
    json_end_object(&out);
    request_answer_json(request, 200, &out);
    return true;
}
