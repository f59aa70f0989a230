/* Image references: what a user types, and its one canonical form.
 *
 *     python:3.12              docker.io/library/python:3.12
 *     Index.Docker.IO/a/b      docker.io/a/b:latest
 *     [::1]:5000/a@sha256:…    [::1]:5000/a@sha256:…
 *
 * The grammar is distribution/reference's: [registry/]repository[:tag][@digest].
 * The first part is a registry when it has a dot or a colon, or is `localhost`.
 * A one-part name on docker.io is in `library/`; `latest` is the tag when there is
 * neither tag nor digest; a tag beside a digest is kept. Digests are sha256.
 *
 * A plain value: copy it, compare it with reference_equal(), no ownership. Parsing
 * touches nothing outside. Any thread.
 */
#ifndef LARDER_STORE_REFERENCE_H
#define LARDER_STORE_REFERENCE_H

#include "store/digest.h"
#include "store/error.h"

#include <stdbool.h>

enum {
    REFERENCE_REGISTRY_SIZE = 253 + 6 + 1, /* a DNS name, ":65535", NUL */
    REFERENCE_REPOSITORY_SIZE = 255 + 1,   /* distribution's limit, `library/` included */
    REFERENCE_TAG_SIZE = 128 + 1,          /* distribution-spec, "tag" */
    REFERENCE_TEXT_SIZE = REFERENCE_REGISTRY_SIZE + REFERENCE_REPOSITORY_SIZE + REFERENCE_TAG_SIZE +
                          DIGEST_TEXT_SIZE, /* of the canonical form, with NUL */
};

struct reference {
    char registry[REFERENCE_REGISTRY_SIZE];     /* `docker.io`, `localhost:5000`, `[::1]:5000` */
    char repository[REFERENCE_REPOSITORY_SIZE]; /* `library/python` */
    char tag[REFERENCE_TAG_SIZE];               /* "" when only a digest was given */
    char digest[DIGEST_TEXT_SIZE];              /* "" or `sha256:<hex>`, already checked */
};

/* Fails with ERROR_INVALID_REFERENCE, which says what is wrong and what is allowed. */
[[nodiscard]] bool reference_parse(const char *text, struct reference *reference,
                                   struct error *error);

/* The canonical form, which parses to the same value again. */
void reference_format(const struct reference *reference, char text[REFERENCE_TEXT_SIZE]);

/* The canonical form without tag and digest: `docker.io/library/python`. */
void reference_format_name(const struct reference *reference, char text[REFERENCE_TEXT_SIZE]);

[[nodiscard]] bool reference_equal(const struct reference *one, const struct reference *other);

#endif
