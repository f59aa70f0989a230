#include "server/shapes.h"

#include "server/problem.h"
#include "store/blobdir.h"

#include <assert.h>
#include <stdio.h>

void shape_image_handle(struct json_writer *out, const char *key, const struct image_handle *handle)
{
    json_begin_object(out, key);
    json_write_text(out, "reference", handle->reference);
    json_write_text(out, "manifest_digest", handle->manifest_digest);
    json_write_text(out, "architecture", handle->architecture);
    json_write_text(out, "os", handle->os);
    json_write_int(out, "layer_count", handle->layer_count);
    json_write_int(out, "size_bytes", handle->size_bytes);
    json_write_int(out, "created_at", handle->created_at_ms);
    json_write_int(out, "last_used_at", handle->last_used_at_ms);
    json_end_object(out);
}

static void write_layer(struct json_writer *out, const struct image_layer *layer)
{
    json_begin_object(out, NULL);
    json_write_text(out, "diff_id", layer->diff_id);
    json_write_text(out, "blob_digest", layer->blob_digest);
    json_write_text(out, "media_type", layer->media_type);
    json_write_int(out, "compressed_size_bytes", layer->compressed_size_bytes);
    json_write_int(out, "erofs_size_bytes", layer->erofs_size_bytes);
    json_write_int(out, "position", layer->position);
    json_end_object(out);
}

/* A file to attach. The catalogue's checks make its digests well-formed. */
static void write_file(struct json_writer *out, const char *key, enum blob_kind kind,
                       const char *digest_text, const char *url_prefix, const char *url_suffix,
                       int64_t size_bytes)
{
    struct digest digest;
    char path[BLOB_PATH_SIZE];
    char url[160];
    bool parsed = digest_parse(digest_text, &digest);
    assert(parsed);
    blob_path(kind, &digest, path);
    snprintf(url, sizeof(url), "%s%s%s", url_prefix, digest_text, url_suffix);

    json_begin_object(out, key);
    json_write_text(out, "path", path);
    json_write_text(out, "url", url);
    json_write_int(out, "size_bytes", size_bytes);
    json_end_object(out);
}

static void write_files(struct json_writer *out, const struct image_detail *detail)
{
    const char *digest = detail->handle.manifest_digest;
    json_begin_object(out, "files");
    write_file(out, "fsmeta", BLOB_FSMETA, digest, "/manifests/", "/fsmeta",
               detail->fsmeta_size_bytes);
    write_file(out, "vmdk", BLOB_VMDK, digest, "/manifests/", "/vmdk", detail->vmdk_size_bytes);
    json_begin_array(out, "layers");
    for (size_t i = 0; i < detail->layer_count; i++)
        write_file(out, NULL, BLOB_LAYER, detail->layers[i].diff_id, "/layers/", "",
                   detail->layers[i].erofs_size_bytes);
    json_end_array(out);
    json_end_object(out);
}

void shape_image_parts(struct json_writer *out, const struct image_detail *detail)
{
    json_write_raw(out, "config", detail->config_json);
    json_begin_array(out, "layers");
    for (size_t i = 0; i < detail->layer_count; i++)
        write_layer(out, &detail->layers[i]);
    json_end_array(out);
    write_files(out, detail);
}

void shape_image_detail(struct json_writer *out, const char *key, const struct image_detail *detail)
{
    json_begin_object(out, key);
    shape_image_handle(out, "handle", &detail->handle);
    shape_image_parts(out, detail);
    json_end_object(out);
}

void shape_sandbox_begin(struct json_writer *out, const char *key, const struct sandbox *sandbox)
{
    json_begin_object(out, key);
    json_write_text(out, "id", sandbox->id);
    json_write_text(out, "host", sandbox->host);
    json_write_raw(out, "rootfs", sandbox->rootfs_json);
    json_write_int(out, "created_at", sandbox->created_at_ms);
    if (sandbox->expires)
        json_write_int(out, "expires_at", sandbox->expires_at_ms);
    else
        json_write_null(out, "expires_at");
}

void shape_sandbox(struct json_writer *out, const char *key, const struct sandbox *sandbox)
{
    shape_sandbox_begin(out, key, sandbox);
    if (sandbox->image)
        shape_image_detail(out, "image", sandbox->image);
    else
        json_write_null(out, "image");
    json_end_object(out);
}

void shape_snapshot(struct json_writer *out, const char *key, const struct snapshot *snapshot)
{
    json_begin_object(out, key);
    json_write_text(out, "id", snapshot->id);
    json_write_text(out, "manifest_digest", snapshot->manifest_digest);
    json_write_int(out, "created_at", snapshot->created_at_ms);
    json_end_object(out);
}

void shape_pin(struct json_writer *out, const char *key, const struct pin *pin)
{
    json_begin_object(out, key);
    json_write_text(out, "reference", pin->pattern);
    json_write_int(out, "created_at", pin->created_at_ms);
    json_end_object(out);
}

/* 0 is "not yet". */
static void write_time(struct json_writer *out, const char *key, int64_t time_ms)
{
    if (time_ms != 0)
        json_write_int(out, key, time_ms);
    else
        json_write_null(out, key);
}

static void write_pull_layer(struct json_writer *out, const struct pull_layer *layer)
{
    json_begin_object(out, NULL);
    json_write_int(out, "position", layer->position);
    json_write_text(out, "diff_id", layer->diff_id);
    json_write_text(out, "blob_digest", layer->blob_digest);
    json_write_text(out, "media_type", layer->media_type);
    json_write_text(out, "state", layer->state);
    json_write_int(out, "total_bytes", layer->total_bytes);
    json_write_int(out, "received_bytes", layer->received_bytes);
    json_write_int(out, "tar_bytes", layer->tar_bytes);
    json_end_object(out);
}

static void write_pull_times(struct json_writer *out, const struct pull *pull)
{
    json_write_int(out, "created_at", pull->created_at_ms);
    write_time(out, "started_at", pull->started_at_ms);
    write_time(out, "finished_at", pull->finished_at_ms);
}

void shape_pull(struct json_writer *out, const char *key, const struct pull *pull,
                const struct image_handle *image)
{
    json_begin_object(out, key);
    json_write_text(out, "id", pull->id);
    json_write_text(out, "reference", pull->reference);
    json_write_text(out, "platform", pull->platform);
    json_write_text(out, "policy", pull_policy_name(pull->policy));
    json_write_bool(out, "force", pull->force);
    json_write_text(out, "state", pull_state_name(pull->state));
    json_write_text(out, "manifest_digest", pull->manifest_digest);
    json_write_text(out, "node", pull->node_id);
    write_pull_times(out, pull);
    json_begin_array(out, "layers");
    for (size_t i = 0; i < pull->layer_count; i++)
        write_pull_layer(out, &pull->layers[i]);
    json_end_array(out);
    if (pull->has_error)
        problem_write(out, "error",
                      &(struct problem){.error = &pull->error, .reference = pull->reference});
    else
        json_write_null(out, "error");
    if (image)
        shape_image_handle(out, "image", image);
    else
        json_write_null(out, "image");
    json_end_object(out);
}

/* What goes out of the catalogue is the same for a prune and its rehearsal. */
static void write_removal(struct json_writer *out, const struct removal *removal)
{
    json_write_int(out, "image_refs_removed", removal->references);
    json_write_int(out, "manifests_removed", removal->manifests);
    json_write_int(out, "layers_removed", removal->layers);
}

void shape_prune_estimate(struct json_writer *out, const struct removal *removal)
{
    json_begin_object(out, NULL);
    write_removal(out, removal);
    json_write_int(out, "fsmeta_removed", removal->manifests); /* one of each a manifest */
    json_write_int(out, "vmdk_removed", removal->manifests);
    json_write_int(out, "bytes_reclaimed", removal->allocated_bytes);
    json_write_bool(out, "dry_run", true);
    json_end_object(out);
}

void shape_prune_report(struct json_writer *out, const struct removal *removal,
                        const struct reaped *reaped)
{
    json_begin_object(out, NULL);
    write_removal(out, removal);
    json_write_int(out, "fsmeta_removed", reaped ? reaped->fsmeta_files : 0);
    json_write_int(out, "vmdk_removed", reaped ? reaped->vmdk_files : 0);
    if (reaped)
        json_write_int(out, "bytes_reclaimed", reaped->bytes);
    else
        json_write_null(out, "bytes_reclaimed");
    json_write_bool(out, "dry_run", false);
    json_end_object(out);
}
