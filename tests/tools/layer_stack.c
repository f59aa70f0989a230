/* layer_stack OUTDIR LAYER.tar…: converts plain tars, bottom to top, as a pull
 * would, into a blob directory:
 *
 *     OUTDIR/layers/sha256_<diff_id>.erofs
 *     OUTDIR/fsmeta/sha256_<digest of the diff_ids' text>.erofs
 *     OUTDIR/vmdk/sha256_<the same>.vmdk
 *
 * and prints {"fsmeta": path, "vmdk": path, "layers": [path…]}. On failure it prints
 * `Code: message` and exits with 1. LAYER_STACK_PIECE_BYTES is how much of a tar is
 * handed over at once. */
#include "store/cleanup.h"
#include "store/compose.h"
#include "store/layer.h"
#include "store/vmdk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PIECE_SIZE = 1024 * 1024, MAX_LAYERS = 1024, PATH_SIZE = 4096 };

struct file_source {
    int fd;
    const char *path;
    unsigned char *piece;
    size_t piece_size;
};

static bool next_piece(void *context, const void **bytes, size_t *size_bytes, struct error *error)
{
    struct file_source *source = context;
    ssize_t size = read(source->fd, source->piece, source->piece_size);
    if (size < 0)
        return error_set_errno(error, ERROR_INTERNAL, errno, "cannot read %s", source->path);
    *bytes = source->piece;
    *size_bytes = (size_t)size;
    return true;
}

static bool file_source_open(struct file_source *source, const char *path, struct error *error)
{
    *source = (struct file_source){.fd = open(path, O_RDONLY | O_CLOEXEC), .path = path};
    if (source->fd < 0)
        return error_set_errno(error, ERROR_INVALID_ARGUMENT, errno, "cannot open %s", path);
    const char *size = getenv("LAYER_STACK_PIECE_BYTES");
    source->piece_size = size ? strtoul(size, NULL, 10) : PIECE_SIZE;
    if (source->piece_size == 0 || source->piece_size > PIECE_SIZE)
        return error_set(error, ERROR_INVALID_ARGUMENT, "pieces have 1 to %d bytes", PIECE_SIZE);
    source->piece = malloc(source->piece_size);
    return source->piece || error_set(error, ERROR_INTERNAL, "out of memory");
}

static void file_source_close(struct file_source *source)
{
    if (source->fd >= 0)
        close(source->fd);
    free(source->piece);
}

static bool digest_of_file(struct file_source *source, struct digest *digest, struct error *error)
{
    cleanup_digest_state struct digest_state *state = digest_state_new();
    for (;;) {
        const void *bytes;
        size_t size;
        if (!next_piece(source, &bytes, &size, error))
            return false;
        if (size == 0)
            break;
        digest_state_update(state, bytes, size);
    }
    *digest = digest_state_finish(state);
    return lseek(source->fd, 0, SEEK_SET) == 0 ||
           error_set_errno(error, ERROR_INTERNAL, errno, "cannot rewind %s", source->path);
}

static int create_file(const char *path, struct error *error)
{
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0)
        error_set_errno(error, ERROR_INTERNAL, errno, "cannot create %s", path);
    return fd;
}

struct stack {
    const char *directory;
    size_t count;
    struct compose_layer layers[MAX_LAYERS];
    char *paths[MAX_LAYERS]; /* relative to `directory` */
};

static char *blob_name(const char *folder, const struct digest *digest, const char *extension)
{
    char hex[DIGEST_HEX_SIZE];
    digest_format_hex(digest, hex);
    char *name = NULL;
    if (asprintf(&name, "%s/sha256_%s.%s", folder, hex, extension) < 0)
        abort();
    return name;
}

static void in_directory(const struct stack *stack, const char *name, char path[PATH_SIZE])
{
    snprintf(path, PATH_SIZE, "%s/%s", stack->directory, name);
}

static bool convert_layer(struct stack *stack, const char *tar_path, struct error *error)
{
    cleanup(file_source_close) struct file_source file = {.fd = -1};
    struct compose_layer *layer = &stack->layers[stack->count];
    if (!file_source_open(&file, tar_path, error) || !digest_of_file(&file, &layer->diff_id, error))
        return false;
    char path[PATH_SIZE];
    stack->paths[stack->count] = blob_name("layers", &layer->diff_id, "erofs");
    in_directory(stack, stack->paths[stack->count], path);
    layer->fd = create_file(path, error);
    if (layer->fd < 0)
        return false;
    stack->count++;

    struct tar_source source = {.next = next_piece, .context = &file};
    struct layer_limits limits = {
        .max_entries = 10000000, .max_path_depth = 1024, .max_output_bytes = UINT64_C(1) << 40};
    struct layer_result result;
    if (!layer_build(&source, &layer->diff_id, &limits, layer->fd, &result, error))
        return error_context(error, "%s", tar_path);
    layer->size_bytes = result.erofs_size_bytes;
    return erofs_file_check(layer->fd, layer->size_bytes, error) ||
           error_context(error, "%s", tar_path);
}

static struct digest stack_digest(const struct stack *stack)
{
    cleanup_digest_state struct digest_state *state = digest_state_new();
    for (size_t i = 0; i < stack->count; i++) {
        char text[DIGEST_TEXT_SIZE];
        digest_format(&stack->layers[i].diff_id, text);
        digest_state_update(state, text, strlen(text));
    }
    return digest_state_finish(state);
}

static bool write_vmdk(const struct stack *stack, const char *fsmeta, uint64_t fsmeta_size,
                       const char *name, struct error *error)
{
    struct vmdk_extent extents[MAX_LAYERS + 1];
    char *paths[MAX_LAYERS + 1];
    for (size_t i = 0; i <= stack->count; i++) {
        if (asprintf(&paths[i], "../%s", i == 0 ? fsmeta : stack->paths[i - 1]) < 0)
            abort();
        extents[i].path = paths[i];
        extents[i].size_bytes = i == 0 ? fsmeta_size : stack->layers[i - 1].size_bytes;
    }
    char path[PATH_SIZE];
    in_directory(stack, name, path);
    cleanup_fd int fd = create_file(path, error);
    uint64_t size;
    bool done = fd >= 0 && vmdk_write(extents, stack->count + 1, fd, &size, error);
    for (size_t i = 0; i <= stack->count; i++)
        free(paths[i]);
    return done;
}

static void print_result(const struct stack *stack, const char *fsmeta, const char *vmdk)
{
    printf("{\"fsmeta\": \"%s/%s\", \"vmdk\": \"%s/%s\", \"layers\": [", stack->directory, fsmeta,
           stack->directory, vmdk);
    for (size_t i = 0; i < stack->count; i++)
        printf("%s\"%s/%s\"", i ? ", " : "", stack->directory, stack->paths[i]);
    printf("]}\n");
}

static bool compose(const struct stack *stack, struct error *error)
{
    struct digest digest = stack_digest(stack);
    cleanup_free char *fsmeta = blob_name("fsmeta", &digest, "erofs");
    cleanup_free char *vmdk = blob_name("vmdk", &digest, "vmdk");
    char path[PATH_SIZE];
    in_directory(stack, fsmeta, path);
    cleanup_fd int fd = create_file(path, error);
    struct compose_result result;
    if (fd < 0 ||
        !compose_fsmeta(stack->layers, stack->count, COMPOSE_MAX_TREE_BYTES, &digest, fd, &result,
                        error) ||
        !erofs_file_check(fd, result.fsmeta_size_bytes, error) ||
        !write_vmdk(stack, fsmeta, result.fsmeta_size_bytes, vmdk, error))
        return false;
    print_result(stack, fsmeta, vmdk);
    return true;
}

static bool make_directories(const char *directory, struct error *error)
{
    static const char *const names[] = {".", "layers", "fsmeta", "vmdk"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char path[PATH_SIZE];
        snprintf(path, sizeof(path), "%s/%s", directory, names[i]);
        if (mkdir(i == 0 ? directory : path, 0755) != 0 && errno != EEXIST)
            return error_set_errno(error, ERROR_INTERNAL, errno, "cannot make %s", path);
    }
    return true;
}

static bool run(struct stack *stack, char **tars, size_t count, struct error *error)
{
    if (!make_directories(stack->directory, error))
        return false;
    for (size_t i = 0; i < count; i++)
        if (!convert_layer(stack, tars[i], error))
            return false;
    return compose(stack, error);
}

int main(int argc, char **argv)
{
    if (argc < 2 || argc - 2 > MAX_LAYERS) {
        fprintf(stderr, "usage: layer_stack OUTDIR LAYER.tar…\n");
        return 2;
    }
    static struct stack stack;
    stack.directory = argv[1];
    struct error error;
    bool done = run(&stack, argv + 2, (size_t)argc - 2, &error);
    if (!done)
        fprintf(stderr, "%s: %s\n", error_code_name(error.code), error.message);
    for (size_t i = 0; i < stack.count; i++) {
        close(stack.layers[i].fd);
        free(stack.paths[i]);
    }
    return done ? 0 : 1;
}
