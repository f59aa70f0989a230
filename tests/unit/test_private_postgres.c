#include "store/private_postgres/internal.h"

#include <criterion/criterion.h>

Test(private_postgres, the_major_version_is_read_from_what_postgres_prints)
{
    static const struct {
        const char *line;
        int major;
    } rows[] = {
        {"postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n", 15},
        {"postgres (PostgreSQL) 17.2\n", 17},
        {"postgres (PostgreSQL) 18beta1\n", 18},
        {"postgres (EnterpriseDB) 15.1\n", 0},
        {"", 0},
        {"postgres (PostgreSQL) unknown", 0},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        cr_expect_eq(binaries_parse_version(rows[i].line), rows[i].major, "\"%s\" is version %d",
                     rows[i].line, rows[i].major);
}
