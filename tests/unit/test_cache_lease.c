#include "server/cache_lease.h"

#include <criterion/criterion.h>
#include <string.h>
#include <time.h>

enum { LEASE_MS = 60 * 1000 };

static struct read_cache *cache;
static struct cache_lease *lease;
static struct arena arena;

static void begin(void)
{
    cache = read_cache_new(1 << 20);
    lease = cache_lease_new(cache, NULL, LEASE_MS);
}

static void end(void)
{
    cache_lease_free(lease);
    read_cache_free(cache);
    arena_free(&arena);
}

TestSuite(cache_lease, .init = begin, .fini = end);

static struct lease_question ask(void)
{
    struct lease_question question;
    cache_lease_ask(lease, &arena, &question);
    return question;
}

static bool answer(struct lease_question question, const char *server, const char *snapshot,
                   const char *key)
{
    const char *keys[] = {key};
    struct changes changes = {
        .server = server, .snapshot = snapshot, .keys = keys, .count = key ? 1 : 0};
    return cache_lease_answer(lease, &question, &changes);
}

static void remember(const char *key)
{
    struct cache_key question = {
        .text = key, .length = strlen(key), .change = read_cache_change(cache, key)};
    struct cached_answer *stored = cached_answer_new(cache, &question, "x", 1);
    read_cache_store(cache, stored, read_cache_ticket(cache, question.change));
    cached_answer_release(stored);
}

static bool remembers(const char *key)
{
    struct cache_key question = {
        .text = key, .length = strlen(key), .change = read_cache_change(cache, key)};
    struct cached_answer *found = read_cache_find(cache, &question);
    cached_answer_release(found);
    return found;
}

Test(cache_lease, there_is_none_before_the_catalogue_was_asked)
{
    cr_expect_not(cache_lease_is_valid(lease));
    cr_expect_eq(cache_lease_age_us(lease), INT64_MAX);
    struct lease_question first = ask();
    cr_expect_null(first.snapshot);
    cr_expect(answer(first, "server", "5:5:", NULL));
    cr_expect(cache_lease_is_valid(lease));
    cr_expect_str_eq(ask().snapshot, "5:5:", "the next one asks from there");
}

Test(cache_lease, what_changed_is_forgotten_and_the_rest_kept)
{
    cr_expect(answer(ask(), "server", "5:5:", NULL));
    remember("a");
    remember("b");
    cr_expect(answer(ask(), "server", "6:6:", "a"));
    cr_expect_not(remembers("a"));
    cr_expect(remembers("b"));
}

Test(cache_lease, an_older_snapshot_does_not_undo_a_later_one)
{
    cr_expect(answer(ask(), "server", "5:5:", NULL));
    struct lease_question slow = ask();
    cr_expect(answer(ask(), "server", "9:9:", "a"));
    cr_expect(answer(slow, "server", "7:7:", NULL));
    cr_expect_str_eq(ask().snapshot, "9:9:");
}

Test(cache_lease, another_server_makes_all_forgotten_and_earlier_questions_void)
{
    cr_expect(answer(ask(), "server", "5:5:", NULL));
    remember("a");
    struct lease_question early = ask();
    cr_expect(answer(ask(), "other", "3:3:", NULL));
    cr_expect_not(remembers("a"));
    cr_expect_not(answer(early, "server", "8:8:", NULL), "it was overtaken");
    cr_expect_str_eq(ask().snapshot, "3:3:");
}

Test(cache_lease, a_change_that_could_not_be_forgotten_ends_it)
{
    cr_expect(answer(ask(), "server", "5:5:", NULL));
    struct lease_question before = ask();
    struct timespec a_moment = {.tv_nsec = 1000000};
    nanosleep(&a_moment, NULL);
    cache_lease_distrust(lease);
    cr_expect_not(cache_lease_is_valid(lease));
    cr_expect(answer(before, "server", "6:6:", NULL));
    cr_expect_not(cache_lease_is_valid(lease), "what was asked before the change proves nothing");
    cr_expect(answer(ask(), "server", "7:7:", NULL));
    cr_expect(cache_lease_is_valid(lease));
}

Test(cache_lease, it_runs_out_and_counts_from_the_question)
{
    struct cache_lease *shorter = cache_lease_new(cache, NULL, 20);
    struct lease_question question;
    struct changes changes = {.server = "server", .snapshot = "5:5:"};
    cache_lease_ask(shorter, &arena, &question);
    struct timespec longer = {.tv_nsec = 30 * 1000000};
    nanosleep(&longer, NULL);
    cr_expect(cache_lease_answer(shorter, &question, &changes));
    cr_expect_not(cache_lease_is_valid(shorter), "the answer was longer on its way than that");
    cr_expect_geq(cache_lease_age_us(shorter), 30000);
    cache_lease_free(shorter);
}

Test(cache_lease, is_silent_from_a_late_question_until_somebody_has_an_answer)
{
    answer(ask(), "server", "9:9:", NULL);
    cr_assert_not(cache_lease_is_silent(lease));
    struct lease_question before = ask();
    nanosleep(&(struct timespec){.tv_nsec = 1000 * 1000}, NULL);
    struct lease_question late = ask();
    cache_lease_miss_answer(lease, late.asked_us);
    cr_assert(cache_lease_is_silent(lease));
    answer(before, "server", "10:10:", NULL);
    cr_assert(cache_lease_is_silent(lease), "that was asked before it fell silent");
    answer(late, "server", "11:11:", NULL);
    cr_assert_not(cache_lease_is_silent(lease));
}
