/* /layers and /manifests: the files themselves, as they lie in the blob directory. A published file
 * is whole, and what it is made of never changes, so a cache may keep it for ever. One that is
 * built anew may have other bytes, of the same size: it has another time, and so another tag. Who
 * fetches a file in parts never has some of one and some of the other. */
#include "server/byte_range.h"
#include "server/etag.h"
#include "server/file_sender.h"
#include "server/node.h"
#include "server/resources.h"
#include "store/blobdir.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

enum { ETAG_SIZE = DIGEST_HEX_SIZE + 48 };

/* A served file: open, and its size as it is on the disk. */
struct served_file {
    int fd; /* owned */
    uint64_t size_bytes;
    const char *content_type;
    char etag[ETAG_SIZE];
};

/* The same from every node that has the directory: the number of a file may be the mount's own
 * (FUSE), its time is the file's. */
static void format_etag(const struct stat *status, const char *hex, char etag[ETAG_SIZE])
{
    uint64_t changed_ns =
        (uint64_t)status->st_mtim.tv_sec * 1000000000 + (uint64_t)status->st_mtim.tv_nsec;
    snprintf(etag, ETAG_SIZE, "\"%s-%" PRIx64 "-%" PRIx64 "\"", hex, (uint64_t)status->st_size,
             changed_ns);
}

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
    if (fstat(file->fd, &status) != 0)
        return error_set_errno(error, ERROR_INTERNAL, errno, "The %s of %s cannot be read",
                               blob_kind_name(kind), request->variable);
    file->size_bytes = (uint64_t)status.st_size;
    digest_format_hex(&digest, hex);
    format_etag(&status, hex, file->etag);
    return true;
}

static void add_file_headers(struct request *request, const struct served_file *file)
{
    request_add_header(request, MHD_HTTP_HEADER_ETAG, file->etag);
    if (request->status != 416 && request->status != 412) /* which are of this request alone */
        request_add_header(request, MHD_HTTP_HEADER_CACHE_CONTROL,
                           "public, max-age=31536000, immutable");
    request_add_header(request, MHD_HTTP_HEADER_ACCEPT_RANGES, "bytes");
}

static char *content_range(struct request *request, const struct byte_range *range,
                           uint64_t total_bytes)
{
    return arena_printf(&request->arena, "bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64, range->offset,
                        range->offset + range->size_bytes - 1, total_bytes);
}

static bool answer_part(struct request *request, struct served_file *file, unsigned status,
                        struct byte_range range, struct error *error)
{
    struct file_part *part = arena_alloc(&request->arena, sizeof(*part));
    *part = (struct file_part){.offset = range.offset, .size_bytes = range.size_bytes};
    struct file_answer answer = {.status = status,
                                 .content_type = file->content_type,
                                 .fd = steal_fd(&file->fd),
                                 .parts = part,
                                 .part_count = 1};
    bool answered = request_answer_file(request, &answer, error);
    cleanup_close_fd(&answer.fd);
    if (answered && status == 206)
        request_add_header(request, MHD_HTTP_HEADER_CONTENT_RANGE,
                           content_range(request, &range, file->size_bytes));
    return answered;
}

/* RFC 9110, 14.6. The boundary is drawn, so that no file can have it in it on purpose. */
static bool answer_parts(struct request *request, struct served_file *file,
                         const struct byte_ranges *ranges, struct error *error)
{
    uint64_t boundary = 0;
    if (getrandom(&boundary, sizeof(boundary), 0) != (ssize_t)sizeof(boundary))
        abort();
    struct file_part *parts =
        arena_alloc_array(&request->arena, ranges->count + 1, sizeof(struct file_part));
    for (size_t i = 0; i < ranges->count; i++) {
        const struct byte_range *range = &ranges->each[i];
        parts[i] = (struct file_part){
            .head = arena_printf(
                &request->arena,
                "\r\n--%016" PRIx64 "\r\nContent-Type: %s\r\nContent-Range: %s\r\n\r\n", boundary,
                file->content_type, content_range(request, range, file->size_bytes)),
            .offset = range->offset,
            .size_bytes = range->size_bytes};
        parts[i].head_size = strlen(parts[i].head);
    }
    struct file_part *end = &parts[ranges->count];
    end->head = arena_printf(&request->arena, "\r\n--%016" PRIx64 "--\r\n", boundary);
    end->head_size = strlen(end->head);
    struct file_answer answer = {
        .status = 206,
        .content_type =
            arena_printf(&request->arena, "multipart/byteranges; boundary=%016" PRIx64, boundary),
        .fd = steal_fd(&file->fd),
        .parts = parts,
        .part_count = ranges->count + 1,
    };
    bool answered = request_answer_file(request, &answer, error);
    cleanup_close_fd(&answer.fd);
    return answered;
}

/* What of the file the request wants, as far as it is heard: only GET has ranges (RFC 9110,
 * 14.2), and a range is of the file that If-Range names. */
static enum range_kind choose_ranges(const struct request *request, const struct served_file *file,
                                     struct byte_ranges *ranges)
{
    const struct request_headers *headers = &request->headers;
    if (strcmp(request->method, "GET") != 0 ||
        (headers->if_range && strcmp(headers->if_range, file->etag) != 0))
        return RANGE_WHOLE;
    return byte_ranges_parse(headers->range, file->size_bytes, ranges);
}

static bool answer_ranges(struct request *request, struct served_file *file, struct error *error)
{
    struct byte_ranges ranges;
    switch (choose_ranges(request, file, &ranges)) {
    case RANGE_WHOLE:
        break;
    case RANGE_PART:
        return ranges.count == 1 ? answer_part(request, file, 206, ranges.each[0], error)
                                 : answer_parts(request, file, &ranges, error);
    case RANGE_UNSATISFIABLE:
        request_answer_empty(request, 416);
        request_add_header(request, MHD_HTTP_HEADER_CONTENT_RANGE,
                           arena_printf(&request->arena, "bytes */%" PRIu64, file->size_bytes));
        return true;
    }
    return answer_part(request, file, 200, (struct byte_range){0, file->size_bytes}, error);
}

/* RFC 9110, 13.2.2. No file has a Last-Modified, so that If-Unmodified-Since says nothing. True: it
 * is answered. */
static bool answer_condition(struct request *request, const struct served_file *file)
{
    const struct request_headers *headers = &request->headers;
    if (headers->if_match && !etag_is_named_strongly(headers->if_match, file->etag))
        request_answer_empty(request, 412);
    else if (etag_is_named(headers->if_none_match, file->etag))
        request_answer_empty(request, 304);
    return request->response;
}

static bool show_file(struct request *request, enum blob_kind kind, const char *content_type,
                      struct error *error)
{
    struct served_file file = {.fd = -1, .content_type = content_type};
    bool shown = open_file(request, kind, &file, error);
    if (shown && !answer_condition(request, &file))
        shown = answer_ranges(request, &file, error);
    if (shown)
        add_file_headers(request, &file);
    cleanup_close_fd(&file.fd);
    return shown;
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
