/* The list of images. (One of them: image_find.c.) */
#include "store/catalogue/images.h"

#include "store/catalogue/image_reads.h"
#include "store/catalogue/image_rows.h"
#include "store/catalogue/page_token.h"

#include <assert.h>

enum { KEY_PARTS = 5 }; /* created_at, reference, os, architecture, variant */

/* $1 to $6 filter. */
#define FILTERS                                                                                    \
    "($1::text IS NULL OR r.reference = $1)"                                                       \
    "   AND ($2::text IS NULL OR r.reference LIKE glob_to_like($2))"                               \
    "   AND ($3::text IS NULL OR r.manifest_digest = $3)"                                          \
    "   AND ($4::text IS NULL OR r.architecture = $4)"                                             \
    "   AND ($5::text IS NULL OR r.os = $5)"                                                       \
    "   AND ($6::boolean IS NULL OR $6 = ("                                                        \
    "           EXISTS (SELECT FROM sandboxes s WHERE s.held_digest = r.manifest_digest"           \
    "                      AND (s.expires_at IS NULL OR s.expires_at > now()))"                    \
    "        OR EXISTS (SELECT FROM snapshots s WHERE s.held_digest = r.manifest_digest)))"

/* The order of image_refs_newest. $7 to $11 are the key of the row before, $12 is the limit; one
 * row more tells whether there is a next page. coalesce() instead of IS NULL OR keeps the key an
 * index condition when PostgreSQL plans for all values at once. */
#define LIST_WHERE(filters)                                                                        \
    "SELECT " HANDLE_COLUMNS ", r.created_at"                                                      \
    "  FROM image_refs r JOIN manifests m ON m.digest = r.manifest_digest"                         \
    " WHERE " filters "   AND r.created_at <= coalesce($7::timestamptz, 'infinity')"               \
    "   AND (r.created_at < coalesce($7::timestamptz, 'infinity')"                                 \
    "        OR (r.reference, r.os, r.architecture, r.variant) > ($8, $9, $10, $11))"              \
    " ORDER BY r.created_at DESC, r.reference, r.os, r.architecture, r.variant"                    \
    " LIMIT $12::bigint + 1"

/* Plans for all values at once: a filter that may be NULL is no index condition, so those that few
 * images pass have a statement each. Of CASE PostgreSQL expects to leave half, and so it goes
 * through the newest until it has a page; of the filters as they are it expects to leave one row,
 * and reads and sorts every image. */
const struct statement *image_list_statement(const struct image_filter *filter)
{
    static const struct statement by_reference = {
        "image_list_by_reference", LIST_WHERE("r.reference = $1::text AND " FILTERS)};
    static const struct statement by_manifest = {
        "image_list_by_manifest", LIST_WHERE("r.manifest_digest = $3::text AND " FILTERS)};
    static const struct statement newest = {"image_list_newest",
                                            LIST_WHERE("CASE WHEN " FILTERS " THEN true END")};
    if (filter->reference)
        return &by_reference;
    return filter->manifest_digest ? &by_manifest : &newest;
}

static const char *in_use_parameter(enum image_use use)
{
    return use == IN_USE_ANY ? NULL : parameter_bool(use == IN_USE_YES);
}

static const char *token_behind(const struct rows *rows, size_t row,
                                const struct image_handle *image, struct arena *arena)
{
    const char *const key[KEY_PARTS] = {rows_text(rows, row, HANDLE_COLUMN_COUNT), image->reference,
                                        image->os, image->architecture, image->variant};
    return page_token_format(arena, "images", key, KEY_PARTS);
}

bool image_list_parameters(const struct image_filter *filter, size_t limit, const char *page_token,
                           struct arena *arena, const char *parameters[IMAGE_LIST_PARAMETERS],
                           struct error *error)
{
    assert(limit > 0);
    const char *after[KEY_PARTS] = {0};
    if (page_token && !page_token_parse(page_token, "images", arena, after, KEY_PARTS, error))
        return false;
    const char *const values[IMAGE_LIST_PARAMETERS] = {
        filter->reference,
        filter->reference_glob,
        filter->manifest_digest,
        filter->architecture,
        filter->os,
        in_use_parameter(filter->in_use),
        after[0],
        after[1],
        after[2],
        after[3],
        after[4],
        parameter_int(arena, (int64_t)limit),
    };
    for (size_t i = 0; i < IMAGE_LIST_PARAMETERS; i++)
        parameters[i] = values[i];
    return true;
}

void image_list_read(const struct rows *rows, size_t limit, struct arena *arena,
                     struct image_page *page)
{
    page->count = rows->count < limit ? rows->count : limit;
    page->images = arena_alloc_array(arena, page->count, sizeof(*page->images));
    for (size_t row = 0; row < page->count; row++)
        handle_read(rows, row, 0, &page->images[row]);
    page->next_page_token =
        rows->count > limit ? token_behind(rows, limit - 1, &page->images[limit - 1], arena) : NULL;
}

bool catalogue_list_images(struct catalogue *catalogue, const struct image_filter *filter,
                           size_t limit, const char *page_token, struct arena *arena,
                           struct image_page *page, struct error *error)
{
    const char *parameters[IMAGE_LIST_PARAMETERS];
    if (!image_list_parameters(filter, limit, page_token, arena, parameters, error))
        return false;
    cleanup_session struct catalogue_session *session = catalogue_acquire(catalogue, error);
    struct rows rows;
    if (!session || !session_query(session, image_list_statement(filter), parameters,
                                   IMAGE_LIST_PARAMETERS, arena, &rows, error))
        return false;
    image_list_read(&rows, limit, arena, page);
    return true;
}
