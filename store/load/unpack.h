/* What the node and the unpacker process agree on, and the process's work. Only for the
 * files of this folder (and their tests).
 *
 *     body ─► fd 0 │ inflate ─► libarchive ─► the files' bytes, one behind the other │ ─► fd 3
 *                                             a table of struct archive_member
 *
 * The table stands behind the files, at an offset that the report says. The process is
 * not to be trusted: the node checks every number and name of the table.
 */
#ifndef LARDER_STORE_LOAD_UNPACK_H
#define LARDER_STORE_LOAD_UNPACK_H

#include "store/convert/channel.h"
#include "store/load/archive.h"

struct unpack_report {
    uint64_t member_count;
    uint64_t table_offset;
};

struct unpack_channel {
    struct box_outcome outcome;
    struct archive_limits limits;
    struct unpack_report report;
};

/* Reads input_fd to its end and writes output_fd. Its codes are its own; the node makes
 * ERROR_INVALID_ARGUMENT of those that box.c does not let through. */
[[nodiscard]] bool unpack_run(const struct archive_limits *limits, int input_fd, int output_fd,
                              struct unpack_report *report, struct error *error);

/* archive_unpack() with a process that may keep the node waiting for that long in all; else it is
 * killed, and the failure is ERROR_INVALID_ARGUMENT. */
[[nodiscard]] bool unpack_within(unsigned deadline_seconds, const struct tar_source *body,
                                 const struct archive_limits *limits, int fd, struct arena *arena,
                                 struct archive *archive, struct error *error);

/* Reads and checks the table, for archive_unpack(). */
[[nodiscard]] bool unpack_read_table(int fd, const struct unpack_report *report,
                                     struct arena *arena, struct archive *archive,
                                     struct error *error);

#endif
