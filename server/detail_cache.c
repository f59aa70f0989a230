#include "server/detail_cache.h"

#include "server/cache_lease.h"
#include "server/read_cache.h"
#include "server/shapes.h"

#include <stdio.h>
#include <string.h>

/* Of the manifest's parts, whose removal is logged by its digest. */
static struct cache_key key_of(const struct node *node, const char *manifest_digest, char *text,
                               size_t size)
{
    int length = snprintf(text, size, "d%s", manifest_digest);
    return (struct cache_key){
        .text = text,
        .length = (size_t)length,
        .change = read_cache_change(node->cache, manifest_digest),
    };
}

/* From the catalogue into memory; held. NULL with the error. */
static struct cached_answer *fill(struct node *node, const struct cache_key *key,
                                  const char *manifest_digest, struct error *error)
{
    cleanup_arena struct arena arena = {0};
    cleanup_json_writer struct json_writer parts = {0};
    struct image_detail detail;
    struct cache_ticket ticket = read_cache_ticket(node->cache, key->change);
    if (!catalogue_find_details(node->catalogue, manifest_digest, &arena, &detail, error))
        return NULL;
    shape_image_parts(&parts, &detail);
    struct cached_answer *answer =
        cached_answer_new(node->cache, key, parts.bytes, parts.size_bytes);
    read_cache_store(node->cache, answer, ticket);
    return answer;
}

bool detail_cache_write(struct node *node, struct json_writer *out, size_t room_bytes,
                        const struct image_handle *handle, struct error *error)
{
    static const char key[] = "image";
    char text[DIGEST_TEXT_SIZE + 1];
    struct cache_key wanted = key_of(node, handle->manifest_digest, text, sizeof(text));
    struct cached_answer *parts =
        cache_lease_is_valid(node->lease) ? read_cache_find(node->cache, &wanted) : NULL;
    if (!parts)
        parts = fill(node, &wanted, handle->manifest_digest, error);
    if (!parts && error->code == ERROR_IMAGE_NOT_FOUND) {
        json_write_null(out, key);
        return true;
    }
    if (!parts)
        return false;
    if (parts->body_size_bytes <= room_bytes) {
        json_begin_object(out, key);
        shape_image_handle(out, "handle", handle);
        json_append(out, ",", 1);
        json_append(out, parts->body, parts->body_size_bytes);
        json_end_object(out);
    } else {
        json_write_null(out, key);
    }
    cached_answer_release(parts);
    return true;
}
