#include "server/tokens.h"

#include "store/arena.h"
#include "store/digest.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
/* sha256 of "one" and "two" */
#define ONE     "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"
#define NOTHING "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define TWO     "3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3"

static struct tokens *parse(const char *text)
{
    struct error error = {0};
    struct tokens *tokens = tokens_parse(text, strlen(text), &error);
    cr_assert(tokens, "%s", error.message);
    return tokens;
}

static bool find(const struct tokens *tokens, const char *secret, struct identity *who)
{
    return tokens_find(tokens, secret, strlen(secret), who);
}

Test(tokens, a_secret_finds_its_line)
{
    cleanup_tokens struct tokens *tokens = parse("# who comes in\n\n  \t\nh7 host " ONE "\r\n"
                                                 "root.admin\tadmin   " TWO "   ");
    struct identity who;
    cr_assert(find(tokens, "one", &who));
    cr_expect_str_eq(who.name, "h7");
    cr_expect_eq(who.role, ROLE_HOST);
    cr_expect_eq(who.source, IDENTITY_TOKEN);
    cr_assert(find(tokens, "two", &who));
    cr_expect_str_eq(who.name, "root.admin");
    cr_expect_eq(who.role, ROLE_ADMIN);
}

Test(tokens, anything_else_finds_nobody)
{
    static const char *const secrets[] = {"", "One", "one ", "onetwo", "three", ONE};
    cleanup_tokens struct tokens *tokens =
        parse("h7 host " ONE "\nroot admin " TWO "\ncert reader certificate\n");
    struct identity who;
    for (size_t i = 0; i < COUNT(secrets); i++)
        cr_expect_not(find(tokens, secrets[i], &who), "\"%s\"", secrets[i]);
}

Test(tokens, a_certificate_is_found_by_its_common_name_and_has_no_secret)
{
    cleanup_tokens struct tokens *tokens = parse("h7 host certificate\nh8 host " ONE);
    struct identity who;
    cr_assert(tokens_find_certificate(tokens, "h7", &who));
    cr_expect_eq(who.role, ROLE_HOST);
    cr_expect_eq(who.source, IDENTITY_CERTIFICATE);
    cr_expect_not(tokens_find_certificate(tokens, "h8", &who), "it must show its token");
    cr_expect_not(tokens_find_certificate(tokens, "H7", &who));
}

Test(tokens, a_name_may_have_two_secrets_of_one_role)
{
    cleanup_tokens struct tokens *tokens = parse("h7 host " ONE "\nh7 host " TWO "\n");
    struct identity who;
    cr_expect(find(tokens, "one", &who) && find(tokens, "two", &who));
}

Test(tokens, an_empty_file_lets_nobody_in)
{
    cleanup_tokens struct tokens *tokens = parse("");
    struct identity who;
    cr_expect_not(find(tokens, "one", &who));
}

Test(tokens, a_line_that_cannot_be_meant_is_named_and_no_secret_repeated)
{
    static const struct {
        const char *text;
        const char *said;
    } rows[] = {
        {"h7", "line 1: its second word is no role"},
        {"h7 " ONE, "line 1: its second word is no role"}, /* left out, or the secret's place */
        {"h7 host", "line 1: its third word"},
        {"\n\nh7 host secret", "line 3: its third word"},
        {"h7 host secret" ONE, "third word"},
        {"h7 host sha256:" ONE, "third word"},
        {"h7 host 7692C3AD3540BB803C020B3AEE66CD8887123234EA0C6E7143C0ADD73FF431ED", "third word"},
        {"h7 root secret", "no role"},
        {"h7 nobody " ONE, "no role"},
        {"h7 anybody " ONE, "no role"},
        {"h7 host " ONE " secret", "more than three words"},
        {"h/7 host " ONE, "its name"},
        {"h7 host " ONE "\nh8 host " ONE, "line 2: a line before it has the same secret"},
        {"h7 host " ONE "\nh7 admin " TWO, "line 2: a line before it gives the name another"},
        {"h7 host certificate\nh7 admin " TWO, "another role"},
        {"h7 host " NOTHING, "the sha256 of nothing"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct error error = {0};
        cr_expect_null(tokens_parse(rows[i].text, strlen(rows[i].text), &error), "%s",
                       rows[i].text);
        cr_expect_eq(error.code, ERROR_INVALID_ARGUMENT);
        cr_expect(strstr(error.message, rows[i].said), "%s: %s", rows[i].text, error.message);
        cr_expect_null(strstr(error.message, "secret" ONE), "%s", error.message);
        cr_expect_null(strstr(error.message, ONE), "%s", error.message);
    }
}

Test(tokens, a_nul_and_a_file_without_end_are_refused)
{
    struct error error = {0};
    static const char nul[] = "h7 host " ONE "\0 x";
    cr_expect_null(tokens_parse(nul, sizeof(nul) - 1, &error));
    static char large[TOKENS_FILE_MAX_BYTES + 1];
    memset(large, '\n', sizeof(large));
    cr_expect_null(tokens_parse(large, sizeof(large), &error));
    cr_expect(strstr(error.message, "larger than"), "%s", error.message);
    struct tokens *tokens = tokens_parse(large, sizeof(large) - 1, &error);
    cr_expect(tokens, "%s", error.message);
    tokens_free(tokens);
}

Test(tokens, there_may_be_ten_thousand_and_no_more)
{
    enum { MOST = 10000, LINE_SIZE = 5 + 10 + 64 + 1 };
    cleanup_arena struct arena arena = {0};
    struct error error = {0};
    const size_t room = (MOST + 1) * LINE_SIZE + 1;
    char *text = arena_alloc(&arena, room);
    size_t size = 0;
    for (int i = 0; i < MOST; i++)
        size += (size_t)snprintf(text + size, room - size, "h%d host %064d\n", i, i + 1);
    cleanup_tokens struct tokens *tokens = tokens_parse(text, size, &error);
    cr_expect(tokens, "%s", error.message);
    size += (size_t)snprintf(text + size, room - size, "more host " ONE "\n");
    cr_assert_lt(size, room);
    cr_expect_null(tokens_parse(text, size, &error));
    cr_expect(strstr(error.message, "10000"), "%s", error.message);
}

Test(tokens, a_file_that_everybody_may_write_is_refused)
{
    char path[] = "/tmp/larder-tokens-XXXXXX";
    struct error error = {0};
    cleanup_fd int fd = mkstemp(path);
    cr_assert(fd >= 0 && write(fd, "h7 host " ONE, 8 + 64) == 8 + 64);
    cr_assert_eq(fchmod(fd, 0644), 0);
    struct tokens *tokens = tokens_load(path, &error);
    cr_expect(tokens, "%s", error.message);
    tokens_free(tokens);
    cr_assert_eq(fchmod(fd, 0646), 0);
    cr_expect_null(tokens_load(path, &error));
    cr_expect(strstr(error.message, "everybody may write it"), "%s", error.message);
    unlink(path);
    cr_expect_null(tokens_load(path, &error));
    cr_expect_null(tokens_load("/tmp", &error));
}

Test(tokens, one_that_is_made_fits_its_line)
{
    char line[TOKEN_LINE_SIZE];
    char secret[TOKEN_SECRET_SIZE];
    char other[TOKEN_SECRET_SIZE];
    token_make("h7", ROLE_HOST, line, secret);
    cleanup_tokens struct tokens *tokens = parse(line);
    struct identity who;
    cr_assert(find(tokens, secret, &who));
    cr_expect_str_eq(who.name, "h7");
    cr_expect_eq(who.role, ROLE_HOST);
    cr_expect_eq(strlen(secret), TOKEN_SECRET_SIZE - 1);
    cr_expect_eq(strspn(secret, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"),
                 strlen(secret));
    token_make("h7", ROLE_HOST, line, other);
    cr_expect_str_neq(secret, other);
}

/* --- in constant time --- */

enum { LINES = 20 };

/* Lines that have that secret's fingerprint but for byte `off`; or, with `at` below LINES, other
 * fingerprints and that one in line `at`. */
static struct tokens *near_tokens(struct arena *arena, const char *secret, size_t off, size_t at)
{
    const char *text = "";
    struct error error = {0};
    for (size_t i = 0; i < LINES; i++) {
        char hex[DIGEST_HEX_SIZE];
        struct digest digest = digest_of(secret, strlen(secret));
        digest.bytes[off] ^= i == at ? 0 : (uint8_t)(i + 1);
        digest_format_hex(&digest, hex);
        text = arena_printf(arena, "%sn%03zu host %s\n", text, i, hex);
    }
    struct tokens *tokens = tokens_parse(text, strlen(text), &error);
    cr_assert_not_null(tokens, "%s", error.message);
    return tokens;
}

/* The instructions that tokens_find() takes, by single steps of a child; 0: nobody may be traced
 * here. */
static unsigned long steps_to_find(const struct tokens *tokens, const char *secret, bool is_there)
{
    struct identity who;
    cr_assert_eq(tokens_find(tokens, secret, strlen(secret), &who), is_there); /* binds symbols */
    pid_t pid = fork();
    if (pid == 0) {
        if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
            _exit(1);
        raise(SIGSTOP);
        (void)!tokens_find(tokens, secret, strlen(secret), &who);
        raise(SIGSTOP);
        _exit(0);
    }
    unsigned long steps = 0;
    int status = 0;
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    if (!WIFSTOPPED(status))
        return 0;
    do {
        steps++;
        cr_assert_eq(ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL), 0);
        cr_assert_eq(waitpid(pid, &status, 0), pid);
    } while (WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP);
    cr_assert(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP, "it comes back: %x", status);
    kill(pid, SIGKILL);
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    return steps;
}

Test(tokens, the_time_does_not_tell_how_near_a_secret_is_nor_which_line_it_is)
{
    const char *secret = "larder_0123456789012345678901234567890123456789012";
    const struct {
        size_t off;
        size_t at;
    } rows[] = {{0, LINES}, {0, LINES}, {31, LINES}, {0, 0}, {0, LINES - 1}};
    unsigned long steps[2] = {0}; /* of who is not there, of who is */
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        cleanup_arena struct arena arena = {0};
        const bool is_there = rows[i].at < LINES;
        cleanup_tokens struct tokens *tokens = near_tokens(&arena, secret, rows[i].off, rows[i].at);
        const unsigned long taken = steps_to_find(tokens, secret, is_there);
        if (taken == 0)
            cr_skip("no process may be traced here");
        if (steps[is_there] == 0 || i == 1) /* the first of all finds another heap */
            steps[is_there] = taken;
        /* A word that is looked at or not would count in each line; what the heap is like counts
         * once. */
        cr_expect_lt(labs((long)taken - (long)steps[is_there]), 5 * LINES,
                     "byte %zu, line %zu: %lu instructions and not %lu", rows[i].off, rows[i].at,
                     taken, steps[is_there]);
    }
    cr_expect_gt(steps[0], 10 * LINES, "all lines are looked at");
}
