#include "store/pull/pull_task.h"

#include <stdarg.h>
#include <time.h>

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t pull_step_begin(void)
{
    return now_ms();
}

void pull_step_done(const struct pull_task *task, const char *event, int64_t begun_ms,
                    const char *format, ...)
{
    char what[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(what, sizeof(what), format, arguments);
    va_end(arguments);

    char detail[sizeof(what) + 32];
    snprintf(detail, sizeof(detail), "%s in %lld ms", what, (long long)(now_ms() - begun_ms));
    task->config->log(task->config->log_context, event, &task->pull, NULL, detail);
}
