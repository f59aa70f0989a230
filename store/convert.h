/* The converter process: the only place where a blob is inflated and parsed.
 *
 *     node ──blob bytes──► input_fd │ sha256 ► inflate ► sha256 ► layer_build │ ──► output_fd
 *                                   └────────── report ◄──────────────────────┘
 *
 * It is this binary again (`larder convert`, not for people), with no network,
 * no file but its output, no privileges, a seccomp filter and limits. It checks
 * the blob's digest and size and the diff_id, reads its output back, starts to
 * write it to the disk, and reports: fsync is the owner's. Whatever happens to it
 * is one failed conversion.
 */
#ifndef LARDER_STORE_CONVERT_H
#define LARDER_STORE_CONVERT_H

#include "store/digest.h"
#include "store/error.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* How the media type says that the blob is compressed; the magic must agree. */
enum layer_compression {
    LAYER_PLAIN,
    LAYER_GZIP, /* of one or several members (RFC 1952) */
    LAYER_ZSTD, /* of one or several frames (RFC 8878) */
};

enum {
    CONVERT_RATIO_DEFAULT = 200,
    CONVERT_THREADS = 5, /* of the process */
};

struct convert_limits {
    uint64_t max_tar_bytes;    /* --max-layer-bytes */
    uint64_t max_ratio;        /* --max-inflate-ratio: of tar to blob; 0: any */
    uint64_t max_output_bytes; /* of the layer file: each of its files begins a block */
    uint64_t max_entries;
    uint64_t max_memory_bytes; /* address space of the process */
    unsigned deadline_seconds; /* --convert-timeout: of waiting for the process, in all */
};

struct convert_request {
    struct digest blob_digest;
    uint64_t blob_size_bytes;
    struct digest diff_id;
    enum layer_compression compression;
    struct convert_limits limits;
};

struct convert_report {
    uint64_t tar_size_bytes;
    uint64_t erofs_size_bytes;
    struct digest erofs_digest; /* of the layer file as read back (file_digest.h) */
    uint64_t entries;
};

/* One running converter. One thread at a time, but for convert_tar_bytes(). */
struct converter;

/* The limits for a layer of at most max_layer_bytes. */
[[nodiscard]] struct convert_limits convert_limits_default(uint64_t max_layer_bytes);

/* Starts a process that writes to output_fd (empty, read-write; stays the
 * caller's, and must stay open until convert_finish). */
[[nodiscard]] struct converter *converter_start(const struct convert_request *request,
                                                int output_fd, struct error *error);

/* From here on a *cancel that becomes true ends the calls below within a moment:
 * converter_finish() then fails with ERROR_PULL_CANCELLED. */
void converter_set_cancel(struct converter *converter, const atomic_bool *cancel);

/* Hands over the next bytes of the blob; blocks while the process is busy. Fails
 * with ERROR_PULL_FAILED when it is gone: call converter_finish() for why. */
[[nodiscard]] bool converter_write(struct converter *converter, const void *bytes,
                                   size_t size_bytes, struct error *error);

/* Bytes of tar inflated so far, for progress. Any thread. */
[[nodiscard]] uint64_t converter_tar_bytes(const struct converter *converter);

/* Ends the blob, waits for the process and takes its report. Fails with what the
 * process found (ERROR_DIGEST_MISMATCH, ERROR_UNSUPPORTED_LAYER,
 * ERROR_LAYER_TOO_LARGE, ERROR_STORAGE_FULL) or, when it crashed or went beyond a limit,
 * with ERROR_UNSUPPORTED_LAYER naming the signal or limit; when somebody else killed it,
 * with ERROR_PULL_FAILED. */
[[nodiscard]] bool converter_finish(struct converter *converter, struct convert_report *report,
                                    struct error *error);

/* Kills the process if it still runs, reaps it and frees. NULL is fine. */
void converter_free(struct converter *converter);

/* The main() of the process. `argv` as converter_start() makes it. */
[[nodiscard]] int convert_main(int argc, char **argv);

#endif
