#include "store/layer/layer_pax.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_RECORD = 999999 }; /* libarchive drops longer ones, and all behind them */

struct value {
    const char *text;
    size_t size;
};

/* A cursor within a value; none of them is NUL-terminated. */
static bool skip_digits(struct value *value)
{
    size_t count = 0;
    while (count < value->size && isdigit((unsigned char)value->text[count]))
        count++;
    value->text += count;
    value->size -= count;
    return count > 0;
}

static bool skip_byte(struct value *value, char byte)
{
    if (value->size == 0 || *value->text != byte)
        return false;
    value->text++;
    value->size--;
    return true;
}

static bool is_name(struct value value)
{
    return !memchr(value.text, '\0', value.size);
}

static bool is_number(struct value value)
{
    return skip_digits(&value) && value.size == 0;
}

/* Seconds that fit 64 bits; the fraction may have any length, also none. */
static bool is_time(struct value value)
{
    const char *seconds = value.text;
    (void)skip_byte(&value, '-');
    if (!skip_digits(&value))
        return false;
    if (skip_byte(&value, '.'))
        (void)skip_digits(&value);
    if (value.size > 0)
        return false;
    errno = 0; /* what follows the value is no digit */
    (void)strtoll(seconds, NULL, 10);
    return errno != ERANGE;
}

/* GNU.sparse.map: offset,length,offset,length… */
static bool is_map(struct value value)
{
    do {
        if (!skip_digits(&value) || !skip_byte(&value, ',') || !skip_digits(&value))
            return false;
    } while (skip_byte(&value, ','));
    return value.size == 0;
}

/* SUN.holesdata: each number behind a space. */
static bool is_hole_list(struct value value)
{
    while (skip_byte(&value, ' '))
        if (!skip_digits(&value))
            return false;
    return value.size == 0;
}

static bool is_one(struct value value)
{
    return value.size == 1 && *value.text == '1';
}

static bool is_zero(struct value value)
{
    return value.size == 1 && *value.text == '0';
}

static const char bad_name[] = "has a PAX header with a NUL in a name";
static const char bad_number[] = "has a PAX header with a number that is none";
static const char bad_time[] = "has a PAX header with a time that is none";
static const char bad_map[] = "has a PAX header with a sparse map that is none";
static const char bad_version[] = "is a sparse file of an unknown version";

static const struct rule {
    const char *key;
    bool (*is_sound)(struct value value);
    const char *fault;
    bool is_sparse;
} rules[] = {
    {"path", is_name, bad_name, false},
    {"linkpath", is_name, bad_name, false},
    {"uid", is_number, bad_number, false},
    {"gid", is_number, bad_number, false},
    {"size", is_number, bad_number, false},
    {"mtime", is_time, bad_time, false},
    {"SCHILY.devmajor", is_number, bad_number, false},
    {"SCHILY.devminor", is_number, bad_number, false},
    {"SCHILY.realsize", is_number, bad_number, true},
    {"SUN.holesdata", is_hole_list, bad_map, true},
    {"GNU.sparse.name", is_name, bad_name, true},
    {"GNU.sparse.size", is_number, bad_number, true},
    {"GNU.sparse.realsize", is_number, bad_number, true},
    {"GNU.sparse.numblocks", is_number, bad_number, true},
    {"GNU.sparse.offset", is_number, bad_number, true},
    {"GNU.sparse.numbytes", is_number, bad_number, true},
    {"GNU.sparse.map", is_map, bad_map, true},
    {"GNU.sparse.major", is_one, bad_version, true},
    {"GNU.sparse.minor", is_zero, bad_version, true},
};

static const struct rule *find_rule(const char *key, size_t size)
{
    for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++)
        if (strlen(rules[i].key) == size && memcmp(rules[i].key, key, size) == 0)
            return &rules[i];
    return NULL;
}

/* What of a sound record somebody wants to know. The newline behind it ends a number. */
static void take_value(const struct rule *rule, struct value value, struct pax_facts *facts)
{
    facts->is_sparse = facts->is_sparse || rule->is_sparse;
    if (strcmp(rule->key, "mtime") == 0)
        facts->mtime_is_negative = *value.text == '-';
    if (strcmp(rule->key, "size") == 0)
        facts->size_bytes = strtoll(value.text, NULL, 10);
    if (strcmp(rule->key, "linkpath") == 0 && value.size > 0) {
        facts->linkpath = value.text;
        facts->linkpath_size = value.size;
    }
}

/* "key=value\n", without what stands before it. */
static void scan_record(const char *record, size_t size, struct pax_facts *facts)
{
    const char *equals = memchr(record, '=', size);
    if (!equals || equals == record || record[size - 1] != '\n') {
        facts->fault = "has a PAX header with a record that is none";
        return;
    }
    const struct rule *rule = find_rule(record, (size_t)(equals - record));
    if (!rule)
        return;
    struct value value = {equals + 1, (size_t)(record + size - 1 - (equals + 1))};
    if (rule->is_sound(value))
        take_value(rule, value, facts);
    else
        facts->fault = rule->fault;
}

/* The record's length field; 0 when it is none. *prefix is what it takes itself. */
static size_t record_length(const char *record, size_t left, size_t *prefix)
{
    size_t length = 0;
    size_t at = 0;
    while (at < left && at < 8 && isdigit((unsigned char)record[at]))
        length = 10 * length + (size_t)(record[at++] - '0');
    *prefix = at + 1;
    bool sound = at > 0 && at < left && record[at] == ' ' && length > *prefix && length <= left;
    return sound && length <= MAX_RECORD ? length : 0;
}

struct pax_facts pax_scan(const char *body, size_t size)
{
    struct pax_facts facts = {.size_bytes = -1};
    size_t prefix;
    size_t length;
    for (; (length = record_length(body, size, &prefix)) > 0; body += length, size -= length)
        scan_record(body + prefix, length - prefix, &facts);
    if (size > 0)
        facts.fault = "has a PAX header with a record of a wrong length";
    return facts;
}
