#include "store/pull/running_pulls.h"

#include <string.h>

void running_pulls_init(struct running_pulls *running)
{
    *running = (struct running_pulls){0};
    pthread_rwlock_init(&running->taking, NULL);
    pthread_mutex_init(&running->mutex, NULL);
}

void running_pulls_free(struct running_pulls *running)
{
    pthread_mutex_destroy(&running->mutex);
    pthread_rwlock_destroy(&running->taking);
}

void running_pulls_begin_taking(struct running_pulls *running)
{
    pthread_rwlock_rdlock(&running->taking);
}

void running_pulls_end_taking(struct running_pulls *running)
{
    pthread_rwlock_unlock(&running->taking);
}

static bool is_load(const struct pull_task *task)
{
    return task->pull.policy == PULL_LOAD;
}

void running_pulls_add(struct running_pulls *running, struct pull_task *task)
{
    pthread_mutex_lock(&running->mutex);
    task->next_running = running->first;
    running->first = task;
    if (running->stopping || (running->loads_stopping && is_load(task)))
        atomic_store(&task->stop, true);
    pthread_mutex_unlock(&running->mutex);
}

void running_pulls_remove(struct running_pulls *running, struct pull_task *task)
{
    pthread_mutex_lock(&running->mutex);
    struct pull_task **link = &running->first;
    while (*link && *link != task)
        link = &(*link)->next_running;
    if (*link)
        *link = task->next_running;
    pthread_mutex_unlock(&running->mutex);
}

void running_pulls_list(struct running_pulls *running, struct arena *arena, struct id_list *ids)
{
    pthread_mutex_lock(&running->mutex);
    size_t count = 0;
    for (struct pull_task *task = running->first; task; task = task->next_running)
        count++;
    *ids = (struct id_list){.ids = arena_alloc_array(arena, count, sizeof(*ids->ids))};
    for (struct pull_task *task = running->first; task; task = task->next_running)
        ids->ids[ids->count++] = arena_strdup(arena, task->pull.id);
    pthread_mutex_unlock(&running->mutex);
}

void running_pulls_stop(struct running_pulls *running, const char *pull_id, bool cancelled)
{
    const void *load = NULL;
    pthread_mutex_lock(&running->mutex);
    for (struct pull_task *task = running->first; task; task = task->next_running) {
        if (strcmp(task->pull.id, pull_id) != 0)
            continue;
        if (cancelled) {
            atomic_store(&task->cancelled, true);
            load = task->load;
        }
        atomic_store(&task->stop, true);
    }
    for (struct pull_task *task = running->first; load && task; task = task->next_running)
        if (task->load == load)
            atomic_store(&task->stop, true);
    pthread_mutex_unlock(&running->mutex);
}

static void stop_tasks(struct running_pulls *running, bool loads_only)
{
    for (struct pull_task *task = running->first; task; task = task->next_running)
        if (!loads_only || is_load(task))
            atomic_store(&task->stop, true);
}

void running_pulls_stop_all(struct running_pulls *running)
{
    pthread_mutex_lock(&running->mutex);
    running->stopping = true;
    stop_tasks(running, false);
    pthread_mutex_unlock(&running->mutex);
}

void running_pulls_stop_loads(struct running_pulls *running)
{
    pthread_mutex_lock(&running->mutex);
    running->loads_stopping = true;
    stop_tasks(running, true);
    pthread_mutex_unlock(&running->mutex);
}

bool running_pulls_are_loads_stopping(struct running_pulls *running)
{
    pthread_mutex_lock(&running->mutex);
    bool stopping = running->loads_stopping || running->stopping;
    pthread_mutex_unlock(&running->mutex);
    return stopping;
}

size_t running_pulls_give_back(struct running_pulls *running, struct catalogue *catalogue,
                               const char *node_id)
{
    cleanup_arena struct arena arena = {0};
    struct id_list ids;
    struct error ignored; /* the next call does it */
    size_t count = 0;
    if (pthread_rwlock_trywrlock(&running->taking) != 0)
        return 0;
    running_pulls_list(running, &arena, &ids);
    if (!catalogue_give_back_pulls(catalogue, node_id, &ids, &count, &ignored))
        count = 0;
    pthread_rwlock_unlock(&running->taking);
    return count;
}
