#include "store/blobdir.h"

#include "store/metrics.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { KIND_COUNT = 4, NODE_ID_SIZE = 64 };

struct kind_row {
    const char *name;
    const char *directory;
    const char *prefix;
    const char *suffix;
};

/* One row per kind: what the catalogue calls it, and the parts of its path. */
static const struct kind_row kinds[KIND_COUNT] = {
    [BLOB_LAYER] = {"layer", "layers", "sha256_", ".erofs"},
    [BLOB_FSMETA] = {"fsmeta", "fsmeta", "sha256_", ".erofs"},
    [BLOB_VMDK] = {"vmdk", "vmdk", "sha256_", ".vmdk"},
    [BLOB_MANIFEST] = {"manifest", "manifests", "", ".json"},
};

struct blobdir {
    int fd;                   /* the directory itself */
    int kind_fds[KIND_COUNT]; /* layers/, fsmeta/, vmdk/, manifests/ */
    int tmp_fd;               /* tmp/ */
    char node_id[NODE_ID_SIZE];
    atomic_uint draft_count; /* makes draft names unique within the node */
};

struct blob_draft {
    struct blobdir *blobdir;
    enum blob_kind kind;
    struct digest key;
    int fd;
    bool published;
    char name[BLOB_PATH_SIZE]; /* within tmp/: <node>/<kind>-<number> */
};

static void blob_name(enum blob_kind kind, const struct digest *key, char name[BLOB_PATH_SIZE])
{
    char hex[DIGEST_HEX_SIZE];
    digest_format_hex(key, hex);
    snprintf(name, BLOB_PATH_SIZE, "%s%s%s", kinds[kind].prefix, hex, kinds[kind].suffix);
}

void blob_path(enum blob_kind kind, const struct digest *key, char path[BLOB_PATH_SIZE])
{
    char name[BLOB_PATH_SIZE];
    blob_name(kind, key, name);
    snprintf(path, BLOB_PATH_SIZE, "%s/%s", kinds[kind].directory, name);
}

const char *blob_kind_name(enum blob_kind kind)
{
    return kinds[kind].name;
}

bool blob_kind_parse(const char *name, enum blob_kind *kind)
{
    for (int i = 0; i < KIND_COUNT; i++) {
        if (strcmp(kinds[i].name, name) == 0) {
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

static bool sync_directory(int fd, const char *name, struct error *error)
{
    if (fsync(fd) < 0)
        return error_set_errno(error, ERROR_INTERNAL, errno, "cannot fsync the directory \"%s\"",
                               name);
    return true;
}

/* Unlinks all files of a directory; drafts have no directories below them. */
static bool empty_directory(int fd, const char *name, struct error *error)
{
    int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *directory = copy < 0 ? NULL : fdopendir(copy);
    if (!directory) {
        (void)error_set_errno(error, ERROR_INTERNAL, errno, "cannot list \"%s\"", name);
        if (copy >= 0)
            close(copy);
        return false;
    }
    bool emptied = true;
    for (struct dirent *entry = readdir(directory); entry && emptied; entry = readdir(directory)) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (unlinkat(fd, entry->d_name, 0) < 0 && errno != ENOENT)
            emptied = error_set_errno(error, ERROR_INTERNAL, errno, "cannot remove \"%s/%s\"", name,
                                      entry->d_name);
    }
    closedir(directory);
    return emptied;
}

static bool open_directories(struct blobdir *blobdir, const char *path, struct error *error)
{
    blobdir->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (blobdir->fd < 0)
        return error_set_errno(error, ERROR_INTERNAL, errno,
                               "cannot open the blob directory \"%s\"", path);
    for (int kind = 0; kind < KIND_COUNT; kind++) {
        blobdir->kind_fds[kind] = open_directory(blobdir->fd, kinds[kind].directory, error);
        if (blobdir->kind_fds[kind] < 0)
            return false;
    }
    blobdir->tmp_fd = open_directory(blobdir->fd, "tmp", error);
    if (blobdir->tmp_fd < 0)
        return false;
    return sync_directory(blobdir->fd, path, error);
}

struct blobdir *blobdir_open(const char *path, const char *node_id, struct error *error)
{
    if (!make_path(path, error))
        return NULL;
    struct blobdir *blobdir = calloc(1, sizeof(*blobdir));
    if (!blobdir)
        abort();
    blobdir->fd = blobdir->tmp_fd = -1;
    for (int kind = 0; kind < KIND_COUNT; kind++)
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
    for (int kind = 0; kind < KIND_COUNT; kind++)
        close_if_open(blobdir->kind_fds[kind]);
    close_if_open(blobdir->tmp_fd);
    close_if_open(blobdir->fd);
    free(blobdir);
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
        if (entries[i]->d_name[0] != '.' && !(names[used++] = strdup(entries[i]->d_name)))
            abort();
        free(entries[i]);
    }
    free(entries);
    return names;
}

static int create_draft(struct blobdir *blobdir, const char *name)
{
    return openat(blobdir->tmp_fd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
}

struct blob_draft *blob_draft_new(struct blobdir *blobdir, enum blob_kind kind,
                                  const struct digest *key, struct error *error)
{
    struct blob_draft *draft = calloc(1, sizeof(*draft));
    if (!draft)
        abort();
    *draft = (struct blob_draft){.blobdir = blobdir, .kind = kind, .key = *key};
    snprintf(draft->name, sizeof(draft->name), "%s/%s-%u", blobdir->node_id, kinds[kind].name,
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

int blob_draft_fd(const struct blob_draft *draft)
{
    return draft->fd;
}

static void count_published(const struct blob_draft *draft)
{
    struct stat status;
    if (fstat(draft->fd, &status) == 0)
        metric_add(METRIC_PUBLISHED_BYTES, status.st_size, draft->kind);
}

bool blob_draft_publish(struct blob_draft *draft, struct error *error)
{
    struct blobdir *blobdir = draft->blobdir;
    char name[BLOB_PATH_SIZE];
    blob_name(draft->kind, &draft->key, name);

    /* Whatever the umask was: hosts read these files as other users. */
    if (fchmod(draft->fd, 0644) < 0 || fsync(draft->fd) < 0)
        return error_set_errno(error, ERROR_INTERNAL, errno, "cannot fsync \"%s\"", name);
    int directory = blobdir->kind_fds[draft->kind];
    if (renameat(blobdir->tmp_fd, draft->name, directory, name) < 0)
        return error_set_errno(error, ERROR_INTERNAL, errno, "cannot rename a draft to \"%s\"",
                               name);
    draft->published = true;
    count_published(draft);
    return sync_directory(directory, kinds[draft->kind].directory, error);
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
                              kinds[kind].directory, name);
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

bool blob_unlink(struct blobdir *blobdir, enum blob_kind kind, const struct digest *key,
                 int64_t *freed_bytes, struct error *error)
{
    char name[BLOB_PATH_SIZE];
    blob_name(kind, key, name);
    *freed_bytes = 0;
    struct stat stat;
    int directory = blobdir->kind_fds[kind];
    if (fstatat(directory, name, &stat, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT)
        return true;
    if (unlinkat(directory, name, 0) < 0)
        return errno == ENOENT ||
               error_set_errno(error, ERROR_INTERNAL, errno, "cannot remove \"%s/%s\"",
                               kinds[kind].directory, name);
    *freed_bytes = (int64_t)stat.st_blocks * 512; /* stat(2): in units of 512 bytes */
    return true;
}

bool blob_sync(struct blobdir *blobdir, enum blob_kind kind, struct error *error)
{
    return sync_directory(blobdir->kind_fds[kind], kinds[kind].directory, error);
}
