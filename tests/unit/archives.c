#include "archives.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <unistd.h>

const struct archive_limits ample_limits = {.max_archive_bytes = 1 << 30,
                                            .max_member_bytes = 1 << 30};

bool archives_next_piece(void *context, const void **bytes, size_t *size_bytes, struct error *error)
{
    struct body *body = context;
    size_t left = body->bytes.size - body->given;
    if (left == 0 && body->breaks_off)
        return error_set(error, ERROR_PULL_CANCELLED, "the sender has gone");
    *size_bytes = left < body->piece ? left : body->piece;
    *bytes = body->bytes.data + body->given;
    body->given += *size_bytes;
    return true;
}

int archives_scratch_file(void)
{
    char path[] = "/tmp/larder-archive-XXXXXX";
    int fd = mkostemp(path, O_CLOEXEC);
    cr_assert_geq(fd, 0);
    unlink(path);
    return fd;
}

struct outcome archives_unpack(struct body body, const struct archive_limits *limits)
{
    struct outcome outcome = {.fd = archives_scratch_file()};
    const struct tar_source source = {archives_next_piece, &body};
    outcome.succeeded = archive_unpack(&source, limits, outcome.fd, &outcome.arena,
                                       &outcome.archive, &outcome.error);
    return outcome;
}

void archives_forget(struct outcome *outcome)
{
    close(outcome->fd);
    arena_free(&outcome->arena);
}
