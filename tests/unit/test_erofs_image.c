/* Trees that no tar of a reasonable size makes, as images. */
#include "store/cleanup.h"
#include "store/compose.h"
#include "store/erofs/image.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <sys/mman.h>

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
