#include "store/layer/layer_pax.h"

#include <string.h>

/* POSIX pax, "ustar Interchange Format" and "pax Extended Header". */
enum {
    HEADER_SIZE = 512,
    SIZE_OFFSET = 124,
    SIZE_LENGTH = 12,
    TYPE_OFFSET = 156,
    MAX_BODY = 1 << 20, /* libarchive takes no more */
};

static size_t octal(const unsigned char *digits, size_t count)
{
    size_t value = 0;
    for (size_t i = 0; i < count; i++)
        if (digits[i] >= '0' && digits[i] <= '7')
            value = value << 3 | (size_t)(digits[i] - '0');
    return value;
}

/* The record's length field; 0 when it is none. *prefix is what it takes itself. */
static size_t record_length(const unsigned char *record, size_t left, size_t *prefix)
{
    size_t length = 0;
    size_t at = 0;
    while (at < left && at < 8 && record[at] >= '0' && record[at] <= '9')
        length = 10 * length + (size_t)(record[at++] - '0');
    *prefix = at + 1;
    bool sound = at > 0 && at < left && record[at] == ' ' && length > *prefix && length <= left;
    return sound ? length : 0;
}

/* The value, when the record is about `key` ("mtime="). */
static const unsigned char *record_value(const unsigned char *record, size_t size, const char *key)
{
    size_t key_size = strlen(key);
    return size > key_size && memcmp(record, key, key_size) == 0 ? record + key_size : NULL;
}

static void scan_record(const unsigned char *record, size_t size, struct pax_facts *facts)
{
    static const char *const names[] = {"path=", "linkpath=", "GNU.sparse.name="};
    const unsigned char *value = record_value(record, size, "mtime=");
    if (value)
        facts->mtime_is_negative = *value == '-';
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (record_value(record, size, names[i]) && memchr(record, '\0', size))
            facts->fault = "has a PAX header with a NUL in a name";
}

static void scan_records(const unsigned char *body, size_t size, struct pax_facts *facts)
{
    size_t prefix;
    size_t length;
    for (; (length = record_length(body, size, &prefix)) > 0; body += length, size -= length)
        scan_record(body + prefix, length - prefix, facts);
    if (size > 0)
        facts->fault = "has a PAX header with a record of a wrong length";
}

struct pax_facts pax_scan(const unsigned char *bytes, size_t size_bytes)
{
    struct pax_facts facts = {0};
    while (size_bytes >= HEADER_SIZE) {
        unsigned char type = bytes[TYPE_OFFSET];
        size_t body = octal(bytes + SIZE_OFFSET, SIZE_LENGTH);
        bool extends = type != '\0' && strchr("xXgLK", type);
        if (!extends || body > MAX_BODY || body > size_bytes - HEADER_SIZE)
            break;
        if (type == 'x' || type == 'X')
            scan_records(bytes + HEADER_SIZE, body, &facts);
        size_t whole = HEADER_SIZE + ((body + HEADER_SIZE - 1) & ~(size_t)(HEADER_SIZE - 1));
        if (whole > size_bytes)
            break;
        bytes += whole;
        size_bytes -= whole;
    }
    return facts;
}
