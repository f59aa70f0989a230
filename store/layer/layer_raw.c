#include "store/layer/layer_raw.h"

#include <string.h>

/* POSIX pax, "ustar Interchange Format"; GNU tar's manual, "Basic Tar Format". */
enum {
    BLOCK_SIZE = 512,
    MODE_OFFSET = 100,
    MODE_SIZE = 8,
    SIZE_OFFSET = 124,
    SIZE_SIZE = 12,
    TYPE_OFFSET = 156,
    MAGIC_OFFSET = 257,
    GNU_EXTENDED_OFFSET = 482, /* of an old sparse header: more of the map follows */
    GNU_MORE_OFFSET = 504,     /* of such a block: and more */
    MAX_EXTENSION_BODY = 1 << 20,
    MAX_EXTENSIONS = 30, /* libarchive gives up at 32 */
};

static const char too_large[] = "has headers that are too many or too large";

/* As libarchive reads one: octal behind blanks, or binary. What is negative or too large
 * for a size comes out as UINT64_MAX. */
static uint64_t number(const unsigned char *field, size_t size)
{
    uint64_t value = 0;
    if (*field & 0x80) {
        value = *field & 0x7F;
        for (size_t i = 1; i < size; i++)
            value = value >> 55 ? UINT64_MAX : value << 8 | field[i];
        return value;
    }
    while (size > 0 && (*field == ' ' || *field == '\t')) {
        field++;
        size--;
    }
    for (; size > 0 && *field >= '0' && *field <= '7'; field++, size--)
        value = value << 3 | (uint64_t)(*field - '0');
    return value;
}

/* A place in the headers. */
struct cursor {
    const unsigned char *at;
    size_t left;
};

static void skip(struct cursor *cursor, uint64_t size)
{
    cursor->at += size;
    cursor->left -= (size_t)size;
}

static bool is_extension(const unsigned char *header)
{
    return header[TYPE_OFFSET] != '\0' && strchr("xXgLKVA", header[TYPE_OFFSET]);
}

/* Steps over one extension. False: it is not all there, or larger than libarchive
 * takes. The one body that libarchive does not step over is a volume label's. */
static bool skip_extension(struct cursor *cursor, struct raw_facts *facts)
{
    char type = (char)cursor->at[TYPE_OFFSET];
    uint64_t body = number(cursor->at + SIZE_OFFSET, SIZE_SIZE);
    if (body > MAX_EXTENSION_BODY || raw_whole_blocks(body) > cursor->left - BLOCK_SIZE)
        return false;
    if (type == 'x' || type == 'X') /* the last one counts */
        facts->pax = pax_scan((const char *)cursor->at + BLOCK_SIZE, (size_t)body);
    if (type == 'V' && body > 0)
        facts->fault = "follows a volume label with a body";
    skip(cursor, BLOCK_SIZE + raw_whole_blocks(body));
    return true;
}

/* To the first header that is no extension. */
static bool skip_extensions(struct cursor *cursor, struct raw_facts *facts)
{
    for (int count = 0; count <= MAX_EXTENSIONS; count++) {
        if (cursor->left < BLOCK_SIZE)
            return false;
        if (!is_extension(cursor->at))
            return true;
        if (!skip_extension(cursor, facts))
            return false;
    }
    return false;
}

/* The rest of the map of GNU's old sparse format. */
static bool skip_sparse_blocks(struct cursor *cursor, bool more)
{
    while (more) {
        if (cursor->left < BLOCK_SIZE)
            return false;
        more = cursor->at[GNU_MORE_OFFSET] != 0;
        skip(cursor, BLOCK_SIZE);
    }
    return true;
}

/* The typeflags of what a filesystem has, as Go's archive/tar knows them and GNU tar's
 * incremental directories. POSIX would have any other be a file. */
static const char *type_fault(const unsigned char *header)
{
    unsigned char type = header[TYPE_OFFSET];
    if (type != '\0' && !strchr("01234567SD", type))
        return "has a type that no filesystem has";
    if (type == 'S' && memcmp(header + MAGIC_OFFSET, "ustar  ", 8) != 0)
        return "is a sparse file of an unknown dialect";
    return NULL;
}

struct raw_facts raw_scan(const unsigned char *bytes, size_t size_bytes)
{
    struct raw_facts facts = {.pax.size_bytes = -1};
    struct cursor cursor = {bytes, size_bytes};
    if (!skip_extensions(&cursor, &facts)) {
        facts.fault = too_large;
        return facts;
    }
    const unsigned char *header = cursor.at;
    facts.type = (char)header[TYPE_OFFSET];
    facts.mode = (uint16_t)(number(header + MODE_OFFSET, MODE_SIZE) & 07777);
    facts.is_sparse = facts.type == 'S' || facts.pax.is_sparse;
    if (!facts.fault)
        facts.fault = facts.pax.fault ? facts.pax.fault : type_fault(header);

    skip(&cursor, BLOCK_SIZE);
    bool is_extended = facts.type == 'S' && header[GNU_EXTENDED_OFFSET] != 0;
    if (!skip_sparse_blocks(&cursor, is_extended))
        facts.fault = too_large;
    facts.header_bytes = (uint64_t)(cursor.at - bytes);
    facts.data_bytes = facts.pax.size_bytes >= 0 ? (uint64_t)facts.pax.size_bytes
                                                 : number(header + SIZE_OFFSET, SIZE_SIZE);
    return facts;
}

static bool is_zero(const unsigned char *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (bytes[i] != 0)
            return false;
    return true;
}

const char *raw_scan_end(const unsigned char *bytes, size_t size_bytes)
{
    struct raw_facts facts = {0};
    struct cursor cursor = {bytes, size_bytes};
    if (!skip_extensions(&cursor, &facts) && !facts.fault)
        return cursor.left > 0 ? too_large : NULL;
    if (facts.fault || !is_zero(cursor.at, BLOCK_SIZE))
        return "is followed by a header that cannot be read";
    skip(&cursor, BLOCK_SIZE);
    if (!is_zero(cursor.at, cursor.left < BLOCK_SIZE ? cursor.left : BLOCK_SIZE))
        return "is followed by a lone block of zeros, and that by more";
    return NULL;
}
