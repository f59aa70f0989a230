#include "store/vmdk.h"

#include "store/cleanup.h"

#include <criterion/criterion.h>
#include <string.h>
#include <sys/mman.h>

static void write_and_read(const struct vmdk_extent *extents, size_t count, char *text,
                           size_t text_size)
{
    cleanup_fd int fd = memfd_create("vmdk", MFD_CLOEXEC);
    uint64_t size = 0;
    struct error error;
    cr_assert(vmdk_write(extents, count, fd, &size, &error), "the descriptor is written");
    cr_assert_lt(size, text_size);
    cr_assert_eq(pread(fd, text, text_size - 1, 0), (ssize_t)size, "*size_bytes is its size");
    text[size] = '\0';
}

Test(vmdk, extents_stand_in_order_with_relative_paths_and_writable)
{
    static const struct vmdk_extent extents[] = {{"../fsmeta/f.erofs", 8192},
                                                 {"../layers/a.erofs", 4096}};
    char text[4096];
    write_and_read(extents, 2, text, sizeof(text));
    cr_expect(strstr(text, "createType=\"twoGbMaxExtentFlat\"\n"), "as qemu knows it: %s", text);
    cr_expect(strstr(text, "\nRW 16 FLAT \"../fsmeta/f.erofs\" 0\n"
                           "RW 8 FLAT \"../layers/a.erofs\" 0\n"),
              "in sectors, in order: %s", text);
}

Test(vmdk, an_extent_over_two_gib_is_split)
{
    static const struct vmdk_extent extents[] = {{"../layers/a.erofs", (UINT64_C(5) << 30) + 4096}};
    char text[4096];
    write_and_read(extents, 1, text, sizeof(text));
    cr_expect(strstr(text, "RW 4194304 FLAT \"../layers/a.erofs\" 0\n"
                           "RW 4194304 FLAT \"../layers/a.erofs\" 4194304\n"
                           "RW 2097160 FLAT \"../layers/a.erofs\" 8388608\n"),
              "every part continues where the one before ended: %s", text);
}

Test(vmdk, what_a_descriptor_cannot_say_is_refused)
{
    static const struct vmdk_extent bad[] = {{"a.erofs", 4097}, {"a\".erofs", 4096}};
    cleanup_fd int fd = memfd_create("vmdk", MFD_CLOEXEC);
    for (size_t i = 0; i < 2; i++) {
        uint64_t size;
        struct error error;
        cr_expect_not(vmdk_write(&bad[i], 1, fd, &size, &error), "case %zu", i);
    }
}
