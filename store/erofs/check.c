/* erofs_file_check(): walks everything that a file holds. */
#include "store/compose.h"
#include "store/erofs/reader.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct pending {
    uint64_t nid;
    uint64_t parent;
};

struct check {
    struct erofs_reader reader;
    struct arena arena;
    struct erofs_xattr_pool xattrs;
    uint32_t *names_left;   /* owned; by nid: 0 unseen, else 1 + the names still to be seen */
    uint64_t names_missing; /* over all inodes */
    uint64_t inodes;
    uint64_t entries_left;
    struct pending *stack; /* owned; directories to be walked */
    size_t stack_count;
    size_t stack_capacity;
};

static void check_close(struct check *check)
{
    erofs_reader_close(&check->reader);
    erofs_xattr_pool_free(&check->xattrs);
    arena_free(&check->arena);
    free(check->names_left);
    free(check->stack);
}

static void push(struct check *check, uint64_t nid, uint64_t parent)
{
    if (check->stack_count == check->stack_capacity) {
        check->stack_capacity = check->stack_capacity ? 2 * check->stack_capacity : 64;
        check->stack = reallocarray(check->stack, check->stack_capacity, sizeof(*check->stack));
        if (!check->stack)
            abort();
    }
    check->stack[check->stack_count++] = (struct pending){.nid = nid, .parent = parent};
}

static uint8_t type_of(uint16_t mode)
{
    switch (mode & S_IFMT) {
    case S_IFDIR:
        return EROFS_TYPE_DIRECTORY;
    case S_IFLNK:
        return EROFS_TYPE_SYMLINK;
    case S_IFCHR:
        return EROFS_TYPE_CHARACTER;
    case S_IFBLK:
        return EROFS_TYPE_BLOCK;
    case S_IFIFO:
        return EROFS_TYPE_FIFO;
    case S_IFSOCK:
        return EROFS_TYPE_SOCKET;
    default:
        return EROFS_TYPE_REGULAR;
    }
}

/* All of an inode but a directory's entries. */
static bool check_inode(struct check *check, const struct erofs_read_inode *inode,
                        struct error *error)
{
    struct erofs_xattr_set *xattrs;
    struct erofs_marks marks;
    if (!erofs_reader_xattrs(&check->reader, inode, &check->xattrs, &xattrs, &marks, error))
        return false;
    if (S_ISREG(inode->mode)) {
        struct erofs_file file;
        return erofs_reader_file(&check->reader, inode, &check->arena, &file, error);
    }
    const char *target;
    return !S_ISLNK(inode->mode) || erofs_reader_target(&check->reader, inode, &target, error);
}

/* The first name of an inode. */
static bool meet_inode(struct check *check, const struct erofs_read_inode *inode, uint64_t parent,
                       struct error *error)
{
    check->inodes++;
    if (inode->link_count == 0)
        return erofs_damaged(error, "inode %" PRIu64 " counts no links", inode->nid);
    if (S_ISDIR(inode->mode)) {
        check->names_left[inode->nid] = 1;
        push(check, inode->nid, parent);
    } else {
        check->names_left[inode->nid] = inode->link_count;
        check->names_missing += inode->link_count - 1;
    }
    return check_inode(check, inode, error);
}

static bool meet_name(struct check *check, const struct erofs_read_entry *entry, uint64_t parent,
                      bool *is_directory, struct error *error)
{
    struct erofs_read_inode inode;
    if (!erofs_reader_inode(&check->reader, entry->nid, &inode, error))
        return false;
    *is_directory = S_ISDIR(inode.mode);
    if (entry->type != type_of(inode.mode))
        return erofs_damaged(error, "directory %" PRIu64 " has a wrong type for inode %" PRIu64,
                             parent, entry->nid);
    uint32_t *names_left = &check->names_left[entry->nid];
    if (*names_left == 0)
        return meet_inode(check, &inode, parent, error);
    if (*names_left == 1)
        return erofs_damaged(error, "inode %" PRIu64 " has more names than links", entry->nid);
    --*names_left;
    check->names_missing--;
    return true;
}

static bool is_name(const struct erofs_read_entry *entry, const char *name)
{
    return entry->name_size == strlen(name) && memcmp(entry->name, name, entry->name_size) == 0;
}

/* One entry; counts the directory's own two and its subdirectories in *links. */
static bool check_entry(struct check *check, const struct erofs_read_entry *entry,
                        struct pending directory, uint32_t *links, struct error *error)
{
    if (check->entries_left-- == 0)
        return erofs_damaged(error, "its directories hold more than there is");
    bool is_self = is_name(entry, ".");
    bool is_directory = true;
    if (is_self || is_name(entry, "..")) {
        if (entry->nid != (is_self ? directory.nid : directory.parent) ||
            entry->type != EROFS_TYPE_DIRECTORY)
            return erofs_damaged(error, "directory %" PRIu64 " has a wrong \"%.*s\"", directory.nid,
                                 (int)entry->name_size, entry->name);
    } else if (!meet_name(check, entry, directory.nid, &is_directory, error)) {
        return false;
    }
    *links += is_directory;
    return true;
}

static bool check_directory(struct check *check, struct pending directory, struct error *error)
{
    struct erofs_read_inode inode;
    if (!erofs_reader_inode(&check->reader, directory.nid, &inode, error))
        return false;
    struct erofs_read_directory at = {.inode = &inode};
    uint32_t links = 0;
    for (;;) {
        struct erofs_read_entry entry;
        bool end = false;
        if (!erofs_reader_next(&check->reader, &at, &entry, &end, error))
            return false;
        if (end)
            break;
        if (!check_entry(check, &entry, directory, &links, error))
            return false;
    }
    if (links != inode.link_count)
        return erofs_damaged(error,
                             "directory %" PRIu64 " counts %" PRIu32 " links instead of "
                             "%" PRIu32,
                             directory.nid, inode.link_count, links);
    return true;
}

static bool check_root(struct check *check, struct error *error)
{
    struct erofs_read_inode root;
    if (!erofs_reader_inode(&check->reader, check->reader.root_nid, &root, error))
        return false;
    if (!S_ISDIR(root.mode))
        return erofs_damaged(error, "its root is no directory");
    return meet_inode(check, &root, root.nid, error);
}

static bool check_totals(const struct check *check, struct error *error)
{
    if (check->names_missing > 0)
        return erofs_damaged(error, "%" PRIu64 " hard links lack their names",
                             check->names_missing);
    if (check->inodes != check->reader.inode_count)
        return erofs_damaged(error, "it has %" PRIu64 " inodes instead of %" PRIu64, check->inodes,
                             check->reader.inode_count);
    return true;
}

bool erofs_file_check(int fd, uint64_t size_bytes, struct error *error)
{
    cleanup(check_close) struct check check = {0};
    check.xattrs.arena = &check.arena;
    if (!erofs_reader_open(&check.reader, fd, size_bytes, error))
        return false;
    check.entries_left = check.reader.region_size / sizeof(struct erofs_disk_dirent);
    check.names_left = calloc(check.reader.slot_count, sizeof(*check.names_left));
    if (!check.names_left)
        abort();
    if (!check_root(&check, error))
        return false;
    while (check.stack_count > 0)
        if (!check_directory(&check, check.stack[--check.stack_count], error))
            return false;
    return check_totals(&check, error);
}
