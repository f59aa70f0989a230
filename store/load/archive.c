#include "store/load/archive.h"

#include "store/excerpt.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_LINKS = 8 }; /* on the way to one file; Docker writes one */

static int compare_members(const void *one, const void *other)
{
    const struct archive_member *a = one;
    const struct archive_member *b = other;
    int order = strcmp(a->name, b->name);
    if (order != 0)
        return order;
    return a->number < b->number ? -1 : a->number > b->number;
}

void archive_sort(struct archive *archive)
{
    qsort(archive->members, archive->member_count, sizeof(*archive->members), compare_members);
}

/* The last member of that name. */
static const struct archive_member *find_member(const struct archive *archive, const char *name)
{
    size_t low = 0;
    size_t high = archive->member_count;
    while (low < high) { /* all before `low` sort up to the name, all from `high` on behind it */
        size_t middle = low + (high - low) / 2;
        if (strcmp(archive->members[middle].name, name) <= 0)
            low = middle + 1;
        else
            high = middle;
    }
    const struct archive_member *found = low > 0 ? &archive->members[low - 1] : NULL;
    return found && strcmp(found->name, name) == 0 ? found : NULL;
}

/* Takes "." and ".." out of a name, without ever leaving the archive's root. */
static void resolve_dots(char *name)
{
    char *out = name;
    for (const char *at = name; *at;) {
        size_t length = strcspn(at, "/");
        if (length == 2 && at[0] == '.' && at[1] == '.') {
            while (out > name && *--out != '/')
                ;
        } else if (length > 0 && !(length == 1 && at[0] == '.')) {
            if (out > name)
                *out++ = '/';
            memmove(out, at, length);
            out += length;
        }
        at += length + (at[length] == '/');
    }
    *out = '\0';
}

/* What the link leads to, as a name: a hard link's target is one already, a symbolic
 * link's is relative to where it stands, as Linux has it. */
static bool link_target(const struct archive_member *link, char name[2 * ARCHIVE_NAME_SIZE])
{
    const char *slash = strrchr(link->name, '/');
    bool is_relative = link->type == ARCHIVE_SYMLINK && link->target[0] != '/' && slash;
    int length =
        snprintf(name, (size_t)2 * ARCHIVE_NAME_SIZE, "%.*s%s",
                 is_relative ? (int)(slash - link->name + 1) : 0, link->name, link->target);
    resolve_dots(name);
    return length > 0;
}

const struct archive_member *archive_find(const struct archive *archive, const char *name)
{
    char target[2 * ARCHIVE_NAME_SIZE];
    if (strlen(name) >= ARCHIVE_NAME_SIZE)
        return NULL;
    snprintf(target, sizeof(target), "%s", name);
    resolve_dots(target);
    for (int links = 0; links <= MAX_LINKS; links++) {
        const struct archive_member *member = find_member(archive, target);
        if (!member || member->type == ARCHIVE_FILE)
            return member;
        if (!link_target(member, target))
            return NULL;
    }
    return NULL;
}

const struct archive_member *archive_find_blob(const struct archive *archive,
                                               const struct digest *digest)
{
    char hex[DIGEST_HEX_SIZE];
    char name[ARCHIVE_NAME_SIZE];
    digest_format_hex(digest, hex);
    snprintf(name, sizeof(name), "blobs/sha256/%s", hex);
    return archive_find(archive, name);
}

bool archive_read(const struct archive *archive, const struct archive_member *member,
                  uint64_t offset, void *bytes, size_t size_bytes, struct error *error)
{
    char *next = bytes;
    if (offset > member->size_bytes || size_bytes > member->size_bytes - offset)
        return error_set(error, ERROR_INVALID_ARGUMENT, "the archive's \"%s\" has only %llu bytes",
                         excerpt_of(member->name).text, (unsigned long long)member->size_bytes);
    uint64_t at = member->offset + offset;
    while (size_bytes > 0) {
        ssize_t got = pread(archive->fd, next, size_bytes, (off_t)at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return error_set_errno(error, ERROR_INTERNAL, got < 0 ? errno : EIO,
                                   "cannot read the unpacked archive");
        next += got;
        at += (uint64_t)got;
        size_bytes -= (size_t)got;
    }
    return true;
}

bool archive_read_document(struct archive *archive, const struct archive_member *member,
                           struct arena *arena, struct archive_document *document,
                           struct error *error)
{
    const uint64_t left = ARCHIVE_MAX_DOCUMENTS_BYTES - archive->documents_bytes;
    if (member->size_bytes > ARCHIVE_MAX_DOCUMENT_BYTES)
        return error_set(error, ERROR_INVALID_ARGUMENT,
                         "the archive's \"%s\" has more than the %d bytes of any index, manifest "
                         "or config",
                         excerpt_of(member->name).text, ARCHIVE_MAX_DOCUMENT_BYTES);
    if (member->size_bytes > left)
        return error_set(error, ERROR_INVALID_ARGUMENT,
                         "the archive's manifests and configs have more than %d bytes together",
                         ARCHIVE_MAX_DOCUMENTS_BYTES);
    size_t size = (size_t)member->size_bytes;
    char *bytes = arena_alloc(arena, size + 1);
    if (!archive_read(archive, member, 0, bytes, size, error))
        return false;
    archive->documents_bytes += size;
    *document = (struct archive_document){bytes, size, digest_of(bytes, size)};
    return true;
}
