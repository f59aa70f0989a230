#include "server/read_cache.h"

#include "store/metrics.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct cache_key key_of(const struct read_cache *cache, const char *text, const char *change)
{
    return (struct cache_key){
        .text = text, .length = strlen(text), .change = read_cache_change(cache, change)};
}

/* As a fill does it, without anything in between. */
static void put(struct read_cache *cache, const char *text, const char *change, const void *body,
                size_t size)
{
    struct cache_key key = key_of(cache, text, change);
    struct cache_ticket ticket = read_cache_ticket(cache, key.change);
    struct cached_answer *answer = cached_answer_new(cache, &key, body, size);
    read_cache_store(cache, answer, ticket);
    cached_answer_release(answer);
}

static bool has(struct read_cache *cache, const char *text, const char *change)
{
    struct cache_key key = key_of(cache, text, change);
    struct cached_answer *answer = read_cache_find(cache, &key);
    cached_answer_release(answer);
    return answer;
}

Test(read_cache, an_answer_is_found_by_all_of_what_was_asked)
{
    struct read_cache *cache = read_cache_new(1 << 20);
    put(cache, "handle of a", "a", "body", 4);
    put(cache, "detail of a", "a", "other", 5);
    struct cache_key key = key_of(cache, "handle of a", "a");
    struct cached_answer *answer = read_cache_find(cache, &key);
    cr_assert(answer);
    cr_expect_eq(answer->body_size_bytes, 4);
    cr_expect_arr_eq(answer->body, "body", 4);
    cached_answer_release(answer);
    cr_expect(has(cache, "detail of a", "a"));
    cr_expect_not(has(cache, "handle of", "a"));
    cr_expect_not(has(cache, "handle of b", "b"));
    read_cache_free(cache);
}

Test(read_cache, the_tag_is_of_the_bytes_and_of_nothing_else)
{
    struct read_cache *one = read_cache_new(1 << 20);
    struct read_cache *other = read_cache_new(1 << 20);
    struct cache_key key = key_of(one, "x", "a");
    struct cache_key other_key = key_of(other, "y", "b");
    struct cached_answer *first = cached_answer_new(one, &key, "body", 4);
    struct cached_answer *same = cached_answer_new(other, &other_key, "body", 4);
    struct cached_answer *differs = cached_answer_new(one, &key, "bodz", 4);
    cr_expect_str_eq(first->etag, same->etag, "on any node, for any question");
    cr_expect_str_neq(first->etag, differs->etag);
    cr_expect(first->etag[0] == '"' && first->etag[strlen(first->etag) - 1] == '"');
    cached_answer_release(first);
    cached_answer_release(same);
    cached_answer_release(differs);
    read_cache_free(one);
    read_cache_free(other);
}

Test(read_cache, a_change_evicts_all_views_of_its_image_and_no_other)
{
    struct read_cache *cache = read_cache_new(1 << 20);
    put(cache, "handle of a", "a", "1", 1);
    put(cache, "detail of a", "a", "2", 1);
    put(cache, "handle of b", "b", "3", 1);
    read_cache_evict(cache, "a");
    cr_expect_not(has(cache, "handle of a", "a"));
    cr_expect_not(has(cache, "detail of a", "a"));
    cr_expect(has(cache, "handle of b", "b"), "another image stays");
    read_cache_evict_all(cache);
    cr_expect_not(has(cache, "handle of b", "b"));
    cr_expect_eq(read_cache_bytes(cache), 0, "nothing is left");
    read_cache_free(cache);
}

Test(read_cache, any_change_evicts_the_lists)
{
    struct read_cache *cache = read_cache_new(1 << 20);
    struct cache_key key = {.text = "list", .length = 4, .change = read_cache_list_change(cache)};
    struct cache_ticket ticket = read_cache_ticket(cache, key.change);
    struct cached_answer *page = cached_answer_new(cache, &key, "[]", 2);
    cr_expect(read_cache_store(cache, page, ticket));
    cached_answer_release(page);
    read_cache_evict(cache, "an image in no list");
    cr_expect_null(read_cache_find(cache, &key));
    cr_expect_not(read_cache_is_current(cache, ticket));
    read_cache_free(cache);
}

Test(read_cache, what_was_asked_before_a_change_is_not_stored_after_it)
{
    struct read_cache *cache = read_cache_new(1 << 20);
    struct cache_key key = key_of(cache, "handle of a", "a");
    for (int everything = 0; everything <= 1; everything++) {
        struct cache_ticket ticket = read_cache_ticket(cache, key.change);
        cr_expect(read_cache_is_current(cache, ticket));
        if (everything)
            read_cache_evict_all(cache);
        else
            read_cache_evict(cache, "a");
        cr_expect_not(read_cache_is_current(cache, ticket));
        struct cached_answer *late = cached_answer_new(cache, &key, "old", 3);
        cr_expect_not(read_cache_store(cache, late, ticket));
        cached_answer_release(late);
        cr_expect_not(has(cache, "handle of a", "a"));
    }
    put(cache, "handle of a", "a", "new", 3);
    cr_expect(has(cache, "handle of a", "a"), "asked after it, it is stored");
    read_cache_free(cache);
}

Test(read_cache, an_answer_that_is_being_sent_outlives_its_eviction)
{
    struct read_cache *cache = read_cache_new(1 << 20);
    put(cache, "handle of a", "a", "body", 4);
    struct cache_key key = key_of(cache, "handle of a", "a");
    struct cached_answer *sent = read_cache_find(cache, &key);
    read_cache_evict(cache, "a");
    read_cache_free(cache);
    cr_expect_arr_eq(sent->body, "body", 4);
    cached_answer_release(sent);
}

enum { LIMIT = 256 * 1024, BODY = 1000 };

static void put_numbered(struct read_cache *cache, unsigned number)
{
    char text[32];
    char body[BODY] = {0};
    snprintf(text, sizeof(text), "image %u", number);
    put(cache, text, text, body, sizeof(body));
}

static bool has_numbered(struct read_cache *cache, unsigned number)
{
    char text[32];
    snprintf(text, sizeof(text), "image %u", number);
    return has(cache, text, text);
}

Test(read_cache, memory_is_bounded_whatever_comes)
{
    struct read_cache *cache = read_cache_new(LIMIT);
    for (unsigned i = 0; i < 5000; i++) {
        put_numbered(cache, i);
        cr_assert_leq(read_cache_bytes(cache), LIMIT, "after %u answers", i + 1);
    }
    cr_expect_geq(read_cache_bytes(cache), LIMIT * 9 / 10, "and it is used");
    cr_expect(has_numbered(cache, 4999), "the newest is there");
    read_cache_free(cache);
}

Test(read_cache, memory_is_bounded_when_a_large_answer_comes_after_many_small_ones)
{
    /* malloc(3) may add a page to what an eighth of the cache is to hold. */
    enum { LARGE_LIMIT = 16 << 20, LARGE = LARGE_LIMIT / 8 - (8 << 10) };
    struct read_cache *cache = read_cache_new(LARGE_LIMIT);
    char *large = calloc(1, LARGE);
    char text[32];
    for (unsigned i = 0; read_cache_bytes(cache) < LARGE_LIMIT - 1024; i++) {
        snprintf(text, sizeof(text), "image %u", i);
        put(cache, text, text, "1", 1);
    }
    for (unsigned i = 0; i < 12; i++) {
        snprintf(text, sizeof(text), "large %u", i);
        put(cache, text, text, large, LARGE);
        cr_assert_leq(read_cache_bytes(cache), LARGE_LIMIT, "after %u large ones", i + 1);
        cr_assert(has(cache, text, text), "the newest is there");
    }
    free(large);
    read_cache_free(cache);
}

Test(read_cache, what_is_asked_for_again_and_again_stays)
{
    struct read_cache *cache = read_cache_new(LIMIT);
    enum { FAVOURITES = 20 };
    unsigned missed = 0;
    for (unsigned i = 0; i < FAVOURITES; i++)
        put_numbered(cache, i);
    for (unsigned i = FAVOURITES; i < 5000; i++) {
        put_numbered(cache, i);
        if (!has_numbered(cache, i % FAVOURITES)) {
            missed++;
            put_numbered(cache, i % FAVOURITES);
        }
    }
    cr_expect_leq(missed, 50, "%u of 4980 reads of the same 20 images were not in memory", missed);
    read_cache_free(cache);
}

Test(read_cache, one_large_answer_does_not_empty_it)
{
    struct read_cache *cache = read_cache_new(LIMIT);
    put(cache, "small", "a", "1", 1);
    char *large = calloc(1, LIMIT / 2);
    put(cache, "large", "b", large, LIMIT / 2);
    free(large);
    cr_expect(has(cache, "small", "a"));
    cr_expect_not(has(cache, "large", "b"));
    read_cache_free(cache);
}

Test(read_cache, an_answer_that_comes_too_late_makes_none_go)
{
    struct read_cache *cache = read_cache_new(LIMIT);
    char large[LIMIT / 8 - 1024] = {0};
    struct cache_key key = key_of(cache, "late", "late");
    struct cache_ticket ticket = read_cache_ticket(cache, key.change);
    read_cache_evict(cache, "late");
    unsigned stored = 0;
    while (read_cache_bytes(cache) < LIMIT - sizeof(large) / 2)
        put_numbered(cache, stored++);
    size_t bytes = read_cache_bytes(cache);
    struct cached_answer *late = cached_answer_new(cache, &key, large, sizeof(large));
    cr_expect_not(read_cache_store(cache, late, ticket));
    cached_answer_release(late);
    cr_expect_eq(read_cache_bytes(cache), bytes);
    for (unsigned i = 0; i < stored; i++)
        cr_expect(has_numbered(cache, i), "answer %u of %u is gone", i, stored);
    read_cache_free(cache);
}

enum { STORING_THREADS = 8 };

static void *store_many(void *argument)
{
    static atomic_uint number;
    char body[LIMIT / 8 - 1024] = {0};
    for (int i = 0; i < 50; i++) {
        char text[32];
        snprintf(text, sizeof(text), "large %u", atomic_fetch_add(&number, 1));
        put(argument, text, text, body, sizeof(body));
    }
    return NULL;
}

Test(read_cache, memory_is_bounded_once_all_who_stored_at_once_are_done)
{
    for (int round = 0; round < 20; round++) {
        struct read_cache *cache = read_cache_new(LIMIT);
        pthread_t threads[STORING_THREADS];
        for (int i = 0; i < STORING_THREADS; i++)
            cr_assert_eq(pthread_create(&threads[i], NULL, store_many, cache), 0);
        for (int i = 0; i < STORING_THREADS; i++)
            pthread_join(threads[i], NULL);
        cr_expect_leq(read_cache_bytes(cache), LIMIT);
        read_cache_free(cache);
    }
}

Test(read_cache, the_same_question_is_stored_once)
{
    struct read_cache *cache = read_cache_new(1 << 20);
    put(cache, "handle of a", "a", "one", 3);
    size_t bytes = read_cache_bytes(cache);
    put(cache, "handle of a", "a", "two", 3);
    cr_expect_eq(read_cache_bytes(cache), bytes);
    struct cache_key key = key_of(cache, "handle of a", "a");
    struct cached_answer *answer = read_cache_find(cache, &key);
    cr_expect_arr_eq(answer->body, "two", 3, "the last one counts");
    cached_answer_release(answer);
    read_cache_free(cache);
}
