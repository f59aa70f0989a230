/* /layers and /manifests: the files themselves, as they lie in the blob directory.
 * A published file is whole and never changes, so a cache may keep it for ever. */
#include "server/byte_range.h"
#include "server/etag.h"
#include "server/node.h"
#include "server/resources.h"
#include "store/blobdir.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { ETAG_SIZE = DIGEST_HEX_SIZE + 24 };

/* A served file: open, and its size as it is on the disk. */
struct served_file {
    int fd; /* owned */
    uint64_t size_bytes;
    char etag[ETAG_SIZE];
};

static bool open_file(struct request *request, enum blob_kind kind, struct served_file *file,
                      struct error *error)
{
    struct digest digest;
    struct stat status;
    char hex[DIGEST_HEX_SIZE];
    if (!images_check_digest("The digest in the path", request->variable, error) ||
        !digest_parse(request->variable, &digest))
        return false;
    file->fd = blob_open(request->node->blobdir, kind, &digest, error);
    if (file->fd < 0 && error->os_errno == ENOENT)
        return error_set(error, ERROR_NOT_FOUND, "The %s of %s is not in the cache",
                         blob_kind_name(kind), request->variable);
    if (file->fd < 0)
        return false;
    /* libmicrohttpd hangs on a file that is shorter than it was told. */
    if (fstat(file->fd, &status) != 0)
        return error_set_errno(error, ERROR_INTERNAL, errno, "The %s of %s cannot be read",
                               blob_kind_name(kind), request->variable);
    file->size_bytes = (uint64_t)status.st_size;
    digest_format_hex(&digest, hex);
    snprintf(file->etag, sizeof(file->etag), "\"%s-%" PRIx64 "\"", hex, file->size_bytes);
    return true;
}

static void add_file_headers(struct request *request, const struct served_file *file,
                             const char *content_type)
{
    request_add_header(request, MHD_HTTP_HEADER_ETAG, file->etag);
    request_add_header(request, MHD_HTTP_HEADER_CACHE_CONTROL,
                       "public, max-age=31536000, immutable");
    request_add_header(request, MHD_HTTP_HEADER_ACCEPT_RANGES, "bytes");
    request_add_header(request, MHD_HTTP_HEADER_CONTENT_TYPE, content_type);
}

static void answer_range(struct request *request, struct served_file *file)
{
    char text[80];
    uint64_t offset = 0;
    uint64_t size = file->size_bytes;
    /* RFC 9110, 14.2: only GET has ranges. */
    const char *range = strcmp(request->method, "GET") == 0 ? request->headers.range : NULL;
    if (request->headers.if_range && strcmp(request->headers.if_range, file->etag) != 0)
        range = NULL;
    switch (byte_range_parse(range, file->size_bytes, &offset, &size)) {
    case RANGE_WHOLE:
        request_answer_file(request, 200, steal_fd(&file->fd), 0, file->size_bytes);
        return;
    case RANGE_PART:
        snprintf(text, sizeof(text), "bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64, offset,
                 offset + size - 1, file->size_bytes);
        request_answer_file(request, 206, steal_fd(&file->fd), offset, size);
        break;
    case RANGE_UNSATISFIABLE:
        snprintf(text, sizeof(text), "bytes */%" PRIu64, file->size_bytes);
        request_answer_empty(request, 416);
        break;
    }
    request_add_header(request, MHD_HTTP_HEADER_CONTENT_RANGE, text);
}

static bool show_file(struct request *request, enum blob_kind kind, const char *content_type,
                      struct error *error)
{
    struct served_file file = {.fd = -1};
    bool opened = open_file(request, kind, &file, error);
    if (opened && etag_is_named(request->headers.if_none_match, file.etag))
        request_answer_empty(request, 304);
    else if (opened)
        answer_range(request, &file);
    if (opened)
        add_file_headers(request, &file, content_type);
    cleanup_close_fd(&file.fd);
    return opened;
}

bool layers_show(struct request *request, struct error *error)
{
    return show_file(request, BLOB_LAYER, "application/octet-stream", error);
}

bool manifests_show_fsmeta(struct request *request, struct error *error)
{
    return show_file(request, BLOB_FSMETA, "application/octet-stream", error);
}

bool manifests_show_vmdk(struct request *request, struct error *error)
{
    return show_file(request, BLOB_VMDK, "application/octet-stream", error);
}
