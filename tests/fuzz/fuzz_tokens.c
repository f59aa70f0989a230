/* server/tokens.h: a file that is accepted is read once more, line by line: it knows the
 * secrets and certificates that its lines have, of the names and roles that stand there, and
 * no others; no secret stands there twice, and no name with two roles. An error names a line
 * and repeats no word that may be a secret. */
#include "server/tokens.h"
#include "store/digest.h"
#include "text_input.h"

#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { LINES = 64, WORD_SIZE = 256, SECRET_MIN_LENGTH = 20 };

/* sha256 of "one" */
static const char hash[] = "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed";

struct line {
    char name[WORD_SIZE];
    char role[WORD_SIZE];
    char proof[WORD_SIZE];
};

/* The lines with words, as many as there is room for. */
static size_t read_lines(char *text, struct line lines[LINES])
{
    size_t count = 0;
    char more[2];
    for (char *at; count < LINES && (at = strsep(&text, "\n"));) {
        struct line *line = &lines[count];
        int words = sscanf(at, "%255s %255s %255s %1s", line->name, line->role, line->proof, more);
        if (words <= 0 || line->name[0] == '#')
            continue;
        assert(words == 3 && identity_name_is_valid(line->name));
        count++;
    }
    return count;
}

static bool is_of(const struct identity *who, const struct line *line)
{
    return strcmp(who->name, line->name) == 0 && strcmp(role_name(who->role), line->role) == 0;
}

static void check_pair(const struct line *one, const struct line *other)
{
    if (strcmp(one->proof, "certificate") != 0)
        assert(strcmp(one->proof, other->proof) != 0);
    if (strcmp(one->name, other->name) == 0)
        assert(strcmp(one->role, other->role) == 0);
}

static void check_line(const struct tokens *tokens, const struct line *line)
{
    struct identity who;
    struct digest nothing = digest_of("", 0);
    char hex[DIGEST_HEX_SIZE];
    digest_format_hex(&nothing, hex);
    if (strcmp(line->proof, "certificate") == 0) {
        assert(tokens_find_certificate(tokens, line->name, &who) && is_of(&who, line));
        return;
    }
    assert(strlen(line->proof) == 64 && strspn(line->proof, "0123456789abcdef") == 64);
    assert(strcmp(line->proof, hex) != 0);
    if (strcmp(line->proof, hash) == 0)
        assert(tokens_find(tokens, "one", 3, &who) && is_of(&who, line));
}

static void check_tokens(const struct tokens *tokens, char *text)
{
    static struct line lines[LINES];
    struct identity who;
    bool has_hash = false;
    bool has_certificate = false;
    size_t count = read_lines(text, lines);
    for (size_t i = 0; i < count; i++) {
        check_line(tokens, &lines[i]);
        has_hash |= strcmp(lines[i].proof, hash) == 0;
        has_certificate |=
            strcmp(lines[i].name, "h7") == 0 && strcmp(lines[i].proof, "certificate") == 0;
        for (size_t j = 0; j < i; j++)
            check_pair(&lines[i], &lines[j]);
    }
    assert(!tokens_find(tokens, "three", 5, &who) && !tokens_find(tokens, "", 0, &who));
    if (count == LINES)
        return;
    assert(tokens_find(tokens, "one", 3, &who) == has_hash);
    assert(tokens_find_certificate(tokens, "h7", &who) == has_certificate);
}

static void check_error(const struct error *error, char *text)
{
    assert(error->code == ERROR_INVALID_ARGUMENT);
    for (char *word; (word = strsep(&text, " \t\r\n"));)
        assert(strlen(word) < SECRET_MIN_LENGTH || !strstr(error->message, word));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
    struct error error;
    cleanup_tokens struct tokens *tokens = tokens_parse((const char *)data, size_bytes, &error);
    cleanup_free char *text = text_input(data, size_bytes);
    if (!tokens)
        check_error(&error, text);
    else
        check_tokens(tokens, text);
    return 0;
}
