/* Finished answers in memory: the bytes of a body and its entity tag, by what was asked.
 *
 * The cache knows nothing of time. It holds what was put in until it is evicted by its
 * change key (store/catalogue/changes.h) or by the bound on memory, which takes what was not
 * asked for lately. Whether it may be believed is the lease's matter (cache_lease.h).
 *
 * A fill notes a ticket before it asks the catalogue: when its key is evicted meanwhile, what
 * comes back is not stored, for it may be from before the change. Any thread; locks are held
 * for the time of a look-up.
 */
#ifndef LARDER_SERVER_READ_CACHE_H
#define LARDER_SERVER_READ_CACHE_H

#include "server/content_coding.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct changes;
struct read_cache;

/* An answer, in the cache or not. It does not change, and lives until all who hold it
 * released it. */
struct cached_answer {
    char *body; /* never written: not const, for libmicrohttpd takes it so */
    size_t body_size_bytes;
    const char *etag;           /* strong, with its quotes */
    enum content_coding coding; /* of the body */
    bool varies;                /* clients that accept other codings get another one */
};

/* What was asked: `text` is unique among all questions; `change` is the hash of the key
 * under which the catalogue logs that its answer changed. */
struct cache_key {
    const char *text;
    size_t length;
    uint64_t change;
};
struct cache_ticket {
    uint64_t change;
    uint32_t generation;
};

[[nodiscard]] struct read_cache *read_cache_new(size_t limit_bytes);
/* Answers that are still held outlive it. NULL is fine. */
void read_cache_free(struct read_cache *cache);

[[nodiscard]] uint64_t read_cache_change(const struct read_cache *cache, const char *change_key);
/* Of lists of images: evicted with every image that changes. */
[[nodiscard]] uint64_t read_cache_list_change(const struct read_cache *cache);

/* The answer, held, or NULL. */
[[nodiscard]] struct cached_answer *read_cache_find(struct read_cache *cache,
                                                    const struct cache_key *key);

[[nodiscard]] struct cache_ticket read_cache_ticket(struct read_cache *cache, uint64_t change);
/* Whether nothing of that key was evicted since. */
[[nodiscard]] bool read_cache_is_current(struct read_cache *cache, struct cache_ticket ticket);

/* Copies the body; held, not stored. */
[[nodiscard]] struct cached_answer *cached_answer_new(const struct read_cache *cache,
                                                      const struct cache_key *key, const void *body,
                                                      size_t size_bytes);
/* False when the ticket is void, or the answer too large. */
bool read_cache_store(struct read_cache *cache, struct cached_answer *answer,
                      struct cache_ticket ticket);
void cached_answer_hold(struct cached_answer *answer);
void cached_answer_release(struct cached_answer *answer);

/* How many clients are being sent it, for who counts each body once: begin says whether this is the
 * first, end whether it was the last. */
bool cached_answer_begin_send(struct cached_answer *answer);
bool cached_answer_end_send(struct cached_answer *answer);
[[nodiscard]] bool cached_answer_is_being_sent(struct cached_answer *answer);

/* Of one image, by its change key; its lists go too. */
void read_cache_evict(struct read_cache *cache, const char *change_key);
void read_cache_evict_all(struct read_cache *cache);
/* Whatever these have changed. */
void read_cache_evict_changes(struct read_cache *cache, const struct changes *changes);
/* What it holds; METRIC_CACHE_… tell the rest. */
[[nodiscard]] size_t read_cache_bytes(const struct read_cache *cache);

#endif
