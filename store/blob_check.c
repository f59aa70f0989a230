#include "store/blob_check.h"

#include "store/description.h"
#include "store/file_digest.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

const char *blob_condition_name(enum blob_condition condition)
{
    static const char *const names[] = {
        [BLOB_IS_WHOLE] = "whole",
        [BLOB_IS_MISSING] = "missing",
        [BLOB_HAS_WRONG_SIZE] = "wrong size",
        [BLOB_IS_DAMAGED] = "damaged",
        [BLOB_IS_UNREADABLE] = "unreadable",
    };
    return names[condition];
}

static bool is_stopped(const struct blob_reading *reading)
{
    return reading->stop && atomic_load(reading->stop);
}

/* Sleeps for as long as these bytes may take. */
static void keep_pace(const struct blob_reading *reading, ssize_t count)
{
    if (reading->bytes_per_second == 0)
        return;
    int64_t ns = (int64_t)count * 1000000000 / reading->bytes_per_second;
    enum { STEP_NS = 50 * 1000 * 1000 };
    for (; ns > 0 && !is_stopped(reading); ns -= STEP_NS) {
        struct timespec pause = {.tv_nsec = ns < STEP_NS ? ns : STEP_NS};
        nanosleep(&pause, NULL);
    }
}

/* A slow reader takes small bites, so that each second is as busy as the next. */
static uint64_t bite_of(const struct blob_reading *reading)
{
    enum { LARGEST = 256 * 1024, SMALLEST = 4096 };
    int64_t tenth = reading->bytes_per_second / 10;
    if (reading->bytes_per_second == 0 || tenth > LARGEST)
        return LARGEST;
    return tenth < SMALLEST ? SMALLEST : (uint64_t)tenth;
}

/* The bytes up to `end`, at their pace. */
static bool read_part(int fd, struct digest_state *state, struct blob_reading *reading,
                      uint64_t offset, uint64_t end, struct error *error)
{
    while (offset < end && !is_stopped(reading)) {
        uint64_t begin = offset;
        uint64_t bite_end = end - offset < bite_of(reading) ? end : offset + bite_of(reading);
        if (!file_digest_read(state, fd, &offset, bite_end, error))
            return false;
        reading->read_bytes += (int64_t)(offset - begin);
        keep_pace(reading, (ssize_t)(offset - begin));
    }
    return true;
}

/* An error of the disk, or of the file server, says nothing of the bytes. */
static enum blob_condition condition_of(const struct blob_reading *reading, const struct error *why)
{
    return why->os_errno && !reading->cannot_wait ? BLOB_IS_UNREADABLE : BLOB_IS_DAMAGED;
}

static void check_bytes(int fd, const struct blob_record *record, struct blob_reading *reading,
                        struct arena *arena, enum blob_condition *condition, const char **detail)
{
    cleanup_digest_state struct digest_state *state = digest_state_new();
    const uint64_t size = (uint64_t)record->size_bytes;
    const uint64_t head = size < FILE_DIGEST_HEAD_BYTES ? size : FILE_DIGEST_HEAD_BYTES;
    struct error why;
    bool was_read = read_part(fd, state, reading, head, size, &why) &&
                    read_part(fd, state, reading, 0, head, &why);
    struct digest digest = digest_state_finish(state);
    if (!was_read) {
        *condition = condition_of(reading, &why);
        *detail = arena_strdup(arena, why.message);
    } else if (!is_stopped(reading) && !digest_equal(&digest, &record->digest)) {
        char found[DIGEST_TEXT_SIZE];
        char recorded[DIGEST_TEXT_SIZE];
        digest_format(&digest, found);
        digest_format(&record->digest, recorded);
        *condition = BLOB_IS_DAMAGED;
        *detail = arena_printf(arena, "its digest is %s, recorded is %s", found, recorded);
    }
    /* Nobody asked for these bytes: they need not push others out of memory. */
    posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
}

static void check_description(int fd, const struct blob_record *record,
                              struct blob_reading *reading, struct arena *arena,
                              enum blob_condition *condition, const char **detail)
{
    cleanup_description struct description description = {0};
    struct error why;
    bool known = description_read(fd, &description, &why);
    reading->read_bytes += (int64_t)description.size_bytes;
    if (!known) {
        *condition = condition_of(reading, &why);
        *detail = arena_strdup(arena, why.message);
    } else if (record->manifest_digests &&
               !strstr(record->manifest_digests, description.manifest_digest)) {
        *condition = BLOB_IS_DAMAGED;
        *detail = "it describes another image";
    }
}

bool blob_check(struct blobdir *blobdir, const struct blob_record *record,
                struct blob_reading *reading, struct arena *arena, enum blob_condition *condition,
                const char **detail, struct error *error)
{
    struct blob_state state;
    *detail = NULL;
    *condition = BLOB_IS_WHOLE;
    if (!blob_look_up(blobdir, record->id.kind, &record->id.key, &state, error))
        return false;
    bool has_size = record->id.kind != BLOB_MANIFEST;
    if (!state.exists) {
        *condition = BLOB_IS_MISSING;
        *detail = "it is not there";
    } else if (!state.is_file) {
        *condition = BLOB_HAS_WRONG_SIZE;
        *detail = "it is no regular file";
    } else if (has_size ? state.size_bytes != record->size_bytes : state.size_bytes == 0) {
        *condition = BLOB_HAS_WRONG_SIZE;
        *detail = has_size ? arena_printf(arena, "it has %" PRId64 " bytes, recorded are %" PRId64,
                                          state.size_bytes, record->size_bytes)
                           : "it is empty";
    }
    if (*condition != BLOB_IS_WHOLE || !reading->bytes)
        return true;
    cleanup_fd int fd = blob_open(blobdir, record->id.kind, &record->id.key, error);
    if (fd < 0 && error->os_errno == ENOENT) {
        *condition = BLOB_IS_MISSING;
        *detail = "it is not there";
        return true;
    }
    if (fd < 0)
        return false;
    if (has_size)
        check_bytes(fd, record, reading, arena, condition, detail);
    else
        check_description(fd, record, reading, arena, condition, detail);
    return true;
}
