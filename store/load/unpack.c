/* The unpacker process: hostile bytes in, the members' bytes and their table out. */
#include "store/load/unpack.h"

#include "store/convert/box.h"
#include "store/convert/boxed.h"
#include "store/convert/inflate.h"
#include "store/convert/sandbox.h"
#include "store/layer/layer_tar.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum {
    PIECE_BYTES = 128 << 10,
    MAX_MEMORY_BYTES = 512 << 20, /* the largest zstd window, the table, and libraries */
};

/* The body as it comes, and the tar in it. */
struct input {
    int fd;
    bool ended;
    bool failed; /* and said why; else it is the tar's fault */
    struct inflate *inflate;
    struct inflate_buffers buffers;
    const struct archive_limits *limits;
    uint8_t first[8];         /* how the body begins */
    uint8_t raw[PIECE_BYTES]; /* of the body */
    uint8_t tar[PIECE_BYTES]; /* of the tar */
};

struct unpack {
    struct input *input;
    struct tar_reader *reader;
    int output_fd;
    uint64_t used_bytes; /* of the output */
    struct archive_member *members;
    size_t member_count;
    size_t capacity;
};

/* Fills the buffer unless the body ends. */
static bool read_raw(struct input *input, struct error *error)
{
    size_t filled = 0;
    while (filled < PIECE_BYTES && !input->ended) {
        ssize_t got = read(input->fd, input->raw + filled, PIECE_BYTES - filled);
        if (got < 0 && errno != EINTR)
            return error_set_errno(error, ERROR_INTERNAL, errno, "cannot read the archive");
        input->ended = got == 0;
        filled += got > 0 ? (size_t)got : 0;
    }
    input->buffers.in = input->raw;
    input->buffers.in_bytes = filled;
    return true;
}

static bool open_input(struct input *input, struct error *error)
{
    if (!read_raw(input, error))
        return false;
    size_t size = input->buffers.in_bytes;
    if (size == 0)
        return error_set(error, ERROR_INVALID_ARGUMENT,
                         "the body is empty; it is to be an archive");
    memcpy(input->first, input->raw, size < sizeof(input->first) ? size : sizeof(input->first));
    input->inflate =
        inflate_new(inflate_detect(input->raw, size), input->limits->max_archive_bytes);
    return true;
}

/* inflate.c speaks of a layer's blob. */
static bool explain_inflate(const struct input *input, struct error *error)
{
    if (error->code != ERROR_LAYER_TOO_LARGE)
        return error_context(error, "the archive is damaged");
    return error_set(error, ERROR_PAYLOAD_TOO_LARGE,
                     "the archive has more than %llu bytes uncompressed (--max-archive-bytes)",
                     (unsigned long long)input->limits->max_archive_bytes);
}

static bool next_tar_bytes(struct input *input, struct error *error)
{
    struct inflate_buffers *buffers = &input->buffers;
    buffers->out = input->tar;
    buffers->out_bytes = PIECE_BYTES;
    while (buffers->out_bytes == PIECE_BYTES) {
        if (!inflate_step(input->inflate, buffers, error))
            return explain_inflate(input, error);
        if (buffers->out_bytes < PIECE_BYTES)
            return true;
        if (input->ended)
            return inflate_end(input->inflate, error) || explain_inflate(input, error);
        if (!read_raw(input, error))
            return false;
    }
    return true;
}

/* struct tar_source's next(). */
static bool next_piece(void *context, const void **bytes, size_t *size_bytes, struct error *error)
{
    struct input *input = context;
    input->failed = !next_tar_bytes(input, error);
    *bytes = input->tar;
    *size_bytes = PIECE_BYTES - input->buffers.out_bytes;
    return !input->failed;
}

static bool write_at(int fd, const void *bytes, size_t size_bytes, uint64_t offset,
                     struct error *error)
{
    const char *next = bytes;
    while (size_bytes > 0) {
        ssize_t put = pwrite(fd, next, size_bytes, (off_t)offset);
        if (put < 0 && errno != EINTR)
            return error_set_errno(error, ERROR_INTERNAL, errno, "cannot keep the archive's bytes");
        if (put > 0) {
            next += put;
            offset += (uint64_t)put;
            size_bytes -= (size_t)put;
        }
    }
    return true;
}

static bool check_size(const struct unpack *unpack, const struct tar_member *member,
                       struct error *error)
{
    const struct archive_limits *limits = unpack->input->limits;
    if (member->size_bytes > limits->max_member_bytes)
        return tar_refuse(error, ERROR_LAYER_TOO_LARGE, member->name,
                          "has %llu bytes; a layer may have %llu (--max-layer-bytes)",
                          (unsigned long long)member->size_bytes,
                          (unsigned long long)limits->max_member_bytes);
    if (member->size_bytes > limits->max_archive_bytes - unpack->used_bytes)
        return error_set(error, ERROR_PAYLOAD_TOO_LARGE,
                         "the archive's files have more than %llu bytes (--max-archive-bytes)",
                         (unsigned long long)limits->max_archive_bytes);
    return true;
}

/* What a sparse member leaves out is a hole, which reads as zeros. */
static bool copy_data(struct unpack *unpack, uint64_t size_bytes, struct error *error)
{
    const void *bytes = NULL;
    size_t piece = 0;
    uint64_t offset = 0;
    do {
        if (!tar_reader_data(unpack->reader, &bytes, &piece, &offset, error) ||
            !write_at(unpack->output_fd, bytes, piece, unpack->used_bytes + offset, error))
            return false;
    } while (piece > 0);
    unpack->used_bytes += size_bytes;
    return true;
}

static struct archive_member *add_member(struct unpack *unpack, struct error *error)
{
    if (unpack->member_count == ARCHIVE_MAX_MEMBERS) {
        error_set(error, ERROR_INVALID_ARGUMENT,
                  "the archive has more than %d files: it is no archive of images",
                  ARCHIVE_MAX_MEMBERS);
        return NULL;
    }
    if (unpack->member_count == unpack->capacity) {
        unpack->capacity = unpack->capacity ? 2 * unpack->capacity : 64;
        unpack->members =
            realloc(unpack->members, unpack->capacity * sizeof(struct archive_member));
        if (!unpack->members)
            abort();
    }
    struct archive_member *member = &unpack->members[unpack->member_count];
    *member = (struct archive_member){.number = (uint32_t)unpack->member_count};
    unpack->member_count++;
    return member;
}

static const char *plain_name(const char *name)
{
    for (;;) {
        if (name[0] == '/')
            name++;
        else if (name[0] == '.' && name[1] == '/')
            name += 2;
        else
            return name;
    }
}

static bool is_wanted(const struct tar_member *member)
{
    bool is_link = member->type == TAR_SYMLINK || member->type == TAR_HARD_LINK;
    return (member->type == TAR_FILE || is_link) && strlen(member->name) < ARCHIVE_NAME_SIZE &&
           (!is_link || strlen(member->link_target) < ARCHIVE_NAME_SIZE);
}

static bool take_member(struct unpack *unpack, const struct tar_member *member, struct error *error)
{
    if (!is_wanted(member))
        return true;
    struct archive_member *out = add_member(unpack, error);
    if (!out)
        return false;
    snprintf(out->name, sizeof(out->name), "%s", plain_name(member->name));
    if (member->type != TAR_FILE) {
        out->type = member->type == TAR_SYMLINK ? ARCHIVE_SYMLINK : ARCHIVE_HARD_LINK;
        snprintf(out->target, sizeof(out->target), "%s", member->link_target);
        return true;
    }
    out->offset = unpack->used_bytes;
    out->size_bytes = member->size_bytes;
    return check_size(unpack, member, error) && copy_data(unpack, member->size_bytes, error);
}

/* What people send by mistake. */
static const char *name_of_magic(const uint8_t first[8])
{
    static const struct {
        const char *magic;
        size_t size;
        const char *name;
    } kinds[] = {
        {"PK\3\4", 4, "a zip file"},
        {"PK\5\6", 4, "an empty zip file"},
        {"BZh", 3, "compressed with bzip2"},
        {"\375"
         "7zXZ",
         5, "compressed with xz"},
        {"\4\"M\30", 4, "compressed with lz4"},
        {"{", 1, "JSON"},
        {"-----", 5, "PEM, or a multipart form"},
        {"--", 2, "a multipart form"},
        {"hsqs", 4, "a squashfs image"},
        {"\177ELF", 4, "a program"},
    };
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (memcmp(first, kinds[i].magic, kinds[i].size) == 0)
            return kinds[i].name;
    return NULL;
}

/* The tar reader speaks of a layer where nothing has been a tar yet. */
static bool explain_tar(const struct unpack *unpack, bool began, struct error *error)
{
    if (unpack->input->failed || began)
        return false;
    const char *kind = name_of_magic(unpack->input->first);
    return error_set(
        error, ERROR_INVALID_ARGUMENT,
        "the body is no tar archive, neither plain nor compressed with gzip or zstd%s%s",
        kind ? ": it looks like " : "", kind ? kind : "");
}

static bool read_members(struct unpack *unpack, struct error *error)
{
    struct tar_member member;
    bool end = false;
    for (bool began = false;; began = true) {
        if (!tar_reader_next(unpack->reader, &member, &end, error))
            return explain_tar(unpack, began, error);
        if (end)
            return true;
        if (!take_member(unpack, &member, error))
            return false;
    }
}

static bool write_table(const struct unpack *unpack, struct unpack_report *report,
                        struct error *error)
{
    const size_t table_bytes = unpack->member_count * sizeof(struct archive_member);
    const uint64_t offset = (unpack->used_bytes + 7) & ~UINT64_C(7);
    *report = (struct unpack_report){unpack->member_count, offset};
    if (ftruncate(unpack->output_fd, (off_t)(offset + table_bytes)) != 0)
        return error_set_errno(error, ERROR_INTERNAL, errno, "cannot keep the archive's bytes");
    return write_at(unpack->output_fd, unpack->members, table_bytes, offset, error);
}

bool unpack_run(const struct archive_limits *limits, int input_fd, int output_fd,
                struct unpack_report *report, struct error *error)
{
    struct input *input = calloc(1, sizeof(*input));
    if (!input)
        abort();
    input->fd = input_fd;
    input->limits = limits;
    const struct tar_source source = {next_piece, input};
    struct unpack unpack = {
        .input = input,
        .reader = tar_reader_new(&source),
        .output_fd = output_fd,
    };
    bool done = open_input(input, error) && read_members(&unpack, error) &&
                write_table(&unpack, report, error);
    tar_reader_free(unpack.reader);
    inflate_free(input->inflate);
    free(unpack.members);
    free(input);
    return done;
}

static bool run_boxed(void *memory, struct error *error)
{
    struct unpack_channel *channel = memory;
    /* Ours from here on: the node reads it again only when we are gone. */
    const struct archive_limits limits = channel->limits;
    struct convert_limits box = convert_limits_default(limits.max_archive_bytes);
    box.max_output_bytes = limits.max_archive_bytes;
    box.max_memory_bytes = MAX_MEMORY_BYTES;
    return sandbox_confine(&box, error) && sandbox_seal(error) &&
           unpack_run(&limits, BOX_INPUT_FD, BOX_OUTPUT_FD, &channel->report, error);
}

int unpack_main(int argc, char **argv)
{
    (void)argv;
    return boxed_main(argc, "unpack", sizeof(struct unpack_channel), run_boxed);
}
