#include "store/layer.h"

#include "store/erofs/data.h"
#include "store/erofs/image.h"
#include "store/layer/layer_tar.h"
#include "store/layer/layer_tree.h"

#include <linux/limits.h>
#include <stdlib.h>
#include <string.h>

struct builder {
    struct tar_reader *tar;
    struct layer_tree layer;
    struct erofs_output output;
    struct erofs_xattr **xattrs; /* owned; those of the member in hand */
    size_t xattr_capacity;
};

static void builder_open(struct builder *builder, const struct tar_source *source,
                         const struct layer_limits *limits, int output_fd)
{
    uint64_t most = (uint64_t)EROFS_MAX_BLOCKS * EROFS_BLOCK_SIZE;
    uint64_t limit = limits->max_output_bytes < most ? limits->max_output_bytes : most;
    *builder = (struct builder){.tar = tar_reader_new(source)};
    layer_tree_open(&builder->layer, limits);
    erofs_output_open(&builder->output, output_fd, limit);
}

static void builder_close(struct builder *builder)
{
    tar_reader_free(builder->tar);
    layer_tree_close(&builder->layer);
    erofs_output_close(&builder->output);
    free(builder->xattrs);
}

/* Namespaces that EROFS does not know are left out, as appliers leave out what the
 * filesystem refuses; marks are ours to make. */
static bool take_xattr(struct builder *builder, const struct tar_member *member, const char *name,
                       const void *value, size_t value_size, struct erofs_xattr **xattr,
                       struct error *error)
{
    *xattr = NULL;
    const char *rest;
    uint8_t index = erofs_xattr_namespace(name, &rest);
    if (index == 0)
        return true;
    size_t name_size = strlen(rest);
    bool is_acl = index == EROFS_XATTR_ACL_ACCESS || index == EROFS_XATTR_ACL_DEFAULT;
    if (strlen(name) > XATTR_NAME_MAX || (name_size == 0 && !is_acl))
        return tar_refuse(error, ERROR_UNSUPPORTED_LAYER, member->name,
                          "has an extended attribute with a name of %zu bytes", strlen(name));
    if (value_size > EROFS_MAX_XATTR_VALUE)
        return tar_refuse(error, ERROR_UNSUPPORTED_LAYER, member->name,
                          "has an extended attribute of %zu bytes, more than %d", value_size,
                          EROFS_MAX_XATTR_VALUE);
    if (!erofs_xattr_is_mark(index, rest, name_size))
        *xattr = erofs_xattr_intern(&builder->layer.tree.xattrs, index, rest, (uint8_t)name_size,
                                    value, (uint16_t)value_size);
    return true;
}

/* libarchive hands out the last record first; of equal names the last must win. */
static void reverse_xattrs(struct erofs_xattr **xattrs, size_t count)
{
    for (size_t i = 0; i < count / 2; i++) {
        struct erofs_xattr *first = xattrs[i];
        xattrs[i] = xattrs[count - 1 - i];
        xattrs[count - 1 - i] = first;
    }
}

static bool take_xattrs(struct builder *builder, const struct tar_member *member,
                        struct erofs_xattr_set **set, struct error *error)
{
    size_t count = 0;
    const char *name;
    const void *value;
    size_t value_size;
    while (tar_reader_xattr(builder->tar, &name, &value, &value_size)) {
        if (count == builder->xattr_capacity) {
            builder->xattr_capacity = builder->xattr_capacity ? 2 * builder->xattr_capacity : 16;
            builder->xattrs = reallocarray(builder->xattrs, builder->xattr_capacity,
                                           sizeof(struct erofs_xattr *));
            if (!builder->xattrs)
                abort();
        }
        if (!take_xattr(builder, member, name, value, value_size, &builder->xattrs[count], error))
            return false;
        if (builder->xattrs[count])
            count++;
    }
    reverse_xattrs(builder->xattrs, count);
    *set = erofs_xattr_set_intern(&builder->layer.tree.xattrs, builder->xattrs, count);
    return true;
}

static bool take_data(struct builder *builder, const struct tar_member *member,
                      struct erofs_inode *file, struct error *error)
{
    /* What cannot fit need not be read: a header is all that it takes to say 8 EiB. */
    if (!erofs_output_has_room(&builder->output, member->stored_bytes, error))
        return tar_refuse(error, ERROR_LAYER_TOO_LARGE, member->name,
                          "has %llu bytes, more than the limit of %llu for the layer file leaves",
                          (unsigned long long)member->stored_bytes,
                          (unsigned long long)builder->output.limit_bytes);
    cleanup(erofs_data_close) struct erofs_data data;
    erofs_data_open(&data, &builder->output, member->size_bytes);
    for (;;) {
        const void *bytes;
        size_t size = 0;
        uint64_t offset = 0;
        if (!tar_reader_data(builder->tar, &bytes, &size, &offset, error))
            return false;
        if (size == 0)
            return erofs_data_finish(&data, &builder->layer.tree, file, error);
        if (!erofs_data_write(&data, offset, bytes, size, error))
            return false;
    }
}

static bool take_member(struct builder *builder, const struct tar_member *member,
                        struct error *error)
{
    struct erofs_xattr_set *xattrs = NULL;
    struct erofs_inode *file = NULL;
    if (!take_xattrs(builder, member, &xattrs, error) ||
        !layer_tree_add(&builder->layer, member, xattrs, &file, error))
        return false;
    return !file || member->size_bytes == 0 || take_data(builder, member, file, error);
}

static bool take_members(struct builder *builder, struct error *error)
{
    for (;;) {
        struct tar_member member;
        bool end = false;
        if (!tar_reader_next(builder->tar, &member, &end, error))
            return false;
        if (end)
            return true;
        if (!take_member(builder, &member, error))
            return false;
    }
}

bool layer_build(const struct tar_source *source, const struct digest *diff_id,
                 const struct layer_limits *limits, int output_fd, struct layer_result *result,
                 struct error *error)
{
    cleanup(builder_close) struct builder builder;
    builder_open(&builder, source, limits, output_fd);
    if (!erofs_output_skip(&builder.output, erofs_image_head_size(0), error) ||
        !take_members(&builder, error))
        return false;

    layer_tree_finish(&builder.layer);
    struct erofs_image image = {.identity = diff_id};
    if (!erofs_image_write(&builder.layer.tree, &image, &builder.output, &result->entries, error))
        return false;
    result->erofs_size_bytes = erofs_output_offset(&builder.output);
    return true;
}
