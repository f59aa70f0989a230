/* What session.c and pipeline.c do alike with statements and what comes of them. */
#include "store/catalogue/session_internal.h"

#include <stdlib.h>

bool prepared_has(const struct prepared *prepared, const struct statement *statement)
{
    for (size_t i = 0; i < prepared->count; i++)
        if (prepared->statements[i] == statement)
            return true;
    return false;
}

void prepared_add(struct prepared *prepared, const struct statement *statement)
{
    if (prepared->count == prepared->capacity) {
        size_t capacity = prepared->capacity ? 2 * prepared->capacity : 32;
        const struct statement **grown =
            reallocarray(prepared->statements, capacity, sizeof(*grown));
        if (!grown)
            abort();
        prepared->statements = grown;
        prepared->capacity = capacity;
    }
    prepared->statements[prepared->count++] = statement;
}

void prepared_free(struct prepared *prepared)
{
    free(prepared->statements);
    *prepared = (struct prepared){0};
}

void rows_of_result(PGresult *result, bool copied, struct arena *arena, struct rows *rows)
{
    int row_count = PQntuples(result);
    int column_count = PQnfields(result);
    *rows = (struct rows){.count = (size_t)row_count,
                          .column_count = (size_t)column_count,
                          .affected = strtoull(PQcmdTuples(result), NULL, 10)};
    if (row_count == 0)
        return;
    const char **values =
        arena_alloc_array(arena, rows->count * rows->column_count, sizeof(*values));
    for (int row = 0; row < row_count; row++)
        for (int column = 0; column < column_count; column++) {
            if (PQgetisnull(result, row, column))
                continue;
            const char *value = PQgetvalue(result, row, column);
            size_t size = (size_t)PQgetlength(result, row, column);
            values[(size_t)row * rows->column_count + (size_t)column] =
                copied ? arena_strndup(arena, value, size) : value;
        }
    rows->values = values;
}
