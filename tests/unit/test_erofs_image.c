/* Trees that no tar of a reasonable size makes, as images. */
#include "store/cleanup.h"
#include "store/compose.h"
#include "store/erofs/data.h"
#include "store/erofs/image.h"
#include "store/erofs/layout.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>

/* `count` attributes of the root, `user.<prefix>000` and so on. */
static size_t add_xattrs(struct erofs_tree *tree, struct erofs_xattr **items, size_t count,
                         char prefix, uint16_t value_size)
{
    static unsigned char value[EROFS_MAX_XATTR_VALUE];
    for (size_t i = 0; i < count; i++) {
        char name[8];
        snprintf(name, sizeof(name), "%c%03zu", prefix, i);
        memcpy(value, name, 4);
        items[i] = erofs_xattr_intern(&tree->xattrs, EROFS_XATTR_USER, name, 4, value, value_size);
    }
    return count;
}

Test(erofs_image, of_too_many_attributes_the_largest_are_shared_whatever_their_names)
{
    cleanup(erofs_tree_close) struct erofs_tree tree;
    erofs_tree_open(&tree);
    struct erofs_xattr *items[300];
    size_t count = add_xattrs(&tree, items, 20, 'a', 2000);
    count += add_xattrs(&tree, items + count, 250, 'b', 60000);
    tree.root->xattrs = erofs_xattr_set_intern(&tree.xattrs, items, count);
    cr_assert(erofs_xattr_set_fits(tree.root->xattrs), "the set fits");

    cleanup_fd int fd = memfd_create("image", MFD_CLOEXEC);
    cleanup(erofs_output_close) struct erofs_output output;
    erofs_output_open(&output, fd, UINT64_C(1) << 30);
    const struct digest identity = {{0}};
    struct erofs_image image = {.identity = &identity};
    struct error error = {0};
    uint64_t inode_count = 0;
    cr_assert(erofs_output_skip(&output, erofs_image_head_size(0), &error) &&
                  erofs_image_write(&tree, &image, &output, &inode_count, &error),
              "%s", error.message);
    cr_expect(erofs_file_check(fd, erofs_output_offset(&output), &error), "%s", error.message);
}

static struct erofs_inode *add_hole(struct erofs_tree *tree, const char *name, uint64_t size_bytes)
{
    struct erofs_inode *inode = erofs_inode_new(tree, S_IFREG | 0644);
    struct erofs_output output = {0}; /* nothing is written */
    struct error error = {0};
    cleanup(erofs_data_close) struct erofs_data data;
    erofs_data_open(&data, &output, size_bytes);
    cr_assert(erofs_data_finish(&data, tree, inode, &error), "%s", error.message);
    erofs_entry_set(erofs_tree_entry(tree, tree->root, name, strlen(name)), inode);
    return inode;
}

Test(erofs_image, a_file_that_is_one_hole_has_as_few_indexes_as_fit)
{
    static const struct {
        uint64_t size_bytes;
        uint64_t chunks;
    } rows[] = {
        {1, 1},
        {10000, 1},
        {UINT64_C(64) << 20, 1},
        {UINT64_C(8) << 40, 1},
        {(UINT64_C(8) << 40) + 1, 2},
        {INT64_MAX, 1 << 20},
    };
    cleanup(erofs_tree_close) struct erofs_tree tree;
    erofs_tree_open(&tree);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint64_t chunks = erofs_layout_chunk_count(add_hole(&tree, "f", rows[i].size_bytes));
        cr_expect_eq(chunks, rows[i].chunks, "%ju bytes: expected %ju indexes, not %ju",
                     (uintmax_t)rows[i].size_bytes, (uintmax_t)rows[i].chunks, (uintmax_t)chunks);
    }
}

/* Writes the largest holes, of which each has 8 MiB of indexes, to no file at all: what is
 * refused in time needs none. */
static void expect_refusal(int holes, uint64_t limit_bytes, enum error_code code, const char *text)
{
    cleanup(erofs_tree_close) struct erofs_tree tree;
    erofs_tree_open(&tree);
    for (int i = 0; i < holes; i++) {
        char name[8];
        snprintf(name, sizeof(name), "%d", i);
        (void)add_hole(&tree, name, INT64_MAX);
    }
    cleanup(erofs_output_close) struct erofs_output output;
    erofs_output_open(&output, -1, limit_bytes);
    const struct digest identity = {{0}};
    struct erofs_image image = {.identity = &identity};
    struct error error = {0};
    uint64_t inode_count = 0;
    cr_expect_not(erofs_image_write(&tree, &image, &output, &inode_count, &error));
    cr_expect_eq(error.code, code, "%d holes: %s", holes, error.message);
    cr_expect(strstr(error.message, text), "%d holes: %s", holes, error.message);
}

Test(erofs_image, metadata_over_the_limit_is_refused_before_it_is_written)
{
    expect_refusal(96, UINT64_C(1) << 40, ERROR_UNSUPPORTED_LAYER,
                   "metadata would take 805314560 bytes, more than the limit of 805306368");
}

Test(erofs_image, metadata_that_the_output_has_no_room_for_is_refused_before_it_is_written)
{
    expect_refusal(1, 8 << 20, ERROR_LAYER_TOO_LARGE, "limit of 8388608 bytes");
}
