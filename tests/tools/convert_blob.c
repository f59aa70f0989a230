/* Converts one blob as a pull does, for benches and tests:
 *
 *     convert_blob [--at-line] plain|gzip|zstd BLOB DIFF_ID OUTPUT
 *
 * The blob is read into memory first; the time starts after that and ends with the
 * durable, verified layer file. Prints one JSON object; the CPU time is the
 * process's own, from fork to exit, and that of the fsync. */
#include "in_memory.h"
#include "start_line.h"

#include "store/convert.h"
#include "store/convert/nursery.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

static const struct {
    const char *name;
    enum layer_compression compression;
} compressions[] = {{"plain", LAYER_PLAIN}, {"gzip", LAYER_GZIP}, {"zstd", LAYER_ZSTD}};

static bool parse_compression(const char *name, enum layer_compression *compression)
{
    for (size_t i = 0; i < sizeof(compressions) / sizeof(compressions[0]); i++)
        if (strcmp(compressions[i].name, name) == 0) {
            *compression = compressions[i].compression;
            return true;
        }
    return false;
}

static double seconds_of(struct timeval time)
{
    return (double)time.tv_sec + (double)time.tv_usec / 1e6;
}

static double now_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static bool convert(const struct convert_request *request, const uint8_t *blob, int output_fd,
                    struct convert_report *report, struct error *error)
{
    enum { PIECE_BYTES = 16 << 10 }; /* what libcurl hands over at a time */
    struct converter *converter = converter_start(request, output_fd, error);
    if (!converter)
        return false;
    struct error gone;
    for (uint64_t offset = 0; offset < request->blob_size_bytes;) {
        uint64_t left = request->blob_size_bytes - offset;
        size_t piece = left < PIECE_BYTES ? (size_t)left : PIECE_BYTES;
        if (!converter_write(converter, blob + offset, piece, &gone))
            break;
        offset += piece;
    }
    bool done = converter_finish(converter, report, error);
    converter_free(converter);
    return done;
}

/* As the owner of the file does. *system_seconds is what this process took for it. */
static bool make_durable(int fd, double *system_seconds)
{
    struct rusage before;
    struct rusage after;
    getrusage(RUSAGE_SELF, &before);
    bool done = fsync(fd) == 0;
    getrusage(RUSAGE_SELF, &after);
    *system_seconds = seconds_of(after.ru_stime) - seconds_of(before.ru_stime);
    return done;
}

static void print_report(const struct convert_report *report, double wall_seconds,
                         double own_seconds)
{
    struct rusage usage;
    getrusage(RUSAGE_CHILDREN, &usage);
    char digest[DIGEST_TEXT_SIZE];
    digest_format(&report->erofs_digest, digest);
    printf("{\"wall_seconds\": %.4f, \"user_seconds\": %.4f, \"system_seconds\": %.4f, "
           "\"max_rss_kib\": %ld, \"tar_size_bytes\": %llu, \"erofs_size_bytes\": %llu, "
           "\"entries\": %llu, \"erofs_digest\": \"%s\"}\n",
           wall_seconds, seconds_of(usage.ru_utime), seconds_of(usage.ru_stime) + own_seconds,
           usage.ru_maxrss, (unsigned long long)report->tar_size_bytes,
           (unsigned long long)report->erofs_size_bytes, (unsigned long long)report->entries,
           digest);
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "nursery") == 0)
        nursery_main(argv);
    if (argc > 1 && strcmp(argv[1], "convert") == 0)
        return convert_main(argc, argv);
    start_line_take_flag(&argc, argv);
    struct convert_request request = {.limits = convert_limits_default(20ULL << 30)};
    if (argc != 5 || !parse_compression(argv[1], &request.compression) ||
        !digest_parse(argv[3], &request.diff_id)) {
        fprintf(stderr, "usage: convert_blob plain|gzip|zstd BLOB DIFF_ID OUTPUT\n");
        return 2;
    }
    nursery_prepare(); /* it is there by the time that the blob is read and digested, as a node's is
                        */
    size_t size_bytes = 0;
    cleanup_free uint8_t *blob = read_into_memory(argv[2], &size_bytes);
    cleanup_fd int output = open(argv[4], O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (!blob || output < 0) {
        perror(blob ? argv[4] : argv[2]);
        return 2;
    }
    request.blob_size_bytes = size_bytes;
    request.blob_digest = digest_of(blob, size_bytes);

    struct convert_report report;
    struct error error = {0};
    start_line_wait();
    double start = now_seconds();
    if (!convert(&request, blob, output, &report, &error)) {
        fprintf(stderr, "%s: %s\n", error_code_name(error.code), error.message);
        return 1;
    }
    double own_seconds = 0;
    if (!make_durable(output, &own_seconds)) {
        perror(argv[4]);
        return 1;
    }
    print_report(&report, now_seconds() - start, own_seconds);
    return 0;
}
