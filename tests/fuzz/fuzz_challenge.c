/* store/registry/challenge.h: realms are bounded and free of control characters. */
#include "store/cleanup.h"
#include "store/registry/challenge.h"
#include "text_input.h"

#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static void check_text(const char *text, size_t size)
{
    size_t length = strnlen(text, size);
    assert(length < size);
    for (size_t i = 0; i < length; i++)
        assert((unsigned char)text[i] >= ' ' || text[i] == '\t');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
    struct challenge challenge = {0};
    cleanup_free char *text = text_input(data, size_bytes);
    challenge_parse(text, &challenge);
    check_text(challenge.realm, sizeof(challenge.realm));
    check_text(challenge.service, sizeof(challenge.service));
    check_text(challenge.scope, sizeof(challenge.scope));
    assert(challenge.bearer == (challenge.realm[0] != '\0'));
    return 0;
}
