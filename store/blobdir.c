#include "store/blobdir_internal.h"

#include "store/crash_point.h"
#include "store/metrics.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

const struct blob_kind_row blob_kinds[BLOB_KIND_COUNT] = {
    [BLOB_LAYER] = {"layer", "layers", "sha256_", ".erofs"},
    [BLOB_FSMETA] = {"fsmeta", "fsmeta", "sha256_", ".erofs"},
    [BLOB_VMDK] = {"vmdk", "vmdk", "sha256_", ".vmdk"},
    [BLOB_MANIFEST] = {"manifest", "manifests", "", ".json"},
};

struct blob_draft {
    struct blobdir *blobdir;
    enum blob_kind kind;
    struct digest key;
    int fd;
    bool synced;
    bool published;
    int64_t allocated_bytes;   /* once it is published */
    char name[BLOB_PATH_SIZE]; /* within tmp/: <node>/<kind>-<number> */
};

void blob_name(enum blob_kind kind, const struct digest *key, char name[BLOB_PATH_SIZE])
{
    char hex[DIGEST_HEX_SIZE];
    digest_format_hex(key, hex);
    snprintf(name, BLOB_PATH_SIZE, "%s%s%s", blob_kinds[kind].prefix, hex, blob_kinds[kind].suffix);
}

void blob_path(enum blob_kind kind, const struct digest *key, char path[BLOB_PATH_SIZE])
{
    char name[BLOB_PATH_SIZE];
    blob_name(kind, key, name);
    snprintf(path, BLOB_PATH_SIZE, "%s/%s", blob_kinds[kind].directory, name);
}

const char *blob_kind_name(enum blob_kind kind)
{
    return blob_kinds[kind].name;
}

bool blob_kind_parse(const char *name, enum blob_kind *kind)
{
    for (int i = 0; i < BLOB_KIND_COUNT; i++) {
        if (strcmp(blob_kinds[i].name, name) == 0) {
            *kind = (enum blob_kind)i;
            return true;
        }
    }
    return false;
}

/* Makes every directory of the path that is missing. */
static bool make_path(const char *path, struct error *error)
{
    char partial[4096];
    size_t length = strlen(path);
    if (length == 0 || length >= sizeof(partial))
        return error_set(error, ERROR_INVALID_ARGUMENT,
                         "the blob directory's path is empty or longer "
                         "than 4095 bytes");
    for (size_t i = 1; i <= length; i++) {
        if (path[i] != '/' && path[i] != '\0')
            continue;
        memcpy(partial, path, i);
        partial[i] = '\0';
        if (mkdir(partial, 0755) < 0 && errno != EEXIST)
            return error_set_errno(error, ERROR_INTERNAL, errno, "cannot make the directory \"%s\"",
                                   partial);
    }
    return true;
}

/* Opens (and makes) a directory in `parent`; -1 on failure. */
static int open_directory(int parent, const char *name, struct error *error)
{
    if (mkdirat(parent, name, 0755) < 0 && errno != EEXIST) {
        (void)error_set_errno(error, ERROR_INTERNAL, errno,
                              "cannot make \"%s\" in the blob directory", name);
        return -1;
    }
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        (void)error_set_errno(error, ERROR_INTERNAL, errno,
                              "cannot open \"%s\" in the blob directory", name);
    return fd;
}

bool blobdir_sync_fd(int fd, const char *name, struct error *error)
{
    if (fsync(fd) < 0)
        return error_set_errno(error, ERROR_INTERNAL, errno, "cannot fsync the directory \"%s\"",
                               name);
    return true;
}

static bool open_directories(struct blobdir *blobdir, const char *path, struct error *error)
{
    blobdir->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (blobdir->fd < 0)
        return error_set_errno(error, ERROR_INTERNAL, errno,
                               "cannot open the blob directory \"%s\"", path);
    for (int kind = 0; kind < BLOB_KIND_COUNT; kind++) {
        blobdir->kind_fds[kind] = open_directory(blobdir->fd, blob_kinds[kind].directory, error);
        if (blobdir->kind_fds[kind] < 0)
            return false;
    }
    blobdir->tmp_fd = open_directory(blobdir->fd, "tmp", error);
    if (blobdir->tmp_fd < 0)
        return false;
    return blobdir_sync_fd(blobdir->fd, path, error);
}

struct blobdir *blobdir_open(const char *path, const char *node_id, struct error *error)
{
    if (!make_path(path, error))
        return NULL;
    struct blobdir *blobdir = calloc(1, sizeof(*blobdir));
    if (!blobdir)
        abort();
    blobdir->fd = blobdir->tmp_fd = -1;
    for (int kind = 0; kind < BLOB_KIND_COUNT; kind++)
        blobdir->kind_fds[kind] = -1;
    snprintf(blobdir->node_id, sizeof(blobdir->node_id), "%s", node_id);

    if (!open_directories(blobdir, path, error)) {
        blobdir_close(blobdir);
        return NULL;
    }
    return blobdir;
}

static void close_if_open(int fd)
{
    if (fd >= 0)
        close(fd);
}

void blobdir_close(struct blobdir *blobdir)
{
    if (!blobdir)
        return;
    if (blobdir->tmp_fd >= 0) {
        /* What cannot be removed now, the next node that starts removes. */
        struct error ignored;
        (void)blobdir_remove_node(blobdir, blobdir->node_id, &ignored);
    }
    for (int kind = 0; kind < BLOB_KIND_COUNT; kind++)
        close_if_open(blobdir->kind_fds[kind]);
    close_if_open(blobdir->tmp_fd);
    close_if_open(blobdir->fd);
    free(blobdir);
}

static int create_draft(struct blobdir *blobdir, const char *name)
{
    return openat(blobdir->tmp_fd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
}

static struct blob_draft *draft_new(struct blobdir *blobdir, const char *what, struct error *error)
{
    struct blob_draft *draft = calloc(1, sizeof(*draft));
    if (!draft)
        abort();
    draft->blobdir = blobdir;
    snprintf(draft->name, sizeof(draft->name), "%s/%s-%u", blobdir->node_id, what,
             atomic_fetch_add(&blobdir->draft_count, 1));
    draft->fd = create_draft(blobdir, draft->name);
    if (draft->fd < 0 && errno == ENOENT) {
        /* The first draft; or others took this node for dead and removed its directory. */
        mkdirat(blobdir->tmp_fd, blobdir->node_id, 0755);
        draft->fd = create_draft(blobdir, draft->name);
    }
    if (draft->fd < 0) {
        (void)error_set_errno(error, ERROR_INTERNAL, errno,
                              "cannot make \"tmp/%s\" in the blob directory", draft->name);
        free(draft);
        return NULL;
    }
    return draft;
}

struct blob_draft *blob_draft_new(struct blobdir *blobdir, enum blob_kind kind,
                                  const struct digest *key, struct error *error)
{
    struct blob_draft *draft = draft_new(blobdir, blob_kinds[kind].name, error);
    if (draft) {
        draft->kind = kind;
        draft->key = *key;
    }
    return draft;
}

struct blob_draft *blob_scratch_new(struct blobdir *blobdir, struct error *error)
{
    return draft_new(blobdir, "scratch", error);
}

int blob_draft_fd(const struct blob_draft *draft)
{
    return draft->fd;
}

int blob_draft_open(const struct blob_draft *draft, struct error *error)
{
    int fd = openat(draft->blobdir->tmp_fd, draft->name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        (void)error_set_errno(error, ERROR_INTERNAL, errno, "cannot open \"tmp/%s\"", draft->name);
    return fd;
}

const char *blob_draft_name(const struct blob_draft *draft)
{
    return draft->name;
}

static int64_t later_ms(const struct timespec *one, const struct timespec *other)
{
    const struct timespec *later = one->tv_sec > other->tv_sec || (one->tv_sec == other->tv_sec &&
                                                                   one->tv_nsec > other->tv_nsec)
                                       ? one
                                       : other;
    return (int64_t)later->tv_sec * 1000 + later->tv_nsec / 1000000;
}

bool blobdir_now_ms(struct blobdir *blobdir, int64_t *now_ms, struct error *error)
{
    static const struct digest nothing;
    struct blob_draft *draft = blob_draft_new(blobdir, BLOB_LAYER, &nothing, error);
    if (!draft)
        return false;
    struct stat stat;
    bool known = fstat(draft->fd, &stat) == 0;
    if (known)
        *now_ms = later_ms(&stat.st_mtim, &stat.st_ctim);
    else
        (void)error_set_errno(error, ERROR_INTERNAL, errno, "cannot look at a draft");
    blob_draft_free(draft);
    return known;
}

/* st_blocks counts 512 bytes each, whatever the file system's blocks are: stat(3type). */
static int64_t allocated_bytes(const struct stat *status)
{
    return (int64_t)status->st_blocks * 512;
}

static void measure_published(struct blob_draft *draft)
{
    struct stat status;
    if (fstat(draft->fd, &status) != 0)
        return;
    draft->allocated_bytes = allocated_bytes(&status);
    metric_add(METRIC_PUBLISHED_BYTES, status.st_size, draft->kind);
}

bool blob_draft_sync(struct blob_draft *draft, struct error *error)
{
    char name[BLOB_PATH_SIZE];
    blob_name(draft->kind, &draft->key, name);
    CRASH_POINT(PUBLISH_BEGUN);
    /* Whatever the umask was: hosts read these files as other users. */
    if (fchmod(draft->fd, 0644) < 0 || fsync(draft->fd) < 0)
        return error_set_errno(error, ERROR_INTERNAL, errno, "cannot fsync \"%s\"", name);
    CRASH_POINT(PUBLISH_SYNCED);
    draft->synced = true;
    return true;
}

bool blob_draft_give_name(struct blob_draft *draft, struct error *error)
{
    struct blobdir *blobdir = draft->blobdir;
    char name[BLOB_PATH_SIZE];
    blob_name(draft->kind, &draft->key, name);
    if (!draft->synced && !blob_draft_sync(draft, error))
        return false;
    if (renameat(blobdir->tmp_fd, draft->name, blobdir->kind_fds[draft->kind], name) < 0)
        return error_set_errno(error, ERROR_INTERNAL, errno, "cannot rename a draft to \"%s\"",
                               name);
    draft->published = true;
    CRASH_POINT(PUBLISH_RENAMED);
    measure_published(draft);
    return true;
}

bool blob_draft_keep_name(const struct blob_draft *draft, struct error *error)
{
    if (!blob_sync(draft->blobdir, draft->kind, error))
        return false;
    CRASH_POINT(PUBLISH_DONE);
    return true;
}

bool blob_draft_publish(struct blob_draft *draft, struct error *error)
{
    return blob_draft_give_name(draft, error) && blob_draft_keep_name(draft, error);
}

bool blob_draft_look(const struct blob_draft *draft, bool *there, struct error *error)
{
    struct blob_state state = {.exists = true};
    bool looked =
        draft->published || blobdir_look_at_draft(draft->blobdir, draft->name, &state, error);
    *there = looked && state.exists;
    return looked;
}

int64_t blob_draft_allocated_bytes(const struct blob_draft *draft)
{
    return draft->allocated_bytes;
}

void blob_draft_free(struct blob_draft *draft)
{
    if (!draft)
        return;
    if (!draft->published)
        unlinkat(draft->blobdir->tmp_fd, draft->name, 0);
    close_if_open(draft->fd);
    free(draft);
}

int blob_open(struct blobdir *blobdir, enum blob_kind kind, const struct digest *key,
              struct error *error)
{
    char name[BLOB_PATH_SIZE];
    blob_name(kind, key, name);
    int fd = openat(blobdir->kind_fds[kind], name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        (void)error_set_errno(error, ERROR_INTERNAL, errno, "cannot open \"%s/%s\"",
                              blob_kinds[kind].directory, name);
    return fd;
}

bool blob_is_whole(struct blobdir *blobdir, enum blob_kind kind, const struct digest *key,
                   int64_t size_bytes)
{
    char name[BLOB_PATH_SIZE];
    blob_name(kind, key, name);
    struct stat stat;
    return fstatat(blobdir->kind_fds[kind], name, &stat, AT_SYMLINK_NOFOLLOW) == 0 &&
           S_ISREG(stat.st_mode) && stat.st_size == size_bytes;
}

bool blobdir_look_at(int directory, const char *name, struct blob_state *state, struct error *error)
{
    struct stat stat;
    *state = (struct blob_state){0};
    if (fstatat(directory, name, &stat, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ||
               error_set_errno(error, ERROR_INTERNAL, errno, "cannot look at \"%s\"", name);
    *state = (struct blob_state){
        .exists = true,
        .is_file = S_ISREG(stat.st_mode),
        .size_bytes = stat.st_size,
        .allocated_bytes = allocated_bytes(&stat),
        /* rename(2) moves the change time alone, where it moves any. */
        .changed_at_ms = later_ms(&stat.st_mtim, &stat.st_ctim),
    };
    return true;
}

bool blob_look(struct blobdir *blobdir, enum blob_kind kind, const char *name,
               struct blob_state *state, struct error *error)
{
    return blobdir_look_at(blobdir->kind_fds[kind], name, state, error) ||
           error_context(error, "%s", blob_kinds[kind].directory);
}

bool blobdir_look_at_draft(struct blobdir *blobdir, const char *name, struct blob_state *state,
                           struct error *error)
{
    return blobdir_look_at(blobdir->tmp_fd, name, state, error) || error_context(error, "tmp");
}

bool blob_look_up(struct blobdir *blobdir, enum blob_kind kind, const struct digest *key,
                  struct blob_state *state, struct error *error)
{
    char name[BLOB_PATH_SIZE];
    blob_name(kind, key, name);
    return blob_look(blobdir, kind, name, state, error);
}

bool blob_unlink(struct blobdir *blobdir, enum blob_kind kind, const struct digest *key,
                 int64_t *freed_bytes, struct error *error)
{
    char name[BLOB_PATH_SIZE];
    blob_name(kind, key, name);
    *freed_bytes = 0;
    struct stat stat;
    int directory = blobdir->kind_fds[kind];
    if (fstatat(directory, name, &stat, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ||
               error_set_errno(error, ERROR_INTERNAL, errno, "cannot look at \"%s/%s\"",
                               blob_kinds[kind].directory, name);
    if (unlinkat(directory, name, 0) < 0)
        return errno == ENOENT ||
               error_set_errno(error, ERROR_INTERNAL, errno, "cannot remove \"%s/%s\"",
                               blob_kinds[kind].directory, name);
    *freed_bytes = allocated_bytes(&stat);
    return true;
}

bool blob_sync(struct blobdir *blobdir, enum blob_kind kind, struct error *error)
{
    return blobdir_sync_fd(blobdir->kind_fds[kind], blob_kinds[kind].directory, error);
}
