/* Pins: references that no prune takes. */
#include "store/catalogue/holders.h"
#include "store/catalogue/removal_internal.h"
#include "store/catalogue/transaction.h"

#include <string.h>

#define PIN_COLUMNS "pattern, epoch_ms(created_at)"

static void pin_read(const struct rows *rows, size_t row, struct pin *pin)
{
    *pin =
        (struct pin){.pattern = rows_text(rows, row, 0), .created_at_ms = rows_int(rows, row, 1)};
}

struct new_pin {
    const char *pattern;
    struct arena *arena;
    struct rows rows;
};

/* A removal that runs has looked at the pins: whoever hears that one is there has waited for it.
 * Only a new pin is as old as the transaction. */
static bool put_pin(struct catalogue_session *session, void *context, struct error *error)
{
    static const struct statement put = {
        "pin_put", "INSERT INTO pins (pattern) VALUES ($1)"
                   " ON CONFLICT (pattern) DO UPDATE SET pattern = excluded.pattern"
                   " RETURNING " PIN_COLUMNS ", created_at = now()"};
    struct new_pin *pin = context;
    return removal_lock_out(session, error) &&
           QUERY(session, &put, pin->arena, &pin->rows, error, pin->pattern);
}

bool catalogue_put_pin(struct catalogue *catalogue, const char *pattern, struct arena *arena,
                       struct pin *pin, bool *created, struct error *error)
{
    struct new_pin new_pin = {.pattern = pattern, .arena = arena};
    if (catalogue_transact(catalogue, put_pin, &new_pin, error)) {
        pin_read(&new_pin.rows, 0, pin);
        *created = rows_bool(&new_pin.rows, 0, 2);
        return true;
    }
    if (strcmp(error->sqlstate, "23514") == 0) /* check_violation */
        return error_set(error, ERROR_INVALID_ARGUMENT, "a pin has 1 to 1024 characters");
    return false;
}

bool catalogue_remove_pin(struct catalogue *catalogue, const char *pattern, struct error *error)
{
    static const struct statement take = {"pin_remove", "DELETE FROM pins WHERE pattern = $1"};
    cleanup_arena struct arena arena = {0};
    cleanup_session struct catalogue_session *session = catalogue_acquire(catalogue, error);
    struct rows rows;
    return session && QUERY(session, &take, &arena, &rows, error, pattern);
}

bool catalogue_list_pins(struct catalogue *catalogue, struct arena *arena, struct pin_list *pins,
                         struct error *error)
{
    static const struct statement list = {"pin_list",
                                          "SELECT " PIN_COLUMNS " FROM pins ORDER BY pattern"};
    cleanup_session struct catalogue_session *session = catalogue_acquire(catalogue, error);
    struct rows rows;
    if (!session || !session_query(session, &list, NULL, 0, arena, &rows, error))
        return false;
    pins->count = rows.count;
    pins->pins = arena_alloc_array(arena, rows.count, sizeof(*pins->pins));
    for (size_t row = 0; row < rows.count; row++)
        pin_read(&rows, row, &pins->pins[row]);
    return true;
}
