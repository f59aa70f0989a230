/* The directory of the node's own PostgreSQL, up to a cluster that can be started.
 *
 *     <directory>/node.lock      held (flock) by the node that uses the directory
 *     <directory>/data/          the cluster; owned by PostgreSQL's user
 *     <directory>/data.new/      an initdb that has not finished
 *     <directory>/run/           the socket; owned by PostgreSQL's user, 0700
 *     <directory>/postgres.log   what initdb and postgres print
 *
 * The directory itself stays the node's: PostgreSQL's user cannot put links there.
 */
#include "store/private_postgres/internal.h"

#include <fcntl.h>
#include <ftw.h>
#include <pwd.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>

enum {
    LOG_KEPT_BYTES = 1 << 20, /* a longer log is begun anew at the next start */
    OPEN_FILES_OF_NFTW = 16,
};

static bool open_directory(struct private_postgres *postgres, struct error *error)
{
    if (mkdir(postgres->directory, 0700) < 0 && errno != EEXIST)
        return error_set_errno(error, ERROR_INTERNAL, errno, "cannot make %s", postgres->directory);
    postgres->directory_fd = open(postgres->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return postgres->directory_fd >= 0 ||
           error_set_errno(error, ERROR_INTERNAL, errno, "cannot open %s", postgres->directory);
}

static bool lock_directory(struct private_postgres *postgres, struct error *error)
{
    const int flags = O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW;
    postgres->lock_fd = openat(postgres->directory_fd, "node.lock", flags, 0600);
    if (postgres->lock_fd < 0)
        return error_set_errno(error, ERROR_INTERNAL, errno, "cannot open %s/node.lock",
                               postgres->directory);
    if (flock(postgres->lock_fd, LOCK_EX | LOCK_NB) == 0)
        return true;
    if (errno == EWOULDBLOCK)
        return error_set(error, ERROR_INTERNAL,
                         "another larder is running on %s: stop it, or give this one its own "
                         "--data-dir, or give both the same --database",
                         postgres->directory);
    return error_set_errno(error, ERROR_INTERNAL, errno, "cannot lock %s/node.lock",
                           postgres->directory);
}

bool cluster_is_in_use(const char *directory)
{
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s/node.lock", directory);
    cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    return fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK;
}

static bool open_log(struct private_postgres *postgres, struct error *error)
{
    const int flags = O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW;
    postgres->log_fd = openat(postgres->directory_fd, "postgres.log", flags, 0600);
    struct stat log;
    if (postgres->log_fd < 0 || fstat(postgres->log_fd, &log) < 0 ||
        (log.st_size > LOG_KEPT_BYTES && ftruncate(postgres->log_fd, 0) < 0))
        return error_set_errno(error, ERROR_INTERNAL, errno, "cannot open %s/postgres.log",
                               postgres->directory);
    return true;
}

void cluster_last_log_line(const struct private_postgres *postgres, char *line, size_t size)
{
    char tail[2048];
    struct stat log = {0};
    (void)fstat(postgres->log_fd, &log);
    off_t from = log.st_size > (off_t)sizeof(tail) - 1 ? log.st_size - (off_t)sizeof(tail) + 1 : 0;
    ssize_t got = pread(postgres->log_fd, tail, sizeof(tail) - 1, from);
    size_t end = got > 0 ? (size_t)got : 0;
    while (end > 0 && tail[end - 1] == '\n')
        end--;
    tail[end] = '\0';
    char *newline = strrchr(tail, '\n');
    snprintf(line, size, "%s", newline ? newline + 1 : tail);
}

/* PostgreSQL refuses to run as root: then it is the owner of what is there already, or
 * the user postgres, or nobody. */
static bool find_owner(struct private_postgres *postgres, struct error *error)
{
    postgres->owner = (struct postgres_owner){.uid = geteuid(), .gid = getegid()};
    if (geteuid() != 0)
        return true;
    postgres->owner.is_other = true;
    struct stat data;
    if (fstatat(postgres->directory_fd, "data", &data, AT_SYMLINK_NOFOLLOW) == 0 &&
        data.st_uid != 0) {
        postgres->owner.uid = data.st_uid;
        postgres->owner.gid = data.st_gid;
        return true;
    }
    static const char *const names[] = {"postgres", "nobody"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct passwd entry;
        struct passwd *found = NULL;
        char strings[4096];
        if (getpwnam_r(names[i], &entry, strings, sizeof(strings), &found) == 0 && found) {
            postgres->owner.uid = found->pw_uid;
            postgres->owner.gid = found->pw_gid;
            return true;
        }
    }
    return error_set(error, ERROR_INTERNAL,
                     "PostgreSQL does not run as root, and there is neither a user postgres nor "
                     "nobody: give --database, or run larder as another user");
}

/* Makes the folder if it is missing, gives it to PostgreSQL's user, and opens it. */
static int open_owned_folder(const struct private_postgres *postgres, const char *name,
                             struct error *error)
{
    cleanup_fd int fd = -1;
    if ((mkdirat(postgres->directory_fd, name, 0700) == 0 || errno == EEXIST) &&
        (fd = openat(postgres->directory_fd, name,
                     O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)) >= 0 &&
        (!postgres->owner.is_other || fchown(fd, postgres->owner.uid, postgres->owner.gid) == 0) &&
        fchmod(fd, 0700) == 0)
        return steal_fd(&fd);
    error_set_errno(error, ERROR_INTERNAL, errno, "cannot make %s/%s", postgres->directory, name);
    return -1;
}

static int remove_entry(const char *path, const struct stat *unused, int type, struct FTW *walk)
{
    (void)unused;
    (void)type;
    (void)walk;
    return remove(path);
}

static bool remove_unfinished(const struct private_postgres *postgres, struct error *error)
{
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s/data.new", postgres->directory);
    if (nftw(path, remove_entry, OPEN_FILES_OF_NFTW, FTW_DEPTH | FTW_PHYS) == 0 || errno == ENOENT)
        return true;
    return error_set_errno(error, ERROR_INTERNAL, errno, "cannot remove %s", path);
}

static bool run_initdb(struct private_postgres *postgres, int data_fd, struct error *error)
{
    char program[PATH_MAX + 16];
    snprintf(program, sizeof(program), "%s/initdb", postgres->binaries.directory);
    /* Trust: whoever reaches the socket, in a folder of mode 0700, is one of us. */
    const char *const argv[] = {program, "-D", DATA_PATH, "-U",         "larder", "-A",
                                "trust", "-E", "UTF8",    "--locale=C", NULL};
    const struct postgres_process process = {.argv = argv,
                                             .owner = postgres->owner,
                                             .data_fd = data_fd,
                                             .run_fd = postgres->run_fd,
                                             .log_fd = postgres->log_fd};
    pid_t pid = 0;
    if (!process_start(&process, &pid, error))
        return false;
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (status == 0)
        return true;
    char line[256];
    cluster_last_log_line(postgres, line, sizeof(line));
    return error_set(error, ERROR_INTERNAL, "%s failed: %s (all of it in %s/postgres.log)", program,
                     line, postgres->directory);
}

/* In data.new, which becomes data when it is whole: killed before, nothing is left. */
static bool make_cluster(struct private_postgres *postgres, struct error *error)
{
    if (!remove_unfinished(postgres, error))
        return false;
    cleanup_fd int data_fd = open_owned_folder(postgres, "data.new", error);
    if (data_fd < 0 || !run_initdb(postgres, data_fd, error))
        return false;
    if (renameat(postgres->directory_fd, "data.new", postgres->directory_fd, "data") < 0 ||
        fsync(postgres->directory_fd) < 0)
        return error_set_errno(error, ERROR_INTERNAL, errno, "cannot rename %s/data.new to data",
                               postgres->directory);
    return true;
}

/* The major version that made the cluster; 0: there is none. */
static bool cluster_version(const struct private_postgres *postgres, int *major,
                            struct error *error)
{
    *major = 0;
    cleanup_fd int fd = openat(postgres->directory_fd, "data/PG_VERSION", O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return true;
    char text[16] = "";
    if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0 || strtol(text, NULL, 10) <= 0)
        return error_set_errno(error, ERROR_INTERNAL, errno, "cannot read %s/data/PG_VERSION",
                               postgres->directory);
    *major = (int)strtol(text, NULL, 10);
    return true;
}

bool cluster_open(struct private_postgres *postgres, struct error *error)
{
    if (!open_directory(postgres, error) || !lock_directory(postgres, error) ||
        !open_log(postgres, error) || !find_owner(postgres, error))
        return false;
    postgres->run_fd = open_owned_folder(postgres, "run", error);
    int major = 0;
    if (postgres->run_fd < 0 || !cluster_version(postgres, &major, error) ||
        !binaries_find(major, &postgres->binaries, error) ||
        (major == 0 && !make_cluster(postgres, error)))
        return false;
    postgres->data_fd = open_owned_folder(postgres, "data", error);
    return postgres->data_fd >= 0;
}
