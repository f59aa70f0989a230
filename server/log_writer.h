/* Writes the lines of the log on a thread of its own, for nobody must wait for whoever reads it.
 * Lines stay in the order in which they were given. What it cannot hold is left out and counted,
 * and a line says how many: requests' first, then events', and those of the audit last. */
#ifndef LARDER_SERVER_LOG_WRITER_H
#define LARDER_SERVER_LOG_WRITER_H

#include "server/json_writer.h"
#include "server/log.h"
#include "store/error.h"

struct log_writer;

/* Works with a copy of the log. */
[[nodiscard]] struct log_writer *log_writer_start(const struct log *log, struct error *error);

/* Takes whole lines and leaves the buffer empty. Any thread; does not wait. */
void log_writer_take(struct log_writer *writer, enum metric_log kind, struct json_writer *lines);

/* Writes what it has, joins, frees. When nobody reads the log, it gives that up after a few
 * seconds and leaves the thread, which waits for that reader, to the end of the process. NULL is
 * fine. */
void log_writer_stop(struct log_writer *writer);

#endif
