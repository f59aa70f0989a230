/* sha256 digests: as bytes, as `sha256:<64 hex>`, and as a running computation
 * (OCI image spec, descriptor.md, "Digests"). Only lower-case sha256 is accepted.
 */
#ifndef LARDER_STORE_DIGEST_H
#define LARDER_STORE_DIGEST_H

#include "store/cleanup.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    DIGEST_BYTES = 32,
    DIGEST_HEX_SIZE = 64 + 1,      /* with NUL */
    DIGEST_TEXT_SIZE = 7 + 64 + 1, /* "sha256:", hex, NUL */
};

struct digest {
    uint8_t bytes[DIGEST_BYTES];
};

/* False unless the text is exactly `sha256:` and 64 lower-case hex digits. */
[[nodiscard]] bool digest_parse(const char *text, struct digest *digest);

/* `sha256:<hex>` with its NUL. */
void digest_format(const struct digest *digest, char text[DIGEST_TEXT_SIZE]);

/* `<hex>` with its NUL. */
void digest_format_hex(const struct digest *digest, char hex[DIGEST_HEX_SIZE]);

[[nodiscard]] bool digest_equal(const struct digest *one, const struct digest *other);

/* The digest of `size` bytes. */
[[nodiscard]] struct digest digest_of(const void *bytes, size_t size);

/* A running computation. One thread at a time. */
struct digest_state;

/* Aborts when out of memory. Free with digest_state_free(). */
[[nodiscard]] struct digest_state *digest_state_new(void) __attribute__((returns_nonnull));
void digest_state_update(struct digest_state *state, const void *bytes, size_t size);
/* The digest of what came so far; the state can only be freed after it. */
[[nodiscard]] struct digest digest_state_finish(struct digest_state *state);
void digest_state_free(struct digest_state *state);

static inline void cleanup_digest_state_slot(struct digest_state **slot)
{
    digest_state_free(*slot);
}
#define cleanup_digest_state cleanup(cleanup_digest_state_slot)

#endif
