/* larder fsck: the catalogue against the blob directory (store/fsck.h), for people and scripts.
 * Its exit code is that of fsck(8): a sum of the bits below. */
#include "store/fsck.h"
#include "server/commands.h"
#include "server/json_writer.h"
#include "server/node.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>

enum { CODE_CLEAN = 0, CODE_REPAIRED = 1, CODE_LEFT = 4, CODE_FAILED = 8, CODE_USAGE = 16 };

struct check {
    const struct options *options;
    struct node node;
};

static bool run_pulls(void *context, struct error *error)
{
    struct check *check = context;
    return node_start_puller(&check->node, NULL, error);
}

static void print_problem(void *context, const struct fsck_problem *problem)
{
    const struct check *check = context;
    if (check->options->json)
        return;
    if (problem->action)
        printf("%s: %s\n", problem->path, problem->action);
    else
        printf("%s: %s: %s%s%s\n", problem->path, fsck_kind_name(problem->kind), problem->detail,
               problem->reference ? "; needed by " : "",
               problem->reference ? problem->reference : "");
    if (problem->quarantined)
        printf("%s: is now %s\n", problem->path, problem->quarantined);
    fflush(stdout);
}

static void write_problem(struct json_writer *out, const struct fsck_problem *problem)
{
    json_begin_object(out, NULL);
    json_write_text(out, "problem", fsck_kind_name(problem->kind));
    json_write_text(out, "path", problem->path);
    json_write_text(out, "detail", problem->detail);
    json_write_text(out, "reference", problem->reference);
    json_write_text(out, "quarantined", problem->quarantined);
    json_write_text(out, "action", problem->action);
    json_write_bool(out, "repaired", problem->repaired);
    json_end_object(out);
}

static void print_json(const struct check *check, const struct fsck_report *report, int code)
{
    cleanup_json_writer struct json_writer out = {0};
    json_begin_object(&out, NULL);
    json_begin_object(&out, "checked");
    json_write_int(&out, "layers", report->files[BLOB_LAYER]);
    json_write_int(&out, "fsmeta", report->files[BLOB_FSMETA]);
    json_write_int(&out, "vmdk", report->files[BLOB_VMDK]);
    json_write_int(&out, "manifests", report->files[BLOB_MANIFEST]);
    json_write_int(&out, "busy", report->busy);
    json_write_int(&out, "read_bytes", report->read_bytes);
    json_end_object(&out);
    json_write_bool(&out, "verify", check->options->verify);
    json_write_bool(&out, "repair", check->options->repair);
    json_write_bool(&out, "fsck_erofs", report->has_judge);
    json_begin_array(&out, "problems");
    for (const struct fsck_problem *problem = report->problems; problem; problem = problem->next)
        write_problem(&out, problem);
    json_end_array(&out);
    json_write_int(&out, "found", report->found);
    json_write_int(&out, "repaired", report->repaired);
    json_write_int(&out, "left", report->found - report->repaired);
    json_write_int(&out, "exit_code", code);
    json_end_object(&out);
    json_append(&out, "\n", 1);
    fwrite(out.bytes, 1, out.size_bytes, stdout);
}

static void print_summary(const struct check *check, const struct fsck_report *report)
{
    for (const struct fsck_problem *problem = report->problems; problem; problem = problem->next)
        if (!problem->repaired && problem->action)
            print_problem((void *)(uintptr_t)check, problem);
    if (check->options->verify && !report->has_judge && report->files[BLOB_LAYER] > 0)
        printf("fsck.erofs is not installed (erofs-utils): files were compared with their digests "
               "only\n");
    printf("%" PRId64 " layers, %" PRId64 " fsmeta, %" PRId64 " vmdk, %" PRId64
           " manifests: %" PRId64 " problems, %" PRId64 " repaired",
           report->files[BLOB_LAYER], report->files[BLOB_FSMETA], report->files[BLOB_VMDK],
           report->files[BLOB_MANIFEST], report->found, report->repaired);
    if (report->busy > 0)
        printf("; %" PRId64 " files were being worked on and not judged", report->busy);
    printf("\n");
}

/* A directory that is not there is a mistake in the flags; it is not made. */
static bool is_blob_directory(const char *path, struct error *error)
{
    struct stat stat_of;
    if (stat(path, &stat_of) != 0)
        return error_set_errno(error, ERROR_INTERNAL, errno, "There is no blob directory at %s",
                               path);
    return S_ISDIR(stat_of.st_mode) || error_set(error, ERROR_INTERNAL, "%s is no directory", path);
}

static int check_all(struct check *check, struct error *error)
{
    const struct options *options = check->options;
    cleanup_arena struct arena arena = {0};
    struct fsck_report report;
    const struct fsck_config config = {
        .catalogue = check->node.catalogue,
        .blobdir = check->node.blobdir,
        .node_id = check->node.id,
        .blob_dir = options->blob_dir,
        .verify = options->verify,
        .repair = options->repair,
        .grace_seconds = (int64_t)options->grace_seconds,
        .run_pulls = run_pulls,
        .tell = print_problem,
        .context = check,
    };
    if (!fsck_run(&config, &arena, &report, error))
        return CODE_FAILED;
    int code = CODE_CLEAN;
    if (report.repaired > 0)
        code |= CODE_REPAIRED;
    if (report.found > report.repaired)
        code |= CODE_LEFT;
    if (options->json)
        print_json(check, &report, code);
    else
        print_summary(check, &report);
    return code;
}

int command_fsck(int argc, char *const *argv)
{
    struct error error;
    cleanup_options struct options options = {0};
    if (!options_parse(OPTIONS_FSCK, argc, argv, &options, &error)) {
        (void)command_fail(&error);
        return CODE_USAGE;
    }
    if (options.help) {
        printf("Usage: larder fsck [FLAG...]\n\n"
               "Compares the catalogue with the blob directory, also while nodes serve.\n"
               "Exit code: 0 clean, 1 all repaired, 4 problems are left, 5 some of both,\n"
               "8 it could not look at everything, 16 wrong usage.\n\n");
        options_print_help(OPTIONS_FSCK, stdout);
        return CODE_CLEAN;
    }
    struct check check = {.options = &options};
    options.join_postgres = true;
    signal(SIGPIPE, SIG_IGN); /* a converter that died tells why by itself */
    int code = CODE_FAILED;
    if (is_blob_directory(options.blob_dir, &error) &&
        node_open_store(&check.node, &options, &error))
        code = check_all(&check, &error);
    node_stop(&check.node);
    if (code == CODE_FAILED)
        (void)command_fail(&error);
    return code;
}
