/* Finding PostgreSQL's programs on this machine. */
#include "store/private_postgres/internal.h"

#include <glob.h>
#include <stdlib.h>
#include <string.h>

enum { OLDEST_MAJOR = 15 };

int binaries_parse_version(const char *line)
{
    static const char mark[] = "(PostgreSQL) ";
    const char *found = strstr(line, mark);
    if (!found)
        return 0;
    long major = strtol(found + sizeof(mark) - 1, NULL, 10);
    return major > 0 && major < 1000 ? (int)major : 0;
}

static bool has_program(const char *directory, const char *name)
{
    char path[PATH_MAX];
    int length = snprintf(path, sizeof(path), "%s/%s", directory, name);
    return length > 0 && (size_t)length < sizeof(path) && access(path, X_OK) == 0;
}

/* 0 when there is no PostgreSQL server in the directory. */
static int major_in(const char *directory)
{
    if (!has_program(directory, "initdb") || !has_program(directory, "postgres"))
        return 0;
    char program[PATH_MAX];
    snprintf(program, sizeof(program), "%s/postgres", directory);
    char line[256] = "";
    const char *const argv[] = {program, "--version", NULL};
    return process_first_line(argv, line, sizeof(line)) ? binaries_parse_version(line) : 0;
}

static void consider(const char *directory, int wanted_major, struct postgres_binaries *best)
{
    int major = strlen(directory) < sizeof(best->directory) ? major_in(directory) : 0;
    bool suits = wanted_major ? major == wanted_major : major >= OLDEST_MAJOR;
    if (!suits || major <= best->major)
        return;
    best->major = major;
    snprintf(best->directory, sizeof(best->directory), "%s", directory);
}

static void consider_glob(const char *pattern, int wanted_major, struct postgres_binaries *best)
{
    glob_t found = {0};
    if (glob(pattern, 0, NULL, &found) == 0)
        for (size_t i = 0; i < found.gl_pathc; i++)
            consider(found.gl_pathv[i], wanted_major, best);
    globfree(&found);
}

static void consider_path(int wanted_major, struct postgres_binaries *best)
{
    const char *path = getenv("PATH");
    cleanup_free char *copy = path ? strdup(path) : NULL;
    char *rest = copy;
    for (char *directory; rest && (directory = strsep(&rest, ":"));)
        if (directory[0] == '/')
            consider(directory, wanted_major, best);
}

bool binaries_find(int wanted_major, struct postgres_binaries *binaries, struct error *error)
{
    *binaries = (struct postgres_binaries){0};
    consider_glob("/usr/lib/postgresql/*/bin", wanted_major, binaries);
    consider_glob("/usr/pgsql-*/bin", wanted_major, binaries);
    consider_path(wanted_major, binaries);
    if (binaries->major)
        return true;
    if (wanted_major)
        return error_set(error, ERROR_INTERNAL,
                         "the catalogue was made by PostgreSQL %d, whose initdb and postgres are "
                         "not installed here: install postgresql-%d, or give --database",
                         wanted_major, wanted_major);
    return error_set(error, ERROR_INTERNAL,
                     "no PostgreSQL %d or newer (initdb, postgres) in /usr/lib/postgresql or "
                     "$PATH: install the package postgresql, or give --database",
                     OLDEST_MAJOR);
}
