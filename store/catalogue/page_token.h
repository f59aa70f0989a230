/* Page tokens: the key of a page's last row, opaque to the client. They are
 * base64url (RFC 4648, section 5) of a JSON array: the list's name, then the parts
 * of the key. Keyset paging: the next page starts behind that key, whatever came
 * or went meanwhile.
 */
#ifndef LARDER_STORE_CATALOGUE_PAGE_TOKEN_H
#define LARDER_STORE_CATALOGUE_PAGE_TOKEN_H

#include "store/arena.h"
#include "store/error.h"

#include <stdbool.h>
#include <stddef.h>

/* The token of a key of `count` parts, for the list of that name. */
[[nodiscard]] const char *page_token_format(struct arena *arena, const char *list,
                                            const char *const *parts, size_t count);

/* Fails with ERROR_INVALID_ARGUMENT unless the token was made for this list. The
 * parts are as hostile as any input: they only ever become parameters. */
[[nodiscard]] bool page_token_parse(const char *token, const char *list, struct arena *arena,
                                    const char **parts, size_t count, struct error *error);

#endif
