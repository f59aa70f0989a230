/* The node's side of the unpacker process: feeds it the body, and checks what it says. */
#include "store/convert/box.h"
#include "store/load/unpack.h"

#include <string.h>
#include <sys/stat.h>

static const struct box_job unpack_job = {
    .command = "unpack",
    .name = "unpacker",
    .work = "unpacking the archive",
    .deadline_flag = "",
    .failure = ERROR_INVALID_ARGUMENT,
};

static void cleanup_box_slot(struct box **slot)
{
    box_free(*slot);
}

/* False with the body's error. When the process has gone, only it can say why. */
static bool feed(struct box *box, const struct tar_source *body, struct error *error)
{
    for (;;) {
        const void *bytes = NULL;
        size_t size_bytes = 0;
        struct error gone;
        if (!body->next(body->context, &bytes, &size_bytes, error))
            return false;
        if (size_bytes == 0 || !box_write(box, bytes, size_bytes, &gone))
            return true;
    }
}

static bool distrust(struct error *error, const char *what)
{
    return error_set(error, ERROR_INTERNAL, "the unpacker's table is wrong: %s", what);
}

static bool check_member(const struct archive_member *member, uint64_t number, uint64_t files_bytes,
                         struct error *error)
{
    if (!memchr(member->name, '\0', sizeof(member->name)) ||
        !memchr(member->target, '\0', sizeof(member->target)))
        return distrust(error, "a name has no end");
    if (member->type > ARCHIVE_HARD_LINK || member->number != number)
        return distrust(error, "a member is of no kind, or out of order");
    if (member->offset > files_bytes || member->size_bytes > files_bytes - member->offset)
        return distrust(error, "a member lies outside of the file");
    return true;
}

bool unpack_read_table(int fd, const struct unpack_report *report, struct arena *arena,
                       struct archive *archive, struct error *error)
{
    struct stat status;
    if (fstat(fd, &status) != 0)
        return error_set_errno(error, ERROR_INTERNAL, errno, "cannot look at the unpacked archive");
    const uint64_t count = report->member_count;
    const uint64_t file_bytes = (uint64_t)status.st_size;
    if (count > ARCHIVE_MAX_MEMBERS || report->table_offset > file_bytes ||
        count * sizeof(struct archive_member) > file_bytes - report->table_offset)
        return distrust(error, "it does not fit into its file");

    *archive = (struct archive){.fd = fd, .member_count = count};
    archive->members = arena_alloc_array(arena, count, sizeof(*archive->members));
    const struct archive_member table = {.offset = report->table_offset,
                                         .size_bytes = count * sizeof(struct archive_member)};
    if (!archive_read(archive, &table, 0, archive->members, table.size_bytes, error))
        return false;
    for (uint64_t i = 0; i < count; i++)
        if (!check_member(&archive->members[i], i, report->table_offset, error))
            return false;
    archive_sort(archive);
    return true;
}

bool unpack_within(unsigned deadline_seconds, const struct tar_source *body,
                   const struct archive_limits *limits, int fd, struct arena *arena,
                   struct archive *archive, struct error *error)
{
    cleanup(cleanup_box_slot) struct box *box =
        box_new(&unpack_job, sizeof(struct unpack_channel), deadline_seconds, error);
    if (!box)
        return false;
    struct unpack_channel *channel = box_channel(box);
    channel->limits = *limits;
    if (!box_start(box, fd, error) || !feed(box, body, error) || !box_finish(box, error))
        return false;
    const struct unpack_report report = channel->report;
    return unpack_read_table(fd, &report, arena, archive, error);
}

bool archive_unpack(const struct tar_source *body, const struct archive_limits *limits, int fd,
                    struct arena *arena, struct archive *archive, struct error *error)
{
    const struct convert_limits box = convert_limits_default(limits->max_archive_bytes);
    return unpack_within(box.deadline_seconds, body, limits, fd, arena, archive, error);
}
