#include "store/layer/layer_tar.h"

#include "store/cleanup.h"
#include "store/layer/layer_raw.h"
#include "store/layer/layer_stream.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <locale.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

struct tar_reader {
    struct tar_stream stream;
    struct archive *archive;
    struct archive_entry *entry; /* the archive's */
    locale_t bytes_locale;
    char *link;           /* owned; a target that only we have seen */
    uint64_t member_size; /* of the current file */
    uint64_t data_end;    /* offset behind the last piece of data */
    uint64_t data_left;   /* that is to come */
    uint64_t stored_end;  /* in the tar, behind a file's stored data */
    bool is_sparse;
    bool source_failed;
    struct error source_error;
    bool opened;
    char last_name[256]; /* its start, for "after member …" */
};

/* libarchive converts PAX names from UTF-8 to the locale's charset, and when it
 * cannot, keeps the bytes as they are. In the C locale it never can, so names stay
 * bytes (in a UTF-8 locale it would "normalise" them). */
static locale_t enter_bytes_locale(const struct tar_reader *reader)
{
    return uselocale(reader->bytes_locale);
}

static void leave_bytes_locale(const locale_t *saved)
{
    uselocale(*saved);
}

#define in_bytes_locale(reader)                                                                    \
    cleanup(leave_bytes_locale) locale_t saved_locale_ = enter_bytes_locale(reader);               \
    (void)saved_locale_

struct tar_reader *tar_reader_new(const struct tar_source *source)
{
    struct tar_reader *reader = calloc(1, sizeof(*reader));
    if (!reader)
        abort();
    tar_stream_open(&reader->stream, source);
    reader->bytes_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    reader->archive = archive_read_new();
    if (!reader->archive || reader->bytes_locale == (locale_t)0)
        abort();
    return reader;
}

void tar_reader_free(struct tar_reader *reader)
{
    if (!reader)
        return;
    archive_read_free(reader->archive);
    freelocale(reader->bytes_locale);
    tar_stream_close(&reader->stream);
    free(reader->link);
    free(reader);
}

static la_ssize_t read_source(struct archive *archive, void *context, const void **bytes)
{
    (void)archive;
    struct tar_reader *reader = context;
    if (!tar_stream_next(&reader->stream, &reader->source_error)) {
        reader->source_failed = true;
        return ARCHIVE_FATAL;
    }
    *bytes = reader->stream.piece;
    return (la_ssize_t)reader->stream.piece_size;
}

static void escape_name(const char *name, char *text, size_t text_size)
{
    static const char digits[] = "0123456789abcdef";
    size_t used = 0;
    for (; *name && used + 5 < text_size; name++) {
        unsigned char byte = (unsigned char)*name;
        if (byte >= 0x20 && byte < 0x7F && byte != '"' && byte != '\\') {
            text[used++] = (char)byte;
            continue;
        }
        text[used++] = '\\';
        text[used++] = 'x';
        text[used++] = digits[byte >> 4];
        text[used++] = digits[byte & 15];
    }
    text[used] = '\0';
}

bool tar_refuse(struct error *error, enum error_code code, const char *name, const char *format,
                ...)
{
    char reason[384];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(reason, sizeof(reason), format, arguments);
    va_end(arguments);

    char escaped[300];
    escape_name(name, escaped, sizeof(escaped));
    return error_set(error, code, "\"%s\" %s", escaped, reason);
}

/* Turns libarchive's failure, or the source's behind it, into ours. */
static bool fail(struct tar_reader *reader, struct error *error)
{
    if (reader->source_failed) {
        *error = reader->source_error;
        return false;
    }
    int number = archive_errno(reader->archive);
    const char *text = archive_error_string(reader->archive);
    if (number == ENOMEM)
        return error_set(error, ERROR_INTERNAL, "libarchive is out of memory");
    if (reader->last_name[0] == '\0')
        return error_set(error, ERROR_UNSUPPORTED_LAYER, "the layer is no tar: %s",
                         text ? text : "unknown error");
    tar_refuse(error, ERROR_UNSUPPORTED_LAYER, reader->last_name, "or what follows it: %s",
               text ? text : "unknown error");
    return error_context(error, "the tar is damaged");
}

/* Tar and nothing but tar: no filters, no other formats. "empty" makes no bytes at
 * all an empty layer. */
static bool open_archive(struct tar_reader *reader, struct error *error)
{
    reader->opened = true;
    if (archive_read_support_format_tar(reader->archive) != ARCHIVE_OK ||
        archive_read_support_format_empty(reader->archive) != ARCHIVE_OK ||
        archive_read_set_format_option(reader->archive, "tar", "mac-ext", NULL) < ARCHIVE_WARN)
        return fail(reader, error);
    if (archive_read_open(reader->archive, reader, NULL, read_source, NULL) != ARCHIVE_OK)
        return fail(reader, error);
    return true;
}

/* Where libarchive sees the archive's end, two blocks of zeros or nothing must be. What
 * follows them belongs to the digest, not to the layer. */
static bool finish(struct tar_reader *reader, struct error *error)
{
    size_t size = 0;
    uint64_t start = (uint64_t)archive_read_header_position(reader->archive);
    const unsigned char *bytes = tar_stream_at(&reader->stream, start, &size);
    const char *fault = raw_scan_end(bytes, size);
    if (fault && !reader->source_failed)
        return tar_refuse(error, ERROR_UNSUPPORTED_LAYER, reader->last_name, "%s", fault);
    while (!reader->stream.ended)
        if (read_source(reader->archive, reader, (const void **)&bytes) < 0)
            break;
    if (reader->source_failed)
        return fail(reader, error);
    return reader->stored_end <= reader->stream.size_bytes ||
           tar_refuse(error, ERROR_UNSUPPORTED_LAYER, reader->last_name, "is cut short");
}

static bool ends_with_slash(const char *name)
{
    size_t length = strlen(name);
    return length > 0 && name[length - 1] == '/';
}

/* Go's archive/tar leaves out of the header what is not ASCII, and when nothing is left,
 * libarchive does not take the PAX record for a link's target. */
static const char *link_target(struct tar_reader *reader, const struct raw_facts *facts)
{
    const char *target = facts->type == '1' ? archive_entry_hardlink(reader->entry)
                                            : archive_entry_symlink(reader->entry);
    if (target && *target)
        return target;
    if (!facts->pax.linkpath)
        return target;
    free(reader->link);
    reader->link = strndup(facts->pax.linkpath, facts->pax.linkpath_size);
    if (!reader->link)
        abort();
    return reader->link;
}

static bool member_type(struct tar_reader *reader, const struct raw_facts *facts,
                        struct tar_member *member)
{
    switch (facts->type) {
    case '1':
        member->type = TAR_HARD_LINK;
        member->link_target = link_target(reader, facts);
        return member->link_target != NULL;
    case '2':
        member->type = TAR_SYMLINK;
        member->link_target = link_target(reader, facts);
        return member->link_target != NULL;
    case '3':
        member->type = TAR_CHARACTER;
        return true;
    case '4':
        member->type = TAR_BLOCK;
        return true;
    case '5':
    case 'D':
        member->type = TAR_DIRECTORY;
        return true;
    case '6':
        member->type = TAR_FIFO;
        return true;
    default:
        member->type = ends_with_slash(member->name) ? TAR_DIRECTORY : TAR_FILE;
        return true;
    }
}

/* Whether readers agree on where the next member begins: some skip the body that the
 * size of such a member speaks of, some take it for the next header. */
static bool has_clear_size(const struct tar_reader *reader, const struct raw_facts *facts,
                           const struct tar_member *member)
{
    return member->type == TAR_FILE || facts->type == 'D' || archive_entry_size(reader->entry) == 0;
}

/* How much data is to come. libarchive lists the pieces of a sparse file, but for one
 * that is all of it; of no file as large as we say is a piece all. (Were one all of it,
 * archive_entry_sparse_reset() would begin at the piece that it has just freed.) */
static uint64_t stored_size(struct archive_entry *entry, bool is_sparse)
{
    uint64_t size = (uint64_t)archive_entry_size(entry);
    if (!is_sparse || size == INT64_MAX)
        return size;
    archive_entry_set_size(entry, INT64_MAX);
    archive_entry_sparse_reset(entry);
    uint64_t sum = 0;
    la_int64_t offset;
    la_int64_t length;
    while (archive_entry_sparse_next(entry, &offset, &length) == ARCHIVE_OK)
        sum += (uint64_t)length;
    archive_entry_set_size(entry, (la_int64_t)size);
    return sum;
}

/* libarchive reads "-1.5" as -1 s and +0.5 s; only PAX times have fractions. */
static void member_time(struct archive_entry *entry, bool is_negative, struct tar_member *member)
{
    long nsec = archive_entry_mtime_nsec(entry);
    member->mtime = archive_entry_mtime(entry);
    member->mtime_nsec = nsec < 0 || nsec > 999999999 ? 0 : (uint32_t)nsec;
    if (member->mtime > 0 || member->mtime_nsec == 0)
        return;
    if (member->mtime < 0 || is_negative) {
        member->mtime--;
        member->mtime_nsec = 1000000000 - member->mtime_nsec;
    }
}

static const char bad_map[] = "has a sparse map that contradicts its size or itself";

static void fill_metadata(struct archive_entry *entry, const struct raw_facts *facts,
                          struct tar_member *member)
{
    member_time(entry, facts->pax.mtime_is_negative, member);
    member->permissions = facts->mode; /* libarchive's follows the text of an ACL */
    member->uid = archive_entry_uid(entry);
    member->gid = archive_entry_gid(entry);
    member->major = (uint64_t)archive_entry_rdevmajor(entry);
    member->minor = (uint64_t)archive_entry_rdevminor(entry);
    member->size_bytes = (uint64_t)archive_entry_size(entry);
}

static struct raw_facts look_at_headers(struct tar_reader *reader, uint64_t start)
{
    size_t size = 0;
    const unsigned char *bytes = tar_stream_at(&reader->stream, start, &size);
    return raw_scan(bytes, size);
}

static bool fill_member(struct tar_reader *reader, struct tar_member *member, struct error *error)
{
    struct archive_entry *entry = reader->entry;
    *member = (struct tar_member){.name = archive_entry_pathname(entry)};
    uint64_t start = (uint64_t)archive_read_header_position(reader->archive);
    struct raw_facts facts = look_at_headers(reader, start);
    if (member->name)
        snprintf(reader->last_name, sizeof(reader->last_name), "%s", member->name);
    if (facts.fault)
        return tar_refuse(error, ERROR_UNSUPPORTED_LAYER, reader->last_name, "%s", facts.fault);
    if (!member->name)
        return tar_refuse(error, ERROR_UNSUPPORTED_LAYER, reader->last_name,
                          "is followed by a member without a name");
    if (!member_type(reader, &facts, member))
        return tar_refuse(error, ERROR_UNSUPPORTED_LAYER, member->name, "is a link to nothing");
    if (archive_entry_size(entry) < 0)
        return tar_refuse(error, ERROR_UNSUPPORTED_LAYER, member->name, "has a negative size");
    if (!has_clear_size(reader, &facts, member))
        return tar_refuse(error, ERROR_UNSUPPORTED_LAYER, member->name,
                          "has a size, which only files have");
    fill_metadata(entry, &facts, member);
    reader->member_size = member->size_bytes;
    reader->data_end = 0;
    reader->data_left = stored_size(entry, facts.is_sparse);
    member->stored_bytes = reader->data_left;
    bool has_data = member->type == TAR_FILE || facts.type == 'D';
    reader->stored_end = start + facts.header_bytes + (has_data ? facts.data_bytes : 0);
    reader->is_sparse = facts.is_sparse;
    if (reader->data_left > reader->member_size)
        return tar_refuse(error, ERROR_UNSUPPORTED_LAYER, member->name, "%s", bad_map);
    archive_entry_xattr_reset(entry);
    return true;
}

/* Here and not within archive_read_next_header(), as nothing of it need be kept. */
static bool skip_data(struct tar_reader *reader, struct error *error)
{
    if (!reader->entry)
        return true;
    int result = archive_read_data_skip(reader->archive);
    return result == ARCHIVE_OK || result == ARCHIVE_WARN || fail(reader, error);
}

static int next_header(struct tar_reader *reader)
{
    tar_stream_begin_header(&reader->stream);
    int result = archive_read_next_header(reader->archive, &reader->entry);
    tar_stream_end_header(&reader->stream);
    return result;
}

/* libarchive does not skip what no piece of a sparse file's map is about. */
static bool begins_where_the_last_ended(const struct tar_reader *reader, struct error *error)
{
    uint64_t start = (uint64_t)archive_read_header_position(reader->archive);
    if (!reader->is_sparse || start == raw_whole_blocks(reader->stored_end))
        return true;
    return tar_refuse(error, ERROR_UNSUPPORTED_LAYER, reader->last_name,
                      "has a sparse map that leaves out some of its data");
}

bool tar_reader_next(struct tar_reader *reader, struct tar_member *member, bool *end,
                     struct error *error)
{
    in_bytes_locale(reader);
    *end = false;
    if ((!reader->opened && !open_archive(reader, error)) || !skip_data(reader, error))
        return false;
    int result = next_header(reader);
    if (reader->source_failed || !begins_where_the_last_ended(reader, error))
        return reader->source_failed ? fail(reader, error) : false;
    if (result == ARCHIVE_EOF) {
        *end = true;
        return finish(reader, error);
    }
    /* A warning: a name kept as bytes, or a record that raw_scan() refuses. */
    if (result != ARCHIVE_OK && result != ARCHIVE_WARN)
        return fail(reader, error);
    return fill_member(reader, member, error);
}

bool tar_reader_xattr(struct tar_reader *reader, const char **name, const void **value,
                      size_t *value_size)
{
    return archive_entry_xattr_next(reader->entry, name, value, value_size) == ARCHIVE_OK;
}

bool tar_reader_data(struct tar_reader *reader, const void **bytes, size_t *size_bytes,
                     uint64_t *offset, struct error *error)
{
    in_bytes_locale(reader);
    la_int64_t at = 0;
    do {
        *size_bytes = 0;
        int result = archive_read_data_block(reader->archive, bytes, size_bytes, &at);
        if (result == ARCHIVE_EOF) {
            *size_bytes = 0;
            return reader->data_left == 0 ||
                   tar_refuse(error, ERROR_UNSUPPORTED_LAYER, reader->last_name,
                              "has a sparse map of more data than is there");
        }
        if (result != ARCHIVE_OK && result != ARCHIVE_WARN)
            return fail(reader, error);
    } while (*size_bytes == 0);

    *offset = (uint64_t)at;
    if (at < 0 || *offset < reader->data_end || *offset > reader->member_size ||
        *size_bytes > reader->member_size - *offset || *size_bytes > reader->data_left)
        return tar_refuse(error, ERROR_UNSUPPORTED_LAYER, reader->last_name, "%s", bad_map);
    reader->data_end = *offset + *size_bytes;
    reader->data_left -= *size_bytes;
    return true;
}
