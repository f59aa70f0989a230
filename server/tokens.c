#include "server/tokens.h"

#include "server/small_file.h"
#include "store/arena.h"
#include "store/digest.h"

#include <openssl/evp.h>
#include <stdint.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

enum { WORDS = DIGEST_BYTES / sizeof(uint64_t) };
static const char certificate_word[] = "certificate";
static const char blanks[] = " \t\r";

/* A digest as numbers, to be compared without a branch. */
struct fingerprint {
    uint64_t words[WORDS];
};

struct entry {
    const char *name; /* in the arena */
    enum role role;
    bool by_certificate;
};

struct tokens {
    struct arena arena;
    size_t count;
    struct entry *entries;
    struct fingerprint *fingerprints; /* of each entry; zeros for a certificate's */
};

static struct fingerprint fingerprint_of(const struct digest *digest)
{
    struct fingerprint fingerprint;
    memcpy(&fingerprint, digest->bytes, sizeof(fingerprint));
    return fingerprint;
}

/* All ones when equal, else zero, in constant time. */
static uint64_t equal_mask(const struct fingerprint *one, const struct fingerprint *other)
{
    uint64_t difference = 0;
    for (size_t i = 0; i < WORDS; i++)
        difference |= one->words[i] ^ other->words[i];
    return ((difference | (0 - difference)) >> 63) - 1;
}

/* --- reading --- */

/* What is being read. */
struct reading {
    struct tokens *tokens;
    size_t line;
    struct error *error;
};

static bool refuse(const struct reading *reading, const char *what)
{
    return error_set(reading->error, ERROR_INVALID_ARGUMENT, "line %zu: %s", reading->line, what);
}

static const char *take_word(struct arena *arena, const char **at, const char *end)
{
    while (*at < end && strchr(blanks, **at))
        (*at)++;
    const char *start = *at;
    while (*at < end && !strchr(blanks, **at))
        (*at)++;
    return arena_strndup(arena, start, (size_t)(*at - start));
}

static bool take_fingerprint(const struct reading *reading, const char *word, struct entry *entry,
                             struct fingerprint *fingerprint)
{
    char text[DIGEST_TEXT_SIZE];
    struct digest digest;
    *fingerprint = (struct fingerprint){0};
    entry->by_certificate = strcmp(word, certificate_word) == 0;
    if (entry->by_certificate)
        return true;
    snprintf(text, sizeof(text), "sha256:%s", word);
    if (strlen(word) != DIGEST_HEX_SIZE - 1 || !digest_parse(text, &digest))
        return refuse(reading, "its third word is not the sha256 of a secret, 64 lower-case hex "
                               "digits, nor \"certificate\"");
    /* As `sha256sum` gives it for a variable that is not set. */
    const struct digest of_nothing = digest_of("", 0);
    if (digest_equal(&digest, &of_nothing))
        return refuse(reading, "its third word is the sha256 of nothing: that would be everybody");
    *fingerprint = fingerprint_of(&digest);
    return true;
}

/* One name, one role; one secret, one line. */
static bool check_others(const struct reading *reading, const struct entry *entry,
                         const struct fingerprint *fingerprint)
{
    const struct tokens *tokens = reading->tokens;
    for (size_t i = 0; i < tokens->count; i++) {
        if (strcmp(tokens->entries[i].name, entry->name) == 0 &&
            tokens->entries[i].role != entry->role)
            return refuse(reading, "a line before it gives the name another role");
        if (!entry->by_certificate && equal_mask(&tokens->fingerprints[i], fingerprint))
            return refuse(reading, "a line before it has the same secret");
    }
    return true;
}

static bool read_line(struct reading *reading, const char *at, const char *end)
{
    struct tokens *tokens = reading->tokens;
    struct entry *entry = &tokens->entries[tokens->count];
    struct fingerprint *fingerprint = &tokens->fingerprints[tokens->count];
    entry->name = take_word(&tokens->arena, &at, end);
    if (entry->name[0] == '\0' || entry->name[0] == '#')
        return true;
    const char *role = take_word(&tokens->arena, &at, end);
    const char *proof = take_word(&tokens->arena, &at, end);
    if (take_word(&tokens->arena, &at, end)[0] != '\0')
        return refuse(reading, "it has more than three words");
    if (!identity_name_is_valid(entry->name))
        return refuse(reading, "its name is not 1 to 255 letters, digits and any of ._:@-");
    struct error quoting; /* the word, which is the secret when the role was left out */
    if (!role_parse(role, &entry->role, &quoting))
        return refuse(reading, "its second word is no role; there are reader, host and admin");
    if (!take_fingerprint(reading, proof, entry, fingerprint) ||
        !check_others(reading, entry, fingerprint))
        return false;
    tokens->count++;
    return true;
}

static size_t count_lines(const char *bytes, size_t size)
{
    size_t count = 1;
    for (size_t i = 0; i < size; i++)
        count += bytes[i] == '\n';
    return count;
}

static bool read_lines(struct tokens *tokens, const char *bytes, size_t size, struct error *error)
{
    struct reading reading = {.tokens = tokens, .line = 1, .error = error};
    if (memchr(bytes, '\0', size))
        return error_set(error, ERROR_INVALID_ARGUMENT, "it has a NUL in it");
    size_t lines = count_lines(bytes, size);
    if (lines > TOKENS_MAX)
        lines = TOKENS_MAX; /* the others may be empty */
    tokens->entries = arena_alloc_array(&tokens->arena, lines, sizeof(*tokens->entries));
    tokens->fingerprints = arena_alloc_array(&tokens->arena, lines, sizeof(*tokens->fingerprints));
    for (const char *at = bytes, *end = bytes + size; at < end; reading.line++) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        if (tokens->count == TOKENS_MAX)
            return refuse(&reading, "there are more than 10000 before it");
        if (!read_line(&reading, at, newline ? newline : end))
            return false;
        at = newline ? newline + 1 : end;
    }
    return true;
}

struct tokens *tokens_parse(const char *bytes, size_t size, struct error *error)
{
    cleanup_tokens struct tokens *tokens = calloc(1, sizeof(*tokens));
    if (!tokens)
        abort(); /* out of memory, as in the arena */
    if (size > TOKENS_FILE_MAX_BYTES) {
        error_set(error, ERROR_INVALID_ARGUMENT, "it is larger than %d bytes",
                  TOKENS_FILE_MAX_BYTES);
        return NULL;
    }
    return size == 0 || read_lines(tokens, bytes, size, error) ? steal(&tokens) : NULL;
}

struct tokens *tokens_load(const char *path, struct error *error)
{
    cleanup_arena struct arena arena = {0};
    struct small_file file;
    struct tokens *tokens = NULL;
    if (small_file_read(path, TOKENS_FILE_MAX_BYTES, S_IWOTH, &arena, &file, error))
        tokens = tokens_parse(file.bytes, file.size, error);
    if (!tokens)
        error_context(error, "The tokens file %s cannot be used", path);
    return tokens;
}

void tokens_free(struct tokens *tokens)
{
    if (!tokens)
        return;
    arena_free(&tokens->arena);
    free(tokens);
}

/* --- finding --- */

static void fill(const struct entry *entry, enum identity_source source, struct identity *identity)
{
    *identity = (struct identity){.role = entry->role, .source = source};
    snprintf(identity->name, sizeof(identity->name), "%s", entry->name);
}

bool tokens_find(const struct tokens *tokens, const char *secret, size_t length,
                 struct identity *identity)
{
    const struct digest digest = digest_of(secret, length);
    const struct fingerprint wanted = fingerprint_of(&digest);
    uint64_t found = 0; /* of the one that fits: its index and 1 */
    for (size_t i = 0; i < tokens->count; i++) {
        uint64_t is_token = (uint64_t)tokens->entries[i].by_certificate - 1;
        found |= equal_mask(&tokens->fingerprints[i], &wanted) & is_token & (i + 1);
    }
    if (found == 0)
        return false;
    fill(&tokens->entries[found - 1], IDENTITY_TOKEN, identity);
    return true;
}

bool tokens_find_certificate(const struct tokens *tokens, const char *common_name,
                             struct identity *identity)
{
    for (size_t i = 0; i < tokens->count; i++) {
        const struct entry *entry = &tokens->entries[i];
        if (!entry->by_certificate || strcmp(entry->name, common_name) != 0)
            continue;
        fill(entry, IDENTITY_CERTIFICATE, identity);
        return true;
    }
    return false;
}

/* --- making --- */

void token_make(const char *name, enum role role, char line[TOKEN_LINE_SIZE],
                char secret[TOKEN_SECRET_SIZE])
{
    unsigned char bits[32];
    unsigned char encoded[44 + 1]; /* with one "=" of padding */
    char hex[DIGEST_HEX_SIZE];
    if (getrandom(bits, sizeof(bits), 0) != (ssize_t)sizeof(bits))
        abort();
    EVP_EncodeBlock(encoded, bits, sizeof(bits));
    for (size_t i = 0; encoded[i]; i++)
        if (encoded[i] == '+' || encoded[i] == '/')
            encoded[i] = encoded[i] == '+' ? '-' : '_';
    snprintf(secret, TOKEN_SECRET_SIZE, "larder_%.43s", (const char *)encoded);
    struct digest digest = digest_of(secret, strlen(secret));
    digest_format_hex(&digest, hex);
    snprintf(line, TOKEN_LINE_SIZE, "%s %s %s", name, role_name(role), hex);
}
