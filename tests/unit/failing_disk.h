/* A disk, or a file server, that fails when a test wants it to: the errno that the calls of this
 * process end with, 0 for what really is. */
#ifndef LARDER_TESTS_UNIT_FAILING_DISK_H
#define LARDER_TESTS_UNIT_FAILING_DISK_H

extern int failing_disk_look; /* fstatat(2) */
extern int failing_disk_read; /* pread(2), and read(2) of regular files */

#endif
