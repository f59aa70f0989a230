/* Boxed processes, to test with. */
#ifndef LARDER_TESTS_UNIT_BOXES_H
#define LARDER_TESTS_UNIT_BOXES_H

#include <sys/types.h>

/* The one boxed process. Waits until there is one, which may not have begun yet. */
[[nodiscard]] pid_t boxes_child(void);

/* The nursery (store/convert/nursery.h), which runs. */
[[nodiscard]] pid_t boxes_nursery(void);

/* What /proc/<pid>/<file> says behind `name`; our own with pid 0. Until the next call. */
[[nodiscard]] const char *boxes_said_of(pid_t pid, const char *file, const char *name);

void boxes_wait_until_sealed(pid_t pid);
/* Waits until it is sealed, and expects that it has given up all that a boxed process gives up, in
 * each of its threads, of which there are so many at least. */
void boxes_expect_sealed(pid_t pid, unsigned threads, unsigned deadline_seconds);

/* Expects that this process has no child, once its nursery has ended. */
void boxes_expect_none(void);

#endif
