/* What keeps the converter process in its box. Two steps, both before the first
 * byte of a blob:
 *
 *   sandbox_confine()  no new privileges, no core, an unprivileged user when root,
 *                      no capabilities, no files (Landlock), namespaces without
 *                      network, and limits on memory, CPU time and file size
 *   sandbox_seal()     with all threads started: a seccomp filter for all of them
 *                      that kills the process at any call but those to move bytes
 *                      between open files and memory
 *
 * The filter must hold; what stands behind it (Landlock, namespaces) is taken where
 * the kernel and our privileges allow it.
 */
#ifndef LARDER_STORE_CONVERT_SANDBOX_H
#define LARDER_STORE_CONVERT_SANDBOX_H

#include "store/convert.h"

/* Loads what libraries would load when they are first used, which the box forbids. Done again it
 * costs nothing. sandbox_confine() does it. */
void sandbox_load_libraries(void);

/* While the process has one thread. */
[[nodiscard]] bool sandbox_confine(const struct convert_limits *limits, struct error *error);

/* After this no thread and no file can be opened. */
[[nodiscard]] bool sandbox_seal(struct error *error);

#endif
