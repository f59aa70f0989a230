/* fsck.erofs of erofs-utils, a judge that shares no line with our writer. */
#include "store/fsck/fsck_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* The layer files that an fsmeta names, in the order of its device table: one twice that the image
 * has twice. */
static bool list_devices(struct fsck *fsck, const struct blob_id *file, struct arena *arena,
                         struct rows *rows, struct error *error)
{
    static const struct statement list = {
        "fsck_devices",
        "SELECT diff_id FROM manifest_layers WHERE manifest_digest = $1 ORDER BY position"};
    *rows = (struct rows){0};
    if (file->kind != BLOB_FSMETA)
        return true;
    char digest[DIGEST_TEXT_SIZE];
    digest_format(&file->key, digest);
    cleanup_session struct catalogue_session *session =
        catalogue_acquire(fsck->config->catalogue, error);
    return session && QUERY(session, &list, arena, rows, error, digest);
}

/* One that is missing is told by itself. */
static bool is_there(const struct fsck *fsck, const struct blob_id *file)
{
    struct blob_state state;
    struct error ignored;
    return blob_look_up(fsck->config->blobdir, file->kind, &file->key, &state, &ignored) &&
           state.is_file;
}

static char *path_of(const struct fsck *fsck, struct arena *arena, const char *option,
                     const struct blob_id *file)
{
    char path[BLOB_PATH_SIZE];
    blob_path(file->kind, &file->key, path);
    return arena_printf(arena, "%s%s/%s", option, fsck->config->blob_dir, path);
}

/* Its exit code; -1: it is not installed; 127 or more: it could not be run, or died. */
static int run(char *const *argv)
{
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    pid_t pid = 0;
    int failed = posix_spawnp(&pid, argv[0], &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (failed)
        return failed == ENOENT ? -1 : 127;
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

bool fsck_judge(struct fsck *fsck, const struct blob_id *file, const char **complaint,
                struct error *error)
{
    cleanup_arena struct arena arena = {0};
    struct rows devices;
    *complaint = NULL;
    if (!list_devices(fsck, file, &arena, &devices, error))
        return false;
    char **argv = arena_alloc_array(&arena, devices.count + 3, sizeof(*argv));
    argv[0] = arena_strdup(&arena, "fsck.erofs");
    for (size_t i = 0; i < devices.count; i++) {
        struct blob_id layer = {.kind = BLOB_LAYER};
        if (!digest_parse(rows_text(&devices, i, 0), &layer.key))
            abort(); /* the column's type admits nothing else */
        if (!is_there(fsck, &layer))
            return true;
        argv[i + 1] = path_of(fsck, &arena, "--device=", &layer);
    }
    argv[devices.count + 1] = path_of(fsck, &arena, "", file);
    int code = run(argv);
    fsck->report->has_judge = fsck->report->has_judge || code >= 0;
    if (code > 0)
        *complaint = arena_printf(fsck->arena, "fsck.erofs ends with %d", code);
    return true;
}
