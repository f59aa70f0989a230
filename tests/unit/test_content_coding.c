#include "server/content_coding.h"

#include <criterion/criterion.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

enum { SIZE = 5000 };

Test(content_coding, what_a_client_likes_best_is_chosen)
{
    static const struct {
        const char *accepted;
        enum content_coding chosen;
    } cases[] = {
        {NULL, CODING_IDENTITY},
        {"", CODING_IDENTITY},
        {"gzip", CODING_GZIP},
        {"GZip", CODING_GZIP},
        {"x-gzip", CODING_GZIP},
        {"zstd", CODING_ZSTD},
        {"gzip, zstd", CODING_ZSTD},
        {"gzip, deflate, br, zstd", CODING_ZSTD},
        {"zstd;q=0.5, gzip", CODING_GZIP},
        {"zstd ; q=0.5 , gzip;q=0.501", CODING_GZIP},
        {"gzip;Q=1.000", CODING_GZIP},
        {"gzip;q=0", CODING_IDENTITY},
        {"gzip;q=0.000, zstd;q=0", CODING_IDENTITY},
        {"gzip;q=0.001", CODING_GZIP},
        {"identity", CODING_IDENTITY},
        {"identity;q=0.5, gzip;q=0.4", CODING_IDENTITY},
        {"identity;q=0.5, gzip;q=0.5", CODING_GZIP},
        {"deflate, br", CODING_IDENTITY},
        {"*", CODING_IDENTITY},
        {"gzip, *;q=0", CODING_GZIP},
        {"gzip;q=2", CODING_IDENTITY},
        {"gzip;q=1.001", CODING_IDENTITY},
        {"gzip;q=-1", CODING_IDENTITY},
        {"gzip;q=", CODING_IDENTITY},
        {"gzip;q", CODING_IDENTITY},
        {"gzip;level=1", CODING_IDENTITY},
        {"gzip zstd", CODING_IDENTITY},
        {"gzipped", CODING_IDENTITY},
        {", ,gzip,", CODING_GZIP},
        {";q=1", CODING_IDENTITY},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        cr_expect_eq(content_coding_choose(cases[i].accepted), cases[i].chosen,
                     "Accept-Encoding: %s", cases[i].accepted ? cases[i].accepted : "(none)");
}

static void fill(struct json_writer *out, size_t size)
{
    for (size_t i = 0; i < size; i++)
        json_append(out, &"abcdefgh"[i % 8], 1);
}

Test(content_coding, a_large_body_comes_back_from_either_coding)
{
    cleanup_json_writer struct json_writer plain = {0};
    cleanup_json_writer struct json_writer gzip = {0};
    cleanup_json_writer struct json_writer zstd = {0};
    char back[SIZE];
    fill(&plain, SIZE);
    fill(&gzip, SIZE);
    fill(&zstd, SIZE);
    cr_assert_eq(content_coding_apply(CODING_GZIP, &gzip), CODING_GZIP);
    z_stream stream = {.next_in = (unsigned char *)gzip.bytes,
                       .avail_in = (unsigned)gzip.size_bytes,
                       .next_out = (unsigned char *)back,
                       .avail_out = SIZE};
    cr_assert_eq(inflateInit2(&stream, 15 + 16), Z_OK);
    cr_assert_eq(inflate(&stream, Z_FINISH), Z_STREAM_END);
    inflateEnd(&stream);
    cr_assert(stream.total_out == SIZE && memcmp(back, plain.bytes, SIZE) == 0);
    cr_assert_eq(content_coding_apply(CODING_ZSTD, &zstd), CODING_ZSTD);
    memset(back, 0, SIZE);
    cr_assert_eq(ZSTD_decompress(back, SIZE, zstd.bytes, zstd.size_bytes), SIZE);
    cr_assert_arr_eq(back, plain.bytes, SIZE);
}

Test(content_coding, what_is_small_or_gains_nothing_stays_as_it_is)
{
    cleanup_json_writer struct json_writer small = {0};
    cleanup_json_writer struct json_writer noise = {0};
    fill(&small, 1023);
    unsigned random = 1;
    for (int i = 0; i < SIZE; i++) {
        random = random * 1103515245 + 12345;
        json_append(&noise, (char *)&random + 2, 1);
    }
    for (enum content_coding coding = CODING_GZIP; coding < CODING_COUNT; coding++) {
        cr_expect_eq(content_coding_apply(coding, &small), CODING_IDENTITY);
        cr_expect_eq(small.size_bytes, 1023);
        cr_expect_eq(content_coding_apply(coding, &noise), CODING_IDENTITY);
        cr_expect_eq(noise.size_bytes, SIZE);
    }
}
