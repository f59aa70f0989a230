/* Who uses images: sandboxes, snapshots and pins. Strings live in the caller's
 * arena. A sandbox whose lease ran out (by PostgreSQL's clock) holds nothing and
 * is not found any more. Thread-safe.
 */
#ifndef LARDER_STORE_CATALOGUE_HOLDERS_H
#define LARDER_STORE_CATALOGUE_HOLDERS_H

#include "store/catalogue/images.h"

struct sandbox {
    const char *id;
    const char *host;
    const char *rootfs_json; /* the rootfs source as given, JSON text */
    int64_t created_at_ms;
    bool expires;
    int64_t expires_at_ms;      /* when `expires` */
    struct image_detail *image; /* NULL for bind and disk, and after a forced removal */
};

struct sandbox_registration {
    const char *id;
    const char *host;
    const char *rootfs_json;
    const struct reference *reference;    /* NULL unless the source is oci */
    const struct platform_choice *choice; /* for oci */
    bool expires;
    int64_t ttl_seconds; /* when `expires`: from now */
    /* NULL, or the only host whose sandboxes the caller may touch: a live one of that id
     * that is another host's stays as it is. */
    const char *only_host;
};

/* Registers or renews; *created says which. An oci source holds its image from
 * here on and moves its last_used_at, once a minute at most. A live sandbox that renews the same
 * reference keeps the image that it runs on, also when the reference has moved to another. Fails as
 * catalogue_inspect_image does, and with ERROR_FORBIDDEN for `only_host`. */
[[nodiscard]] bool catalogue_put_sandbox(struct catalogue *catalogue,
                                         const struct sandbox_registration *registration,
                                         struct arena *arena, struct sandbox *sandbox,
                                         bool *created, struct error *error);

struct registered_sandbox {
    bool
        is_registered; /* else nothing was done: catalogue_put_sandbox() does it, or says why not */
    bool is_new;
    struct sandbox sandbox;     /* without its image */
    struct image_handle *image; /* NULL for bind and disk */
    const char *index_digest;   /* of the image's reference; may be NULL */
    bool was_touched;           /* the image's last_used_at moved */
};

/* Registers as many as can be in one round trip, all or, with an error, none: those that
 * want nothing but an image for exactly this platform. Their ids differ, `only_host`
 * does not; `choice` is not looked at. The answer is quick because it has of each image no more
 * than its handle. */
[[nodiscard]] bool catalogue_register_sandboxes(struct catalogue *catalogue,
                                                const struct sandbox_registration *registrations,
                                                size_t count, const struct platform *platform,
                                                struct arena *arena,
                                                struct registered_sandbox *registered,
                                                struct error *error);

/* ERROR_SANDBOX_NOT_FOUND. */
[[nodiscard]] bool catalogue_find_sandbox(struct catalogue *catalogue, const char *id,
                                          struct arena *arena, struct sandbox *sandbox,
                                          struct error *error);

struct sandbox_filter { /* NULL selects everything */
    const char *host;
    const char *reference; /* canonical */
    const char *manifest_digest;
};
/* A page ends before its images' details are more than that, but has one sandbox at least: each
 * config may be of 4 MiB. */
enum { SANDBOX_PAGE_MAX_BYTES = 8 << 20 };
struct sandbox_page {
    struct sandbox *sandboxes; /* by id */
    size_t count;
    const char *next_page_token;
};
[[nodiscard]] bool catalogue_list_sandboxes(struct catalogue *catalogue,
                                            const struct sandbox_filter *filter, size_t limit,
                                            const char *page_token, struct arena *arena,
                                            struct sandbox_page *page, struct error *error);

/* ERROR_SANDBOX_NOT_FOUND when there is none; ERROR_FORBIDDEN when it is not that of
 * `only_host`, unless that is NULL. */
[[nodiscard]] bool catalogue_remove_sandbox(struct catalogue *catalogue, const char *id,
                                            const char *only_host, struct error *error);
/* All of a host; none is fine. */
[[nodiscard]] bool catalogue_remove_host(struct catalogue *catalogue, const char *host,
                                         struct error *error);

/* Deletes those whose lease ran out, some at a time; *expired: how many. They hold nothing
 * and are not found before that either. */
[[nodiscard]] bool catalogue_expire_sandboxes(struct catalogue *catalogue, int64_t *expired,
                                              struct error *error);

struct snapshot {
    const char *id;
    const char *manifest_digest;
    int64_t created_at_ms;
};
struct snapshot_page {
    struct snapshot *snapshots; /* by id */
    size_t count;
    const char *next_page_token;
};
/* Holds the manifest; ERROR_IMAGE_NOT_FOUND when it is not here. Again with the
 * same id moves it to the given manifest. */
[[nodiscard]] bool catalogue_put_snapshot(struct catalogue *catalogue, const char *id,
                                          const char *manifest_digest, struct arena *arena,
                                          struct snapshot *snapshot, bool *created,
                                          struct error *error);
[[nodiscard]] bool catalogue_find_snapshot(struct catalogue *catalogue, const char *id,
                                           struct arena *arena, struct snapshot *snapshot,
                                           struct error *error);
[[nodiscard]] bool catalogue_list_snapshots(struct catalogue *catalogue,
                                            const char *manifest_digest, size_t limit,
                                            const char *page_token, struct arena *arena,
                                            struct snapshot_page *page, struct error *error);
[[nodiscard]] bool catalogue_remove_snapshot(struct catalogue *catalogue, const char *id,
                                             struct error *error);

struct pin {
    const char *pattern; /* canonical reference, or a glob of them */
    int64_t created_at_ms;
};
struct pin_list {
    struct pin *pins; /* by pattern */
    size_t count;
};
/* Again with the same pattern leaves it as it is. */
[[nodiscard]] bool catalogue_put_pin(struct catalogue *catalogue, const char *pattern,
                                     struct arena *arena, struct pin *pin, bool *created,
                                     struct error *error);
/* Removing one that is not there is fine. */
[[nodiscard]] bool catalogue_remove_pin(struct catalogue *catalogue, const char *pattern,
                                        struct error *error);
[[nodiscard]] bool catalogue_list_pins(struct catalogue *catalogue, struct arena *arena,
                                       struct pin_list *pins, struct error *error);

#endif
