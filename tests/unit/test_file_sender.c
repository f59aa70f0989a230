#include "server/file_sender.h"

#include <criterion/criterion.h>
#include <semaphore.h>
#include <stdio.h>
#include <string.h>

static void post(struct file_sending *sending)
{
    sem_post(sending->context);
}

static struct file_sender *start(void)
{
    struct error error;
    struct file_sender *sender = file_sender_start(&error);
    cr_assert(sender, "%s", error.message);
    return sender;
}

Test(file_sender, memory_is_filled_piece_by_piece_on_one_thread)
{
    static const struct file_part parts[] = {
        {.head = "first ", .head_size = 6, .offset = 2, .size_bytes = 3},
        {.head = "", .head_size = 0, .offset = 0, .size_bytes = 0},
        {.head = " last", .head_size = 5, .offset = 9, .size_bytes = 1},
    };
    FILE *file = tmpfile();
    cr_assert(file && fputs("0123456789", file) >= 0 && fflush(file) == 0);
    char memory[4];
    char all[32] = "";
    sem_t done;
    sem_init(&done, 0, 0);
    struct file_sender *sender = start();
    struct file_sending sending = {.socket_fd = -1,
                                   .memory = memory,
                                   .memory_size = sizeof(memory),
                                   .file_fd = fileno(file),
                                   .parts = parts,
                                   .part_count = 3,
                                   .done = post,
                                   .context = &done};
    const struct sending_thread *thread = NULL;
    while (sending.part < sending.part_count) {
        sending.read_bytes = 0;
        cr_assert(file_sender_submit(sender, &sending));
        sem_wait(&done);
        cr_assert(!sending.failed);
        cr_expect(!thread || thread == sending.thread, "a file that hangs holds up one thread");
        thread = sending.thread;
        strncat(all, memory, sending.read_bytes);
    }
    cr_expect_str_eq(all, "first 234 last9");
    file_sender_stop(sender);
    file_sender_free(sender);
    sem_destroy(&done);
    fclose(file);
}

Test(file_sender, a_file_that_is_shorter_fails)
{
    static const struct file_part part = {.head = "", .offset = 0, .size_bytes = 20};
    FILE *file = tmpfile();
    cr_assert(file && fputs("0123456789", file) >= 0 && fflush(file) == 0);
    char memory[64];
    sem_t done;
    sem_init(&done, 0, 0);
    struct file_sender *sender = start();
    struct file_sending sending = {.socket_fd = -1,
                                   .memory = memory,
                                   .memory_size = sizeof(memory),
                                   .file_fd = fileno(file),
                                   .parts = &part,
                                   .part_count = 1,
                                   .done = post,
                                   .context = &done};
    cr_assert(file_sender_submit(sender, &sending));
    sem_wait(&done);
    cr_expect(sending.failed);
    cr_expect_eq(sending.read_bytes, 10, "what there was may still be sent");
    file_sender_stop(sender);
    file_sender_free(sender);
    sem_destroy(&done);
    fclose(file);
}

Test(file_sender, one_that_was_stopped_takes_no_more)
{
    static const struct file_part part = {.head = "x", .head_size = 1};
    struct file_sending sending = {.socket_fd = -1, .file_fd = -1, .parts = &part, .part_count = 1};
    struct file_sender *sender = start();
    file_sender_stop(sender);
    cr_expect_not(file_sender_submit(sender, &sending), "as an event loop may still try");
    file_sender_free(sender);
}
