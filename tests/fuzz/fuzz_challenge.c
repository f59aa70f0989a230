/* store/registry/challenge.h: realms are bounded and free of control characters. What is found
 * is found again when it is written once more, behind a challenge that is passed over, and in
 * front of others; a later header takes nothing away. */
#include "store/cleanup.h"
#include "store/registry/challenge.h"
#include "text_input.h"

#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { PARAMETER_SIZE = 16 + 2 * CHALLENGE_REALM_SIZE, HEADER_SIZE = 64 + 3 * PARAMETER_SIZE };
static_assert(CHALLENGE_SCOPE_SIZE <= CHALLENGE_REALM_SIZE);
static_assert(CHALLENGE_SERVICE_SIZE <= CHALLENGE_REALM_SIZE);

static void check_text(const char *text, size_t size)
{
    size_t length = strnlen(text, size);
    assert(length < size);
    for (size_t i = 0; i < length; i++)
        assert(((unsigned char)text[i] >= ' ' || text[i] == '\t') && text[i] != 0x7f);
}

static void expect_bearer(const struct challenge *found, const struct challenge *expected)
{
    assert(found->bearer == expected->bearer && strcmp(found->realm, expected->realm) == 0);
    assert(strcmp(found->service, expected->service) == 0);
    assert(strcmp(found->scope, expected->scope) == 0);
}

/* A parameter whose characters are all escaped: at most PARAMETER_SIZE. */
static char *write_parameter(char *out, const char *name, const char *value)
{
    out = stpcpy(stpcpy(out, name), "=\"");
    for (; *value; value++) {
        *out++ = '\\';
        *out++ = *value;
    }
    return stpcpy(out, "\", ");
}

static void check_written_again(const struct challenge *challenge)
{
    static char header[HEADER_SIZE];
    struct challenge again = {0};
    char *end = stpcpy(header, "Negotiate YII=, BEARER ");
    end = write_parameter(end, "scope", challenge->scope);
    end = write_parameter(end, "service", challenge->service);
    end = write_parameter(end, "realm", challenge->realm);
    stpcpy(end, "Basic realm=x");
    bool parsed = challenge_parse(header, &again);
    assert(parsed && again.basic);
    expect_bearer(&again, challenge);
}

static void check_beside_others(const char *text, const struct challenge *challenge)
{
    cleanup_free char *longer = NULL;
    struct challenge again = {0};
    int length = asprintf(&longer, "Negotiate, %s, Basic", text);
    assert(length > 0);
    bool parsed = challenge_parse(longer, &again);
    assert(parsed && again.basic);
    expect_bearer(&again, challenge);
}

static void check_after_another(const char *text)
{
    struct challenge first = {0};
    bool parsed = challenge_parse("Basic, Bearer realm=a,scope=b", &first);
    assert(parsed);
    struct challenge both = first;
    (void)challenge_parse(text, &both);
    assert(both.basic);
    expect_bearer(&both, &first);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
    struct challenge challenge = {0};
    cleanup_free char *text = text_input(data, size_bytes);
    bool parsed = challenge_parse(text, &challenge);
    check_text(challenge.realm, sizeof(challenge.realm));
    check_text(challenge.service, sizeof(challenge.service));
    check_text(challenge.scope, sizeof(challenge.scope));
    assert(challenge.bearer == (challenge.realm[0] != '\0'));
    if (challenge.bearer)
        check_written_again(&challenge);
    if (parsed)
        check_beside_others(text, &challenge);
    check_after_another(text);
    return 0;
}
