#include "boxes.h"

#include "store/cleanup.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

pid_t boxes_child(void)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/self/task/%d/children", gettid());
    cleanup_file FILE *file = fopen(path, "re");
    cr_assert_not_null(file);
    char line[32] = "";
    cr_assert(fgets(line, sizeof(line), file), "the process runs");
    return (pid_t)strtol(line, NULL, 10);
}
