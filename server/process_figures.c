/* proc(5). */
#include "server/process_figures.h"

#include "store/cleanup.h"
#include "store/metrics.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdbool.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

/* Fields of /proc/self/stat, counted from the one behind the command's name. */
enum { FIELD_THREADS = 17, FIELD_START = 19, FIELD_VIRTUAL = 20, FIELD_RESIDENT = 21, FIELDS = 22 };

static bool read_stat(int64_t fields[FIELDS])
{
    char line[1024];
    cleanup_file FILE *stat = fopen("/proc/self/stat", "re");
    if (!stat || !fgets(line, sizeof(line), stat))
        return false;
    char *name_end = strrchr(line, ')'); /* the name may hold spaces and brackets */
    char *rest = name_end && name_end[1] ? name_end + 2 : NULL;
    char *position = NULL;
    int field = 0;
    for (const char *word = rest ? strtok_r(rest, " ", &position) : NULL; word && field < FIELDS;
         word = strtok_r(NULL, " ", &position))
        fields[field++] = strtoll(word, NULL, 10);
    return field == FIELDS;
}

static int64_t microseconds(const struct timeval *time)
{
    return (int64_t)time->tv_sec * 1000000 + time->tv_usec;
}

/* The start is in ticks since boot. */
static int64_t start_time_us(int64_t start_ticks)
{
    struct timespec now;
    struct timespec since_boot;
    clock_gettime(CLOCK_REALTIME, &now);
    clock_gettime(CLOCK_BOOTTIME, &since_boot);
    int64_t boot_us = ((int64_t)now.tv_sec - since_boot.tv_sec) * 1000000 +
                      (now.tv_nsec - since_boot.tv_nsec) / 1000;
    return boot_us + start_ticks * 1000000 / sysconf(_SC_CLK_TCK);
}

static int64_t count_open_files(void)
{
    DIR *directory = opendir("/proc/self/fd");
    int64_t count = -1; /* the directory itself */
    while (directory && readdir(directory))
        count++;
    if (directory)
        closedir(directory);
    return count - 2; /* . and .. */
}

void process_figures_set(void)
{
    int64_t fields[FIELDS];
    struct rusage usage;
    struct rlimit files;
    if (getrusage(RUSAGE_SELF, &usage) == 0)
        metric_set(METRIC_PROCESS_CPU_SECONDS,
                   microseconds(&usage.ru_utime) + microseconds(&usage.ru_stime));
    if (getrlimit(RLIMIT_NOFILE, &files) == 0)
        metric_set(METRIC_PROCESS_MAX_FDS, (int64_t)files.rlim_cur);
    metric_set(METRIC_PROCESS_OPEN_FDS, count_open_files());
    if (!read_stat(fields))
        return;
    metric_set(METRIC_PROCESS_THREADS, fields[FIELD_THREADS]);
    metric_set(METRIC_PROCESS_START_SECONDS, start_time_us(fields[FIELD_START]));
    metric_set(METRIC_PROCESS_VIRTUAL_BYTES, fields[FIELD_VIRTUAL]);
    metric_set(METRIC_PROCESS_RESIDENT_BYTES, fields[FIELD_RESIDENT] * sysconf(_SC_PAGESIZE));
}
