#include "archives.h"
#include "boxes.h"
#include "store/load/unpack.h"
#include "tars.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

TestSuite(archive, .fini = blobs_free, .timeout = 60);

static struct outcome unpack(const struct bytes *body)
{
    return archives_unpack((struct body){.bytes = *body, .piece = 10000}, &ample_limits);
}

static void expect_refusal(struct outcome outcome, enum error_code code, const char *fragment)
{
    cr_expect_not(outcome.succeeded, "\"%s\" was expected", fragment);
    cr_expect_eq(outcome.error.code, code, "%s was expected, not %s: %s", error_code_name(code),
                 error_code_name(outcome.error.code), outcome.error.message);
    cr_expect(strstr(outcome.error.message, fragment), "\"%s\" tells of \"%s\"",
              outcome.error.message, fragment);
    archives_forget(&outcome);
}

static void expect_content(struct outcome *outcome, const char *name, const char *content)
{
    const struct archive_member *member = archive_find(&outcome->archive, name);
    struct archive_document document;
    cr_assert_not_null(member, "there is \"%s\"", name);
    cr_assert(archive_read_document(&outcome->archive, member, &outcome->arena, &document,
                                    &outcome->error),
              "%s", outcome->error.message);
    cr_expect_str_eq(document.bytes, content, "the content of \"%s\"", name);
    struct digest digest = digest_of(content, strlen(content));
    cr_expect(digest_equal(&document.digest, &digest), "and its digest");
}

static struct bytes small_archive(void)
{
    struct bytes tar = {0};
    tars_append_header(&tar, "blobs/", '5', "", 0);
    tars_append_file(&tar, "blobs/one", "first", 5);
    tars_append_file(&tar, "./index.json", "{}", 2);
    tars_append_file(&tar, "/empty", "", 0);
    tars_end(&tar);
    return tar;
}

Test(archive, any_compression_of_it_gives_the_same_members)
{
    struct bytes bodies[3] = {small_archive(), {0}, {0}};
    blobs_append_gzip_member(&bodies[1], bodies[0].data, 700);
    blobs_append_gzip_member(&bodies[1], bodies[0].data + 700, bodies[0].size - 700);
    blobs_append_zstd_frame(&bodies[2], bodies[0].data, bodies[0].size);
    for (size_t i = 0; i < 3; i++) {
        for (size_t piece = 1; piece < 20000; piece = piece * 7 + 1) {
            struct outcome outcome =
                archives_unpack((struct body){.bytes = bodies[i], .piece = piece}, &ample_limits);
            cr_assert(outcome.succeeded, "%s", outcome.error.message);
            cr_expect_eq(outcome.archive.member_count, 3, "directories are left out");
            expect_content(&outcome, "blobs/one", "first");
            expect_content(&outcome, "index.json", "{}");
            expect_content(&outcome, "empty", "");
            cr_expect_null(archive_find(&outcome.archive, "blobs"));
            cr_expect_null(archive_find(&outcome.archive, "one"));
            archives_forget(&outcome);
        }
    }
}

Test(archive, of_members_with_one_name_the_last_counts)
{
    struct bytes tar = {0};
    tars_append_file(&tar, "a", "old", 3);
    tars_append_file(&tar, "b", "b", 1);
    tars_append_file(&tar, "./a", "new", 3);
    tars_append_file(&tar, "c", "c", 1);
    tars_end(&tar);
    struct outcome outcome = unpack(&tar);
    cr_assert(outcome.succeeded, "%s", outcome.error.message);
    expect_content(&outcome, "a", "new");
    archives_forget(&outcome);
}

Test(archive, links_are_followed_within_the_archive_and_never_out_of_it)
{
    struct bytes tar = {0};
    tars_append_header(&tar, "two/layer.tar", '2', "../one/layer.tar", 0);
    tars_append_file(&tar, "one/layer.tar", "layer", 5);
    tars_append_header(&tar, "three/layer.tar", '2', "../two/./layer.tar", 0);
    tars_append_header(&tar, "four/layer.tar", '1', "./one/layer.tar", 0);
    tars_append_header(&tar, "out", '2', "../../../../one/layer.tar", 0);
    tars_append_header(&tar, "absolute", '2', "/one/layer.tar", 0);
    tars_append_header(&tar, "passwd", '2', "/etc/passwd", 0);
    tars_append_header(&tar, "loop", '2', "pool", 0);
    tars_append_header(&tar, "pool", '2', "loop", 0);
    tars_end(&tar);
    struct outcome outcome = unpack(&tar);
    cr_assert(outcome.succeeded, "%s", outcome.error.message);
    const char *const same[] = {"one/layer.tar",        "two/layer.tar", "three/layer.tar",
                                "four/layer.tar",       "out",           "absolute",
                                "two/../one//layer.tar"};
    for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++)
        expect_content(&outcome, same[i], "layer");
    cr_expect_null(archive_find(&outcome.archive, "passwd"));
    cr_expect_null(archive_find(&outcome.archive, "loop"));
    archives_forget(&outcome);
}

Test(archive, what_people_send_by_mistake_is_named)
{
    static const struct {
        const char *body;
        const char *message;
    } cases[] = {
        {"", "the body is empty"},
        {"PK\3\4 and so on", "looks like a zip file"},
        {"\375"
         "7zXZ and so on",
         "compressed with xz"},
        {"{\"reference\": 1}", "looks like JSON"},
        {"x", "is no tar archive"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct bytes body = {0};
        blobs_append(&body, cases[i].body, strlen(cases[i].body));
        expect_refusal(unpack(&body), ERROR_INVALID_ARGUMENT, cases[i].message);
    }
    struct bytes text = blobs_sample(100000);
    struct bytes gzip = {0};
    blobs_append_gzip_member(&gzip, text.data, text.size);
    expect_refusal(unpack(&text), ERROR_INVALID_ARGUMENT, "is no tar archive");
    expect_refusal(unpack(&gzip), ERROR_INVALID_ARGUMENT, "is no tar archive");
}

Test(archive, a_cut_or_damaged_archive_is_told_from_a_foreign_one)
{
    struct bytes sample = blobs_sample(300000);
    struct bytes tar = {0};
    tars_append_file(&tar, "some/file", sample.data, sample.size);
    tars_end(&tar);
    struct bytes gzip = {0};
    struct bytes zstd = {0};
    blobs_append_gzip_member(&gzip, tar.data, tar.size);
    blobs_append_zstd_frame(&zstd, tar.data, tar.size);
    expect_refusal(unpack(&(struct bytes){tar.data, 200000}), ERROR_INVALID_ARGUMENT, "some/file");
    expect_refusal(unpack(&(struct bytes){gzip.data, gzip.size - 9}), ERROR_INVALID_ARGUMENT,
                   "the archive is damaged: the gzip blob is cut off");
    expect_refusal(unpack(&(struct bytes){zstd.data, zstd.size / 2}), ERROR_INVALID_ARGUMENT,
                   "the archive is damaged: the zstd blob is cut off");
    gzip.data[gzip.size / 2] ^= 0x10;
    expect_refusal(unpack(&gzip), ERROR_INVALID_ARGUMENT, "the archive is damaged");
}

Test(archive, limits_are_named_with_their_flags)
{
    struct bytes sample = blobs_sample(300000);
    struct bytes tar = {0};
    tars_append_file(&tar, "one", sample.data, sample.size);
    tars_append_file(&tar, "two", sample.data, sample.size);
    tars_end(&tar);
    struct bytes gzip = {0};
    blobs_append_gzip_member(&gzip, tar.data, tar.size);
    const struct archive_limits member = {1 << 30, 299999};
    const struct archive_limits archive = {400000, 1 << 30};
    const struct body body = {.bytes = tar, .piece = 1 << 20};
    const struct body compressed = {.bytes = gzip, .piece = 1 << 20};
    expect_refusal(archives_unpack(body, &member), ERROR_LAYER_TOO_LARGE, "--max-layer-bytes");
    expect_refusal(archives_unpack(body, &archive), ERROR_PAYLOAD_TOO_LARGE, "--max-archive-bytes");
    expect_refusal(archives_unpack(compressed, &archive), ERROR_PAYLOAD_TOO_LARGE,
                   "--max-archive-bytes");
}

Test(archive, a_file_of_holes_counts_with_its_whole_size)
{
    struct bytes tar = {0};
    tars_append_hole(&tar, "hole", 300000);
    tars_append_file(&tar, "after", "bytes", 5);
    tars_append_hole(&tar, "another", 300000);
    tars_end(&tar);
    const struct archive_limits archive = {600004, 1 << 30};
    const struct body body = {.bytes = tar, .piece = 1 << 20};
    expect_refusal(archives_unpack(body, &archive), ERROR_PAYLOAD_TOO_LARGE, "--max-archive-bytes");
    struct outcome outcome = unpack(&tar);
    char last = 'x';
    cr_assert(outcome.succeeded, "%s", outcome.error.message);
    const struct archive_member *hole = archive_find(&outcome.archive, "another");
    cr_expect_eq(hole->size_bytes, 300000);
    cr_expect(archive_read(&outcome.archive, hole, 299999, &last, 1, &outcome.error), "%s",
              outcome.error.message);
    cr_expect_eq(last, 0, "and reads as zeros");
    expect_content(&outcome, "after", "bytes");
    archives_forget(&outcome);
}

Test(archive, more_files_than_images_have_is_no_archive_of_images)
{
    enum { BLOCK_BYTES = 512, COUNT = ARCHIVE_MAX_MEMBERS + 1 };
    struct bytes header = {0};
    struct bytes tar = blobs_zeros((size_t)COUNT * BLOCK_BYTES);
    tars_append_header(&header, "a", '0', "", 0);
    for (size_t i = 0; i < COUNT; i++)
        memcpy(tar.data + i * BLOCK_BYTES, header.data, BLOCK_BYTES);
    expect_refusal(unpack(&tar), ERROR_INVALID_ARGUMENT, "more than 16384 files");
    tar.size -= BLOCK_BYTES;
    struct outcome outcome = unpack(&tar);
    cr_expect(outcome.succeeded, "%s", outcome.error.message);
    archives_forget(&outcome);
}

Test(archive, a_sender_that_goes_is_told_as_such)
{
    const struct body body = {.bytes = small_archive(), .piece = 100, .breaks_off = true};
    expect_refusal(archives_unpack(body, &ample_limits), ERROR_PULL_CANCELLED,
                   "the sender has gone");
}

/* A body whose first piece finds the process that it is for, and stops it. */
struct stopping_body {
    struct body body;
    bool has_stopped;
};

static bool stop_and_give(void *context, const void **bytes, size_t *size_bytes,
                          struct error *error)
{
    struct stopping_body *stopping = context;
    if (!stopping->has_stopped)
        cr_assert_eq(kill(boxes_child(), SIGSTOP), 0);
    stopping->has_stopped = true;
    return archives_next_piece(&stopping->body, bytes, size_bytes, error);
}

/* While it is fed (its socket is full) and when all is sent. */
Test(archive, a_process_that_does_not_go_on_is_killed_at_its_deadline)
{
    const struct bytes bodies[] = {blobs_zeros(8 << 20), small_archive()};
    for (size_t i = 0; i < 2; i++) {
        struct stopping_body body = {.body = {.bytes = bodies[i], .piece = 1 << 20}};
        const struct tar_source source = {stop_and_give, &body};
        cleanup_fd int fd = archives_scratch_file();
        cleanup_arena struct arena arena = {0};
        struct archive archive;
        struct error error = {0};
        cr_expect_not(unpack_within(1, &source, &ample_limits, fd, &arena, &archive, &error));
        cr_expect_eq(error.code, ERROR_INVALID_ARGUMENT, "%s", error.message);
        cr_expect(strstr(error.message, "limit of 1 seconds"), "\"%s\" names it", error.message);
        boxes_expect_none();
    }
}

Test(archive, a_disk_that_is_full_is_told)
{
    struct bytes tar = small_archive();
    struct body body = {.bytes = tar, .piece = 100};
    const struct tar_source source = {archives_next_piece, &body};
    cleanup_fd int full = open("/dev/full", O_RDWR | O_CLOEXEC);
    cleanup_arena struct arena arena = {0};
    struct archive archive;
    struct error error = {0};
    cr_expect_not(archive_unpack(&source, &ample_limits, full, &arena, &archive, &error));
    cr_expect_eq(error.code, ERROR_STORAGE_FULL, "%s", error.message);
}

Test(archive, documents_are_bounded_one_by_one_and_together)
{
    struct bytes zeros = blobs_zeros(ARCHIVE_MAX_DOCUMENT_BYTES + 1);
    struct bytes tar = {0};
    tars_append_file(&tar, "large", zeros.data, zeros.size);
    tars_append_file(&tar, "fits", zeros.data, zeros.size - 1);
    tars_end(&tar);
    struct outcome outcome = unpack(&tar);
    cr_assert(outcome.succeeded, "%s", outcome.error.message);
    struct archive *archive = &outcome.archive;
    struct archive_document document;
    cr_expect_not(archive_read_document(archive, archive_find(archive, "large"), &outcome.arena,
                                        &document, &outcome.error));
    cr_expect(strstr(outcome.error.message, "\"large\" has more than"), "%s",
              outcome.error.message);
    const struct archive_member *fits = archive_find(archive, "fits");
    for (int i = 0; i < ARCHIVE_MAX_DOCUMENTS_BYTES / ARCHIVE_MAX_DOCUMENT_BYTES; i++)
        cr_assert(archive_read_document(archive, fits, &outcome.arena, &document, &outcome.error),
                  "%s", outcome.error.message);
    cr_expect_not(archive_read_document(archive, fits, &outcome.arena, &document, &outcome.error));
    cr_expect(strstr(outcome.error.message, "together"), "%s", outcome.error.message);
    archives_forget(&outcome);
}

/* As a process that hostile bytes have taken over might write it. */
Test(archive, a_table_that_lies_is_not_believed)
{
    struct archive_member good[2] = {{.name = "a", .size_bytes = 10},
                                     {.name = "b", .number = 1, .offset = 10, .size_bytes = 6}};
    struct {
        const char *what;
        struct archive_member members[2];
        struct unpack_report report;
    } cases[] = {
        {"no end", {good[0], good[1]}, {2, 16}},
        {"no kind", {good[0], good[1]}, {2, 16}},
        {"no kind, or out of order", {good[0], good[0]}, {2, 16}},
        {"outside", {good[0], good[1]}, {2, 16}},
        {"outside", {good[0], good[1]}, {2, 16}},
        {"fit", {good[0], good[1]}, {3, 16}},
        {"fit", {good[0], good[1]}, {UINT64_MAX / 2, 16}},
        {"fit", {good[0], good[1]}, {2, UINT64_MAX}},
    };
    memset(cases[0].members[1].name, 'x', ARCHIVE_NAME_SIZE);
    cases[1].members[0].type = 7;
    cases[3].members[1].size_bytes = 7;
    cases[4].members[1].offset = UINT64_MAX - 2;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        cleanup_fd int fd = archives_scratch_file();
        cleanup_arena struct arena arena = {0};
        struct archive archive;
        struct error error = {0};
        cr_assert_eq(pwrite(fd, cases[i].members, sizeof(good), 16), sizeof(good));
        cr_expect_not(unpack_read_table(fd, &cases[i].report, &arena, &archive, &error), "case %zu",
                      i);
        cr_expect(strstr(error.message, cases[i].what), "case %zu: \"%s\"", i, error.message);
    }
    cleanup_fd int fd = archives_scratch_file();
    cleanup_arena struct arena arena = {0};
    struct archive archive;
    struct error error = {0};
    cr_assert_eq(pwrite(fd, good, sizeof(good), 16), sizeof(good));
    cr_expect(unpack_read_table(fd, &(struct unpack_report){2, 16}, &arena, &archive, &error), "%s",
              error.message);
}
