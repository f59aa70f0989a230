/* One stage of a conversion by itself, for bench/convert:
 *
 *     convert_stage build TAR OUTPUT             layer_build(), of a file read as `cat` reads it
 *     convert_stage compose OUTPUT LAYER…        compose_fsmeta() of layer files
 *     convert_stage inflate gzip|zstd BLOB       inflating alone, from memory
 *     convert_stage sha256 FILE                  digesting alone, from memory
 *
 * Prints {"wall_seconds", "cpu_seconds", "bytes"} of the stage, without the start of
 * the program; inflate and sha256 without reading a file into memory. Of a build also what
 * fdatasync() takes after it, and what it held in memory when the tar had ended. inflate and sha256
 * may begin at a line (start_line.h). */
#include "in_memory.h"
#include "start_line.h"

#include "store/compose.h"
#include "store/convert/inflate.h"
#include "store/layer.h"

#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { PIECE_BYTES = 128 << 10, MAX_LAYERS = 1024 };

/* A tar that comes piece by piece, as from the converter's ring. (To map it would cost more than to
 * read it: a machine may take 10 us for a page fault, and no core has seen the bytes before.) */
struct tar_file {
    int fd;
    size_t state_bytes; /* allocated when all was given */
    uint8_t piece[PIECE_BYTES];
};

static bool next_piece(void *context, const void **bytes, size_t *size_bytes, struct error *error)
{
    struct tar_file *tar = context;
    ssize_t count = read(tar->fd, tar->piece, sizeof(tar->piece));
    if (count < 0)
        return error_set_errno(error, ERROR_INTERNAL, errno, "cannot read the tar");
    *bytes = tar->piece;
    *size_bytes = (size_t)count;
    if (count == 0) {
        struct mallinfo2 info = mallinfo2();
        tar->state_bytes = info.uordblks + info.hblkhd;
    }
    return true;
}

static double seconds(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

struct stopwatch {
    double wall;
    double cpu;
};

static struct stopwatch start(void)
{
    return (struct stopwatch){seconds(CLOCK_MONOTONIC), seconds(CLOCK_PROCESS_CPUTIME_ID)};
}

static struct stopwatch since(struct stopwatch from)
{
    struct stopwatch now = start();
    return (struct stopwatch){now.wall - from.wall, now.cpu - from.cpu};
}

static void print_stage(struct stopwatch from, uint64_t bytes)
{
    struct stopwatch took = since(from);
    printf("{\"wall_seconds\": %.5f, \"cpu_seconds\": %.5f, \"bytes\": %llu}\n", took.wall,
           took.cpu, (unsigned long long)bytes);
}

static int open_output(const char *path)
{
    return open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
}

static bool build(char **arguments, struct error *error)
{
    static struct tar_file tar;
    cleanup_fd int input = open(arguments[0], O_RDONLY | O_CLOEXEC);
    cleanup_fd int output = open_output(arguments[1]);
    if (input < 0 || output < 0)
        return error_set_errno(error, ERROR_INTERNAL, errno, "cannot open");
    tar.fd = input;
    const struct tar_source source = {next_piece, &tar};
    const struct layer_limits limits = {
        .max_entries = 1 << 24, .max_path_depth = 2048, .max_output_bytes = UINT64_MAX};
    const struct digest diff_id = {{0}};
    struct layer_result result = {0};
    struct mallinfo2 before = mallinfo2();
    struct stopwatch watch = start();
    if (!layer_build(&source, &diff_id, &limits, output, &result, error))
        return false;
    struct stopwatch built = since(watch);
    watch = start();
    if (fdatasync(output) != 0)
        return error_set_errno(error, ERROR_INTERNAL, errno, "cannot sync");
    struct stopwatch synced = since(watch);
    printf("{\"wall_seconds\": %.5f, \"cpu_seconds\": %.5f, \"sync_cpu_seconds\": %.5f, "
           "\"bytes\": %llu, \"entries\": %llu, \"state_bytes\": %zu}\n",
           built.wall, built.cpu, synced.cpu, (unsigned long long)result.erofs_size_bytes,
           (unsigned long long)result.entries, tar.state_bytes - before.uordblks - before.hblkhd);
    return true;
}

static bool compose(char **arguments, struct error *error)
{
    struct compose_layer layers[MAX_LAYERS] = {0};
    size_t count = 0;
    for (char **path = arguments + 1; *path && count < MAX_LAYERS; path++, count++) {
        struct stat status;
        layers[count].fd = open(*path, O_RDONLY | O_CLOEXEC); /* until we exit */
        if (layers[count].fd < 0 || fstat(layers[count].fd, &status) != 0)
            return error_set_errno(error, ERROR_INTERNAL, errno, "cannot open %s", *path);
        layers[count].size_bytes = (uint64_t)status.st_size;
        layers[count].diff_id = digest_of(&count, sizeof(count));
    }
    cleanup_fd int output = open_output(arguments[0]);
    const struct digest manifest = {{0}};
    struct compose_result result = {0};
    struct stopwatch watch = start();
    if (!compose_fsmeta(layers, count, COMPOSE_MAX_TREE_BYTES, &manifest, output, &result, error))
        return false;
    print_stage(watch, result.fsmeta_size_bytes);
    return true;
}

static bool inflate(char **arguments, struct error *error)
{
    static uint8_t room[PIECE_BYTES];
    bool is_gzip = strcmp(arguments[0], "gzip") == 0;
    size_t size = 0;
    cleanup_free uint8_t *blob = read_into_memory(arguments[1], &size);
    if (!blob)
        return error_set_errno(error, ERROR_INTERNAL, errno, "cannot read %s", arguments[1]);
    cleanup_inflate struct inflate *inflate =
        inflate_new(is_gzip ? LAYER_GZIP : LAYER_ZSTD, UINT64_MAX);
    start_line_wait();
    struct stopwatch watch = start();
    struct inflate_buffers buffers = {blob, size, NULL, 0};
    uint64_t bytes = 0;
    do {
        buffers.out = room;
        buffers.out_bytes = sizeof(room);
        if (!inflate_step(inflate, &buffers, error))
            return false;
        bytes += sizeof(room) - buffers.out_bytes;
    } while (buffers.out_bytes == 0);
    print_stage(watch, bytes);
    return inflate_end(inflate, error);
}

static bool sha256(char **arguments, struct error *error)
{
    size_t size = 0;
    cleanup_free uint8_t *bytes = read_into_memory(arguments[0], &size);
    if (!bytes)
        return error_set_errno(error, ERROR_INTERNAL, errno, "cannot read %s", arguments[0]);
    start_line_wait();
    struct stopwatch watch = start();
    struct digest digest = digest_of(bytes, size);
    (void)digest;
    print_stage(watch, size);
    return true;
}

static const struct {
    const char *name;
    int least_arguments;
    bool (*run)(char **arguments, struct error *error);
} stages[] = {
    {"build", 2, build}, {"compose", 2, compose}, {"inflate", 2, inflate}, {"sha256", 1, sha256}};

int main(int argc, char **argv)
{
    start_line_take_flag(&argc, argv);
    for (size_t i = 0; argc > 1 && i < sizeof(stages) / sizeof(stages[0]); i++) {
        if (strcmp(stages[i].name, argv[1]) != 0 || argc - 2 < stages[i].least_arguments)
            continue;
        struct error error = {0};
        if (stages[i].run(argv + 2, &error))
            return 0;
        fprintf(stderr, "%s: %s\n", error_code_name(error.code), error.message);
        return 1;
    }
    fprintf(stderr, "usage: convert_stage build|compose|inflate|sha256 …\n");
    return 2;
}
