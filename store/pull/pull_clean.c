/* tmp/ as a node looks at it from time to time: whether it answers, and what killed nodes left. */
#include "store/pull/pull_task.h"

#include <stdlib.h>

/* From a node's first draft to its first heartbeat. */
enum { START_MS = 10 * 1000 };

static void free_names(char **names)
{
    for (size_t i = 0; names && names[i]; i++)
        free(names[i]);
    free(names);
}

static void clean_node(const struct puller_config *config, const char *node_id)
{
    struct error error;
    if (!blobdir_remove_node(config->blobdir, node_id, &error))
        config->log(config->log_context, "cleaning tmp/ failed", NULL, &error, node_id);
}

/* A node tries the directory before it registers itself: one that is young may be starting. */
static void clean_unknown_node(const struct puller_config *config, const char *node_id)
{
    struct blobdir *blobdir = config->blobdir;
    struct blob_state state;
    struct error ignored; /* the next time does it */
    int64_t now_ms = 0;
    if (blobdir_now_ms(blobdir, &now_ms, &ignored) &&
        blobdir_look_at_draft(blobdir, node_id, &state, &ignored) && state.exists &&
        state.changed_at_ms < now_ms - START_MS)
        clean_node(config, node_id);
}

void pull_ask_directory(const struct puller_config *config)
{
    struct error ignored; /* it answered */
    free_names(blobdir_list_nodes(config->blobdir, &ignored));
}

void pull_clean_dead_nodes(const struct puller_config *config)
{
    struct error error;
    cleanup_arena struct arena arena = {0};
    struct id_list dead = {0};
    struct id_list unknown = {0};
    char **names = blobdir_list_nodes(config->blobdir, &error);
    if (names && catalogue_dead_nodes(config->catalogue, config->node_id, names, &arena, &dead,
                                      &unknown, &error)) {
        for (size_t i = 0; i < unknown.count; i++)
            clean_unknown_node(config, unknown.ids[i]);
        for (size_t i = 0; i < dead.count; i++)
            clean_node(config, dead.ids[i]);
    }
    free_names(names);
}
