/* store/load/archive_images.h: an archive of hostile members. The input is a sequence of
 * members: one byte says which of a few names it has (or that it is a link to one), two say
 * how many bytes follow as its content. "@0" to "@9" in a document stand for the digest of
 * the blob of that number, with its size: mutations would never find those. */
#include "store/load/archive_images.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

enum { MAX_MEMBERS = 24, BLOBS = 10, ROOM_BYTES = 1 << 20 };

static const char *const names[] = {
    "index.json", "manifest.json", "config.json", "a/layer.tar", "b/layer.tar", "c", "oci-layout",
};
enum { NAME_COUNT = sizeof(names) / sizeof(names[0]) };

struct input {
    const uint8_t *data;
    size_t left;
    char *room; /* the members' bytes, one behind the other */
    size_t used;
    struct archive_member members[MAX_MEMBERS];
    size_t count;
    char digests[BLOBS][DIGEST_TEXT_SIZE];
    size_t blob_count;
    size_t blob_sizes[BLOBS];
};

static uint8_t take(struct input *input)
{
    if (input->left == 0)
        return 0;
    input->left--;
    return *input->data++;
}

static void put(struct input *input, const char *bytes, size_t size)
{
    if (size > ROOM_BYTES - input->used)
        size = ROOM_BYTES - input->used;
    memcpy(input->room + input->used, bytes, size);
    input->used += size;
}

/* Copies the content, with the placeholders filled in. */
static void copy(struct input *input, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        char c = (char)take(input);
        size_t blob = input->left > 0 ? (size_t)(*input->data - '0') : BLOBS;
        if (c != '@' || i + 1 == size || blob >= input->blob_count) {
            put(input, &c, 1);
            continue;
        }
        char text[256];
        int length = snprintf(text, sizeof(text), "\"digest\":\"%s\",\"size\":%zu",
                              input->digests[blob], input->blob_sizes[blob]);
        put(input, text, (size_t)length);
        (void)take(input);
        i++;
    }
}

static void name_blob(struct input *input, struct archive_member *member)
{
    struct digest digest = digest_of(input->room + member->offset, member->size_bytes);
    char hex[DIGEST_HEX_SIZE];
    digest_format_hex(&digest, hex);
    snprintf(member->name, sizeof(member->name), "blobs/sha256/%s", hex);
    if (input->blob_count == BLOBS)
        return;
    digest_format(&digest, input->digests[input->blob_count]);
    input->blob_sizes[input->blob_count++] = member->size_bytes;
}

static void add_member(struct input *input)
{
    struct archive_member *member = &input->members[input->count];
    uint8_t kind = take(input);
    size_t size = take(input);
    size = size << 8 | take(input);
    *member = (struct archive_member){.offset = input->used, .number = (uint32_t)input->count};
    input->count++;
    if (kind >= 0xf0) {
        member->type = kind % 2 ? ARCHIVE_SYMLINK : ARCHIVE_HARD_LINK;
        snprintf(member->name, sizeof(member->name), "%s", names[size % NAME_COUNT]);
        snprintf(member->target, sizeof(member->target), "../%s", names[kind % NAME_COUNT]);
        return;
    }
    copy(input, size < input->left ? size : input->left);
    member->size_bytes = input->used - member->offset;
    if (kind % (NAME_COUNT + 1) == NAME_COUNT)
        name_blob(input, member);
    else
        snprintf(member->name, sizeof(member->name), "%s", names[kind % (NAME_COUNT + 1)]);
}

static void check_image(const struct archive *archive, const struct archive_image *image)
{
    char text[REFERENCE_TEXT_SIZE];
    struct reference again;
    struct error error;
    reference_format(&image->reference, text);
    assert(reference_parse(text, &again, &error) && reference_equal(&again, &image->reference));
    assert(image->manifest.layer_count == image->config.diff_id_count);
    for (size_t i = 0; i < image->manifest.layer_count; i++) {
        const struct archive_member *layer = image->layers[i];
        assert(layer >= archive->members && layer < archive->members + archive->member_count);
        assert(layer->type == ARCHIVE_FILE);
        assert(layer->size_bytes == image->manifest.layers[i].blob.size_bytes);
    }
}

static void list(struct input *input, int fd, const struct platform *platform)
{
    cleanup_arena struct arena arena = {0};
    struct archive archive = {.fd = fd, .members = input->members, .member_count = input->count};
    struct archive_images images;
    struct error error = {0};
    struct reference reference;
    assert(reference_parse("q.io/given:1", &reference, &error));
    const struct archive_choice choice = {platform ? &reference : NULL, platform, 128};
    if (!archive_list_images(&archive, &choice, &arena, &images, &error)) {
        assert(error.code == ERROR_INVALID_ARGUMENT || error.code == ERROR_INVALID_REFERENCE ||
               error.code == ERROR_UNSUPPORTED_MANIFEST || error.code == ERROR_PLATFORM_NOT_FOUND);
        return;
    }
    assert(images.count > 0 && images.count <= ARCHIVE_MAX_IMAGES);
    for (size_t i = 0; i < images.count; i++) {
        check_image(&archive, &images.images[i]);
        assert(!platform || platform_rank(platform, &images.images[i].platform) >= 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
    static struct input input;
    input = (struct input){.data = data, .left = size_bytes};
    cleanup_fd int fd = memfd_create("archive", MFD_CLOEXEC);
    assert(fd >= 0 && ftruncate(fd, ROOM_BYTES) == 0);
    input.room = mmap(NULL, ROOM_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert(input.room != MAP_FAILED);
    while (input.left > 0 && input.count < MAX_MEMBERS)
        add_member(&input);
    struct archive archive = {.members = input.members, .member_count = input.count};
    archive_sort(&archive);
    struct platform arm;
    struct error error;
    assert(platform_parse("linux/arm64", &arm, &error));
    list(&input, fd, NULL);
    list(&input, fd, &arm);
    munmap(input.room, ROOM_BYTES);
    return 0;
}
