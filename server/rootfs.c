#include "server/rootfs.h"

#include "server/json_fields.h"
#include "server/json_writer.h"

#include <limits.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const char prefix[] = "rootfs.";
static const char *const types[] = {"oci", "bind", "disk", NULL};
static const char *const formats[] = {"qcow2", "raw", "vmdk", NULL};

enum { MAX_UPPER_SIZE_MIB = 16 << 20 }; /* 16 TiB */

static const char *finish(struct json_writer *out, struct arena *arena)
{
    json_end_object(out);
    return arena_strndup(arena, out->bytes, out->size_bytes);
}

static bool check_absolute(const char *path, struct error *error)
{
    return path[0] == '/' ||
           error_set(error, ERROR_INVALID_ARGUMENT,
                     "The field \"rootfs.path\" is \"%s\"; it must be an absolute path", path);
}

static bool read_oci(json_t *object, struct arena *arena, struct rootfs *rootfs,
                     struct error *error)
{
    const char *type = NULL;
    const char *reference = NULL;
    int64_t upper_size_mib = 0;
    bool has_upper_size = false;
    const struct json_field fields[] = {
        {.name = "type", .type = FIELD_TEXT, .required = true, .text = &type, .choices = types},
        {.name = "reference",
         .type = FIELD_TEXT,
         .required = true,
         .text = &reference,
         .max_length = 1024},
        {.name = "upper_size_mib",
         .type = FIELD_INT,
         .nullable = true,
         .integer = &upper_size_mib,
         .min = 1,
         .max = MAX_UPPER_SIZE_MIB,
         .given = &has_upper_size},
    };
    if (!json_fields_read(object, prefix, fields, COUNT(fields), error) ||
        !reference_parse(reference, &rootfs->reference, error))
        return false;
    rootfs->is_oci = true;
    cleanup_json_writer struct json_writer out = {0};
    json_begin_object(&out, NULL);
    json_write_text(&out, "type", type);
    json_write_text(&out, "reference", reference);
    if (has_upper_size)
        json_write_int(&out, "upper_size_mib", upper_size_mib);
    else
        json_write_null(&out, "upper_size_mib");
    rootfs->json = finish(&out, arena);
    return true;
}

static bool read_bind(json_t *object, struct arena *arena, struct rootfs *rootfs,
                      struct error *error)
{
    const char *type = NULL;
    const char *path = NULL;
    const struct json_field fields[] = {
        {.name = "type", .type = FIELD_TEXT, .required = true, .text = &type, .choices = types},
        {.name = "path",
         .type = FIELD_TEXT,
         .required = true,
         .text = &path,
         .max_length = PATH_MAX - 1},
    };
    if (!json_fields_read(object, prefix, fields, COUNT(fields), error) ||
        !check_absolute(path, error))
        return false;
    cleanup_json_writer struct json_writer out = {0};
    json_begin_object(&out, NULL);
    json_write_text(&out, "type", type);
    json_write_text(&out, "path", path);
    rootfs->json = finish(&out, arena);
    return true;
}

static const char *format_of_path(const char *path)
{
    const char *name = strrchr(path, '/');
    const char *dot = strrchr(name ? name : path, '.');
    for (const char *const *format = formats; dot && *format; format++)
        if (strcmp(dot + 1, *format) == 0)
            return *format;
    return NULL;
}

static bool read_disk(json_t *object, struct arena *arena, struct rootfs *rootfs,
                      struct error *error)
{
    const char *type = NULL;
    const char *path = NULL;
    const char *format = NULL;
    const char *fstype = NULL;
    const struct json_field fields[] = {
        {.name = "type", .type = FIELD_TEXT, .required = true, .text = &type, .choices = types},
        {.name = "path",
         .type = FIELD_TEXT,
         .required = true,
         .text = &path,
         .max_length = PATH_MAX - 1},
        {.name = "format",
         .type = FIELD_TEXT,
         .nullable = true,
         .text = &format,
         .choices = formats},
        {.name = "fstype", .type = FIELD_TEXT, .nullable = true, .text = &fstype, .max_length = 64},
    };
    if (!json_fields_read(object, prefix, fields, COUNT(fields), error) ||
        !check_absolute(path, error))
        return false;
    if (!format && !(format = format_of_path(path)))
        return error_set(error, ERROR_INVALID_ARGUMENT,
                         "The field \"rootfs.format\" is missing and the extension of \"%s\" tells "
                         "none; it must be one of qcow2, raw, vmdk",
                         path);
    cleanup_json_writer struct json_writer out = {0};
    json_begin_object(&out, NULL);
    json_write_text(&out, "type", type);
    json_write_text(&out, "path", path);
    json_write_text(&out, "format", format);
    json_write_text(&out, "fstype", fstype);
    rootfs->json = finish(&out, arena);
    return true;
}

bool rootfs_read(json_t *object, struct arena *arena, struct rootfs *rootfs, struct error *error)
{
    const char *type = json_string_value(json_object_get(object, "type"));
    *rootfs = (struct rootfs){0};
    if (type && strcmp(type, "oci") == 0)
        return read_oci(object, arena, rootfs, error);
    if (type && strcmp(type, "bind") == 0)
        return read_bind(object, arena, rootfs, error);
    if (type && strcmp(type, "disk") == 0)
        return read_disk(object, arena, rootfs, error);
    return error_set(error, ERROR_INVALID_ARGUMENT,
                     "The field \"rootfs.type\" must be one of oci, bind, disk");
}
