#include "store/convert/inflate.h"

#include "store/convert/gzip_header.h"

#include <assert.h>
#include <isa-l/igzip_lib.h>
#include <string.h>
#include <zstd.h>

/* Where the blob stands between two pieces. */
enum position {
    AT_START,  /* not a byte seen */
    IN_HEADER, /* of a gzip member */
    INSIDE,    /* a gzip member or zstd frame; more must come */
    AT_END,    /* of one: the blob may end here, or another begin */
    IN_PADDING /* zeros after the last gzip member */
};

struct inflate {
    enum layer_compression compression;
    enum position position;
    uint64_t max_tar_bytes;
    uint64_t tar_bytes; /* given out so far */
    struct gzip_header gzip_header;
    struct inflate_state *gzip; /* owned; NULL unless LAYER_GZIP */
    ZSTD_DStream *zstd;         /* owned; NULL unless LAYER_ZSTD */
};

static const char *compression_name(enum layer_compression compression)
{
    switch (compression) {
    case LAYER_PLAIN:
        return "plain tar";
    case LAYER_GZIP:
        return "gzip";
    case LAYER_ZSTD:
        return "zstd";
    }
    return "unknown";
}

static void open_gzip(struct inflate *inflate)
{
    inflate->gzip = calloc(1, sizeof(*inflate->gzip));
    if (!inflate->gzip)
        abort();
    isal_inflate_init(inflate->gzip);
}

static void open_zstd(struct inflate *inflate)
{
    inflate->zstd = ZSTD_createDStream();
    if (!inflate->zstd)
        abort();
    size_t result =
        ZSTD_DCtx_setParameter(inflate->zstd, ZSTD_d_windowLogMax, INFLATE_ZSTD_WINDOW_LOG_MAX);
    assert(!ZSTD_isError(result));
    (void)result;
}

struct inflate *inflate_new(enum layer_compression compression, uint64_t max_tar_bytes)
{
    struct inflate *inflate = calloc(1, sizeof(*inflate));
    if (!inflate)
        abort();
    inflate->compression = compression;
    inflate->max_tar_bytes = max_tar_bytes;
    if (compression == LAYER_GZIP)
        open_gzip(inflate);
    else if (compression == LAYER_ZSTD)
        open_zstd(inflate);
    return inflate;
}

void inflate_free(struct inflate *inflate)
{
    if (!inflate)
        return;
    free(inflate->gzip);
    ZSTD_freeDStream(inflate->zstd);
    free(inflate);
}

/* A tar begins with a member's name, and none in use begins like gzip or zstd. */
enum layer_compression inflate_detect(const uint8_t *bytes, size_t size_bytes)
{
    static const uint8_t gzip[] = {0x1f, 0x8b};
    static const uint8_t zstd[] = {0x28, 0xb5, 0x2f, 0xfd};
    static const uint8_t skippable[] = {0x2a, 0x4d, 0x18}; /* after 0x50 to 0x5f */

    if (size_bytes >= sizeof(gzip) && memcmp(bytes, gzip, sizeof(gzip)) == 0)
        return LAYER_GZIP;
    if (size_bytes < INFLATE_MAGIC_BYTES)
        return LAYER_PLAIN;
    if (memcmp(bytes, zstd, sizeof(zstd)) == 0)
        return LAYER_ZSTD;
    if (bytes[0] >> 4 == 5 && memcmp(bytes + 1, skippable, sizeof(skippable)) == 0)
        return LAYER_ZSTD;
    return LAYER_PLAIN;
}

static bool check_magic(const struct inflate *inflate, const struct inflate_buffers *buffers,
                        struct error *error)
{
    enum layer_compression found = inflate_detect(buffers->in, buffers->in_bytes);
    if (found == inflate->compression)
        return true;
    return error_set(error, ERROR_UNSUPPORTED_LAYER,
                     "the media type says %s but the blob begins like %s",
                     compression_name(inflate->compression), compression_name(found));
}

static size_t smaller(size_t one, size_t other)
{
    return one < other ? one : other;
}

static void consume(struct inflate_buffers *buffers, size_t in_bytes, size_t out_bytes)
{
    buffers->in += in_bytes;
    buffers->in_bytes -= in_bytes;
    buffers->out += out_bytes;
    buffers->out_bytes -= out_bytes;
}

static void step_plain(struct inflate *inflate, struct inflate_buffers *buffers)
{
    size_t size = smaller(buffers->in_bytes, buffers->out_bytes);
    memcpy(buffers->out, buffers->in, size);
    consume(buffers, size, size);
    inflate->position = AT_END;
}

static bool gzip_damaged(const char *how, struct error *error)
{
    return error_set(error, ERROR_UNSUPPORTED_LAYER, "the gzip blob is damaged: %s", how);
}

static void begin_gzip_member(struct inflate *inflate)
{
    inflate->gzip_header = (struct gzip_header){0};
    inflate->position = IN_HEADER;
}

static bool step_gzip_header(struct inflate *inflate, struct inflate_buffers *buffers,
                             struct error *error)
{
    struct gzip_header *header = &inflate->gzip_header;
    consume(buffers, gzip_header_take(header, buffers->in, buffers->in_bytes), 0);
    if (header->part == GZIP_INVALID)
        return gzip_damaged("a member's header is invalid", error);
    if (header->part == GZIP_DEFLATE) {
        isal_inflate_reset(inflate->gzip);
        inflate->gzip->crc_flag = ISAL_GZIP_NO_HDR_VER; /* the trailer is checked */
        inflate->position = INSIDE;
    }
    return true;
}

static const char *deflate_fault(int result)
{
    switch (result) {
    case ISAL_INVALID_BLOCK:
        return "a deflate block is invalid";
    case ISAL_INVALID_SYMBOL:
        return "a deflate symbol is invalid";
    case ISAL_INVALID_LOOKBACK:
        return "a deflate distance points before the data";
    case ISAL_INCORRECT_CHECKSUM:
        return "a member's CRC-32 or length is wrong";
    default:
        return "its deflate data is invalid";
    }
}

/* One call of igzip; it stops at the end of a member. */
static bool step_gzip_member(struct inflate *inflate, struct inflate_buffers *buffers,
                             struct error *error)
{
    struct inflate_state *gzip = inflate->gzip;
    uint32_t in_bytes = (uint32_t)smaller(buffers->in_bytes, UINT32_MAX);
    uint32_t out_bytes = (uint32_t)smaller(buffers->out_bytes, UINT32_MAX);
    gzip->next_in = (uint8_t *)(uintptr_t)buffers->in; /* igzip only reads it */
    gzip->avail_in = in_bytes;
    gzip->next_out = buffers->out;
    gzip->avail_out = out_bytes;

    int result = isal_inflate(gzip);
    if (result != ISAL_DECOMP_OK)
        return gzip_damaged(deflate_fault(result), error);
    consume(buffers, in_bytes - gzip->avail_in, out_bytes - gzip->avail_out);
    if (gzip->block_state == ISAL_BLOCK_FINISH)
        inflate->position = AT_END;
    return true;
}

static bool is_zero(const uint8_t *bytes, size_t size_bytes)
{
    for (size_t i = 0; i < size_bytes; i++)
        if (bytes[i] != 0)
            return false;
    return true;
}

/* After a member: another one, or zeros to the end. */
static bool step_gzip_end(struct inflate *inflate, struct inflate_buffers *buffers,
                          struct error *error)
{
    if (buffers->in_bytes == 0)
        return true;
    if (inflate->position == AT_END && buffers->in[0] == 0x1f) {
        begin_gzip_member(inflate);
        return true;
    }
    if (!is_zero(buffers->in, buffers->in_bytes))
        return error_set(error, ERROR_UNSUPPORTED_LAYER,
                         "the gzip blob is followed by bytes that are not gzip");
    consume(buffers, buffers->in_bytes, 0);
    inflate->position = IN_PADDING;
    return true;
}

static bool step_gzip(struct inflate *inflate, struct inflate_buffers *buffers, struct error *error)
{
    switch (inflate->position) {
    case AT_START:
        begin_gzip_member(inflate);
        return true;
    case IN_HEADER:
        return step_gzip_header(inflate, buffers, error);
    case INSIDE:
        return step_gzip_member(inflate, buffers, error);
    case AT_END:
    case IN_PADDING:
        return step_gzip_end(inflate, buffers, error);
    }
    return error_set(error, ERROR_INTERNAL, "an unknown place in gzip");
}

static bool step_zstd(struct inflate *inflate, struct inflate_buffers *buffers, struct error *error)
{
    ZSTD_inBuffer in = {buffers->in, buffers->in_bytes, 0};
    ZSTD_outBuffer out = {buffers->out, buffers->out_bytes, 0};
    size_t result = ZSTD_decompressStream(inflate->zstd, &out, &in);
    if (ZSTD_isError(result))
        return error_set(error, ERROR_UNSUPPORTED_LAYER, "the zstd blob is damaged: %s",
                         ZSTD_getErrorName(result));
    /* A call that did nothing would answer for a next frame that need not come. */
    if (in.pos > 0 || out.pos > 0)
        inflate->position = result == 0 ? AT_END : INSIDE;
    consume(buffers, in.pos, out.pos);
    return true;
}

static bool step_once(struct inflate *inflate, struct inflate_buffers *buffers, struct error *error)
{
    switch (inflate->compression) {
    case LAYER_GZIP:
        return step_gzip(inflate, buffers, error);
    case LAYER_ZSTD:
        return step_zstd(inflate, buffers, error);
    case LAYER_PLAIN:
        step_plain(inflate, buffers);
        return true;
    }
    return error_set(error, ERROR_INTERNAL, "unknown compression");
}

static bool count_output(struct inflate *inflate, size_t out_bytes, struct error *error)
{
    inflate->tar_bytes += out_bytes;
    if (inflate->tar_bytes <= inflate->max_tar_bytes)
        return true;
    return error_set(error, ERROR_LAYER_TOO_LARGE,
                     "the layer's tar is larger than the limit of %llu bytes",
                     (unsigned long long)inflate->max_tar_bytes);
}

bool inflate_step(struct inflate *inflate, struct inflate_buffers *buffers, struct error *error)
{
    if (inflate->position == AT_START && !check_magic(inflate, buffers, error))
        return false;
    for (;;) {
        struct inflate_buffers before = *buffers;
        enum position position = inflate->position;
        if (!step_once(inflate, buffers, error))
            return false;
        if (!count_output(inflate, before.out_bytes - buffers->out_bytes, error))
            return false;
        bool stuck = before.in_bytes == buffers->in_bytes &&
                     before.out_bytes == buffers->out_bytes && position == inflate->position;
        if (stuck || buffers->out_bytes == 0)
            return true;
    }
}

bool inflate_end(const struct inflate *inflate, struct error *error)
{
    bool whole = inflate->position == AT_END || inflate->position == IN_PADDING;
    if (whole || (inflate->position == AT_START && inflate->compression == LAYER_PLAIN))
        return true;
    return error_set(error, ERROR_UNSUPPORTED_LAYER, "the %s blob is cut off",
                     compression_name(inflate->compression));
}
