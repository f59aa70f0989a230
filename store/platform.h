/* Platforms: operating system, architecture and variant of an image (OCI image
 * spec, image-index.md, "platform"), in the normal form that containerd gives them:
 * aarch64 and arm64/v8 are arm64, x86_64 is amd64, armhf and arm are arm/v7.
 *
 * Plain values, no ownership. Any thread.
 */
#ifndef LARDER_STORE_PLATFORM_H
#define LARDER_STORE_PLATFORM_H

#include "store/error.h"

#include <stdbool.h>

enum {
    PLATFORM_OS_SIZE = 32,
    PLATFORM_ARCHITECTURE_SIZE = 32,
    PLATFORM_VARIANT_SIZE = 16,
    PLATFORM_TEXT_SIZE = PLATFORM_OS_SIZE + PLATFORM_ARCHITECTURE_SIZE + PLATFORM_VARIANT_SIZE,
};

struct platform {
    char os[PLATFORM_OS_SIZE];
    char architecture[PLATFORM_ARCHITECTURE_SIZE];
    char variant[PLATFORM_VARIANT_SIZE]; /* "" when the architecture has none */
};

/* `linux/arm64/v8`, `linux/amd64`, or an architecture alone (`arm64`: of linux).
 * Fails with ERROR_INVALID_ARGUMENT. */
[[nodiscard]] bool platform_parse(const char *text, struct platform *platform, struct error *error);

/* From separate fields, as a config or an index gives them; NULL counts as "".
 * Fails with ERROR_INVALID_ARGUMENT when os or architecture is empty, or when one
 * is longer than its field or not of letters, digits, `_`, `.` and `-`. */
[[nodiscard]] bool platform_from_fields(const char *os, const char *architecture,
                                        const char *variant, struct platform *platform,
                                        struct error *error);

/* `linux/arm/v7`; `linux/amd64` when there is no variant. */
void platform_format(const struct platform *platform, char text[PLATFORM_TEXT_SIZE]);

/* The platform of this machine. */
[[nodiscard]] struct platform platform_of_machine(void);

[[nodiscard]] bool platform_equal(const struct platform *one, const struct platform *other);

/* How well an image for `offered` suits one who wants `wanted`: 0 is exact, higher
 * is worse, -1 does not run there. containerd's order: an older variant of the same
 * architecture (arm/v7 takes v6, then v5; amd64/v3 takes v2, then amd64), then what
 * the processor runs besides (arm64 takes arm/v8 and below, amd64 takes 386). */
[[nodiscard]] int platform_rank(const struct platform *wanted, const struct platform *offered);

#endif
