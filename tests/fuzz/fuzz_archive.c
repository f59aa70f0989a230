/* store/load/unpack.h: the input is a tar. It is taken apart as in the unpacker's process, and
 * the node checks the table that comes out. What members say of images is archive_images's. */
#include "scratch_file.h"
#include "store/load/unpack.h"
#include "tar_input.h"

static void write_body(const uint8_t *data, size_t size_bytes, int fd)
{
    cleanup(tar_input_close) struct tar_input tar = tar_input_open(data, size_bytes);
    ssize_t written = pwrite(fd, tar.bytes, tar.size_bytes, 0);
    assert(written == (ssize_t)tar.size_bytes);
    lseek(fd, 0, SEEK_SET);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
    static const struct archive_limits limits = {1 << 20, 1 << 20};
    cleanup_arena struct arena arena = {0};
    struct unpack_report report = {0};
    struct archive archive = {0};
    struct error error;
    int body = scratch_file(0);
    int output = scratch_file(1);
    write_body(data, size_bytes, body);
    lseek(output, 0, SEEK_SET);
    if (!unpack_run(&limits, body, output, &report, &error))
        return 0;
    assert(unpack_read_table(output, &report, &arena, &archive, &error));
    return 0;
}
