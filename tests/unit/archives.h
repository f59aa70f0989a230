/* Archives taken apart, to test with. */
#ifndef LARDER_TESTS_UNIT_ARCHIVES_H
#define LARDER_TESTS_UNIT_ARCHIVES_H

#include "blobs.h"
#include "store/load/archive.h"

/* A body that comes in pieces, and may break off. */
struct body {
    struct bytes bytes;
    size_t given;
    size_t piece;
    bool breaks_off;
};

struct outcome {
    struct arena arena;
    int fd;
    bool succeeded;
    struct archive archive;
    struct error error;
};

/* 1 GiB of each. */
extern const struct archive_limits ample_limits;

[[nodiscard]] struct outcome archives_unpack(struct body body, const struct archive_limits *limits);
/* What an archive_unpack() made takes. */
void archives_forget(struct outcome *outcome);

/* struct tar_source's next(), of a struct body. */
bool archives_next_piece(void *context, const void **bytes, size_t *size_bytes,
                         struct error *error);
/* An empty file without a name. */
[[nodiscard]] int archives_scratch_file(void);

#endif
