#include "store/platform.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

/* Another name for an architecture. `variant` is the name's own, and wins. */
struct alias {
    const char *name;
    const char *architecture;
    const char *variant;
};

static const struct alias aliases[] = {
    {"x86_64", "amd64", ""}, {"x86-64", "amd64", ""}, {"aarch64", "arm64", ""},
    {"i386", "386", ""},     {"i486", "386", ""},     {"i586", "386", ""},
    {"i686", "386", ""},     {"armhf", "arm", "v7"},  {"armv7l", "arm", "v7"},
    {"armel", "arm", "v6"},  {"armv6l", "arm", "v6"}, {"loongarch64", "loong64", ""},
};

/* The architectures that may stand alone in platform_parse(). */
static const char *const architectures[] = {
    "amd64",   "arm64", "arm",  "386",    "riscv64", "ppc64le",  "s390x",
    "loong64", "ppc64", "mips", "mipsle", "mips64",  "mips64le",
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static bool copy_field(const char *text, char *out, size_t out_size)
{
    size_t length = strnlen(text, out_size);
    if (length == out_size)
        return false;
    for (size_t i = 0; i < length; i++) {
        char c = text[i];
        if (c >= 'A' && c <= 'Z')
            c = (char)(c - 'A' + 'a');
        bool good =
            (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '.' || c == '-';
        if (!good || (i == 0 && (c == '.' || c == '-')))
            return false;
        out[i] = c;
    }
    out[length] = '\0';
    return true;
}

static void set_variant(struct platform *platform, const char *variant)
{
    snprintf(platform->variant, sizeof(platform->variant), "%s", variant);
}

static void apply_alias(struct platform *platform)
{
    for (size_t i = 0; i < COUNT(aliases); i++) {
        if (strcmp(platform->architecture, aliases[i].name) != 0)
            continue;
        snprintf(platform->architecture, sizeof(platform->architecture), "%s",
                 aliases[i].architecture);
        if (aliases[i].variant[0])
            set_variant(platform, aliases[i].variant);
        return;
    }
}

/* `8` is `v8`. */
static void add_variant_prefix(struct platform *platform)
{
    char digits[PLATFORM_VARIANT_SIZE];
    if (platform->variant[0] < '0' || platform->variant[0] > '9')
        return;
    memcpy(digits, platform->variant, sizeof(digits));
    if (strlen(digits) + 1 < sizeof(platform->variant))
        snprintf(platform->variant, sizeof(platform->variant), "v%.14s", digits);
}

/* The variant that an architecture has anyway is not written; arm always says which. */
static void normalise(struct platform *platform)
{
    if (strcmp(platform->os, "macos") == 0)
        snprintf(platform->os, sizeof(platform->os), "darwin");
    apply_alias(platform);
    if (strcmp(platform->architecture, "arm") == 0 && !platform->variant[0])
        set_variant(platform, "v7");
    bool is_arm64 = strcmp(platform->architecture, "arm64") == 0;
    bool is_amd64 = strcmp(platform->architecture, "amd64") == 0;
    if (is_arm64 || is_amd64 || strcmp(platform->architecture, "arm") == 0)
        add_variant_prefix(platform);
    if ((is_arm64 && strcmp(platform->variant, "v8") == 0) ||
        (is_amd64 && strcmp(platform->variant, "v1") == 0) ||
        strcmp(platform->architecture, "386") == 0)
        set_variant(platform, "");
}

bool platform_from_fields(const char *os, const char *architecture, const char *variant,
                          struct platform *platform, struct error *error)
{
    struct platform out = {0};
    if (!os || !os[0] || !copy_field(os, out.os, sizeof(out.os)))
        return error_set(error, ERROR_INVALID_ARGUMENT,
                         "a platform's os must be a short word such as \"linux\"");
    if (!architecture || !architecture[0] ||
        !copy_field(architecture, out.architecture, sizeof(out.architecture)))
        return error_set(error, ERROR_INVALID_ARGUMENT,
                         "a platform's architecture must be a short word such as \"amd64\"");
    if (variant && !copy_field(variant, out.variant, sizeof(out.variant)))
        return error_set(error, ERROR_INVALID_ARGUMENT,
                         "a platform's variant must be a short word such as \"v8\"");
    normalise(&out);
    *platform = out;
    return true;
}

static bool is_architecture(const char *text)
{
    for (size_t i = 0; i < COUNT(architectures); i++)
        if (strcasecmp(text, architectures[i]) == 0)
            return true;
    for (size_t i = 0; i < COUNT(aliases); i++)
        if (strcasecmp(text, aliases[i].name) == 0)
            return true;
    return false;
}

/* Splits at '/' in place; false when there are more than three parts. */
static bool split(char *text, const char *parts[3], size_t *count)
{
    *count = 0;
    for (char *part = text; part; (*count)++) {
        char *slash = strchr(part, '/');
        if (*count == 3)
            return false;
        parts[*count] = part;
        if (slash)
            *slash++ = '\0';
        part = slash;
    }
    return true;
}

bool platform_parse(const char *text, struct platform *platform, struct error *error)
{
    char copy[PLATFORM_TEXT_SIZE];
    const char *parts[3];
    size_t count = 0;
    bool fits = strnlen(text, sizeof(copy)) < sizeof(copy);
    if (fits) {
        memcpy(copy, text, strlen(text) + 1);
        fits = split(copy, parts, &count);
    }
    if (fits && count == 1 && is_architecture(parts[0]))
        return platform_from_fields("linux", parts[0], NULL, platform, error);
    bool variant_is_empty = fits && count == 3 && !parts[2][0];
    if (fits && count >= 2 && !variant_is_empty &&
        platform_from_fields(parts[0], parts[1], count == 3 ? parts[2] : NULL, platform, error))
        return true;
    return error_set(error, ERROR_INVALID_ARGUMENT,
                     "a platform is written os/architecture[/variant], such as \"linux/amd64\" or "
                     "\"linux/arm64/v8\"");
}

void platform_format(const struct platform *platform, char text[PLATFORM_TEXT_SIZE])
{
    snprintf(text, PLATFORM_TEXT_SIZE, "%s/%s%s%s", platform->os, platform->architecture,
             platform->variant[0] ? "/" : "", platform->variant);
}

struct platform platform_of_machine(void)
{
    struct utsname names;
    struct platform platform;
    struct error error;
    if (uname(&names) == 0 && platform_from_fields("linux", names.machine, NULL, &platform, &error))
        return platform;
    return (struct platform){.os = "linux", .architecture = "amd64"};
}

bool platform_equal(const struct platform *one, const struct platform *other)
{
    return strcmp(one->os, other->os) == 0 && strcmp(one->architecture, other->architecture) == 0 &&
           strcmp(one->variant, other->variant) == 0;
}

/* The number of a variant such as "v7"; `fallback` when there is none, -1 when it
 * is of another form (v8.2). */
static int variant_number(const char *variant, int fallback)
{
    if (!variant[0])
        return fallback;
    if (variant[0] != 'v' || variant[1] < '1' || variant[1] > '9' || variant[2])
        return -1;
    return variant[1] - '0';
}

/* Steps down from one variant to another, not below `lowest`; -1 when it is not there. */
static int steps_down(int from, int to, int lowest)
{
    return from >= to && to >= lowest ? from - to : -1;
}

/* The steps from `wanted` of one architecture, and what it runs of a second one
 * after the steps of its own. */
static int rank_variant(const struct platform *wanted, const struct platform *offered)
{
    bool wants_arm64 = strcmp(wanted->architecture, "arm64") == 0;
    bool wants_amd64 = strcmp(wanted->architecture, "amd64") == 0;
    if (strcmp(offered->architecture, "arm") == 0 &&
        (wants_arm64 || strcmp(wanted->architecture, "arm") == 0)) {
        int from = wants_arm64 ? 8 : variant_number(wanted->variant, 7);
        int steps = steps_down(from, variant_number(offered->variant, 7), 5);
        return steps < 0 ? -1 : steps + (wants_arm64 ? 2 : 0);
    }
    if (wants_arm64 && strcmp(offered->architecture, "arm64") == 0)
        return offered->variant[0] ? -1 : 1; /* plain arm64 (v8) runs on every later one */
    if (wants_amd64 && strcmp(offered->architecture, "amd64") == 0)
        return steps_down(variant_number(wanted->variant, 1), variant_number(offered->variant, 1),
                          1);
    if (wants_amd64 && strcmp(offered->architecture, "386") == 0)
        return 9;
    return -1;
}

int platform_rank(const struct platform *wanted, const struct platform *offered)
{
    if (platform_equal(wanted, offered))
        return 0;
    if (strcmp(wanted->os, offered->os) != 0)
        return -1;
    return rank_variant(wanted, offered);
}
