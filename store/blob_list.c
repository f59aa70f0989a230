#include "store/blob_list.h"

#include "store/blobdir_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

struct blob_list {
    enum blob_kind kind;
    DIR *directory; /* owned */
};

struct blob_list *blob_list_open(struct blobdir *blobdir, enum blob_kind kind, struct error *error)
{
    /* A description of its own: a DIR moves the offset that copies would share. */
    cleanup_fd int fd = openat(blobdir->kind_fds[kind], ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *directory = fd < 0 ? NULL : fdopendir(fd);
    if (!directory) {
        (void)error_set_errno(error, ERROR_INTERNAL, errno, "cannot list \"%s\"",
                              blob_kinds[kind].directory);
        return NULL;
    }
    (void)steal_fd(&fd);
    struct blob_list *list = calloc(1, sizeof(*list));
    if (!list)
        abort();
    *list = (struct blob_list){kind, directory};
    return list;
}

void blob_list_close(struct blob_list *list)
{
    if (!list)
        return;
    closedir(list->directory);
    free(list);
}

/* True for <prefix><64 hex><suffix>, and the key in it; *rest is what follows. */
static bool parse_name(enum blob_kind kind, const char *name, struct digest *key, const char **rest)
{
    const struct blob_kind_row *row = &blob_kinds[kind];
    size_t prefix = strlen(row->prefix);
    size_t suffix = strlen(row->suffix);
    size_t hex = DIGEST_HEX_SIZE - 1;
    if (strlen(name) < prefix + hex + suffix || strncmp(name, row->prefix, prefix) != 0 ||
        strncmp(name + prefix + hex, row->suffix, suffix) != 0)
        return false;
    char text[DIGEST_TEXT_SIZE];
    snprintf(text, sizeof(text), "sha256:%.*s", (int)hex, name + prefix);
    *rest = name + prefix + hex + suffix;
    return digest_parse(text, key);
}

static bool is_left_out(const char *name, bool is_named_after_a_blob, const char *rest)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || strncmp(name, ".nfs", 4) == 0 ||
           (is_named_after_a_blob && strcmp(rest, ".lock") == 0);
}

bool blob_list_next(struct blob_list *list, size_t limit, struct arena *arena,
                    struct blob_entry **entries, size_t *count, struct error *error)
{
    *entries = arena_alloc_array(arena, limit, sizeof(**entries));
    *count = 0;
    while (*count < limit) {
        errno = 0;
        const struct dirent *found = readdir(list->directory);
        if (!found)
            return errno == 0 || error_set_errno(error, ERROR_INTERNAL, errno, "cannot list \"%s\"",
                                                 blob_kinds[list->kind].directory);
        struct blob_entry entry = {0};
        const char *rest = "";
        bool named = parse_name(list->kind, found->d_name, &entry.key, &rest);
        if (is_left_out(found->d_name, named, rest))
            continue;
        entry.name = arena_strdup(arena, found->d_name);
        entry.is_blob = named && *rest == '\0';
        (*entries)[(*count)++] = entry;
    }
    return true;
}
