/* A member's headers as the tar has them, looked at beside libarchive: for what it
 * loses (a link's target, the mode, the sign of a time), and for what it forgives and
 * then gets wrong.
 */
#ifndef LARDER_STORE_LAYER_LAYER_RAW_H
#define LARDER_STORE_LAYER_LAYER_RAW_H

#include "store/layer/layer_pax.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct raw_facts {
    const char *fault; /* NULL, or what is wrong, said of the member */
    struct pax_facts pax;
    char type;             /* the typeflag */
    uint16_t mode;         /* 07777 */
    bool is_sparse;        /* its content has gaps */
    uint64_t header_bytes; /* of all headers */
    uint64_t data_bytes;   /* that a file stores behind them; the next block is the next member's */
};

/* A tar is made of blocks of 512 bytes. */
[[nodiscard]] static inline uint64_t raw_whole_blocks(uint64_t size_bytes)
{
    return (size_bytes + 511) & ~UINT64_C(511);
}

/* `bytes` begin with the member's first header, be it an extension, and may go on
 * beyond its last. */
[[nodiscard]] struct raw_facts raw_scan(const unsigned char *bytes, size_t size_bytes);

/* The same where no member came any more: NULL when the archive may end like that, else
 * what is wrong, said of the last member. */
[[nodiscard]] const char *raw_scan_end(const unsigned char *bytes, size_t size_bytes);

#endif
