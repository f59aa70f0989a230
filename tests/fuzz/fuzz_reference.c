/* store/reference.h: what parses is what distribution/reference's grammar takes (its regular
 * expressions, anchored), within its lengths, and has one canonical form, which parses to the
 * same. */
#include "store/reference.h"
#include "text_input.h"

#include <assert.h>
#include <regex.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define COMPONENT "[a-z0-9]+((\\.|_|__|-+)[a-z0-9]+)*"
#define LABEL     "([a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
#define HOST      "(" LABEL "(\\." LABEL ")*|\\[[a-fA-F0-9:.]+\\])"

/* A part of a reference and what it must match. */
struct grammar {
    const char *text;
    bool is_compiled;
    regex_t compiled;
};

static struct grammar of_registry = {.text = "^" HOST "(:[1-9][0-9]*)?$"};
static struct grammar of_repository = {.text = "^" COMPONENT "(/" COMPONENT ")*$"};
static struct grammar of_tag = {.text = "^[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,127}$"};
static struct grammar of_digest = {.text = "^sha256:[a-f0-9]{64}$"};

static void expect_match(struct grammar *grammar, const char *text)
{
    int failed =
        grammar->is_compiled ? 0 : regcomp(&grammar->compiled, grammar->text, REG_EXTENDED);
    assert(!failed);
    grammar->is_compiled = true;
    assert(regexec(&grammar->compiled, text, 0, NULL, 0) == 0);
}

static void check_port(const char *registry)
{
    const char *colon = strrchr(registry, ':');
    if (colon && !strchr(colon, ']'))
        assert(strtoul(colon + 1, NULL, 10) <= 65535);
}

static void check_grammar(const struct reference *reference)
{
    check_port(reference->registry);
    expect_match(&of_registry, reference->registry);
    expect_match(&of_repository, reference->repository);
    assert(strlen(reference->repository) <= 255);
    if (reference->tag[0])
        expect_match(&of_tag, reference->tag);
    if (reference->digest[0])
        expect_match(&of_digest, reference->digest);
    assert(reference->tag[0] || reference->digest[0]);
}

/* Docker Hub has one name, and its one-part repositories are in library/. */
static void check_hub(const struct reference *reference)
{
    assert(strcmp(reference->registry, "index.docker.io") != 0);
    if (strcmp(reference->registry, "docker.io") == 0)
        assert(strchr(reference->repository, '/'));
    for (const char *at = reference->registry; *at; at++)
        assert(*at < 'A' || *at > 'Z');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
    struct reference first;
    struct reference second;
    struct error error = {0};
    char canonical[REFERENCE_TEXT_SIZE];
    char again[REFERENCE_TEXT_SIZE];
    cleanup_free char *text = text_input(data, size_bytes);
    if (!reference_parse(text, &first, &error)) {
        assert(error.code == ERROR_INVALID_REFERENCE);
        return 0;
    }
    check_grammar(&first);
    check_hub(&first);
    reference_format(&first, canonical);
    bool parsed = reference_parse(canonical, &second, &error);
    assert(parsed && reference_equal(&first, &second));
    reference_format(&second, again);
    assert(strcmp(canonical, again) == 0);
    return 0;
}
