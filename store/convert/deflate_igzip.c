#include "store/convert/deflate.h"

#include <isa-l/igzip_lib.h>
#include <stdlib.h>

static void *open_state(void)
{
    struct inflate_state *state = calloc(1, sizeof(*state));
    if (!state)
        abort();
    isal_inflate_init(state);
    return state;
}

static void reset(void *context)
{
    struct inflate_state *state = context;
    isal_inflate_reset(state);
    state->crc_flag = ISAL_GZIP_NO_HDR_VER; /* the trailer is checked */
}

static const char *fault_of(int result)
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
static const char *step(void *context, struct inflate_buffers *buffers, bool *ended)
{
    struct inflate_state *state = context;
    uint32_t in_bytes = deflate_room(buffers->in_bytes);
    uint32_t out_bytes = deflate_room(buffers->out_bytes);
    state->next_in = (uint8_t *)(uintptr_t)buffers->in; /* igzip only reads it */
    state->avail_in = in_bytes;
    state->next_out = buffers->out;
    state->avail_out = out_bytes;

    int result = isal_inflate(state);
    if (result != ISAL_DECOMP_OK)
        return fault_of(result);
    deflate_consume(buffers, in_bytes - state->avail_in, out_bytes - state->avail_out);
    *ended = state->block_state == ISAL_BLOCK_FINISH;
    return NULL;
}

const struct deflate_engine deflate_igzip = {"igzip", open_state, free, reset, step};
