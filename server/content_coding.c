#include "server/content_coding.h"

#include <limits.h>
#include <string.h>
#include <strings.h>
#include <zlib.h>
#include <zstd.h>

enum {
    WORTH_BYTES = 1024, /* they fit in one packet as they are */
    GZIP_LEVEL = 1,
    GZIP_WINDOW = 15 + 16, /* 16: gzip's own header, not zlib's */
    GZIP_MEMORY = 8,
    ZSTD_LEVEL = 1,
    WEIGHT_ONE = 1000,
};

/* --- choosing --- */

/* A weight in thousandths: "0.5" is 500; -1 is none at all. */
static int read_weight(const char *at, const char *end)
{
    if (at == end || (*at != '0' && *at != '1'))
        return -1;
    int weight = *at++ == '1' ? WEIGHT_ONE : 0;
    if (at < end && *at++ != '.')
        return -1;
    for (int unit = WEIGHT_ONE / 10; at < end; at++, unit /= 10) {
        if (*at < '0' || *at > '9')
            return -1;
        weight += (*at - '0') * unit;
    }
    return weight <= WEIGHT_ONE ? weight : -1;
}

/* Of one member of the list: the part behind its name. */
static int weight_of(const char *at, const char *end)
{
    at += strspn(at, " \t");
    if (at >= end)
        return WEIGHT_ONE;
    if (*at++ != ';')
        return -1;
    at += strspn(at, " \t");
    if (end - at < 2 || strncasecmp(at, "q=", 2) != 0)
        return -1;
    while (end[-1] == ' ' || end[-1] == '\t')
        end--;
    return read_weight(at + 2, end);
}

static bool is_name(const char *at, size_t length, const char *name)
{
    return strlen(name) == length && strncasecmp(at, name, length) == 0;
}

/* CODING_COUNT: one that we do not know. */
static enum content_coding coding_named(const char *at, size_t length)
{
    for (enum content_coding coding = CODING_GZIP; coding < CODING_COUNT; coding++)
        if (is_name(at, length, content_coding_name(coding)))
            return coding;
    if (is_name(at, length, "x-gzip"))
        return CODING_GZIP;
    return is_name(at, length, "identity") ? CODING_IDENTITY : CODING_COUNT;
}

enum content_coding content_coding_choose(const char *accepted)
{
    int weights[CODING_COUNT] = {0};
    for (const char *at = accepted; at && *at;) {
        at += strspn(at, " \t,");
        const char *end = at + strcspn(at, ",");
        size_t length = strcspn(at, " \t;,");
        enum content_coding coding = coding_named(at, length);
        int weight = coding < CODING_COUNT ? weight_of(at + length, end) : -1;
        if (weight >= 0)
            weights[coding] = weight;
        at = end;
    }
    enum content_coding best = CODING_IDENTITY;
    for (enum content_coding coding = CODING_GZIP; coding < CODING_COUNT; coding++)
        if (weights[coding] > 0 && weights[coding] >= weights[best])
            best = coding;
    return best;
}

const char *content_coding_name(enum content_coding coding)
{
    static const char *const names[CODING_COUNT] = {[CODING_GZIP] = "gzip", [CODING_ZSTD] = "zstd"};
    return names[coding];
}

/* --- coding --- */

bool content_coding_is_worth(size_t size_bytes)
{
    return size_bytes >= WORTH_BYTES && size_bytes <= INT_MAX;
}

/* The size of what it wrote; 0: it had no memory, or not that much room. */
static size_t write_gzip(const struct json_writer *from, char *to, size_t room)
{
    z_stream stream = {.next_in = (unsigned char *)from->bytes,
                       .avail_in = (unsigned)from->size_bytes,
                       .next_out = (unsigned char *)to,
                       .avail_out = (unsigned)room};
    if (deflateInit2(&stream, GZIP_LEVEL, Z_DEFLATED, GZIP_WINDOW, GZIP_MEMORY,
                     Z_DEFAULT_STRATEGY) != Z_OK)
        return 0;
    int result = deflate(&stream, Z_FINISH);
    size_t size = stream.total_out;
    deflateEnd(&stream);
    return result == Z_STREAM_END ? size : 0;
}

static size_t write_zstd(const struct json_writer *from, char *to, size_t room)
{
    size_t size = ZSTD_compress(to, room, from->bytes, from->size_bytes, ZSTD_LEVEL);
    return ZSTD_isError(size) ? 0 : size;
}

enum content_coding content_coding_apply(enum content_coding wanted, struct json_writer *out)
{
    if (wanted == CODING_IDENTITY || !content_coding_is_worth(out->size_bytes))
        return CODING_IDENTITY;
    struct json_writer coded = {.capacity_bytes = out->size_bytes};
    coded.bytes = malloc(coded.capacity_bytes);
    if (!coded.bytes)
        abort();
    coded.size_bytes = wanted == CODING_GZIP ? write_gzip(out, coded.bytes, coded.capacity_bytes)
                                             : write_zstd(out, coded.bytes, coded.capacity_bytes);
    bool gained = coded.size_bytes > 0;
    json_writer_free(gained ? out : &coded);
    if (gained)
        *out = coded;
    return gained ? wanted : CODING_IDENTITY;
}
