#include "store/vmdk.h"

#include "store/cleanup.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SECTOR_SIZE = 512 };
#define MAX_EXTENT_SECTORS UINT64_C(4194304) /* 2 GiB, as the format's name says */

/* One line per 2 GiB of the file. */
static void print_extent(FILE *text, const struct vmdk_extent *extent)
{
    uint64_t sectors = extent->size_bytes / SECTOR_SIZE;
    for (uint64_t at = 0; at < sectors; at += MAX_EXTENT_SECTORS) {
        uint64_t left = sectors - at;
        uint64_t count = left < MAX_EXTENT_SECTORS ? left : MAX_EXTENT_SECTORS;
        /* RW although nobody writes: qemu 7.2 fails on RDONLY. */
        fprintf(text, "RW %" PRIu64 " FLAT \"%s\" %" PRIu64 "\n", count, extent->path, at);
    }
}

static void print_descriptor(FILE *text, const struct vmdk_extent *extents, size_t extent_count)
{
    fputs("# Disk DescriptorFile\n"
          "version=1\n"
          "CID=fffffffe\n"
          "parentCID=ffffffff\n"
          "createType=\"twoGbMaxExtentFlat\"\n"
          "\n"
          "# Extent description\n",
          text);
    uint64_t sectors = 0;
    for (size_t i = 0; i < extent_count; i++) {
        print_extent(text, &extents[i]);
        sectors += extents[i].size_bytes / SECTOR_SIZE;
    }
    /* The geometry of a large IDE disk; cylinders are capped as BIOSes do. */
    uint64_t cylinders = sectors / (16 * UINT64_C(63));
    fprintf(text,
            "\n"
            "# The Disk Data Base\n"
            "#DDB\n"
            "\n"
            "ddb.virtualHWVersion = \"4\"\n"
            "ddb.geometry.cylinders = \"%" PRIu64 "\"\n"
            "ddb.geometry.heads = \"16\"\n"
            "ddb.geometry.sectors = \"63\"\n"
            "ddb.adapterType = \"ide\"\n",
            cylinders < 16383 ? cylinders : 16383);
}

static bool write_all(int fd, const char *bytes, size_t size, struct error *error)
{
    for (size_t done = 0; done < size;) {
        ssize_t written = pwrite(fd, bytes + done, size - done, (off_t)done);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return error_set_errno(error, ERROR_INTERNAL, written < 0 ? errno : EIO,
                                   "cannot write the vmdk descriptor");
        done += (size_t)written;
    }
    return true;
}

static bool extent_is_sound(const struct vmdk_extent *extent, struct error *error)
{
    if (extent->size_bytes % 4096 != 0)
        return error_set(error, ERROR_INTERNAL,
                         "the size of vmdk extent %s, %" PRIu64 ", is no multiple of 4096",
                         extent->path, extent->size_bytes);
    if (strpbrk(extent->path, "\"\n\r"))
        return error_set(error, ERROR_INTERNAL, "a vmdk cannot name the extent %s", extent->path);
    return true;
}

bool vmdk_write(const struct vmdk_extent *extents, size_t extent_count, int output_fd,
                uint64_t *size_bytes, struct error *error)
{
    for (size_t i = 0; i < extent_count; i++)
        if (!extent_is_sound(&extents[i], error))
            return false;

    cleanup_free char *text = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&text, &size);
    if (!stream)
        abort();
    print_descriptor(stream, extents, extent_count);
    if (fclose(stream) != 0)
        abort();
    *size_bytes = size;
    return write_all(output_fd, text, size, error);
}
