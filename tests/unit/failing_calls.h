/* A file system that fails as told: these calls stand before libc's in the program of the unit
 * tests. fdatasync() fails of a file that has the sticky bit, and takes as long as others may
 * execute one. */
#ifndef LARDER_TESTS_UNIT_FAILING_CALLS_H
#define LARDER_TESTS_UNIT_FAILING_CALLS_H

enum fault {
    SOUND,
    NO_FILE_FSYNC,
    NO_DIRECTORY_FSYNC,
    NO_LINK,
    LINK_OVER,
    NO_RENAME,
    RENAME_COPIES,
    ONE_SLOW_UNLINK /* for longer than a reaper trusts its rows */
};

/* Of this test's process, for all its threads; SOUND until it is set. */
extern enum fault fault;

#endif
