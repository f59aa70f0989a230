#include "store/convert/inflate.h"

#include "store/convert/deflate.h"
#include "store/convert/gzip_header.h"

#include <assert.h>
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

/* Magic, descriptor, window, dictionary's id and content size: RFC 8878, 3.1.1.1. */
enum { ZSTD_HEADER_MAX_BYTES = 18 };

struct zstd_frame {
    uint8_t header[ZSTD_HEADER_MAX_BYTES]; /* its first bytes, which are more when it is short */
    size_t header_bytes;
    uint64_t tar_bytes; /* given out of it so far */
};

struct inflate {
    enum layer_compression compression;
    enum position position;
    uint64_t max_tar_bytes;
    uint64_t max_ratio;  /* 0: any */
    uint64_t blob_bytes; /* taken in so far */
    uint64_t tar_bytes;  /* given out so far */
    uint64_t zero_bytes; /* of those, once it looked like a bomb */
    struct gzip_header gzip_header;
    const struct deflate_engine *engine;
    void *gzip;         /* the engine's state, owned; NULL unless LAYER_GZIP */
    ZSTD_DStream *zstd; /* owned; NULL unless LAYER_ZSTD */
    struct zstd_frame zstd_frame;
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

struct inflate *inflate_new_with(enum layer_compression compression, uint64_t max_tar_bytes,
                                 const struct deflate_engine *engine)
{
    struct inflate *inflate = calloc(1, sizeof(*inflate));
    if (!inflate)
        abort();
    inflate->compression = compression;
    inflate->max_tar_bytes = max_tar_bytes;
    inflate->engine = engine;
    if (compression == LAYER_GZIP)
        inflate->gzip = engine->open();
    else if (compression == LAYER_ZSTD)
        open_zstd(inflate);
    return inflate;
}

struct inflate *inflate_new(enum layer_compression compression, uint64_t max_tar_bytes)
{
    return inflate_new_with(compression, max_tar_bytes, deflate_engines[0]);
}

void inflate_limit_ratio(struct inflate *inflate, uint64_t max_ratio)
{
    inflate->max_ratio = max_ratio;
}

void inflate_free(struct inflate *inflate)
{
    if (!inflate)
        return;
    if (inflate->gzip)
        inflate->engine->close(inflate->gzip);
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

static void step_plain(struct inflate *inflate, struct inflate_buffers *buffers)
{
    size_t size = smaller(buffers->in_bytes, buffers->out_bytes);
    memcpy(buffers->out, buffers->in, size);
    deflate_consume(buffers, size, size);
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
    deflate_consume(buffers, gzip_header_take(header, buffers->in, buffers->in_bytes), 0);
    if (header->part == GZIP_INVALID)
        return gzip_damaged("a member's header is invalid", error);
    if (header->part == GZIP_DEFLATE) {
        inflate->engine->reset(inflate->gzip);
        inflate->position = INSIDE;
    }
    return true;
}

static bool step_gzip_member(struct inflate *inflate, struct inflate_buffers *buffers,
                             struct error *error)
{
    bool ended = false;
    const char *fault = inflate->engine->step(inflate->gzip, buffers, &ended);
    if (fault)
        return gzip_damaged(fault, error);
    if (ended)
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
    deflate_consume(buffers, buffers->in_bytes, 0);
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

/* libzstd takes the rest of a header that came in pieces for a frame, reads a frame that comes at
 * once by other rules, and takes frames of zstd before 1.0. Given a header byte by byte, it does
 * none of that: what a blob says does not hang on how it was cut. */
static size_t next_piece(const struct inflate *inflate, size_t in_bytes)
{
    bool in_header = inflate->position != INSIDE ||
                     inflate->zstd_frame.header_bytes < sizeof(inflate->zstd_frame.header);
    return in_header ? smaller(in_bytes, 1) : in_bytes;
}

static void follow_frame(struct zstd_frame *frame, const uint8_t *in, size_t in_bytes,
                         size_t out_bytes)
{
    size_t missing = smaller(sizeof(frame->header) - frame->header_bytes, in_bytes);
    if (missing > 0)
        memcpy(frame->header + frame->header_bytes, in, missing);
    frame->header_bytes += missing;
    frame->tar_bytes += out_bytes;
}

/* libzstd does not look for frames that end with an empty block. */
static bool is_as_large_as_it_says(const struct zstd_frame *frame)
{
    unsigned long long size_bytes = ZSTD_getFrameContentSize(frame->header, frame->header_bytes);
    return size_bytes == frame->tar_bytes || size_bytes == ZSTD_CONTENTSIZE_UNKNOWN;
}

static bool step_zstd(struct inflate *inflate, struct inflate_buffers *buffers, struct error *error)
{
    ZSTD_inBuffer in = {buffers->in, next_piece(inflate, buffers->in_bytes), 0};
    ZSTD_outBuffer out = {buffers->out, buffers->out_bytes, 0};
    size_t result = ZSTD_decompressStream(inflate->zstd, &out, &in);
    if (ZSTD_isError(result))
        return error_set(error, ERROR_UNSUPPORTED_LAYER, "the zstd blob is damaged: %s",
                         ZSTD_getErrorName(result));
    if (in.pos == 0 && out.pos == 0)
        return true; /* it would answer for a next frame that need not come */
    if (inflate->position != INSIDE)
        inflate->zstd_frame = (struct zstd_frame){0};
    follow_frame(&inflate->zstd_frame, buffers->in, in.pos, out.pos);
    inflate->position = result == 0 ? AT_END : INSIDE;
    deflate_consume(buffers, in.pos, out.pos);
    return inflate->position == INSIDE || is_as_large_as_it_says(&inflate->zstd_frame) ||
           error_set(error, ERROR_UNSUPPORTED_LAYER,
                     "the zstd blob is damaged: a frame is not as large as it says");
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

/* Bytes in pieces of zeros: what a hole, an empty database or a disk image is made of. */
static uint64_t count_zeros(const uint8_t *bytes, size_t size_bytes)
{
    enum { PIECE_BYTES = 64 };
    static const uint8_t zeros[PIECE_BYTES];
    uint64_t count = 0;
    for (size_t at = 0; at + PIECE_BYTES <= size_bytes; at += PIECE_BYTES)
        if (memcmp(bytes + at, zeros, PIECE_BYTES) == 0)
            count += PIECE_BYTES;
    return count;
}

static bool is_within_ratio(const struct inflate *inflate)
{
    uint64_t allowed = 0;
    if (__builtin_mul_overflow(inflate->blob_bytes, inflate->max_ratio, &allowed) ||
        __builtin_add_overflow(allowed, INFLATE_RATIO_FREE_BYTES, &allowed))
        return true;
    return inflate->tar_bytes - inflate->zero_bytes <= allowed;
}

/* `out` is where the step's output begins. Zeros are looked for only where it matters. */
static bool check_ratio(struct inflate *inflate, const uint8_t *out, size_t out_bytes,
                        struct error *error)
{
    if (inflate->max_ratio == 0 || inflate->compression == LAYER_PLAIN || is_within_ratio(inflate))
        return true;
    inflate->zero_bytes += count_zeros(out, out_bytes);
    return is_within_ratio(inflate) ||
           error_set(error, ERROR_LAYER_TOO_LARGE,
                     "%llu bytes of %s hold more than %llu times as many, zeros not counted: the "
                     "layer is taken for a bomb (--max-inflate-ratio)",
                     (unsigned long long)inflate->blob_bytes,
                     compression_name(inflate->compression),
                     (unsigned long long)inflate->max_ratio);
}

/* What a step took from `before` and gave. */
static bool count_step(struct inflate *inflate, const struct inflate_buffers *before,
                       const struct inflate_buffers *after, struct error *error)
{
    size_t out_bytes = before->out_bytes - after->out_bytes;
    inflate->blob_bytes += before->in_bytes - after->in_bytes;
    inflate->tar_bytes += out_bytes;
    if (inflate->tar_bytes > inflate->max_tar_bytes)
        return error_set(error, ERROR_LAYER_TOO_LARGE,
                         "the layer's tar is larger than the limit of %llu bytes",
                         (unsigned long long)inflate->max_tar_bytes);
    return check_ratio(inflate, before->out, out_bytes, error);
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
        if (!count_step(inflate, &before, buffers, error))
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
