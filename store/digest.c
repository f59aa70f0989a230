#include "store/digest.h"

#include <openssl/evp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static const char prefix[] = "sha256:";
enum { PREFIX_LENGTH = sizeof(prefix) - 1 };

static int hex_value(char character)
{
    if (character >= '0' && character <= '9')
        return character - '0';
    if (character >= 'a' && character <= 'f')
        return character - 'a' + 10;
    return -1;
}

bool digest_parse(const char *text, struct digest *digest)
{
    if (strlen(text) != DIGEST_TEXT_SIZE - 1 || strncmp(text, prefix, PREFIX_LENGTH) != 0)
        return false;
    const char *hex = text + PREFIX_LENGTH;
    for (size_t i = 0; i < DIGEST_BYTES; i++) {
        int high = hex_value(hex[2 * i]);
        int low = hex_value(hex[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        digest->bytes[i] = (uint8_t)(high * 16 + low);
    }
    return true;
}

void digest_format_hex(const struct digest *digest, char hex[DIGEST_HEX_SIZE])
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < DIGEST_BYTES; i++) {
        hex[2 * i] = digits[digest->bytes[i] >> 4];
        hex[2 * i + 1] = digits[digest->bytes[i] & 15];
    }
    hex[DIGEST_HEX_SIZE - 1] = '\0';
}

void digest_format(const struct digest *digest, char text[DIGEST_TEXT_SIZE])
{
    memcpy(text, prefix, PREFIX_LENGTH);
    digest_format_hex(digest, text + PREFIX_LENGTH);
}

bool digest_equal(const struct digest *one, const struct digest *other)
{
    return memcmp(one->bytes, other->bytes, DIGEST_BYTES) == 0;
}

struct digest digest_of(const void *bytes, size_t size)
{
    cleanup_digest_state struct digest_state *state = digest_state_new();
    digest_state_update(state, bytes, size);
    return digest_state_finish(state);
}

/* struct digest_state is libcrypto's context under a name of ours. */
static EVP_MD_CTX *context_of(struct digest_state *state)
{
    return (EVP_MD_CTX *)(void *)state;
}

/* Found once: libcrypto looks EVP_sha256() up among its providers each time it is used. */
static EVP_MD *sha256;

static void fetch_sha256(void)
{
    sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    if (!sha256)
        abort();
}

struct digest_state *digest_state_new(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, fetch_sha256);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    if (!context || EVP_DigestInit_ex(context, sha256, NULL) != 1)
        abort();
    return (struct digest_state *)(void *)context;
}

void digest_state_update(struct digest_state *state, const void *bytes, size_t size)
{
    if (EVP_DigestUpdate(context_of(state), bytes, size) != 1)
        abort();
}

struct digest digest_state_finish(struct digest_state *state)
{
    struct digest digest;
    if (EVP_DigestFinal_ex(context_of(state), digest.bytes, NULL) != 1)
        abort();
    return digest;
}

void digest_state_free(struct digest_state *state)
{
    EVP_MD_CTX_free(context_of(state));
}
