/* Layer files and fsmeta as files: reproducible, bounded, and never trusted. */
#include "layer_view.h"

#include "store/cleanup.h"
#include "store/compose.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/types.h>

static const char sample[] = "d ./ mode=750 mtime=5.5\n"
                             "d a user.k=v\n"
                             "f a/1 one user.k=v\n"
                             "h a/2 a/1\n"
                             "l a/3 1\n"
                             "f b/implied x trusted.t=1\n"
                             "c dev 5:1\n"
                             "w .wh.gone\n"
                             "h low lower/file\n"
                             "w a/.wh..wh..opq\n";

static const char lower[] = "f lower/file low\nf gone 1\n";

static int layer_of_lines(const char *lines, struct layer_result *result)
{
    struct bytes tar = tar_of(lines);
    struct error error;
    int fd = layer_of(tar, &wide_limits, result, &error);
    free(tar.at);
    cr_assert(fd >= 0, "the sample converts: %s", fd < 0 ? error.message : "");
    return fd;
}

Test(layer_file, the_same_tar_makes_the_same_bytes)
{
    setenv("TZ", "America/New_York", 1);
    struct layer_result result;
    cleanup_fd int one = layer_of_lines(sample, &result);
    struct digest digest = digest_of_fd(one);
    setenv("SOURCE_DATE_EPOCH", "1", 1);
    umask(0);
    cleanup_fd int other = layer_of_lines(sample, &result);
    struct digest again = digest_of_fd(other);
    cr_expect(digest_equal(&digest, &again), "nothing comes from the environment");
    cr_expect_eq(result.entries, 9, "hard-linked names are one inode: got %lu", result.entries);
}

Test(layer_file, limits_refuse_what_exceeds_them)
{
    static const struct {
        const char *lines;
        struct layer_limits limits;
        enum error_code code;
    } cases[] = {
        {"f a 1\nf b 2\nf c 3", {2, 100, 1 << 20}, ERROR_UNSUPPORTED_LAYER},
        {"f a/b/c/d 1", {100, 3, 1 << 20}, ERROR_UNSUPPORTED_LAYER},
        {"f a/b/c/d 1", {3, 100, 1 << 20}, ERROR_UNSUPPORTED_LAYER},
        {"d a/b/c\nl s a/b/c\nf s/d 1", {100, 3, 1 << 20}, ERROR_UNSUPPORTED_LAYER},
        {"f a 1\nh b a\nh c a", {2, 100, 1 << 20}, ERROR_UNSUPPORTED_LAYER},
        {"d a\nd a user.k=1\nd a user.k=2", {2, 100, 1 << 20}, ERROR_UNSUPPORTED_LAYER},
        {"w .wh.a\nw .wh.b\nw .wh.c", {2, 100, 1 << 20}, ERROR_UNSUPPORTED_LAYER},
        {"f a 1\nf b 2\nf c 3", {100, 100, 3ULL * 4096}, ERROR_LAYER_TOO_LARGE},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct bytes tar = tar_of(cases[i].lines);
        struct layer_result result;
        struct error error = {0};
        cr_expect_lt(layer_of(tar, &cases[i].limits, &result, &error), 0, "case %zu", i);
        cr_expect_eq(error.code, cases[i].code, "case %zu: %s", i, error.message);
        free(tar.at);
    }
}

enum { SKIPPED_PIECES = 192, PIECE_SIZE = 1 << 20 };

/* One member, and the data that its header says, in pieces. */
static bool next_of_member(const char *name, unsigned *given, const void **bytes,
                           size_t *size_bytes)
{
    static const unsigned char zeros[PIECE_SIZE];
    static unsigned char header[512];
    *bytes = *given == 0 ? header : zeros;
    *size_bytes = *given == 0 ? sizeof(header) : sizeof(zeros);
    if (*given > SKIPPED_PIECES + 1)
        *size_bytes = 0;
    if ((*given)++ > 0)
        return true;
    snprintf((char *)header, 100, "%s", name);
    snprintf((char *)header + 124, 12, "%011o", SKIPPED_PIECES * PIECE_SIZE);
    memcpy(header + 257, "ustar\00000", 8);
    memset(header + 148, ' ', 8);
    header[156] = '0';
    unsigned sum = 0;
    for (size_t i = 0; i < sizeof(header); i++)
        sum += header[i];
    snprintf((char *)header + 148, 8, "%06o", sum);
    return true;
}

/* struct tar_source's next(). */
static bool next_of_whiteout_with_data(void *context, const void **bytes, size_t *size_bytes,
                                       struct error *error)
{
    (void)error;
    return next_of_member(".wh.x", context, bytes, size_bytes);
}

static bool next_of_large_file(void *context, const void **bytes, size_t *size_bytes,
                               struct error *error)
{
    (void)error;
    return next_of_member("x", context, bytes, size_bytes);
}

Test(layer_file, a_file_that_cannot_fit_is_refused_at_its_header)
{
    cleanup_fd int fd = memfd_create("layer", MFD_CLOEXEC);
    unsigned given = 0;
    const struct tar_source source = {next_of_large_file, &given};
    struct layer_limits limits = wide_limits;
    limits.max_output_bytes = (SKIPPED_PIECES - 1) * PIECE_SIZE;
    struct layer_result result;
    struct error error = {0};
    cr_expect_not(layer_build(&source, &(struct digest){{0}}, &limits, fd, &result, &error));
    cr_expect_eq(error.code, ERROR_LAYER_TOO_LARGE, "%s", error.message);
    cr_expect(strstr(error.message, "\"x\""), "\"%s\" names the file", error.message);
    cr_expect_lt(given, 8, "%u MiB of its %d were read", given, SKIPPED_PIECES);
}

Test(layer_file, data_that_is_skipped_takes_no_memory)
{
    cleanup_fd int fd = memfd_create("layer", MFD_CLOEXEC);
    unsigned given = 0;
    const struct tar_source source = {next_of_whiteout_with_data, &given};
    struct layer_result result;
    struct error error = {0};
    struct rusage before;
    struct rusage after;
    getrusage(RUSAGE_SELF, &before);
    cr_expect(layer_build(&source, &(struct digest){{0}}, &wide_limits, fd, &result, &error),
              "a whiteout with data is a whiteout: %s", error.message);
    getrusage(RUSAGE_SELF, &after);
    cr_expect_lt(after.ru_maxrss - before.ru_maxrss, 32 << 10, "skipping %d MiB took %ld KiB",
                 SKIPPED_PIECES, after.ru_maxrss - before.ru_maxrss);
}

/* A manifest may name one small layer again and again, and each time its files are in memory. */
Test(layer_file, a_tree_that_takes_too_much_memory_is_refused)
{
    enum { FILES = 300, TIMES = 64 };
    static const uint64_t max_tree_bytes = 128 * 1024;
    char lines[FILES * 16];
    size_t used = 0;
    for (int i = 0; i < FILES; i++)
        used += (size_t)snprintf(lines + used, sizeof(lines) - used, "f d%d/f%d x\n", i % 7, i);
    struct layer_result result;
    struct error error = {0};
    cleanup_fd int fd = layer_of_lines(lines, &result);
    struct compose_layer layers[TIMES];
    for (size_t i = 0; i < TIMES; i++)
        layers[i] = (struct compose_layer){
            .diff_id = digest_of("it", 2), .fd = fd, .size_bytes = result.erofs_size_bytes};

    struct compose_result composed;
    cleanup_fd int once = memfd_create("fsmeta", MFD_CLOEXEC);
    cleanup_fd int often = memfd_create("fsmeta", MFD_CLOEXEC);
    cr_expect(
        compose_fsmeta(layers, 1, max_tree_bytes, &layers[0].diff_id, once, &composed, &error),
        "%s", error.message);
    cr_expect_eq(composed.entries, FILES + 7 + 1);
    cr_assert_not(compose_fsmeta(layers, TIMES, max_tree_bytes, &layers[0].diff_id, often,
                                 &composed, &error));
    cr_expect_eq(error.code, ERROR_LAYER_TOO_LARGE);
    cr_expect(strstr(error.message, "so many entries"), "%s", error.message);
}

static char *view_of_bytes(const void *bytes, size_t size)
{
    struct bytes tar = {.at = malloc(size + 1), .size = size};
    if (size > 0)
        memcpy(tar.at, bytes, size);
    char *view = view_of_tars(&tar, 1);
    free(tar.at);
    return view;
}

Test(layer_file, the_end_of_a_tar)
{
    struct bytes tar = tar_of("f a content");
    struct bytes more = tar_of("f b 2");
    cleanup_free unsigned char *twice = calloc(1, tar.size + 20480 + more.size);
    memcpy(twice, tar.at, tar.size);
    memcpy(twice + tar.size + 20480, more.at, more.size);

    cleanup_free char *none = view_of_bytes("", 0);
    cr_expect_str_eq(none, "/ d 755\n", "no bytes are an empty layer");
    cleanup_free char *zeros = view_of_bytes(twice + tar.size, 20480);
    cr_expect_str_eq(zeros, "/ d 755\n", "so are end-of-archive blocks alone");
    cleanup_free char *followed = view_of_bytes(twice, tar.size + 20480 + more.size);
    cr_expect_str_eq(followed, "/ d 755\na f 644 content\n",
                     "what follows the end-of-archive marker is no member");
    cleanup_free char *cut = view_of_bytes(tar.at, tar.size - 1024 - 512);
    cr_expect(strstr(cut, "UnsupportedLayer: ") && strstr(cut, "Truncated"),
              "a tar that ends within a member is refused: %s", cut);
    cleanup_free char *junk = view_of_bytes("this is no tar at all", 21);
    cr_expect(strstr(junk, "UnsupportedLayer: "), "junk is refused: %s", junk);
    free(tar.at);
    free(more.at);
}

Test(layer_file, a_time_just_before_the_epoch_keeps_its_sign)
{
    struct bytes tar = tar_of("f filler 0123456789\nf a 1 mtime=10.25\nf b 2 mtime=0.25\n");
    char *time = memmem(tar.at, tar.size, "mtime=10.25", 11);
    cr_assert(time, "the tar has the time as text");
    memcpy(time, "mtime=-0.25", 11);
    cleanup_free char *view = view_of_tars(&tar, 1);
    cr_expect_str_eq(view,
                     "/ d 755\na f 644 @-1.750000000 1\nb f 644 @0.250000000 2\n"
                     "filler f 644 0123456789\n",
                     "-0.25 is a quarter second before 1970: %s", view);
    free(tar.at);
}

static void read_file(int fd, unsigned char *bytes, size_t size)
{
    cr_assert_eq(pread(fd, bytes, size, 0), (ssize_t)size, "the file is read");
}

/* One bit changed all over the superblock and the metadata: the result may be
 * another tree, but reading it never goes wrong (the sanitizers watch). */
Test(layer_file, damage_is_found_or_harmless)
{
    struct layer_result result;
    struct compose_layer layers[2];
    cleanup_fd int low = layer_of_lines(lower, &result);
    layers[0] = (struct compose_layer){
        .diff_id = digest_of("low", 3), .fd = low, .size_bytes = result.erofs_size_bytes};
    cleanup_fd int fd = layer_of_lines(sample, &result);
    size_t size = result.erofs_size_bytes;
    layers[1] = (struct compose_layer){.diff_id = digest_of("up", 2), .fd = fd, .size_bytes = size};
    cleanup_free unsigned char *bytes = malloc(size);
    read_file(fd, bytes, size);

    size_t caught = 0;
    for (size_t at = 1024; at < size; at += bytes[at] ? 5 : 1) {
        if (bytes[at] == 0 && at % 97 != 0)
            continue; /* most zeros are padding */
        unsigned char flipped = (unsigned char)(bytes[at] ^ (1u << at % 8));
        cr_assert_eq(pwrite(fd, &flipped, 1, (off_t)at), 1);
        struct error error = {0};
        struct compose_result composed;
        cleanup_fd int sink = memfd_create("fsmeta", MFD_CLOEXEC);
        bool sound = erofs_file_check(fd, size, &error);
        caught += !sound;
        if (compose_fsmeta(layers, 2, COMPOSE_MAX_TREE_BYTES, &layers[0].diff_id, sink, &composed,
                           &error))
            cr_expect(erofs_file_check(sink, composed.fsmeta_size_bytes, &error),
                      "byte %zu: fsmeta of whatever was read is sound: %s", at, error.message);
        cr_assert_eq(pwrite(fd, bytes + at, 1, (off_t)at), 1);
    }
    cr_expect_gt(caught, 50, "damage to the structure is mostly found: %zu", caught);
}

Test(layer_file, a_file_of_another_size_is_damaged)
{
    struct layer_result result;
    cleanup_fd int fd = layer_of_lines(sample, &result);
    struct error error = {0};
    cr_assert_eq(ftruncate(fd, (off_t)result.erofs_size_bytes - 4096), 0);
    cr_expect_not(erofs_file_check(fd, result.erofs_size_bytes, &error), "a short file");
    cr_expect_eq(error.code, ERROR_DIGEST_MISMATCH);
    cr_expect_not(erofs_file_check(fd, result.erofs_size_bytes - 4096, &error),
                  "a short file whose size was recorded");
    cr_assert_eq(ftruncate(fd, 0), 0);
    cr_expect_not(erofs_file_check(fd, 0, &error), "an empty file");
}

Test(layer_file, no_layers_make_an_empty_root)
{
    cleanup_free char *view = view_of((const char *const[]){NULL});
    cr_expect_str_eq(view, "/ d 755\n", "an image without layers has a root");
}

Test(layer_file, the_same_layer_may_stand_there_twice)
{
    cleanup_free char *view = view_of((const char *const[]){"f a 1", "w .wh.a", "f a 1", NULL});
    cr_expect_str_eq(view, "/ d 755\na f 644 1\n", "the upper one counts");
}

Test(layer_file, twenty_thousand_names_in_one_directory_stay_sorted)
{
    char *lines = NULL;
    size_t size = 0;
    FILE *text = open_memstream(&lines, &size);
    for (unsigned i = 0; i < 20000; i++)
        fprintf(text, "f d/%x-%u 1\n", i * 2654435761u, i);
    fclose(text);
    struct layer_result result;
    cleanup_fd int fd = layer_of_lines(lines, &result);
    cr_expect_eq(result.entries, 20002, "all are there, in order: erofs_file_check() saw to it");
    free(lines);
}
