/* Boxed processes, to test with. */
#ifndef LARDER_TESTS_UNIT_BOXES_H
#define LARDER_TESTS_UNIT_BOXES_H

#include <sys/types.h>

/* The process that this thread has just started: its only child. */
[[nodiscard]] pid_t boxes_child(void);

#endif
