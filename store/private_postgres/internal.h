/* What the files of this folder share. */
#ifndef LARDER_STORE_PRIVATE_POSTGRES_INTERNAL_H
#define LARDER_STORE_PRIVATE_POSTGRES_INTERNAL_H

#include "store/private_postgres.h"

#include <limits.h>
#include <pthread.h>
#include <stdbool.h>
#include <sys/types.h>

/* Where one version of PostgreSQL has its programs. */
struct postgres_binaries {
    int major;
    char directory[PATH_MAX];
};

/* Finds the newest PostgreSQL from 15 on, or exactly the given major version (when
 * not 0): in /usr/lib/postgresql, /usr/pgsql-* and $PATH. */
[[nodiscard]] bool binaries_find(int wanted_major, struct postgres_binaries *binaries,
                                 struct error *error);

/* The major version in a line such as "postgres (PostgreSQL) 15.18 (Debian …)"; 0 if
 * it is none. */
[[nodiscard]] int binaries_parse_version(const char *line);

/* Runs a program and gives the first line it prints; false if that is impossible. */
[[nodiscard]] bool process_first_line(const char *const argv[], char *line, size_t size);

/* Whom PostgreSQL runs as. */
struct postgres_owner {
    bool is_other; /* than ourselves: we are root and must change */
    uid_t uid;
    gid_t gid;
};

struct private_postgres {
    char *directory;
    char *conninfo;
    int directory_fd;
    int lock_fd;
    int data_fd;
    int run_fd;
    int log_fd;
    struct postgres_owner owner;
    struct postgres_binaries binaries;

    pthread_t keeper;
    bool is_kept; /* the keeper runs */
    int stop_fd;  /* readable: it shall end */
    /* The keeper's while it runs. */
    int pidfd; /* of the postmaster, a child of ours; -1: not running */
    pid_t pid;
};

/* Makes and opens the directory, locks it for this node, and opens its cluster, made by
 * initdb if there is none. Fills the descriptors; those of a failure are open still. */
[[nodiscard]] bool cluster_open(struct private_postgres *postgres, struct error *error);

/* Whether a node holds the directory's lock. */
[[nodiscard]] bool cluster_is_in_use(const char *directory);

/* The log's last line, for the sentence that says why PostgreSQL did not start. */
void cluster_last_log_line(const struct private_postgres *postgres, char *line, size_t size);

/* A program of PostgreSQL to run, in a session of its own. It finds its directories
 * open at DATA_FD and RUN_FD: by /proc/self/fd they are reached past parents that its
 * user may not enter (/root, mktemp -d), and at any length of path. */
enum { DATA_FD = 3, RUN_FD = 4 };
#define DATA_PATH "/proc/self/fd/3"
#define RUN_PATH  "/proc/self/fd/4"
struct postgres_process {
    const char *const *argv;
    struct postgres_owner owner;
    int data_fd;
    int run_fd;
    int log_fd; /* its stdout and stderr */
};

/* Starts it; it is told to stop (SIGINT) when the calling thread ends. */
[[nodiscard]] bool process_start(const struct postgres_process *process, pid_t *pid,
                                 struct error *error);

/* Asks a postmaster, child or not, to stop, then presses, until it is gone. */
[[nodiscard]] bool process_stop(int pidfd, struct error *error);

/* Waits until the process ended. */
[[nodiscard]] bool process_is_gone(int pidfd, int timeout_ms);

#endif
