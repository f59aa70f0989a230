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

/* A file of ten digits on its way into memory. */
struct reading {
    FILE *file;
    sem_t done;
    struct file_sender *sender;
    struct file_sending sending;
};

static void begin(struct reading *reading, const struct file_part *parts, size_t part_count,
                  char *memory, size_t memory_size)
{
    reading->file = tmpfile();
    cr_assert(reading->file && fputs("0123456789", reading->file) >= 0);
    cr_assert_eq(fflush(reading->file), 0);
    sem_init(&reading->done, 0, 0);
    reading->sender = start();
    reading->sending = (struct file_sending){.socket_fd = -1,
                                             .memory = memory,
                                             .memory_size = memory_size,
                                             .file_fd = fileno(reading->file),
                                             .parts = parts,
                                             .part_count = part_count,
                                             .done = post,
                                             .context = &reading->done};
}

static void read_piece(struct reading *reading)
{
    reading->sending.read_bytes = 0;
    cr_assert(file_sender_submit(reading->sender, &reading->sending));
    sem_wait(&reading->done);
}

static void end(struct reading *reading)
{
    file_sender_stop(reading->sender);
    file_sender_free(reading->sender);
    sem_destroy(&reading->done);
    fclose(reading->file);
}

Test(file_sender, memory_is_filled_piece_by_piece_on_one_thread)
{
    static const struct file_part parts[] = {
        {.head = "first ", .head_size = 6, .offset = 2, .size_bytes = 3},
        {.head = "", .head_size = 0, .offset = 0, .size_bytes = 0},
        {.head = " last", .head_size = 5, .offset = 9, .size_bytes = 1},
    };
    char memory[4];
    char all[32] = "";
    struct reading reading;
    const struct sending_thread *thread = NULL;
    begin(&reading, parts, 3, memory, sizeof(memory));
    while (reading.sending.part < reading.sending.part_count) {
        read_piece(&reading);
        cr_assert(!reading.sending.failed);
        cr_expect(!thread || thread == reading.sending.thread, "one that hangs holds up no other");
        thread = reading.sending.thread;
        strncat(all, memory, reading.sending.read_bytes);
    }
    cr_expect_str_eq(all, "first 234 last9");
    end(&reading);
}

Test(file_sender, a_file_that_is_shorter_fails)
{
    static const struct file_part part = {.head = "", .offset = 0, .size_bytes = 20};
    char memory[64];
    struct reading reading;
    begin(&reading, &part, 1, memory, sizeof(memory));
    read_piece(&reading);
    cr_expect(reading.sending.failed);
    cr_expect_eq(reading.sending.read_bytes, 10, "what there was may still be sent");
    end(&reading);
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
