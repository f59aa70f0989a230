#include "store/unknown_files.h"

#include "store/blob_list.h"

#include <stdlib.h>

enum { FILES_A_BATCH = 1000 };

static const struct statement find_unknown[BLOB_KIND_COUNT] = {
    [BLOB_LAYER] = {"unknown_layers", "SELECT k FROM unnest($1::text[]) k"
                                      " WHERE NOT EXISTS (SELECT FROM layers WHERE diff_id = k)"
                                      "   AND NOT EXISTS (SELECT FROM condemned_files"
                                      "                    WHERE kind = 'layer' AND digest = k)"},
    [BLOB_FSMETA] = {"unknown_fsmeta", "SELECT k FROM unnest($1::text[]) k"
                                       " WHERE NOT EXISTS (SELECT FROM manifests WHERE digest = k)"
                                       "   AND NOT EXISTS (SELECT FROM condemned_files"
                                       "                    WHERE kind = 'fsmeta' AND digest = k)"},
    [BLOB_VMDK] = {"unknown_vmdk", "SELECT k FROM unnest($1::text[]) k"
                                   " WHERE NOT EXISTS (SELECT FROM manifests WHERE digest = k)"
                                   "   AND NOT EXISTS (SELECT FROM condemned_files"
                                   "                    WHERE kind = 'vmdk' AND digest = k)"},
    [BLOB_MANIFEST] = {"unknown_descriptions",
                       "SELECT k FROM unnest($1::text[]) k"
                       " WHERE NOT EXISTS (SELECT FROM image_refs"
                       "                    WHERE description_digest(reference) = k)"
                       "   AND NOT EXISTS (SELECT FROM condemned_files"
                       "                    WHERE kind = 'manifest' AND digest = k)"},
};

bool unknown_files_find(struct catalogue *catalogue, enum blob_kind kind, const struct digest *keys,
                        size_t count, struct arena *arena, struct unknown_files *unknown,
                        struct error *error)
{
    const char **texts = arena_alloc_array(arena, count, sizeof(*texts));
    for (size_t i = 0; i < count; i++) {
        char *text = arena_alloc(arena, DIGEST_TEXT_SIZE);
        digest_format(&keys[i], text);
        texts[i] = text;
    }
    cleanup_session struct catalogue_session *session = catalogue_acquire(catalogue, error);
    struct rows rows;
    /* Of what a prune has just condemned, a plan from before knows nothing. */
    if (!session || !session_begin_batch(session, error) ||
        !QUERY(session, &find_unknown[kind], arena, &rows, error,
               parameter_text_array(arena, texts, count)))
        return false;
    unknown->count = rows.count;
    unknown->keys = arena_alloc_array(arena, rows.count, sizeof(*unknown->keys));
    for (size_t row = 0; row < rows.count; row++)
        if (!digest_parse(rows_text(&rows, row, 0), &unknown->keys[row]))
            abort(); /* it is one of those we asked about */
    return true;
}

static bool look_at_batch(const struct unknown_walk *walk, enum blob_kind kind,
                          const struct blob_entry *entries, size_t count, struct arena *arena,
                          struct error *error)
{
    struct digest *keys = arena_alloc_array(arena, count, sizeof(*keys));
    size_t key_count = 0;
    for (size_t i = 0; i < count; i++) {
        if (entries[i].is_blob)
            keys[key_count++] = entries[i].key;
        else if (walk->foreign && !walk->foreign(walk->context, kind, entries[i].name, error))
            return false;
    }
    struct unknown_files unknown;
    if (!unknown_files_find(walk->catalogue, kind, keys, key_count, arena, &unknown, error))
        return false;
    for (size_t i = 0; i < unknown.count; i++)
        if (!walk->unknown(walk->context, &(struct blob_id){kind, unknown.keys[i]}, error))
            return false;
    return true;
}

bool unknown_files_walk(const struct unknown_walk *walk, enum blob_kind kind, struct error *error)
{
    cleanup_blob_list struct blob_list *list = blob_list_open(walk->blobdir, kind, error);
    bool is_last = false;
    while (list && !is_last) {
        cleanup_arena struct arena arena = {0};
        struct blob_entry *entries = NULL;
        size_t count = 0;
        if (!blob_list_next(list, FILES_A_BATCH, &arena, &entries, &count, error) ||
            !look_at_batch(walk, kind, entries, count, &arena, error))
            return false;
        is_last = count < FILES_A_BATCH;
        if (walk->go_on && !walk->go_on(walk->context, count, is_last))
            break;
    }
    return list;
}
