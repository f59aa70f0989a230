/* The composer's process: what it makes is what compose_fsmeta() makes, and what becomes of it is
 * one image not composed. */
#include "boxes.h"
#include "layer_view.h"

#include "store/cleanup.h"
#include "store/composer.h"
#include "store/convert/sanitized.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>

enum {
    FILES = 600, /* more than one message takes */
    LAYERS = COMPOSER_MAX_LAYERS,
};

static struct compose_layer layers[LAYERS];
static const struct digest manifest_digest = {.bytes = {7}};

static void make_layers(void)
{
    static const char *const lines[] = {"d a\nf a/1 one\nf b 2\n", "w a/.wh.1\nf c 3 user.k=v\n"};
    struct compose_layer made[2];
    for (size_t i = 0; i < 2; i++) {
        struct bytes tar = tar_of(lines[i]);
        struct layer_result result;
        struct error error = {0};
        made[i] = (struct compose_layer){.fd = layer_of(tar, &wide_limits, &result, &error)};
        cr_assert_geq(made[i].fd, 0, "%s", error.message);
        made[i].size_bytes = result.erofs_size_bytes;
        made[i].diff_id.bytes[0] = (uint8_t)i;
        free(tar.at);
    }
    for (size_t i = 0; i < LAYERS; i++) {
        layers[i] = made[i % 2];
        if (i < FILES)
            layers[i].fd = fcntl(layers[i].fd, F_DUPFD_CLOEXEC, 0);
    }
    cr_assert_geq(layers[FILES - 1].fd, 0);
}

static int output_file(void)
{
    int fd = memfd_create("fsmeta", MFD_CLOEXEC);
    cr_assert_geq(fd, 0);
    return fd;
}

TestSuite(composer, .init = make_layers);

Test(composer, makes_what_it_would_make_outside_of_its_box)
{
    static const size_t counts[] = {0, 1, 2, FILES, LAYERS};
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        cleanup_fd int boxed = output_file();
        cleanup_fd int here = output_file();
        struct compose_result one = {0};
        struct compose_result other = {0};
        struct error error = {0};
        cr_assert(composer_run(layers, counts[i], &manifest_digest, 60, NULL, boxed, &one, &error),
                  "%s", error.message);
        cr_assert(compose_fsmeta(layers, counts[i], COMPOSE_MAX_TREE_BYTES, &manifest_digest, here,
                                 &other, &error),
                  "%s", error.message);
        cr_expect_eq(one.entries, other.entries);
        cr_expect_eq(one.fsmeta_size_bytes, other.fsmeta_size_bytes);
        struct digest digest = digest_of_fd(boxed);
        struct digest expected = digest_of_fd(here);
        cr_expect(digest_equal(&digest, &expected), "%zu layers", counts[i]);
    }
    boxes_expect_none();
}

Test(composer, tells_a_damaged_layer_by_its_name)
{
    struct compose_result result;
    struct error error = {0};
    cleanup_fd int output = output_file();
    cr_assert_eq(pwrite(layers[1].fd, "damage", 6, 1024), 6);
    cr_expect_not(composer_run(layers, 2, &manifest_digest, 60, NULL, output, &result, &error));
    cr_expect_eq(error.code, ERROR_DIGEST_MISMATCH, "%s", error.message);
    cr_expect(strstr(error.message, "layer sha256:01"), "\"%s\" names it", error.message);
}

Test(composer, refuses_more_layers_than_an_image_has)
{
    struct compose_result result;
    struct error error = {0};
    cr_expect_not(composer_run(layers, COMPOSER_MAX_LAYERS + 1, &manifest_digest, 60, NULL, -1,
                               &result, &error));
    cr_expect_eq(error.code, ERROR_UNSUPPORTED_MANIFEST);
}

/* --- what may become of the process --- */

/* So many entries that it is at work for a second. */
static void make_layers_large(void)
{
    enum { FILES = 3000, LINE_BYTES = 16 };
    char *lines = calloc(FILES, LINE_BYTES);
    cr_assert_not_null(lines);
    int used = 0;
    for (int i = 0; i < FILES; i++)
        used += snprintf(lines + used, LINE_BYTES, "f %d %d\n", i, i % 7);
    struct bytes tar = tar_of(lines);
    struct layer_result result;
    struct error error = {0};
    int fd = layer_of(tar, &wide_limits, &result, &error);
    cr_assert_geq(fd, 0, "%s", error.message);
    for (size_t i = 0; i < LAYERS; i++)
        layers[i] = (struct compose_layer){.fd = fd, .size_bytes = result.erofs_size_bytes};
    free(tar.at);
    free(lines);
}

struct fate {
    int signal;
    atomic_bool cancel; /* after that signal */
};

static void *bring_about(void *context)
{
    struct fate *fate = context;
    kill(boxes_child(), fate->signal);
    atomic_store(&fate->cancel, fate->signal == SIGSTOP);
    return NULL;
}

static void *look(void *context)
{
    const pid_t child = boxes_child();
    (void)context;
    boxes_wait_until_sealed(child);
    kill(child, SIGSTOP); /* lest it end meanwhile */
    boxes_expect_sealed(child, 1, 77);
    const uint64_t memory = UINT64_C(2560) << 20;
    const uint64_t margin = UINT64_C(64) << 20; /* of sandbox.c */
    cr_expect_eq(strtoull(boxes_said_of(child, "limits", "Max file size"), NULL, 10),
                 memory + margin);
    if (!SANITIZED)
        cr_expect_eq(strtoull(boxes_said_of(child, "limits", "Max address space"), NULL, 10),
                     memory);
    kill(child, SIGKILL);
    return NULL;
}

Test(composer, reads_layer_files_in_a_box_that_it_has_closed)
{
    struct compose_result result;
    struct error error = {0};
    pthread_t thread;
    cleanup_fd int output = output_file();
    make_layers_large();
    cr_assert_eq(pthread_create(&thread, NULL, look, NULL), 0);
    cr_expect_not(
        composer_run(layers, LAYERS, &manifest_digest, 77, NULL, output, &result, &error));
    cr_expect_eq(error.code, ERROR_PULL_FAILED, "%s", error.message);
    pthread_join(thread, NULL);
}

static enum error_code composed_with(int signal, unsigned deadline_seconds, bool cancelled,
                                     struct error *error)
{
    struct fate fate = {.signal = signal};
    struct compose_result result;
    pthread_t thread;
    cleanup_fd int output = output_file();
    *error = (struct error){0};
    make_layers_large();
    cr_assert_eq(pthread_create(&thread, NULL, bring_about, &fate), 0);
    cr_expect_not(composer_run(layers, LAYERS, &manifest_digest, deadline_seconds,
                               cancelled ? &fate.cancel : NULL, output, &result, error));
    pthread_join(thread, NULL);
    boxes_expect_none();
    return error->code;
}

Test(composer, that_is_killed_says_nothing_against_the_image)
{
    struct error error;
    cr_expect_eq(composed_with(SIGKILL, 60, false, &error), ERROR_PULL_FAILED, "%s", error.message);
}

Test(composer, that_crashes_is_the_fault_of_the_image)
{
    struct error error;
    cr_expect_eq(composed_with(SIGABRT, 60, false, &error), ERROR_UNSUPPORTED_LAYER, "%s",
                 error.message);
}

Test(composer, that_does_not_go_on_is_ended_at_its_deadline)
{
    struct error error;
    cr_expect_eq(composed_with(SIGSTOP, 1, false, &error), ERROR_UNSUPPORTED_LAYER);
    cr_expect(strstr(error.message, "limit of 1 seconds"), "\"%s\" names it", error.message);
}

Test(composer, is_ended_by_a_cancel)
{
    struct error error;
    cr_expect_eq(composed_with(SIGSTOP, 600, true, &error), ERROR_PULL_CANCELLED, "%s",
                 error.message);
}
