#include "store/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct code_row {
    const char *name;
    const char *title;
    int status;
};

/* One row per code: name on the wire, title, HTTP status. */
static const struct code_row codes[ERROR_CODE_COUNT] = {
    [ERROR_NONE] = {"None", "No error", 200},
    [ERROR_INTERNAL] = {"InternalError", "Internal error", 500},
    [ERROR_NOT_FOUND] = {"NotFound", "Not found", 404},
    [ERROR_IMAGE_NOT_FOUND] = {"ImageNotFound", "Image not found", 404},
    [ERROR_PULL_NOT_FOUND] = {"PullNotFound", "Pull not found", 404},
    [ERROR_SANDBOX_NOT_FOUND] = {"SandboxNotFound", "Sandbox not found", 404},
    [ERROR_SNAPSHOT_NOT_FOUND] = {"SnapshotNotFound", "Snapshot not found", 404},
    [ERROR_IMAGE_IN_USE] = {"ImageInUse", "Image in use", 409},
    [ERROR_INVALID_REFERENCE] = {"InvalidReference", "Invalid reference", 400},
    [ERROR_INVALID_ARGUMENT] = {"InvalidArgument", "Invalid argument", 400},
    [ERROR_PLATFORM_NOT_FOUND] = {"PlatformNotFound", "Platform not found", 422},
    [ERROR_UNSUPPORTED_MEDIA_TYPE] = {"UnsupportedMediaType", "Unsupported media type", 415},
    [ERROR_UNSUPPORTED_MANIFEST] = {"UnsupportedManifest", "Unsupported manifest", 422},
    [ERROR_PULL_FAILED] = {"PullFailed", "Pull failed", 502},
    [ERROR_PULL_CANCELLED] = {"PullCancelled", "Pull cancelled", 409},
    [ERROR_REGISTRY_UNAUTHORIZED] = {"RegistryUnauthorized", "Registry refused access", 502},
    [ERROR_DIGEST_MISMATCH] = {"DigestMismatch", "Digest mismatch", 502},
    [ERROR_LAYER_TOO_LARGE] = {"LayerTooLarge", "Layer too large", 422},
    [ERROR_UNSUPPORTED_LAYER] = {"UnsupportedLayer", "Unsupported layer", 422},
    [ERROR_REGISTRY_NOT_ALLOWED] = {"RegistryNotAllowed", "Registry not allowed", 403},
    [ERROR_UNAUTHORIZED] = {"Unauthorized", "Unauthorized", 401},
    [ERROR_FORBIDDEN] = {"Forbidden", "Forbidden", 403},
    [ERROR_METHOD_NOT_ALLOWED] = {"MethodNotAllowed", "Method not allowed", 405},
    [ERROR_PAYLOAD_TOO_LARGE] = {"PayloadTooLarge", "Payload too large", 413},
    [ERROR_TOO_MANY_REQUESTS] = {"TooManyRequests", "Too many requests", 429},
    [ERROR_STORAGE_FULL] = {"StorageFull", "Storage full", 507},
    [ERROR_CATALOGUE_UNAVAILABLE] = {"CatalogueUnavailable", "Catalogue unavailable", 503},
};

/* Length of the UTF-8 sequence that starts here, or 0 when none does (RFC 3629). */
static size_t sequence_length(const unsigned char *text)
{
    static const struct {
        unsigned char low, high; /* of the first byte */
        unsigned char second_low, second_high;
        size_t length;
    } forms[] = {
        {0x20, 0x7e, 0, 0, 1},       {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
        {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
        {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
    };
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        if (text[0] < forms[i].low || text[0] > forms[i].high)
            continue;
        if (forms[i].length > 1 &&
            (text[1] < forms[i].second_low || text[1] > forms[i].second_high))
            return 0;
        for (size_t byte = 2; byte < forms[i].length; byte++)
            if ((text[byte] & 0xc0) != 0x80)
                return 0;
        return forms[i].length;
    }
    return 0;
}

/* A message may quote bytes from anywhere, and may have been cut within a
 * character: what is not printable UTF-8 becomes '?'. */
static void make_printable(char *message)
{
    for (size_t i = 0; message[i] != '\0';) {
        size_t length = sequence_length((const unsigned char *)message + i);
        if (length == 0)
            message[i] = '?';
        i += length == 0 ? 1 : length;
    }
}

static void set_message(struct error *error, enum error_code code, const char *format,
                        va_list arguments)
{
    *error = (struct error){.code = code};
    vsnprintf(error->message, sizeof(error->message), format, arguments);
    make_printable(error->message);
}

bool(error_set)(struct error *error, enum error_code code, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    set_message(error, code, format, arguments);
    va_end(arguments);
    return false;
}

static bool is_storage_full(int os_errno)
{
    return os_errno == ENOSPC || os_errno == EDQUOT || os_errno == EFBIG;
}

bool(error_set_errno)(struct error *error, enum error_code code, int os_errno, const char *format,
                      ...)
{
    va_list arguments;
    va_start(arguments, format);
    set_message(error, is_storage_full(os_errno) ? ERROR_STORAGE_FULL : code, format, arguments);
    va_end(arguments);
    error->os_errno = os_errno;

    char text[128];
    size_t used = strlen(error->message);
    snprintf(error->message + used, sizeof(error->message) - used, ": %s",
             strerror_r(os_errno, text, sizeof(text)));
    return false;
}

bool(error_context)(struct error *error, const char *format, ...)
{
    char original[sizeof(error->message)];
    memcpy(original, error->message, sizeof(original));

    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(error->message, sizeof(error->message), format, arguments);
    va_end(arguments);

    size_t used = length < 0 ? 0 : (size_t)length;
    if (used < sizeof(error->message))
        snprintf(error->message + used, sizeof(error->message) - used, ": %s", original);
    make_printable(error->message);
    return false;
}

const char *error_code_name(enum error_code code)
{
    return codes[code].name;
}

enum error_code error_code_from_name(const char *name)
{
    for (int code = 0; code < ERROR_CODE_COUNT; code++)
        if (strcmp(codes[code].name, name) == 0)
            return (enum error_code)code;
    return ERROR_NONE;
}

int error_code_status(enum error_code code)
{
    return codes[code].status;
}

const char *error_code_title(enum error_code code)
{
    return codes[code].title;
}
