#include "store/layer/layer_path.h"

#include <stdlib.h>
#include <string.h>

void layer_path_free(struct layer_path *path)
{
    free(path->text);
    *path = (struct layer_path){0};
}

static void reserve(struct layer_path *path, size_t more)
{
    if (more > SIZE_MAX / 4 || path->length > SIZE_MAX / 4)
        abort();
    size_t needed = path->length + more + 1;
    if (needed <= path->capacity)
        return;
    path->capacity = needed < 256 ? 256 : 2 * needed;
    path->text = realloc(path->text, path->capacity);
    if (!path->text)
        abort();
}

void layer_path_clear(struct layer_path *path)
{
    path->length = 0;
    path->depth = 0;
    reserve(path, 0);
    path->text[0] = '\0';
}

void layer_path_push(struct layer_path *path, const char *name, size_t name_size)
{
    reserve(path, name_size + 1);
    if (path->length > 0)
        path->text[path->length++] = '/';
    memcpy(path->text + path->length, name, name_size);
    path->length += name_size;
    path->text[path->length] = '\0';
    path->depth++;
}

bool layer_path_pop(struct layer_path *path)
{
    if (path->length == 0)
        return false;
    const char *slash = memrchr(path->text, '/', path->length);
    path->length = slash ? (size_t)(slash - path->text) : 0;
    path->text[path->length] = '\0';
    path->depth--;
    return true;
}

const char *layer_path_next(const char **at, size_t *size)
{
    const char *start = *at + strspn(*at, "/");
    *size = strcspn(start, "/");
    *at = start + *size;
    return *size > 0 ? start : NULL;
}

bool layer_path_clean(struct layer_path *path, const char *name)
{
    layer_path_clear(path);
    size_t size = 0;
    for (const char *part; (part = layer_path_next(&name, &size));) {
        if (size == 1 && part[0] == '.')
            continue;
        if (size == 2 && part[0] == '.' && part[1] == '.') {
            if (!layer_path_pop(path))
                return false;
            continue;
        }
        layer_path_push(path, part, size);
    }
    return true;
}
