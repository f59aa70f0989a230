/* store/load/unpack.h: the input is a tar. It is taken apart as in the unpacker's process, and
 * the node checks the table that comes out. Then the process lies: its last bytes are written
 * over the table and the report, of which the node believes only what it can check. What
 * members say of images is archive_images's. */
#include "scratch_file.h"
#include "store/load/unpack.h"
#include "tar_input.h"

enum { MAX_BYTES = 1 << 20, LIES = 4, LIE_BYTES = 4 };

/* Bytes of the table, or one of the report. */
struct lie {
    uint8_t place[2];
    uint8_t value;
    uint8_t kind; /* odd: of the report; else twice the power of two of how many */
};

static void write_body(const uint8_t *data, size_t size_bytes, int fd)
{
    cleanup(tar_input_close) struct tar_input tar = tar_input_open(data, size_bytes);
    ssize_t written = pwrite(fd, tar.bytes, tar.size_bytes, 0);
    assert(written == (ssize_t)tar.size_bytes);
    lseek(fd, 0, SEEK_SET);
}

static bool is_name(const char name[ARCHIVE_NAME_SIZE])
{
    return strnlen(name, ARCHIVE_NAME_SIZE) < ARCHIVE_NAME_SIZE;
}

/* As archive.h promises. */
static void check_archive(const struct archive *archive, uint64_t files_bytes)
{
    assert(archive->member_count <= ARCHIVE_MAX_MEMBERS);
    for (size_t i = 0; i < archive->member_count; i++) {
        const struct archive_member *member = &archive->members[i];
        assert(is_name(member->name) && is_name(member->target));
        assert(member->type <= ARCHIVE_HARD_LINK && member->number < archive->member_count);
        assert(member->offset <= files_bytes && member->size_bytes <= files_bytes - member->offset);
        if (i == 0)
            continue;
        int order = strcmp(member[-1].name, member->name);
        assert(order < 0 || (order == 0 && member[-1].number < member->number));
    }
    for (size_t i = 0; i < archive->member_count; i++) {
        const struct archive_member *found = archive_find(archive, archive->members[i].name);
        assert(!found || found->type == ARCHIVE_FILE);
    }
}

static void write_lie(struct lie lie, int fd, struct unpack_report *report)
{
    enum { POWERS = 10 };
    uint8_t values[1 << POWERS];
    const size_t table_bytes = report->member_count * sizeof(struct archive_member);
    const size_t place = (size_t)lie.place[0] << 8 | lie.place[1];
    const size_t size = (size_t)1 << (lie.kind / 2 % POWERS);
    memset(values, lie.value, size);
    if (lie.kind % 2) {
        ((uint8_t *)report)[place % sizeof(*report)] = lie.value;
    } else if (table_bytes < MAX_BYTES && place + size <= table_bytes) {
        ssize_t written = pwrite(fd, values, size, (off_t)(report->table_offset + place));
        assert(written == (ssize_t)size);
    }
}

static void read_lies(const uint8_t *data, size_t size_bytes, int fd, struct unpack_report *report)
{
    struct archive archive = {0};
    struct error error;
    for (size_t i = 0; i < LIES && size_bytes >= (i + 1) * LIE_BYTES; i++) {
        cleanup_arena struct arena arena = {0};
        struct lie lie;
        memcpy(&lie, data + size_bytes - (i + 1) * LIE_BYTES, sizeof(lie));
        write_lie(lie, fd, report);
        if (!unpack_read_table(fd, report, &arena, &archive, &error))
            return;
        check_archive(&archive, report->table_offset);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
    static const struct archive_limits limits = {MAX_BYTES, MAX_BYTES};
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
    bool is_right = unpack_read_table(output, &report, &arena, &archive, &error);
    assert(is_right && report.table_offset < MAX_BYTES + sizeof(uint64_t));
    check_archive(&archive, report.table_offset);
    read_lies(data, size_bytes, output, &report);
    return 0;
}
