/* Files compiled into the binary by larder_embed() of cmake/embed.cmake. */
#ifndef LARDER_STORE_EMBEDDED_H
#define LARDER_STORE_EMBEDDED_H

#include <stddef.h>

struct embedded_file {
    const char *name;  /* without its folder; NULL ends a table */
    const char *bytes; /* NUL-terminated behind `size` */
    size_t size;
};

/* migrations/, sorted by name. */
extern const struct embedded_file embedded_migrations[];

/* openapi.yaml, and the same as openapi.json. Of the server. */
extern const struct embedded_file embedded_interface[];
/* server/ui/. Of the server. */
extern const struct embedded_file embedded_page[];

/* The file of that name in the table, or NULL. */
[[nodiscard]] const struct embedded_file *embedded_find(const struct embedded_file *table,
                                                        const char *name);

#endif
