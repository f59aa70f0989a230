#include "store/layer/layer_tar.h"

#include "store/cleanup.h"
#include "store/layer/layer_pax.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <locale.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

struct tar_reader {
    const struct tar_source *source;
    struct archive *archive;
    struct archive_entry *entry; /* the archive's */
    locale_t bytes_locale;
    uint64_t member_size;       /* of the current file */
    uint64_t data_end;          /* offset behind the last piece of data */
    const unsigned char *piece; /* the source's latest */
    size_t piece_size;
    uint64_t piece_offset; /* in the tar */

    /* While a header is read (the first one: from the opening on): what came before
     * `piece`, from the position on that
     * libarchive had reached. */
    bool in_header;
    unsigned char *kept; /* owned */
    size_t kept_size;
    size_t kept_capacity;
    uint64_t kept_offset; /* in the tar */

    bool opened;
    bool source_ended;
    bool source_failed;
    struct error source_error;
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
    reader->source = source;
    reader->in_header = true;
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
    free(reader->kept);
    free(reader);
}

/* Appends what libarchive has not consumed of the piece, at most `size` bytes. */
static void keep_piece(struct tar_reader *reader, size_t size)
{
    uint64_t wanted = reader->kept_offset + reader->kept_size;
    size_t skip = wanted > reader->piece_offset ? (size_t)(wanted - reader->piece_offset) : 0;
    if (skip >= size)
        return;
    size_t more = size - skip;
    if (reader->kept_size + more > reader->kept_capacity) {
        reader->kept_capacity = 2 * (reader->kept_size + more);
        reader->kept = realloc(reader->kept, reader->kept_capacity);
        if (!reader->kept)
            abort();
    }
    memcpy(reader->kept + reader->kept_size, reader->piece + skip, more);
    reader->kept_size += more;
}

static la_ssize_t read_source(struct archive *archive, void *context, const void **bytes)
{
    (void)archive;
    struct tar_reader *reader = context;
    if (reader->source_ended)
        return 0;
    if (reader->in_header)
        keep_piece(reader, reader->piece_size);
    reader->piece_offset += reader->piece_size;
    reader->piece_size = 0;
    if (!reader->source->next(reader->source->context, bytes, &reader->piece_size,
                              &reader->source_error)) {
        reader->source_failed = true;
        reader->piece_size = 0;
        return ARCHIVE_FATAL;
    }
    reader->piece = *bytes;
    reader->source_ended = reader->piece_size == 0;
    return (la_ssize_t)reader->piece_size;
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

/* What follows the end-of-archive marker belongs to the digest, not to the layer. */
static bool drain_source(struct tar_reader *reader, struct error *error)
{
    const void *bytes;
    while (!reader->source_ended)
        if (read_source(reader->archive, reader, &bytes) < 0)
            return fail(reader, error);
    return true;
}

static bool ends_with_slash(const char *name)
{
    size_t length = strlen(name);
    return length > 0 && name[length - 1] == '/';
}

static bool member_type(struct archive_entry *entry, struct tar_member *member)
{
    if (archive_entry_hardlink(entry)) {
        member->type = TAR_HARD_LINK;
        member->link_target = archive_entry_hardlink(entry);
        return true;
    }
    switch (archive_entry_filetype(entry)) {
    case AE_IFREG:
        member->type = ends_with_slash(member->name) ? TAR_DIRECTORY : TAR_FILE;
        return true;
    case AE_IFDIR:
        member->type = TAR_DIRECTORY;
        return true;
    case AE_IFLNK:
        member->type = TAR_SYMLINK;
        member->link_target = archive_entry_symlink(entry);
        return member->link_target != NULL;
    case AE_IFCHR:
        member->type = TAR_CHARACTER;
        return true;
    case AE_IFBLK:
        member->type = TAR_BLOCK;
        return true;
    case AE_IFIFO:
        member->type = TAR_FIFO;
        return true;
    default:
        return false;
    }
}

/* What the raw bytes of the headers just read say. They are copied only where they
 * lie in more than one piece. */
static struct pax_facts scan_raw_headers(struct tar_reader *reader)
{
    const size_t enough = 4 << 20; /* of headers that libarchive takes */
    uint64_t start = (uint64_t)archive_read_header_position(reader->archive);
    if (start >= reader->piece_offset && start - reader->piece_offset <= reader->piece_size) {
        size_t skip = (size_t)(start - reader->piece_offset);
        return pax_scan(reader->piece + skip, reader->piece_size - skip);
    }
    keep_piece(reader, reader->piece_size < enough ? reader->piece_size : enough);
    if (start < reader->kept_offset || start - reader->kept_offset > reader->kept_size)
        return (struct pax_facts){0};
    size_t skip = (size_t)(start - reader->kept_offset);
    return pax_scan(reader->kept + skip, reader->kept_size - skip);
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

static bool fill_member(struct tar_reader *reader, struct tar_member *member, struct error *error)
{
    struct archive_entry *entry = reader->entry;
    *member = (struct tar_member){.name = archive_entry_pathname(entry)};
    if (!member->name)
        return tar_refuse(error, ERROR_UNSUPPORTED_LAYER, reader->last_name,
                          "is followed by a member without a name");
    snprintf(reader->last_name, sizeof(reader->last_name), "%s", member->name);
    if (!member_type(entry, member))
        return tar_refuse(error, ERROR_UNSUPPORTED_LAYER, member->name,
                          "has a type that no filesystem has");
    struct pax_facts facts = scan_raw_headers(reader);
    if (facts.fault)
        return tar_refuse(error, ERROR_UNSUPPORTED_LAYER, member->name, "%s", facts.fault);
    member_time(entry, facts.mtime_is_negative, member);
    member->permissions = archive_entry_perm(entry) & 07777;
    member->uid = archive_entry_uid(entry);
    member->gid = archive_entry_gid(entry);
    member->major = (uint64_t)archive_entry_rdevmajor(entry);
    member->minor = (uint64_t)archive_entry_rdevminor(entry);
    if (archive_entry_size(entry) < 0)
        return tar_refuse(error, ERROR_UNSUPPORTED_LAYER, member->name, "has a negative size");
    member->size_bytes = (uint64_t)archive_entry_size(entry);
    reader->member_size = member->size_bytes;
    reader->data_end = 0;
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
    if (!reader->in_header) { /* the first header is already being read by the opening */
        reader->kept_size = 0;
        reader->kept_offset = (uint64_t)archive_filter_bytes(reader->archive, -1);
        if (reader->kept_offset < reader->piece_offset) /* in a buffer of libarchive's own */
            reader->kept_offset = reader->piece_offset;
    }
    reader->in_header = true;
    int result = archive_read_next_header(reader->archive, &reader->entry);
    reader->in_header = false;
    return result;
}

bool tar_reader_next(struct tar_reader *reader, struct tar_member *member, bool *end,
                     struct error *error)
{
    in_bytes_locale(reader);
    *end = false;
    if ((!reader->opened && !open_archive(reader, error)) || !skip_data(reader, error))
        return false;
    int result = next_header(reader);
    if (result == ARCHIVE_EOF) {
        *end = true;
        return drain_source(reader, error);
    }
    /* A warning: a name kept as bytes, or a PAX record that pax_scan() refuses. */
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
            return true;
        }
        if (result != ARCHIVE_OK && result != ARCHIVE_WARN)
            return fail(reader, error);
    } while (*size_bytes == 0);

    *offset = (uint64_t)at;
    if (at < 0 || *offset < reader->data_end || *offset > reader->member_size ||
        *size_bytes > reader->member_size - *offset)
        return tar_refuse(error, ERROR_UNSUPPORTED_LAYER, reader->last_name,
                          "has a sparse map that contradicts its size or itself");
    reader->data_end = *offset + *size_bytes;
    return true;
}
