#include "store/convert.h"
#include "store/convert/sanitized.h"

#include "blobs.h"
#include "boxes.h"
#include "tars.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

TestSuite(convert, .fini = blobs_free, .timeout = 60);

/* A tar of one file `name` of zeros; what ends it is there. */
static struct bytes tar_of(const char *name, size_t file_bytes)
{
    struct bytes tar = {0};
    struct bytes zeros = blobs_zeros(file_bytes);
    tars_append_file(&tar, name, zeros.data, file_bytes);
    tars_end(&tar);
    return tar;
}

static int output_file(void)
{
    char path[] = "/tmp/larder-convert-XXXXXX";
    int fd = mkostemp(path, O_CLOEXEC);
    cr_assert_geq(fd, 0);
    unlink(path);
    return fd;
}

static off_t size_of(int fd)
{
    struct stat status;
    cr_assert_eq(fstat(fd, &status), 0);
    return status.st_size;
}

static void nap_ms(long milliseconds)
{
    nanosleep(&(struct timespec){.tv_nsec = milliseconds * 1000000}, NULL);
}

/* The honest request for that blob of that tar. */
static struct convert_request request_for(enum layer_compression compression,
                                          const struct bytes *blob, const struct bytes *tar)
{
    return (struct convert_request){
        .blob_digest = digest_of(blob->data, blob->size),
        .blob_size_bytes = blob->size,
        .diff_id = digest_of(tar->data, tar->size),
        .compression = compression,
        .limits = convert_limits_default(1 << 30),
    };
}

struct outcome {
    bool succeeded;
    struct convert_report report;
    struct error error;
};

/* Starts, writes all, finishes. Writing may fail: finishing says why. */
static struct outcome convert_blob(const struct convert_request *request, const struct bytes *blob,
                                   int output_fd)
{
    struct outcome outcome = {0};
    struct converter *converter = converter_start(request, output_fd, &outcome.error);
    cr_assert_not_null(converter, "%s", outcome.error.message);
    struct error write_error;
    for (size_t offset = 0; offset < blob->size;) {
        size_t piece = blob->size - offset < 10000 ? blob->size - offset : 10000;
        if (!converter_write(converter, blob->data + offset, piece, &write_error)) {
            cr_expect_eq(write_error.code, ERROR_PULL_FAILED);
            break;
        }
        offset += piece;
    }
    outcome.succeeded = converter_finish(converter, &outcome.report, &outcome.error);
    converter_free(converter);
    return outcome;
}

static void expect_failure(const struct outcome *outcome, enum error_code code,
                           const char *fragment)
{
    cr_expect_not(outcome->succeeded, "\"%s\" was expected", fragment);
    cr_expect_eq(outcome->error.code, code, "%s was expected, not %s: %s", error_code_name(code),
                 error_code_name(outcome->error.code), outcome->error.message);
    cr_expect(strstr(outcome->error.message, fragment), "\"%s\" tells of \"%s\"",
              outcome->error.message, fragment);
}

static void expect_digest_text(const struct error *error, const struct digest *digest)
{
    char text[DIGEST_TEXT_SIZE];
    digest_format(digest, text);
    cr_expect(strstr(error->message, text), "\"%s\" names %s", error->message, text);
}

static unsigned open_descriptors(void)
{
    unsigned count = 0;
    DIR *directory = opendir("/proc/self/fd");
    cr_assert_not_null(directory);
    while (readdir(directory))
        count++;
    closedir(directory);
    return count;
}

/* As store/file_digest.h says it. */
static struct digest file_digest(const struct bytes *file)
{
    cleanup_digest_state struct digest_state *state = digest_state_new();
    digest_state_update(state, file->data + 4096, file->size - 4096);
    digest_state_update(state, file->data, 4096);
    return digest_state_finish(state);
}

Test(convert, every_compression_of_a_tar_makes_the_same_verified_file)
{
    struct bytes tar = tar_of("file", 3 << 20);
    struct bytes gzip = {0};
    struct bytes zstd = {0};
    blobs_append_gzip_member(&gzip, tar.data, 1000);
    blobs_append_gzip_member(&gzip, tar.data + 1000, tar.size - 1000);
    blobs_append_zstd_frame(&zstd, tar.data, tar.size);
    const struct bytes *blobs[] = {&tar, &gzip, &zstd};
    struct digest first;
    for (enum layer_compression compression = LAYER_PLAIN; compression <= LAYER_ZSTD;
         compression++) {
        cleanup_fd int output = output_file();
        struct convert_request request = request_for(compression, blobs[compression], &tar);
        struct outcome outcome = convert_blob(&request, blobs[compression], output);
        cr_assert(outcome.succeeded, "%s", outcome.error.message);
        cr_expect_eq(outcome.report.tar_size_bytes, tar.size);

        struct stat status;
        cr_assert_eq(fstat(output, &status), 0);
        cr_assert_eq(outcome.report.erofs_size_bytes, (uint64_t)status.st_size);
        struct bytes file = blobs_zeros((size_t)status.st_size);
        cr_assert_eq(pread(output, file.data, file.size, 0), status.st_size);
        struct digest found = file_digest(&file);
        cr_expect(digest_equal(&found, &outcome.report.erofs_digest), "the digest is the file's");
        if (compression == LAYER_PLAIN)
            first = found;
        cr_expect(digest_equal(&found, &first), "the tar alone makes the bytes");
    }
}

Test(convert, a_file_that_was_digested_while_it_grew_has_the_right_digest)
{
    struct bytes noise = blobs_zeros(5 << 20);
    for (size_t i = 0; i < noise.size; i++)
        noise.data[i] = (uint8_t)(i * i >> 8 ^ i >> 12);
    struct bytes zeros = blobs_zeros(20 << 20);
    struct bytes tar = {0};
    tars_append_file(&tar, "before", noise.data, noise.size);
    tars_append_file(&tar, "hole", zeros.data, zeros.size);
    tars_append_file(&tar, "behind", noise.data, noise.size - 1);
    tars_end(&tar);
    struct convert_request request = request_for(LAYER_PLAIN, &tar, &tar);
    cleanup_fd int output = output_file();
    struct outcome outcome = convert_blob(&request, &tar, output);
    cr_assert(outcome.succeeded, "%s", outcome.error.message);
    struct bytes file = blobs_zeros(outcome.report.erofs_size_bytes);
    cr_assert_gt(file.size, 2 * noise.size - 4096);
    cr_assert_eq(pread(output, file.data, file.size, 0), (ssize_t)file.size);
    struct digest found = file_digest(&file);
    cr_expect(digest_equal(&found, &outcome.report.erofs_digest));
}

Test(convert, a_wrong_blob_digest_is_told_with_both_digests)
{
    struct bytes tar = tar_of("file", 100000);
    struct convert_request request = request_for(LAYER_PLAIN, &tar, &tar);
    struct digest right = request.blob_digest;
    request.blob_digest.bytes[3] ^= 1;
    cleanup_fd int output = output_file();
    struct outcome outcome = convert_blob(&request, &tar, output);
    expect_failure(&outcome, ERROR_DIGEST_MISMATCH, "blob's digest");
    expect_digest_text(&outcome.error, &right);
    expect_digest_text(&outcome.error, &request.blob_digest);
}

Test(convert, a_wrong_diff_id_is_told_with_both_digests)
{
    struct bytes tar = tar_of("file", 100000);
    struct convert_request request = request_for(LAYER_PLAIN, &tar, &tar);
    struct digest right = request.diff_id;
    request.diff_id.bytes[3] ^= 1;
    cleanup_fd int output = output_file();
    struct outcome outcome = convert_blob(&request, &tar, output);
    expect_failure(&outcome, ERROR_DIGEST_MISMATCH, "diff_id");
    expect_digest_text(&outcome.error, &right);
    expect_digest_text(&outcome.error, &request.diff_id);
}

Test(convert, a_blob_of_another_length_than_its_descriptor_says_is_a_mismatch)
{
    struct bytes tar = tar_of("file", 100000);
    struct convert_request request = request_for(LAYER_PLAIN, &tar, &tar);
    cleanup_fd int output = output_file();
    request.blob_size_bytes = tar.size - 1;
    struct outcome outcome = convert_blob(&request, &tar, output);
    expect_failure(&outcome, ERROR_DIGEST_MISMATCH, "goes on after");
    request.blob_size_bytes = tar.size + 1;
    outcome = convert_blob(&request, &tar, output);
    expect_failure(&outcome, ERROR_DIGEST_MISMATCH, "but its descriptor says");
}

/* Of all that a flipped bit breaks, the digest is what explains it. */
Test(convert, a_damaged_blob_is_a_digest_mismatch_however_it_fails_to_inflate)
{
    struct bytes tar = tar_of("file", 2 << 20);
    struct bytes sample = blobs_sample(2 << 20);
    memcpy(tar.data + 512, sample.data, sample.size);
    struct bytes blobs[2] = {{0}, {0}};
    blobs_append_gzip_member(&blobs[0], tar.data, tar.size);
    blobs_append_zstd_frame(&blobs[1], tar.data, tar.size);
    for (enum layer_compression compression = LAYER_GZIP; compression <= LAYER_ZSTD;
         compression++) {
        struct bytes *blob = &blobs[compression - LAYER_GZIP];
        const size_t places[] = {0, 1, 20, blob->size / 2, blob->size - 3};
        struct convert_request request = request_for(compression, blob, &tar);
        for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
            cleanup_fd int output = output_file();
            blob->data[places[i]] ^= 0x10;
            struct outcome outcome = convert_blob(&request, blob, output);
            blob->data[places[i]] ^= 0x10;
            expect_failure(&outcome, ERROR_DIGEST_MISMATCH, "blob's digest");
        }
    }
}

Test(convert, what_the_registry_vouches_for_and_we_cannot_use_is_unsupported)
{
    struct bytes tar = tar_of("file", 100000);
    struct bytes gzip = {0};
    blobs_append_gzip_member(&gzip, tar.data, tar.size);
    struct bytes cut = {gzip.data, gzip.size - 10};
    struct bytes junk = {0};
    blobs_append(&junk, gzip.data, gzip.size);
    blobs_append(&junk, "junk", 4);
    const struct {
        const struct bytes *blob;
        enum layer_compression said;
        const char *message;
    } cases[] = {
        {&cut, LAYER_GZIP, "cut off"},
        {&junk, LAYER_GZIP, "not gzip"},
        {&gzip, LAYER_ZSTD, "says zstd but the blob begins like gzip"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        cleanup_fd int output = output_file();
        struct convert_request request = request_for(cases[i].said, cases[i].blob, &tar);
        struct outcome outcome = convert_blob(&request, cases[i].blob, output);
        expect_failure(&outcome, ERROR_UNSUPPORTED_LAYER, cases[i].message);
    }
}

Test(convert, a_bomb_is_too_large_and_the_limit_is_named)
{
    struct bytes tar = tar_of("file", 30 << 20);
    struct bytes gzip = {0};
    blobs_append_gzip_member(&gzip, tar.data, tar.size);
    struct convert_request request = request_for(LAYER_GZIP, &gzip, &tar);
    request.limits.max_tar_bytes = 10 << 20;
    cleanup_fd int output = output_file();
    struct outcome outcome = convert_blob(&request, &gzip, output);
    expect_failure(&outcome, ERROR_LAYER_TOO_LARGE, "10485760");
}

Test(convert, what_is_too_large_is_refused_before_the_blob_has_ended)
{
    struct bytes tar = tar_of("file", 30 << 20);
    struct convert_request request = request_for(LAYER_PLAIN, &tar, &tar);
    request.limits.max_tar_bytes = 10 << 20;
    cleanup_fd int output = output_file();
    struct error error = {0};
    struct converter *converter = converter_start(&request, output, &error);
    cr_assert_not_null(converter, "%s", error.message);
    size_t written = 0;
    while (written < tar.size && converter_write(converter, tar.data + written, 1024, &error))
        written += 1024;
    cr_expect_lt(written, 20 << 20, "the rest need not be sent");
    struct convert_report report;
    cr_expect_not(converter_finish(converter, &report, &error));
    cr_expect_eq(error.code, ERROR_LAYER_TOO_LARGE, "%s", error.message);
    converter_free(converter);
}

/* Each takes 1 KiB of the tar and a block of the layer file. */
Test(convert, a_tar_of_tiny_files_within_the_limit_may_make_a_larger_layer_file)
{
    enum { FILES = 500 };
    struct bytes tar = {0};
    for (int i = 0; i < FILES; i++) {
        char name[16];
        snprintf(name, sizeof(name), "file-%d", i);
        struct bytes member = tar_of(name, 1);
        blobs_append(&tar, member.data, 1024);
    }
    struct convert_request request = request_for(LAYER_PLAIN, &tar, &tar);
    request.limits = convert_limits_default(tar.size);
    cleanup_fd int output = output_file();
    struct outcome outcome = convert_blob(&request, &tar, output);
    cr_assert(outcome.succeeded, "%s", outcome.error.message);
    cr_expect_gt(outcome.report.erofs_size_bytes, FILES * 4096, "a block for each file");
}

/* How much of the tar, which is its own blob, a process had taken in and not yet made anything of.
 */
static uint64_t most_in_flight(const struct bytes *tar)
{
    struct convert_request request = request_for(LAYER_PLAIN, tar, tar);
    cleanup_fd int output = output_file();
    struct error error = {0};
    struct converter *converter = converter_start(&request, output, &error);
    cr_assert_not_null(converter, "%s", error.message);
    uint64_t most = 0;
    for (size_t written = 0; written < tar->size; written += 64 << 10) {
        cr_assert(converter_write(converter, tar->data + written, 64 << 10, &error), "%s",
                  error.message);
        uint64_t in_flight = written + (64 << 10) - converter_tar_bytes(converter);
        most = in_flight > most ? in_flight : most;
    }
    struct convert_report report;
    cr_expect(converter_finish(converter, &report, &error), "%s", error.message);
    converter_free(converter);
    return most;
}

/* Of tiny files, so that the builder is the slowest and all that waits for it is full: at once,
 * unless others keep this thread from a processor. */
Test(convert, a_layer_has_at_most_eight_mebibytes_in_flight)
{
    enum { FILES = 24 << 10, MEMBER_BYTES = 1024, IN_FLIGHT_MAX = 8 << 20, FULL = 1 << 20 };
    enum { TRIES = 50 };
    struct bytes tar = blobs_zeros((size_t)FILES * MEMBER_BYTES);
    struct bytes member = tar_of("file", 1);
    for (size_t i = 0; i < FILES; i++) /* the same file again and again */
        memcpy(tar.data + i * MEMBER_BYTES, member.data, MEMBER_BYTES);
    uint64_t most = 0;
    for (int i = 0; i < TRIES && most < FULL; i++) {
        most = most_in_flight(&tar);
        cr_expect_leq(most, IN_FLIGHT_MAX, "%llu KiB were", (unsigned long long)most >> 10);
    }
    cr_log_info("at most %llu KiB were in flight", (unsigned long long)most >> 10);
    cr_expect_geq(most, FULL, "the test fills what there is to fill");
}

Test(convert, a_piece_of_all_bytes_that_a_file_can_have_is_refused)
{
    struct bytes tar = {0};
    tars_append_sparse(&tar, "huge", 0, INT64_MAX, INT64_MAX);
    tars_end(&tar);
    struct convert_request request = request_for(LAYER_PLAIN, &tar, &tar);
    cleanup_fd int output = output_file();
    struct outcome outcome = convert_blob(&request, &tar, output);
    expect_failure(&outcome, ERROR_LAYER_TOO_LARGE, "huge");
}

Test(convert, deadlines_are_sane_for_any_limit)
{
    cr_expect_eq(convert_limits_default(UINT64_C(20) << 30).deadline_seconds, 1324);
    cr_expect_eq(convert_limits_default(UINT64_C(1) << 60).deadline_seconds, 7 * 24 * 3600,
                 "an exbibyte does not wrap around");
}

/* What a process gives up on its way is told by test_box.c; here, that a conversion does it. */
Test(convert, a_blob_is_read_by_a_process_that_has_closed_its_box)
{
    struct bytes tar = tar_of("file", 1 << 20);
    struct convert_request request = request_for(LAYER_PLAIN, &tar, &tar);
    cleanup_fd int output = output_file();
    struct error error = {0};
    struct converter *converter = converter_start(&request, output, &error);
    cr_assert_not_null(converter, "%s", error.message);
    cr_assert(converter_write(converter, tar.data, 1000, &error), "%s", error.message);
    const pid_t pid = boxes_child();
    boxes_expect_sealed(pid, CONVERT_THREADS, request.limits.deadline_seconds);
    converter_free(converter);
}

Test(convert, a_killed_process_is_a_clear_failure_and_leaves_nothing)
{
    struct bytes tar = tar_of("file", 1 << 20);
    struct convert_request request = request_for(LAYER_PLAIN, &tar, &tar);
    cleanup_fd int output = output_file();
    unsigned descriptors = open_descriptors(); /* no nursery yet */
    struct error error = {0};
    struct converter *converter = converter_start(&request, output, &error);
    cr_assert_not_null(converter);
    cr_assert(converter_write(converter, tar.data, 1000, &error), "%s", error.message);
    cr_assert_eq(kill(boxes_child(), SIGKILL), 0);
    while (converter_write(converter, tar.data, 1000, &error))
        ;
    cr_expect_eq(error.code, ERROR_PULL_FAILED, "no SIGPIPE, but an error");
    struct convert_report report;
    cr_expect_not(converter_finish(converter, &report, &error));
    cr_expect(strstr(error.message, "SIGKILL"), "\"%s\" names the signal", error.message);
    converter_free(converter);
    boxes_expect_none();
    cr_expect_eq(open_descriptors(), descriptors, "no descriptor is left");
}

Test(convert, a_process_that_others_kill_says_nothing_against_its_layer)
{
    static const struct {
        int signal;
        enum error_code code;
        const char *said;
    } deaths[] = {
        {SIGKILL, ERROR_PULL_FAILED, "SIGKILL: not by this node"},
        {SIGTERM, ERROR_PULL_FAILED, "SIGTERM: not by this node"},
        {SIGABRT, ERROR_UNSUPPORTED_LAYER, "SIGABRT: it crashed"},
        {SIGSYS, ERROR_UNSUPPORTED_LAYER, "SIGSYS: it made a system call"},
        {SIGXCPU, ERROR_UNSUPPORTED_LAYER, "(--convert-timeout)"},
        {SIGSEGV, ERROR_UNSUPPORTED_LAYER, "SIGSEGV: it crashed"}, /* ASan takes this one */
    };
    struct bytes tar = tar_of("file", 4096);
    struct convert_request request = request_for(LAYER_PLAIN, &tar, &tar);
    for (size_t i = 0; i < sizeof(deaths) / sizeof(deaths[0]) - SANITIZED; i++) {
        cleanup_fd int output = output_file();
        struct error error = {0};
        struct converter *converter = converter_start(&request, output, &error);
        cr_assert_not_null(converter);
        cr_assert_eq(kill(boxes_child(), deaths[i].signal), 0);
        pid_t nursery = boxes_nursery();
        struct convert_report report;
        cr_expect_not(converter_finish(converter, &report, &error));
        cr_expect_eq(error.code, deaths[i].code, "%s", error.message);
        cr_expect(strstr(error.message, deaths[i].said), "\"%s\" names it", error.message);
        converter_free(converter);
        bool crashed = strstr(error.message, "it crashed") || strstr(error.message, "system call");
        cr_expect_eq(kill(nursery, 0) != 0, crashed, "a crash ends the nursery, nothing else does");
    }
}

Test(convert, a_conversion_that_is_given_up_leaves_nothing)
{
    struct bytes tar = tar_of("file", 1 << 20);
    struct convert_request request = request_for(LAYER_PLAIN, &tar, &tar);
    cleanup_fd int output = output_file();
    unsigned descriptors = open_descriptors(); /* no nursery yet */
    struct error error = {0};
    struct converter *converter = converter_start(&request, output, &error);
    cr_assert_not_null(converter);
    cr_assert(converter_write(converter, tar.data, 1000, &error));
    converter_free(converter);
    boxes_expect_none();
    cr_expect_eq(open_descriptors(), descriptors, "no descriptor is left");
    converter_free(NULL);
}

Test(convert, a_crash_that_nobody_asks_about_ends_the_nursery_too)
{
    struct bytes tar = tar_of("file", 4096);
    struct convert_request request = request_for(LAYER_PLAIN, &tar, &tar);
    cleanup_fd int output = output_file();
    struct error error = {0};
    struct converter *converter = converter_start(&request, output, &error);
    cr_assert_not_null(converter, "%s", error.message);
    const pid_t nursery = boxes_nursery();
    const pid_t child = boxes_child();
    cr_assert_eq(kill(child, SIGABRT), 0);
    while (boxes_said_of(child, "status", "State")[0] != 'Z')
        sched_yield();
    converter_free(converter);
    cr_expect_neq(kill(nursery, 0), 0);
    boxes_expect_none();
}

Test(convert, a_process_that_does_not_go_on_is_killed_at_its_deadline)
{
    struct bytes tar = tar_of("file", 8 << 20);
    struct convert_request request = request_for(LAYER_PLAIN, &tar, &tar);
    request.limits.deadline_seconds = 1;
    cleanup_fd int output = output_file();
    struct error error = {0};
    struct converter *converter = converter_start(&request, output, &error);
    cr_assert_not_null(converter);
    cr_assert_eq(kill(boxes_child(), SIGSTOP), 0);
    cr_expect_not(converter_write(converter, tar.data, tar.size, &error));
    struct convert_report report;
    cr_expect_not(converter_finish(converter, &report, &error));
    cr_expect_eq(error.code, ERROR_UNSUPPORTED_LAYER);
    cr_expect(strstr(error.message, "limit of 1 seconds"), "\"%s\" names the limit", error.message);
    converter_free(converter);
}

Test(convert, a_cancel_ends_a_process_that_keeps_us_waiting)
{
    struct bytes tar = tar_of("file", 8 << 20);
    struct convert_request request = request_for(LAYER_PLAIN, &tar, &tar);
    for (int finish_early = 0; finish_early < 2; finish_early++) {
        cleanup_fd int output = output_file();
        atomic_bool cancel = true;
        struct error error = {0};
        struct converter *converter = converter_start(&request, output, &error);
        cr_assert_not_null(converter);
        converter_set_cancel(converter, &cancel);
        cr_assert_eq(kill(boxes_child(), SIGSTOP), 0);
        if (!finish_early)
            cr_expect_not(converter_write(converter, tar.data, tar.size, &error));
        struct convert_report report;
        cr_expect_not(converter_finish(converter, &report, &error));
        cr_expect_eq(error.code, ERROR_PULL_CANCELLED, "%s", error.message);
        converter_free(converter);
        boxes_expect_none();
    }
}

Test(convert, a_disk_that_is_full_is_told_at_once)
{
    struct bytes tar = tar_of("file", 1 << 20);
    struct convert_request request = request_for(LAYER_PLAIN, &tar, &tar);
    cleanup_fd int full = open("/dev/full", O_RDWR | O_CLOEXEC);
    cr_assert_geq(full, 0);
    struct outcome outcome = convert_blob(&request, &tar, full);
    expect_failure(&outcome, ERROR_STORAGE_FULL, "");
}

/* Whoever syncs the file later is not told of it again. */
Test(convert, a_layer_that_could_not_be_flushed_on_the_way_is_refused)
{
    struct bytes tar = tar_of("large", 100 << 20); /* three flushes */
    struct convert_request request = request_for(LAYER_PLAIN, &tar, &tar);
    cleanup_fd int output_fd = output_file();
    cr_assert_eq(fchmod(output_fd, S_IRUSR | S_IWUSR | S_ISVTX), 0);
    struct outcome outcome = convert_blob(&request, &tar, output_fd);
    expect_failure(&outcome, ERROR_INTERNAL, "the layer file: cannot flush the file: Input/output");
    cr_expect_lt(size_of(output_fd), (off_t)tar.size, "that was told before all was written");
}

struct slow_disk {
    struct bytes tar;
    int output_fd;
    atomic_bool over;
    struct outcome outcome;
};

static void *convert_to_slow_disk(void *context)
{
    struct slow_disk *disk = context;
    struct convert_request request = request_for(LAYER_PLAIN, &disk->tar, &disk->tar);
    disk->outcome = convert_blob(&request, &disk->tar, disk->output_fd);
    disk->over = true;
    return NULL;
}

/* Whoever cancels it waits for what the disk has not taken yet. */
Test(convert, a_disk_that_is_slow_is_waited_for_on_the_way)
{
    const off_t lead_bytes = 64 << 20;
    const off_t piece_bytes = 1 << 20;
    cleanup_fd int output_fd = output_file();
    struct slow_disk disk = {.tar = tar_of("large", 160 << 20), .output_fd = output_fd};
    cr_assert_eq(fchmod(output_fd, S_IRUSR | S_IWUSR | S_IXOTH), 0);
    pthread_t thread;
    cr_assert_eq(pthread_create(&thread, NULL, convert_to_slow_disk, &disk), 0);
    while (size_of(output_fd) < lead_bytes && !disk.over)
        nap_ms(1);
    nap_ms(300);
    cr_expect_not(disk.over, "%s", disk.outcome.error.message);
    cr_expect_leq(size_of(output_fd), lead_bytes + piece_bytes);
    cr_assert_eq(fchmod(output_fd, S_IRUSR | S_IWUSR), 0);
    pthread_join(thread, NULL);
    cr_expect(disk.outcome.succeeded, "%s", disk.outcome.error.message);
}

/* A process that had inherited another's input would keep it from ever ending. */
Test(convert, conversions_side_by_side_end_each_by_itself)
{
    enum { COUNT = 4 };
    struct bytes tar = tar_of("file", 1 << 20);
    struct convert_request request = request_for(LAYER_PLAIN, &tar, &tar);
    struct converter *converters[COUNT];
    int outputs[COUNT];
    struct error error = {0};
    for (size_t i = 0; i < COUNT; i++) {
        outputs[i] = output_file();
        converters[i] = converter_start(&request, outputs[i], &error);
        cr_assert_not_null(converters[i], "%s", error.message);
    }
    for (size_t i = 0; i < COUNT; i++) {
        struct convert_report report;
        cr_expect(converter_write(converters[i], tar.data, tar.size, &error), "%s", error.message);
        cr_expect(converter_finish(converters[i], &report, &error), "%s", error.message);
        cr_expect_eq(converter_tar_bytes(converters[i]), tar.size, "progress came to its end");
        converter_free(converters[i]);
        close(outputs[i]);
    }
}
