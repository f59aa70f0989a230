/* Writes lines of the log on a thread of its own, for event loops must not wait for whoever
 * reads the log. What it cannot hold is left out and counted, and a line says how many. */
#ifndef LARDER_SERVER_LOG_WRITER_H
#define LARDER_SERVER_LOG_WRITER_H

#include "server/json_writer.h"
#include "server/log.h"
#include "store/error.h"

struct log_writer;

/* The log must outlive it. */
[[nodiscard]] struct log_writer *log_writer_start(const struct log *log, struct error *error);

/* Takes whole lines and leaves the buffer empty. Any thread; does not wait. */
void log_writer_take(struct log_writer *writer, struct json_writer *lines);

/* Writes what it has, joins, frees. NULL is fine. */
void log_writer_stop(struct log_writer *writer);

#endif
