/* tmp/: whose drafts are whose, and which are nobody's any more. */
#include "store/blobdir_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

/* 8-4-4-4-12 hex digits (RFC 9562). microsandbox's names under tmp/ have none of that form. */
static bool is_node_id(const char *name)
{
    static const char form[] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
    for (size_t i = 0; form[i]; i++)
        if (form[i] == '-' ? name[i] != '-' : !name[i] || !strchr("0123456789abcdef", name[i]))
            return false;
    return name[sizeof(form) - 1] == '\0';
}

static bool is_dots(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

static DIR *open_listing(int parent, const char *name, struct error *error)
{
    cleanup_fd int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    DIR *directory = fd < 0 ? NULL : fdopendir(fd);
    if (directory)
        (void)steal_fd(&fd);
    else
        (void)error_set_errno(error, ERROR_INTERNAL, errno, "cannot list \"tmp/%s\"", name);
    return directory;
}

static void close_listing(DIR **directory)
{
    if (*directory)
        closedir(*directory);
}

/* Unlinks all files of a directory; drafts have no directories below them. */
static bool empty_directory(int fd, const char *name, struct error *error)
{
    cleanup(close_listing) DIR *directory = open_listing(fd, ".", error);
    if (!directory)
        return error_context(error, "%s", name);
    bool emptied = true;
    for (struct dirent *entry = readdir(directory); entry && emptied; entry = readdir(directory)) {
        if (!is_dots(entry->d_name) && unlinkat(fd, entry->d_name, 0) < 0 && errno != ENOENT)
            emptied = error_set_errno(error, ERROR_INTERNAL, errno, "cannot remove \"%s/%s\"", name,
                                      entry->d_name);
    }
    return emptied;
}

bool blobdir_remove_node(struct blobdir *blobdir, const char *node_id, struct error *error)
{
    cleanup_fd int fd =
        openat(blobdir->tmp_fd, node_id, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 && errno == ENOENT)
        return true;
    if (fd < 0)
        return error_set_errno(error, ERROR_INTERNAL, errno, "cannot open \"tmp/%s\"", node_id);
    if (!empty_directory(fd, node_id, error))
        return false;
    if (unlinkat(blobdir->tmp_fd, node_id, AT_REMOVEDIR) < 0 && errno != ENOENT)
        return error_set_errno(error, ERROR_INTERNAL, errno, "cannot remove \"tmp/%s\"", node_id);
    return true;
}

char **blobdir_list_nodes(struct blobdir *blobdir, struct error *error)
{
    struct dirent **entries = NULL;
    int count = scandirat(blobdir->tmp_fd, ".", &entries, NULL, alphasort);
    if (count < 0) {
        (void)error_set_errno(error, ERROR_INTERNAL, errno, "cannot list tmp/");
        return NULL;
    }
    char **names = calloc((size_t)count + 1, sizeof(*names));
    if (!names)
        abort();
    size_t used = 0;
    for (int i = 0; i < count; i++) {
        if (is_node_id(entries[i]->d_name) && !(names[used++] = strdup(entries[i]->d_name)))
            abort();
        free(entries[i]);
    }
    free(entries);
    return names;
}

/* --- what is of no node --- */

struct stray_search {
    int64_t before_ms;
    bool remove;
    struct arena *arena;
    struct blob_strays *strays;
};

static void remember(const struct stray_search *search, const char *path)
{
    struct blob_strays *strays = search->strays;
    if ((strays->count & (strays->count - 1)) == 0) { /* a power of two, or none: full */
        const char **grown =
            arena_alloc_array(search->arena, strays->count ? 2 * strays->count : 1, sizeof(*grown));
        for (size_t i = 0; i < strays->count; i++)
            grown[i] = strays->paths[i];
        strays->paths = grown;
    }
    strays->paths[strays->count++] = path;
}

/* A file at `name` of that directory, which is "tmp" or one of it. */
static bool take_file(const struct stray_search *search, int directory, const char *within,
                      const char *name, struct error *error)
{
    struct blob_state state;
    if (!blobdir_look_at(directory, name, &state, error))
        return false;
    if (!state.is_file || state.changed_at_ms >= search->before_ms)
        return true;
    remember(search, arena_printf(search->arena, "%s/%s", within, name));
    return !search->remove || unlinkat(directory, name, 0) == 0 || errno == ENOENT ||
           error_set_errno(error, ERROR_INTERNAL, errno, "cannot remove \"%s/%s\"", within, name);
}

static bool take_files(const struct stray_search *search, int parent, const char *name,
                       const char *within, struct error *error)
{
    cleanup(close_listing) DIR *directory = open_listing(parent, name, error);
    if (!directory) /* a link, or gone: none of ours */
        return error->os_errno == ELOOP || error->os_errno == ENOTDIR || error->os_errno == ENOENT;
    for (const struct dirent *entry; (entry = readdir(directory));)
        if (!is_dots(entry->d_name) &&
            !take_file(search, dirfd(directory), within, entry->d_name, error))
            return false;
    return true;
}

static bool take_directory(const struct stray_search *search, int tmp_fd, const char *name,
                           struct error *error)
{
    struct blob_state state;
    if (!blobdir_look_at(tmp_fd, name, &state, error))
        return false;
    if (!state.exists || state.is_file)
        return true;
    bool was_old = state.changed_at_ms < search->before_ms;
    const char *within = arena_printf(search->arena, "tmp/%s", name);
    if (!take_files(search, tmp_fd, name, within, error))
        return false;
    if (search->remove && was_old)
        unlinkat(tmp_fd, name, AT_REMOVEDIR); /* one that is not empty stays */
    return true;
}

bool blobdir_find_strays(struct blobdir *blobdir, int64_t before_ms, bool remove,
                         struct arena *arena, struct blob_strays *strays, struct error *error)
{
    *strays = (struct blob_strays){0};
    const struct stray_search search = {before_ms, remove, arena, strays};
    if (!take_files(&search, blobdir->tmp_fd, ".", "tmp", error))
        return false;
    cleanup(close_listing) DIR *directory = open_listing(blobdir->tmp_fd, ".", error);
    if (!directory)
        return false;
    for (const struct dirent *entry; (entry = readdir(directory));)
        if (!is_dots(entry->d_name) && !is_node_id(entry->d_name) &&
            !take_directory(&search, blobdir->tmp_fd, entry->d_name, error))
            return false;
    return true;
}
