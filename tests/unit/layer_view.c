#include "layer_view.h"

#include "store/cleanup.h"
#include "store/compose.h"
#include "store/erofs/reader.h"

#include <archive.h>
#include <archive_entry.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

enum { MAX_LAYERS = 8 };

const struct layer_limits wide_limits = {
    .max_entries = 1000000, .max_path_depth = 1000, .max_output_bytes = UINT64_C(1) << 40};

/* Writing tars. */

static la_ssize_t append(struct archive *archive, void *context, const void *from, size_t size)
{
    (void)archive;
    struct bytes *bytes = context;
    if (bytes->size + size > bytes->capacity) {
        bytes->capacity = 2 * (bytes->size + size);
        bytes->at = realloc(bytes->at, bytes->capacity);
    }
    memcpy(bytes->at + bytes->size, from, size);
    bytes->size += size;
    return (la_ssize_t)size;
}

static void set_time(struct archive_entry *entry, const char *text)
{
    char *rest;
    long long seconds = strtoll(text, &rest, 10);
    char digits[10] = "000000000";
    if (*rest == '.')
        memcpy(digits, rest + 1, strlen(rest + 1) < 9 ? strlen(rest + 1) : 9);
    archive_entry_set_mtime(entry, seconds, strtol(digits, NULL, 10));
}

static void set_option(struct archive_entry *entry, const char *word)
{
    const char *value = strchr(word, '=') + 1;
    cleanup_free char *name = strndup(word, (size_t)(value - word - 1));
    if (strcmp(name, "mode") == 0)
        archive_entry_set_perm(entry, (mode_t)strtoul(value, NULL, 8));
    else if (strcmp(name, "uid") == 0)
        archive_entry_set_uid(entry, strtoll(value, NULL, 10));
    else if (strcmp(name, "gid") == 0)
        archive_entry_set_gid(entry, strtoll(value, NULL, 10));
    else if (strcmp(name, "mtime") == 0)
        set_time(entry, value);
    else
        archive_entry_xattr_add_entry(entry, name, value, strlen(value));
}

static void set_type(struct archive_entry *entry, char type, const char *argument)
{
    static const char types[] = "fdlhcpw";
    static const mode_t modes[] = {S_IFREG | 0644, S_IFDIR | 0755, S_IFLNK | 0777, S_IFREG | 0644,
                                   S_IFCHR | 0644, S_IFIFO | 0644, S_IFREG | 0644};
    archive_entry_set_mode(entry, modes[strchr(types, type) - types]);
    archive_entry_set_mtime(entry, 0, 0);
    if (type == 'l')
        archive_entry_set_symlink(entry, argument);
    if (type == 'h')
        archive_entry_set_hardlink(entry, argument);
    if (type == 'f')
        archive_entry_set_size(entry, argument ? (la_int64_t)strlen(argument) : 0);
    if (type == 'c' && argument) {
        archive_entry_set_rdevmajor(entry, strtoul(argument, NULL, 10));
        archive_entry_set_rdevminor(entry, strtoul(strchr(argument, ':') + 1, NULL, 10));
    }
}

static void write_line(struct archive *archive, char *line)
{
    char *rest = NULL;
    const char *type = strtok_r(line, " ", &rest);
    const char *path = strtok_r(NULL, " ", &rest);
    const char *argument = NULL;
    char *word = strtok_r(NULL, " ", &rest);
    if (word && !strchr(word, '=')) {
        argument = word;
        word = strtok_r(NULL, " ", &rest);
    }
    struct archive_entry *entry = archive_entry_new();
    archive_entry_set_pathname(entry, path);
    set_type(entry, type[0], argument);
    for (; word; word = strtok_r(NULL, " ", &rest))
        set_option(entry, word);
    if (archive_write_header(archive, entry) < ARCHIVE_WARN)
        abort();
    if (type[0] == 'f' && argument &&
        archive_write_data(archive, argument, strlen(argument)) != (la_ssize_t)strlen(argument))
        abort();
    archive_entry_free(entry);
}

struct bytes tar_of(const char *lines)
{
    struct bytes bytes = {0};
    struct archive *archive = archive_write_new();
    archive_write_set_format_pax(archive);
    archive_write_set_bytes_in_last_block(archive, 512);
    if (archive_write_open(archive, &bytes, NULL, append, NULL) != ARCHIVE_OK)
        abort();
    cleanup_free char *text = strdup(lines);
    char *rest = NULL;
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
        write_line(archive, line);
    archive_write_free(archive);
    return bytes;
}

/* Converting. */

static bool next_piece(void *context, const void **at, size_t *size, struct error *error)
{
    (void)error;
    struct bytes *left = context;
    *at = left->at;
    *size = left->size < 1000 ? left->size : 1000; /* odd pieces: members cross them */
    left->at += *size;
    left->size -= *size;
    return true;
}

int layer_of(struct bytes tar, const struct layer_limits *limits, struct layer_result *result,
             struct error *error)
{
    struct tar_source source = {.next = next_piece, .context = &tar};
    struct digest diff_id = digest_of(tar.at, tar.size);
    cleanup_fd int fd = memfd_create("layer", MFD_CLOEXEC);
    if (!layer_build(&source, &diff_id, limits, fd, result, error) ||
        !erofs_file_check(fd, result->erofs_size_bytes, error))
        return -1;
    return steal_fd(&fd);
}

struct digest digest_of_fd(int fd)
{
    struct stat status;
    if (fstat(fd, &status) != 0)
        abort();
    size_t size = (size_t)status.st_size;
    cleanup_free char *bytes = malloc(size + 1);
    if (pread(fd, bytes, size, 0) != (ssize_t)size)
        abort();
    return digest_of(bytes, size);
}

/* Viewing. */

struct view {
    struct erofs_reader reader;
    const struct compose_layer *layers;
    struct arena arena;
    struct erofs_xattr_pool pool;
    FILE *text;
    struct error *error;
};

static void print_content(struct view *view, const struct erofs_read_inode *inode)
{
    struct erofs_file file;
    if (!erofs_reader_file(&view->reader, inode, &view->arena, &file, view->error) ||
        inode->size == 0)
        return;
    if (file.extent_count != 1 || inode->size > 64) {
        fprintf(view->text, " %" PRIu64 "bytes", inode->size);
        return;
    }
    char content[65] = "";
    int fd = view->layers[file.device - 1].fd;
    if (pread(fd, content, inode->size, (off_t)file.extent.start_block * 4096) < 0)
        abort();
    fprintf(view->text, " %s", content);
}

static void print_xattrs(struct view *view, const struct erofs_read_inode *inode)
{
    static const char *const namespaces[] = {
        "", "user.",    "system.posix_acl_access", "system.posix_acl_default", "trusted.",
        "", "security."};
    struct erofs_xattr_set *set;
    struct erofs_marks marks;
    if (!erofs_reader_xattrs(&view->reader, inode, &view->pool, &set, &marks, view->error))
        return;
    for (size_t i = 0; set && i < set->count; i++) {
        const struct erofs_xattr *item = set->items[i];
        fprintf(view->text, " %s%.*s=%.*s", namespaces[item->index], item->name_size, item->name,
                item->value_size, (const char *)item->value);
    }
}

static void print_inode(struct view *view, const struct erofs_read_inode *inode)
{
    static const char types[] = "?pc?d?b?f?l?s???";
    fprintf(view->text, " %c %o", types[inode->mode >> 12], inode->mode & 07777u);
    if (inode->uid || inode->gid)
        fprintf(view->text, " %u:%u", inode->uid, inode->gid);
    if (inode->mtime_nsec)
        fprintf(view->text, " @%" PRId64 ".%09u", inode->mtime, inode->mtime_nsec);
    else if (inode->mtime)
        fprintf(view->text, " @%" PRId64, inode->mtime);
    if (!S_ISDIR(inode->mode) && inode->link_count > 1)
        fprintf(view->text, " n%u", inode->link_count);
    const char *target = NULL;
    if (S_ISREG(inode->mode))
        print_content(view, inode);
    else if (S_ISLNK(inode->mode) &&
             erofs_reader_target(&view->reader, inode, &target, view->error))
        fprintf(view->text, " %.*s", (int)inode->size, target);
    else if (S_ISCHR(inode->mode))
        fprintf(view->text, " %u:%u", inode->address >> 8 & 0xFFF,
                (inode->address & 0xFF) | (inode->address >> 12 & 0xFFF00));
    print_xattrs(view, inode);
    fputc('\n', view->text);
}

static bool print_directory(struct view *view, const struct erofs_read_inode *directory,
                            const char *path)
{
    struct erofs_read_directory at = {.inode = directory};
    for (;;) {
        struct erofs_read_entry entry;
        struct erofs_read_inode inode;
        bool end;
        if (!erofs_reader_next(&view->reader, &at, &entry, &end, view->error))
            return false;
        if (end)
            return true;
        if (entry.name[0] == '.' && entry.name_size <= 2)
            continue;
        if (!erofs_reader_inode(&view->reader, entry.nid, &inode, view->error))
            return false;
        char child[4096];
        snprintf(child, sizeof(child), "%s%.*s", path, (int)entry.name_size, entry.name);
        fputs(child, view->text);
        print_inode(view, &inode);
        strncat(child, "/", sizeof(child) - strlen(child) - 1);
        if (S_ISDIR(inode.mode) && !print_directory(view, &inode, child))
            return false;
    }
}

static bool print_tree(struct view *view, int fd, uint64_t size)
{
    struct erofs_read_inode root;
    if (!erofs_file_check(fd, size, view->error) ||
        !erofs_reader_open(&view->reader, fd, size, view->error) ||
        !erofs_reader_inode(&view->reader, view->reader.root_nid, &root, view->error))
        return false;
    fputc('/', view->text);
    print_inode(view, &root);
    return print_directory(view, &root, "");
}

static bool print_stack(const struct bytes *tars, size_t count, struct compose_layer *layers,
                        FILE *text, struct error *error)
{
    for (size_t i = 0; i < count; i++) {
        struct layer_result result;
        layers[i].fd = layer_of(tars[i], &wide_limits, &result, error);
        if (layers[i].fd < 0)
            return false;
        layers[i].diff_id = digest_of(tars[i].at, tars[i].size);
        layers[i].size_bytes = result.erofs_size_bytes;
    }
    cleanup_fd int fd = memfd_create("fsmeta", MFD_CLOEXEC);
    struct compose_result composed;
    struct digest digest = digest_of("test", 4);
    if (!compose_fsmeta(layers, count, COMPOSE_MAX_TREE_BYTES, &digest, fd, &composed, error))
        return false;
    struct view view = {.layers = layers, .text = text, .error = error};
    view.pool.arena = &view.arena;
    bool done = print_tree(&view, fd, composed.fsmeta_size_bytes);
    erofs_reader_close(&view.reader);
    erofs_xattr_pool_free(&view.pool);
    arena_free(&view.arena);
    return done;
}

char *view_of_tars(const struct bytes *tars, size_t count)
{
    struct compose_layer layers[MAX_LAYERS];
    for (size_t i = 0; i < MAX_LAYERS; i++)
        layers[i] = (struct compose_layer){.fd = -1};
    char *text = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&text, &size);
    struct error error;
    bool done = print_stack(tars, count, layers, stream, &error);
    for (size_t i = 0; i < MAX_LAYERS; i++)
        if (layers[i].fd >= 0)
            close(layers[i].fd);
    fclose(stream);
    if (done)
        return text;
    free(text);
    if (asprintf(&text, "%s: %s", error_code_name(error.code), error.message) < 0)
        abort();
    return text;
}

char *view_of(const char *const *layers)
{
    struct bytes tars[MAX_LAYERS] = {0};
    size_t count = 0;
    for (; layers[count]; count++)
        tars[count] = tar_of(layers[count]);
    char *text = view_of_tars(tars, count);
    for (size_t i = 0; i < count; i++)
        free(tars[i].at);
    return text;
}
