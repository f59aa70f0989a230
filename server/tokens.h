/* The file of those who may come in, one a line:
 *
 *     # name  role    how they show who they are
 *     h7      host    2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae
 *     grafana reader  certificate
 *
 * The third word is the sha256 of a bearer token's secret, or `certificate`: a client
 * certificate that --tls-client-ca signed and whose common name is the line's. A name may
 * have several lines of one role, so that a token can be changed without a gap. A set is
 * never changed: any thread may look into it.
 */
#ifndef LARDER_SERVER_TOKENS_H
#define LARDER_SERVER_TOKENS_H

#include "server/identity.h"
#include "store/cleanup.h"

#include <stddef.h>

enum {
    TOKENS_MAX = 10000,
    TOKENS_FILE_MAX_BYTES = TOKENS_MAX * 400,
    TOKEN_SECRET_SIZE = 7 + 43 + 1, /* "larder_", 256 bits in base64url, NUL */
    TOKEN_LINE_SIZE = IDENTITY_NAME_SIZE + 16 + 64,
};

struct tokens; /* opaque */

/* Fails with ERROR_INVALID_ARGUMENT, which names the line and repeats no word of it: that
 * may be a secret put there by mistake. */
[[nodiscard]] struct tokens *tokens_parse(const char *bytes, size_t size, struct error *error);
/* The same of a file, which only its owner and group may be able to write. */
[[nodiscard]] struct tokens *tokens_load(const char *path, struct error *error);
/* NULL is fine. */
void tokens_free(struct tokens *tokens);

/* Whose secret is it? All are compared, each in the same time, whatever is found. */
[[nodiscard]] bool tokens_find(const struct tokens *tokens, const char *secret, size_t length,
                               struct identity *identity);
[[nodiscard]] bool tokens_find_certificate(const struct tokens *tokens, const char *common_name,
                                           struct identity *identity);

/* A new secret, and the line for it. */
void token_make(const char *name, enum role role, char line[TOKEN_LINE_SIZE],
                char secret[TOKEN_SECRET_SIZE]);

static inline void cleanup_tokens_slot(struct tokens **slot)
{
    tokens_free(*slot);
}
#define cleanup_tokens cleanup(cleanup_tokens_slot)

#endif
