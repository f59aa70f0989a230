#include "store/registry/challenge.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#define HUB "https://auth.docker.io/token"

static const struct {
    const char *value;
    bool basic;
    const char *realm; /* NULL: no bearer challenge */
    const char *service;
    const char *scope;
} good[] = {
    {"Bearer realm=\"" HUB "\",service=\"registry.docker.io\",scope=\"repository:a/b:pull\"", false,
     HUB, "registry.docker.io", "repository:a/b:pull"},
    {"bearer REALM = \"" HUB "\" , Service = x", false, HUB, "x", ""},
    {"Basic realm=\"r\"", true, NULL, "", ""},
    {"Basic", true, NULL, "", ""},
    {"Basic realm=\"r\", Bearer realm=\"" HUB "\"", true, HUB, "", ""},
    {"Bearer realm=\"" HUB "\", Basic realm=\"r\"", true, HUB, "", ""},
    {"Negotiate, Bearer realm=\"" HUB "\"", false, HUB, "", ""},
    {"Negotiate YII/abc+==, Bearer realm=\"" HUB "\"", false, HUB, "", ""},
    {"Digest qop=\"auth, auth-int\", nonce=x, Basic realm=a", true, NULL, "", ""},
    {"Bearer realm=\"a,b=c\\\"d\\\\e\"", false, "a,b=c\"d\\e", "", ""},
    {"Bearer realm=\"" HUB "\",scope=\"repository:a:pull,push repository:b:pull\"", false, HUB, "",
     "repository:a:pull,push repository:b:pull"},
    {",, ,Bearer realm=\"" HUB "\", ,service=x,", false, HUB, "x", ""},
    {"Bearer realm=\"" HUB "\",error=\"invalid_token\",unknown=1", false, HUB, "", ""},
    {"Bearer realm=\"one\",realm=\"two\"", false, "one", "", ""},
    {"Bearer realm=\"one\", Bearer realm=\"two\"", false, "one", "", ""},
    {"Bearer service=x, Bearer realm=\"two\"", false, "two", "", ""},
    {"Bearer realm=", false, NULL, "", ""}, /* RFC 9110 takes it for a token68 */
    {"Bearer", false, NULL, "", ""},
    {"", false, NULL, "", ""},
};

Test(challenge, bearer_and_basic_are_found_among_all_challenges)
{
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        struct challenge challenge = {0};
        cr_expect(challenge_parse(good[i].value, &challenge), "%s parses", good[i].value);
        cr_expect_eq(challenge.basic, good[i].basic, "%s: basic", good[i].value);
        cr_expect_eq(challenge.bearer, good[i].realm != NULL, "%s: bearer", good[i].value);
        cr_expect_str_eq(challenge.realm, good[i].realm ? good[i].realm : "", "%s", good[i].value);
        cr_expect_str_eq(challenge.service, good[i].service, "%s", good[i].value);
        cr_expect_str_eq(challenge.scope, good[i].scope, "%s", good[i].value);
    }
}

Test(challenge, several_headers_add_up)
{
    struct challenge challenge = {0};
    cr_expect(challenge_parse("Basic realm=\"r\"", &challenge));
    cr_expect(challenge_parse("Bearer realm=\"" HUB "\"", &challenge));
    cr_expect(challenge.basic && challenge.bearer, "both are remembered");
}

Test(challenge, malformed_values_give_no_bearer_challenge)
{
    static const char *const bad[] = {
        "Bearer realm=\"unterminated",
        "Bearer realm=\"unterminated\\\"",
        "Bearer realm=\"unterminated\\",
        "Bearer realm=,service=x",
        "Bearer realm=\"a\" service=\"b\"",
        "Bearer realm=\"a\rb\"",
        "Bearer realm=\"a\nSet-Cookie: x\"",
        "Bearer realm=\"a\x7f\"",
        "Bearer \"realm\"",
        "Bearer; realm=\"a\"",
        "=x",
        "\"Bearer\" realm=\"a\"",
        "Bearer a b c realm=\"x\"",
        "Bearer-that-is-much-longer-than-any-scheme-has-a-right-to-be realm=\"a\"",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct challenge challenge = {0};
        cr_expect_not(challenge_parse(bad[i], &challenge), "%s is malformed", bad[i]);
        cr_expect_not(challenge.bearer, "%s gives nothing to send credentials to", bad[i]);
    }
}

Test(challenge, a_realm_longer_than_its_field_is_refused)
{
    static char realm[CHALLENGE_REALM_SIZE + 1];
    static char value[CHALLENGE_REALM_SIZE + 64];
    struct challenge challenge = {0};
    memset(realm, 'a', sizeof(realm) - 1);
    snprintf(value, sizeof(value), "Bearer realm=\"%s\"", realm);
    cr_expect_not(challenge_parse(value, &challenge));
    cr_expect_not(challenge.bearer);
}
