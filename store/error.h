/* One error, filled where it happened and carried to the edge that answers.
 *
 * A fallible function returns bool or a pointer, is [[nodiscard]], and takes a
 * `struct error *` as its last argument, which it fills exactly when it fails.
 * Callers add context with error_context() as it travels up. Only the edge (the
 * HTTP layer, a command's main) prints or logs it. Not thread-safe; an error
 * belongs to the thread that holds it. No ownership: everything is inside.
 */
#ifndef LARDER_STORE_ERROR_H
#define LARDER_STORE_ERROR_H

#include <stdbool.h>

/* The problem codes of the HTTP interface (design: "Errors") and ours beside them. */
enum error_code {
    ERROR_NONE = 0,
    ERROR_INTERNAL,  /* our own fault, or the machine's: 500 */
    ERROR_NOT_FOUND, /* no such route */
    ERROR_IMAGE_NOT_FOUND,
    ERROR_PULL_NOT_FOUND,
    ERROR_SANDBOX_NOT_FOUND,
    ERROR_SNAPSHOT_NOT_FOUND,
    ERROR_IMAGE_IN_USE,
    ERROR_INVALID_REFERENCE,
    ERROR_INVALID_ARGUMENT,
    ERROR_PLATFORM_NOT_FOUND,
    ERROR_UNSUPPORTED_MEDIA_TYPE,
    ERROR_UNSUPPORTED_MANIFEST,
    ERROR_PULL_FAILED,
    ERROR_PULL_CANCELLED,
    ERROR_REGISTRY_UNAUTHORIZED,
    ERROR_DIGEST_MISMATCH,
    ERROR_LAYER_TOO_LARGE,
    ERROR_UNSUPPORTED_LAYER,
    ERROR_REGISTRY_NOT_ALLOWED,
    ERROR_UNAUTHORIZED,
    ERROR_FORBIDDEN,
    ERROR_METHOD_NOT_ALLOWED,
    ERROR_PAYLOAD_TOO_LARGE,
    ERROR_TOO_MANY_REQUESTS,
    ERROR_STORAGE_FULL,
    ERROR_CATALOGUE_UNAVAILABLE,
    ERROR_CODE_COUNT
};

struct error {
    enum error_code code;
    int os_errno;            /* 0, or the errno behind it */
    char sqlstate[6];        /* "", or PostgreSQL's five characters */
    int registry_status;     /* 0, or the HTTP status a registry gave */
    int retry_after_seconds; /* 0, or when to try again */
    char message[768];       /* one sentence that names the thing and what to do */
};

/* Fills *error. The message is truncated, never overrun, and always printable
 * UTF-8: other bytes become '?'. Always returns false,
 * so that a failing function can `return error_set(…)`. */
bool error_set(struct error *error, enum error_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* As error_set, with ": <strerror>" appended and os_errno kept. ENOSPC, EDQUOT
 * and EFBIG become ERROR_STORAGE_FULL whatever `code` says. */
bool error_set_errno(struct error *error, enum error_code code, int os_errno, const char *format,
                     ...) __attribute__((format(printf, 4, 5)));

/* Puts "<context>: " before the message. Always returns false. */
bool error_context(struct error *error, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Compilers and analysers do not see into error.c: that failing is all these do is told
 * here, or they follow paths that cannot be. */
#define error_set(...)                                                                             \
    ({                                                                                             \
        error_set(__VA_ARGS__);                                                                    \
        false;                                                                                     \
    })
#define error_set_errno(...)                                                                       \
    ({                                                                                             \
        error_set_errno(__VA_ARGS__);                                                              \
        false;                                                                                     \
    })
#define error_context(...)                                                                         \
    ({                                                                                             \
        error_context(__VA_ARGS__);                                                                \
        false;                                                                                     \
    })

/* The name on the wire: "ImageNotFound". */
[[nodiscard]] const char *error_code_name(enum error_code code);

/* The code of that name, or ERROR_NONE. */
[[nodiscard]] enum error_code error_code_from_name(const char *name);

/* The HTTP status that goes with the code. */
[[nodiscard]] int error_code_status(enum error_code code);

/* The human title: "Image not found". */
[[nodiscard]] const char *error_code_title(enum error_code code);

#endif
