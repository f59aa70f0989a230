#include "server/read_cache.h"

#include "store/catalogue/changes.h"
#include "store/digest.h"
#include "store/metrics.h"

#include <assert.h>
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum {
    SHARD_COUNT = 64,
    GENERATIONS = 64, /* of a shard: a change voids the tickets of one in 4096 keys */
    FIRST_BUCKETS = 16,
    ETAG_SIZE = 2 + 32 + 1, /* 128 bits of the body's sha256, in quotes */
    /* An entry is at most this part of the whole: one answer must not empty the cache. */
    LARGEST_PART = 8,
};

static const char list_change_key[] = "*lists*"; /* no reference has a `*` */

struct entry {
    struct cached_answer answer; /* first: it is what others see */
    atomic_uint holders;
    atomic_uint clients; /* that are being sent it */
    bool was_used;       /* since the hand came by */
    uint64_t change;
    uint64_t hash; /* of the key's text */
    struct entry *next_by_text;
    struct entry *next_by_change;
    struct entry **slot_by_change; /* what points at it there */
    struct entry *next;            /* in the ring */
    struct entry *previous;
    char etag[ETAG_SIZE];
    uint32_t key_length;
    char bytes[]; /* the key's text, then the body */
};

struct shard {
    pthread_mutex_t lock; /* guards all below */
    uint32_t generations[GENERATIONS];
    struct entry **by_text;   /* bucket_count of them: how an answer is found */
    struct entry **by_change; /* the same number: how all that must go are found */
    size_t bucket_count;
    size_t entry_count;
    struct entry *hand; /* of the clock; NULL: the ring is empty */
};

struct read_cache {
    size_t limit_bytes;
    uint64_t seed[2];
    uint64_t list_change;
    atomic_size_t used_bytes;
    atomic_uint next_to_shrink;
    struct shard shards[SHARD_COUNT];
};

/* --- hashing: fast, and of no use to who cannot see the seed --- */

static uint64_t fold(uint64_t one, uint64_t other)
{
    unsigned __int128 product = (unsigned __int128)one * other;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint64_t hash_bytes(const struct read_cache *cache, const char *bytes, size_t length)
{
    uint64_t hash = cache->seed[0] ^ length;
    for (; length >= 8; bytes += 8, length -= 8) {
        uint64_t word;
        memcpy(&word, bytes, 8);
        hash = fold(hash ^ word, cache->seed[1]);
    }
    uint64_t rest = 0;
    memcpy(&rest, bytes, length);
    return fold(fold(hash ^ rest, cache->seed[1]), cache->seed[1] ^ cache->seed[0]);
}

uint64_t read_cache_change(const struct read_cache *cache, const char *change_key)
{
    return hash_bytes(cache, change_key, strlen(change_key));
}

uint64_t read_cache_list_change(const struct read_cache *cache)
{
    return cache->list_change;
}

static struct shard *shard_of(struct read_cache *cache, uint64_t change)
{
    return &cache->shards[change % SHARD_COUNT];
}

static uint32_t *generation_of(struct shard *shard, uint64_t change)
{
    return &shard->generations[change / SHARD_COUNT % GENERATIONS];
}

static struct entry **bucket_of(const struct shard *shard, struct entry **buckets, uint64_t hash)
{
    return &buckets[(hash >> 32) & (shard->bucket_count - 1)];
}

static struct entry **new_buckets(size_t count)
{
    struct entry **buckets = calloc(count, sizeof(*buckets));
    if (!buckets)
        abort();
    return buckets;
}

/* --- entries --- */

static struct entry *entry_of(struct cached_answer *answer)
{
    return (struct entry *)answer;
}

static size_t entry_bytes(struct entry *entry)
{
    return malloc_usable_size(entry) + sizeof(size_t) + 2 * sizeof(struct entry *);
}

void cached_answer_hold(struct cached_answer *answer)
{
    atomic_fetch_add_explicit(&entry_of(answer)->holders, 1, memory_order_relaxed);
}

void cached_answer_release(struct cached_answer *answer)
{
    if (answer &&
        atomic_fetch_sub_explicit(&entry_of(answer)->holders, 1, memory_order_acq_rel) == 1)
        free(answer);
}

bool cached_answer_begin_send(struct cached_answer *answer)
{
    return atomic_fetch_add(&entry_of(answer)->clients, 1) == 0;
}

bool cached_answer_end_send(struct cached_answer *answer)
{
    return atomic_fetch_sub(&entry_of(answer)->clients, 1) == 1;
}

bool cached_answer_is_being_sent(struct cached_answer *answer)
{
    return atomic_load(&entry_of(answer)->clients) > 0;
}

static void write_etag(struct entry *entry)
{
    struct digest digest = digest_of(entry->answer.body, entry->answer.body_size_bytes);
    char hex[DIGEST_HEX_SIZE];
    digest_format_hex(&digest, hex);
    entry->etag[0] = '"';
    memcpy(entry->etag + 1, hex, ETAG_SIZE - 3);
    entry->etag[ETAG_SIZE - 2] = '"';
    entry->answer.etag = entry->etag;
}

struct cached_answer *cached_answer_new(const struct read_cache *cache, const struct cache_key *key,
                                        const void *body, size_t size_bytes)
{
    struct entry *entry = malloc(sizeof(*entry) + key->length + size_bytes);
    if (!entry)
        abort();
    *entry = (struct entry){
        .change = key->change,
        .hash = hash_bytes(cache, key->text, key->length),
        .key_length = (uint32_t)key->length,
        .answer = {.body = entry->bytes + key->length, .body_size_bytes = size_bytes},
    };
    atomic_init(&entry->holders, 1);
    atomic_init(&entry->clients, 0);
    memcpy(entry->bytes, key->text, key->length);
    memcpy(entry->bytes + key->length, body, size_bytes);
    write_etag(entry);
    return &entry->answer;
}

/* --- under a shard's lock --- */

static void unlink_from_ring(struct shard *shard, struct entry *entry)
{
    if (shard->hand == entry)
        shard->hand = entry->next == entry ? NULL : entry->next;
    entry->next->previous = entry->previous;
    entry->previous->next = entry->next;
}

static struct entry **find_slot(struct shard *shard, uint64_t hash, const char *text, size_t length)
{
    struct entry **slot = bucket_of(shard, shard->by_text, hash);
    while (*slot && !((*slot)->hash == hash && (*slot)->key_length == length &&
                      memcmp((*slot)->bytes, text, length) == 0))
        slot = &(*slot)->next_by_text;
    return slot;
}

static void index_entry(struct shard *shard, struct entry *entry)
{
    struct entry **by_text = bucket_of(shard, shard->by_text, entry->hash);
    struct entry **by_change = bucket_of(shard, shard->by_change, entry->change);
    entry->next_by_text = *by_text;
    *by_text = entry;
    entry->next_by_change = *by_change;
    if (entry->next_by_change)
        entry->next_by_change->slot_by_change = &entry->next_by_change;
    entry->slot_by_change = by_change;
    *by_change = entry;
}

static void unindex_entry(struct shard *shard, struct entry *entry)
{
    struct entry **by_text = find_slot(shard, entry->hash, entry->bytes, entry->key_length);
    assert(*by_text == entry);
    *by_text = entry->next_by_text;
    *entry->slot_by_change = entry->next_by_change;
    if (entry->next_by_change)
        entry->next_by_change->slot_by_change = entry->slot_by_change;
}

static void drop(struct read_cache *cache, struct shard *shard, struct entry *entry)
{
    unindex_entry(shard, entry);
    unlink_from_ring(shard, entry);
    shard->entry_count--;
    atomic_fetch_sub(&cache->used_bytes, entry_bytes(entry));
    metric_add(METRIC_CACHE_BYTES, -(int64_t)entry_bytes(entry));
    metric_add(METRIC_CACHE_ANSWERS, -1);
    cached_answer_release(&entry->answer);
}

static void link_entry(struct shard *shard, struct entry *entry)
{
    index_entry(shard, entry);
    if (!shard->hand) {
        shard->hand = entry;
        entry->next = entry;
        entry->previous = entry;
    } else { /* behind the hand: it comes there last */
        entry->next = shard->hand;
        entry->previous = shard->hand->previous;
        entry->previous->next = entry;
        entry->next->previous = entry;
    }
    shard->entry_count++;
}

static void grow(struct shard *shard)
{
    if (shard->entry_count < shard->bucket_count)
        return;
    free(shard->by_text);
    free(shard->by_change);
    shard->bucket_count *= 2;
    shard->by_text = new_buckets(shard->bucket_count);
    shard->by_change = new_buckets(shard->bucket_count);
    struct entry *entry = shard->hand;
    for (size_t i = 0; i < shard->entry_count; i++, entry = entry->next)
        index_entry(shard, entry);
}

/* The clock: what was used gets another round, in which other shards are asked first. */
static void drop_least_used(struct read_cache *cache, struct shard *shard)
{
    for (size_t i = 0; i < shard->entry_count; i++) {
        struct entry *entry = shard->hand;
        if (!entry->was_used) {
            metric_add(METRIC_CACHE_EVICTIONS, 1, EVICTED_FOR_ROOM);
            drop(cache, shard, entry);
            return;
        }
        entry->was_used = false;
        shard->hand = entry->next;
    }
}

/* --- the whole --- */

struct read_cache *read_cache_new(size_t limit_bytes)
{
    struct read_cache *cache = calloc(1, sizeof(*cache));
    if (!cache || getrandom(cache->seed, sizeof(cache->seed), 0) != (ssize_t)sizeof(cache->seed))
        abort();
    cache->seed[1] |= 1;
    cache->limit_bytes = limit_bytes;
    cache->list_change = read_cache_change(cache, list_change_key);
    for (size_t i = 0; i < SHARD_COUNT; i++) {
        struct shard *shard = &cache->shards[i];
        pthread_mutex_init(&shard->lock, NULL);
        shard->bucket_count = FIRST_BUCKETS;
        shard->by_text = new_buckets(FIRST_BUCKETS);
        shard->by_change = new_buckets(FIRST_BUCKETS);
    }
    return cache;
}

void read_cache_free(struct read_cache *cache)
{
    if (!cache)
        return;
    read_cache_evict_all(cache);
    for (size_t i = 0; i < SHARD_COUNT; i++) {
        pthread_mutex_destroy(&cache->shards[i].lock);
        free(cache->shards[i].by_text);
        free(cache->shards[i].by_change);
    }
    free(cache);
}

struct cached_answer *read_cache_find(struct read_cache *cache, const struct cache_key *key)
{
    uint64_t hash = hash_bytes(cache, key->text, key->length);
    struct shard *shard = shard_of(cache, key->change);
    pthread_mutex_lock(&shard->lock);
    struct entry *entry = *find_slot(shard, hash, key->text, key->length);
    if (entry) {
        entry->was_used = true;
        atomic_fetch_add_explicit(&entry->holders, 1, memory_order_relaxed);
    }
    pthread_mutex_unlock(&shard->lock);
    return entry ? &entry->answer : NULL;
}

struct cache_ticket read_cache_ticket(struct read_cache *cache, uint64_t change)
{
    struct shard *shard = shard_of(cache, change);
    pthread_mutex_lock(&shard->lock);
    struct cache_ticket ticket = {change, *generation_of(shard, change)};
    pthread_mutex_unlock(&shard->lock);
    return ticket;
}

bool read_cache_is_current(struct read_cache *cache, struct cache_ticket ticket)
{
    return read_cache_ticket(cache, ticket.change).generation == ticket.generation;
}

/* One shard after the other, each under its own lock alone, until it fits or nothing is left. */
static void make_room(struct read_cache *cache)
{
    int empty_shards = 0; /* in a row */
    while (atomic_load(&cache->used_bytes) > cache->limit_bytes && empty_shards < SHARD_COUNT) {
        unsigned next = atomic_fetch_add(&cache->next_to_shrink, 1);
        struct shard *shard = &cache->shards[next % SHARD_COUNT];
        pthread_mutex_lock(&shard->lock);
        empty_shards = shard->entry_count == 0 ? empty_shards + 1 : 0;
        drop_least_used(cache, shard);
        pthread_mutex_unlock(&shard->lock);
    }
}

/* Its bytes are counted already. */
static bool link_if_current(struct read_cache *cache, struct entry *entry,
                            struct cache_ticket ticket)
{
    struct shard *shard = shard_of(cache, entry->change);
    pthread_mutex_lock(&shard->lock);
    bool current = *generation_of(shard, entry->change) == ticket.generation;
    if (current) {
        struct entry *same = *find_slot(shard, entry->hash, entry->bytes, entry->key_length);
        if (same)
            drop(cache, shard, same);
        atomic_fetch_add_explicit(&entry->holders, 1, memory_order_relaxed);
        metric_add(METRIC_CACHE_BYTES, (int64_t)entry_bytes(entry));
        metric_add(METRIC_CACHE_ANSWERS, 1);
        link_entry(shard, entry);
        grow(shard);
    } else {
        atomic_fetch_sub(&cache->used_bytes, entry_bytes(entry));
    }
    pthread_mutex_unlock(&shard->lock);
    return current;
}

static bool store(struct read_cache *cache, struct entry *entry, struct cache_ticket ticket)
{
    if (!read_cache_is_current(cache, ticket))
        return false; /* before others go for it */
    /* Before it is there, or it might be the one that goes. */
    atomic_fetch_add(&cache->used_bytes, entry_bytes(entry));
    make_room(cache);
    bool linked = link_if_current(cache, entry, ticket);
    /* What others had counted and not linked yet could not go to make room. */
    make_room(cache);
    return linked;
}

bool read_cache_store(struct read_cache *cache, struct cached_answer *answer,
                      struct cache_ticket ticket)
{
    struct entry *entry = entry_of(answer);
    if (entry_bytes(entry) > cache->limit_bytes / LARGEST_PART)
        return false;
    bool stored = store(cache, entry, ticket);
    if (!stored)
        metric_add(METRIC_CACHE_FILLS_DROPPED, 1);
    return stored;
}

static void evict_change(struct read_cache *cache, uint64_t change)
{
    struct shard *shard = shard_of(cache, change);
    pthread_mutex_lock(&shard->lock);
    (*generation_of(shard, change))++;
    struct entry *next = *bucket_of(shard, shard->by_change, change);
    while (next) {
        struct entry *entry = next;
        next = entry->next_by_change;
        if (entry->change != change)
            continue;
        metric_add(METRIC_CACHE_EVICTIONS, 1, EVICTED_BY_CHANGE);
        drop(cache, shard, entry);
    }
    pthread_mutex_unlock(&shard->lock);
}

void read_cache_evict(struct read_cache *cache, const char *change_key)
{
    evict_change(cache, read_cache_change(cache, change_key));
    evict_change(cache, cache->list_change);
}

void read_cache_evict_all(struct read_cache *cache)
{
    for (size_t i = 0; i < SHARD_COUNT; i++) {
        struct shard *shard = &cache->shards[i];
        pthread_mutex_lock(&shard->lock);
        for (size_t g = 0; g < GENERATIONS; g++)
            shard->generations[g]++;
        while (shard->hand) {
            metric_add(METRIC_CACHE_EVICTIONS, 1, EVICTED_BY_CHANGE);
            drop(cache, shard, shard->hand);
        }
        pthread_mutex_unlock(&shard->lock);
    }
}

void read_cache_evict_changes(struct read_cache *cache, const struct changes *changes)
{
    if (changes->everything)
        read_cache_evict_all(cache);
    for (size_t i = 0; i < changes->count; i++)
        read_cache_evict(cache, changes->keys[i]);
}

size_t read_cache_bytes(const struct read_cache *cache)
{
    return atomic_load(&cache->used_bytes);
}
