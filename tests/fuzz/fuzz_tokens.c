/* server/tokens.h: a file that is accepted knows no secret but those whose hash it has; an
 * error names a line and repeats no third word. */
#include "server/tokens.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

/* sha256 of "one" */
static const char hash[] = "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
    struct error error;
    struct identity who;
    cleanup_tokens struct tokens *tokens = tokens_parse((const char *)data, size_bytes, &error);
    if (!tokens) {
        assert(error.code == ERROR_INVALID_ARGUMENT && !strstr(error.message, hash));
        return 0;
    }
    assert(!tokens_find(tokens, "three", 5, &who) && !tokens_find(tokens, "", 0, &who));
    bool has_hash = memmem(data, size_bytes, hash, sizeof(hash) - 1) != NULL;
    if (tokens_find(tokens, "one", 3, &who)) {
        assert(has_hash && who.role >= ROLE_READER && who.role <= ROLE_ADMIN);
        assert(identity_name_is_valid(who.name));
    }
    if (tokens_find_certificate(tokens, "h7", &who))
        assert(strcmp(who.name, "h7") == 0 && memmem(data, size_bytes, "certificate", 11));
    return 0;
}
