/* Finding one image: by reference or digest, for the platform that is meant. */
#include "store/catalogue/image_reads.h"
#include "store/catalogue/image_rows.h"

#include <string.h>

/* The usual reference has no digest: then one index does. Else $1 is the canonical reference, $2
 * its name, $3 its digest, and each of the three has an index: the primary key,
 * image_refs_by_manifest, image_refs_by_index. */
#define IS_CALLED " WHERE r.reference = $1"
#define IS_MEANT                                                                                   \
    " WHERE (r.reference = $1"                                                                     \
    "        OR (r.name = $2 AND r.manifest_digest = $3)"                                          \
    "        OR (r.name = $2 AND r.index_digest = $3))"
/* The very reference comes before what only has its digest. */
#define BEST_FIRST " ORDER BY r.reference <> $1, r.reference, r.os, r.architecture, r.variant"

#define FIND(which)                                                                                \
    "SELECT " HANDLE_COLUMNS "  FROM image_refs r"                                                 \
    "  JOIN manifests m ON m.digest = r.manifest_digest" which BEST_FIRST
#define INSPECT(which)                                                                             \
    "SELECT " HANDLE_COLUMNS ", " DETAIL_COLUMNS "  FROM image_refs r"                             \
    "  JOIN manifests m ON m.digest = r.manifest_digest" DETAIL_JOINS which BEST_FIRST             \
    ", ml.position"
static const struct statement find_by_name = {"image_find", FIND(IS_CALLED)};
static const struct statement find_by_digest = {"image_find_digest", FIND(IS_MEANT)};
static const struct statement inspect_by_name = {"image_inspect", INSPECT(IS_CALLED)};
static const struct statement inspect_by_digest = {"image_inspect_digest", INSPECT(IS_MEANT)};

const struct statement *image_find_statement(const struct reference *reference)
{
    return reference->digest[0] ? &find_by_digest : &find_by_name;
}

const struct statement *image_inspect_statement(const struct reference *reference)
{
    return reference->digest[0] ? &inspect_by_digest : &inspect_by_name;
}

size_t image_parameters(const struct reference *reference, struct arena *arena,
                        const char *parameters[IMAGE_PARAMETERS_MAX])
{
    char text[REFERENCE_TEXT_SIZE];
    reference_format(reference, text);
    parameters[0] = arena_strdup(arena, text);
    if (!reference->digest[0])
        return 1;
    reference_format_name(reference, text);
    parameters[1] = arena_strdup(arena, text);
    parameters[2] = reference->digest;
    return IMAGE_PARAMETERS_MAX;
}

static bool query(struct catalogue_session *session, const struct statement *statement,
                  const struct reference *reference, struct arena *arena, struct rows *rows,
                  struct error *error)
{
    const char *parameters[IMAGE_PARAMETERS_MAX];
    size_t count = image_parameters(reference, arena, parameters);
    return session_query(session, statement, parameters, count, arena, rows, error);
}

/* The first row of the image that suits the platform best; false when none does. */
static bool find_suiting(const struct rows *rows, const struct platform *wanted, size_t *first_row)
{
    int best = -1;
    for (size_t row = 0; row < rows->count; row++) {
        struct image_handle handle;
        handle_read(rows, row, 0, &handle);
        struct platform offered = handle_platform(&handle);
        int rank = platform_rank(wanted, &offered);
        if (rank >= 0 && (best < 0 || rank < best)) {
            best = rank;
            *first_row = row;
        }
    }
    return best >= 0;
}

static bool all_of_one_platform(const struct rows *rows)
{
    struct image_handle first;
    handle_read(rows, 0, 0, &first);
    struct platform platform = handle_platform(&first);
    for (size_t row = 1; row < rows->count; row++) {
        struct image_handle handle;
        handle_read(rows, row, 0, &handle);
        struct platform other = handle_platform(&handle);
        if (!platform_equal(&platform, &other))
            return false;
    }
    return true;
}

/* "linux/amd64, linux/arm64": each platform of the rows once. */
static const char *name_platforms(const struct rows *rows, struct arena *arena)
{
    const char *names = "";
    for (size_t row = 0; row < rows->count; row++) {
        if (row > 0 && handle_rows_equal(rows, row - 1, row))
            continue;
        struct image_handle handle;
        handle_read(rows, row, 0, &handle);
        struct platform platform = handle_platform(&handle);
        char text[PLATFORM_TEXT_SIZE];
        platform_format(&platform, text);
        if (!strstr(names, text))
            names = arena_printf(arena, "%s%s%s", names, *names ? ", " : "", text);
    }
    return names;
}

static bool choose(const struct rows *rows, const struct reference *reference,
                   const struct platform_choice *choice, struct arena *arena, size_t *first_row,
                   struct error *error)
{
    const struct platform *wanted = choice->wanted ? choice->wanted : choice->preferred;
    char text[REFERENCE_TEXT_SIZE];
    reference_format(reference, text);
    if (rows->count == 0)
        return error_set(error, ERROR_IMAGE_NOT_FOUND, "the image \"%s\" is not in the cache",
                         text);
    if (find_suiting(rows, wanted, first_row))
        return true;
    if (!choice->wanted && all_of_one_platform(rows)) {
        *first_row = 0;
        return true;
    }
    char platform[PLATFORM_TEXT_SIZE];
    platform_format(wanted, platform);
    return error_set(error, ERROR_PLATFORM_NOT_FOUND,
                     "the image \"%s\" is in the cache for %s, not for %s; name one with platform=",
                     text, name_platforms(rows, arena), platform);
}

bool image_find_read(const struct rows *rows, const struct reference *reference,
                     const struct platform_choice *choice, struct arena *arena,
                     struct image_handle *handle, struct error *error)
{
    size_t row = 0;
    if (!choose(rows, reference, choice, arena, &row, error))
        return false;
    handle_read(rows, row, 0, handle);
    return true;
}

bool image_inspect_read(const struct rows *rows, const struct reference *reference,
                        const struct platform_choice *choice, struct arena *arena,
                        struct image_detail *detail, struct error *error)
{
    size_t first_row = 0;
    if (!choose(rows, reference, choice, arena, &first_row, error))
        return false;
    size_t end = first_row + 1;
    while (end < rows->count && handle_rows_equal(rows, first_row, end))
        end++;
    handle_read(rows, first_row, 0, &detail->handle);
    detail_read(rows, first_row, end - first_row, HANDLE_COLUMN_COUNT, arena, detail);
    return true;
}

bool catalogue_find_image(struct catalogue *catalogue, const struct reference *reference,
                          const struct platform_choice *choice, struct arena *arena,
                          struct image_handle *handle, struct error *error)
{
    cleanup_session struct catalogue_session *session = catalogue_acquire(catalogue, error);
    struct rows rows;
    return session &&
           query(session, image_find_statement(reference), reference, arena, &rows, error) &&
           image_find_read(&rows, reference, choice, arena, handle, error);
}

bool image_inspect(struct catalogue_session *session, const struct reference *reference,
                   const struct platform_choice *choice, struct arena *arena,
                   struct image_detail *detail, struct error *error)
{
    struct rows rows;
    return query(session, image_inspect_statement(reference), reference, arena, &rows, error) &&
           image_inspect_read(&rows, reference, choice, arena, detail, error);
}

bool catalogue_inspect_image(struct catalogue *catalogue, const struct reference *reference,
                             const struct platform_choice *choice, struct arena *arena,
                             struct image_detail *detail, struct error *error)
{
    cleanup_session struct catalogue_session *session = catalogue_acquire(catalogue, error);
    return session && image_inspect(session, reference, choice, arena, detail, error);
}
