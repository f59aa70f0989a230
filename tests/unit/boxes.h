/* Boxed processes, to test with. */
#ifndef LARDER_TESTS_UNIT_BOXES_H
#define LARDER_TESTS_UNIT_BOXES_H

#include <sys/types.h>

/* The one boxed process that runs. Waits until there is one and it runs its command. */
[[nodiscard]] pid_t boxes_child(void);

/* The nursery (store/convert/nursery.h), which runs. */
[[nodiscard]] pid_t boxes_nursery(void);

/* Expects that this process has no child, once its nursery has ended. */
void boxes_expect_none(void);

#endif
