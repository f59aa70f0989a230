#include "store/registry/registry_internal.h"

#include <stdlib.h>

enum {
    POLL_MS = 100, /* how late a cancel may be seen while nothing comes */
    /* A registry, its token realm, and where its blobs are. */
    CONNECTIONS_MAX = 3,
};

static struct line *line_new(void)
{
    struct line *line = calloc(1, sizeof(*line));
    if (!line)
        abort(); /* out of memory, as in the arena */
    line->easy = curl_easy_init();
    line->multi = curl_multi_init();
    if (!line->easy || !line->multi)
        abort();
    curl_multi_setopt(line->multi, CURLMOPT_MAXCONNECTS, (long)CONNECTIONS_MAX);
    return line;
}

void line_free(struct line *line)
{
    if (!line)
        return;
    curl_easy_cleanup(line->easy);
    curl_multi_cleanup(line->multi);
    free(line);
}

struct line *line_take(struct registry_client *client)
{
    struct line *line = NULL;
    pthread_mutex_lock(&client->lock);
    if (client->idle_line_count > 0)
        line = client->idle_lines[--client->idle_line_count];
    pthread_mutex_unlock(&client->lock);
    return line ? line : line_new();
}

void line_return(struct registry_client *client, struct line *line)
{
    curl_easy_reset(line->easy); /* the connections are the multi's, and stay */
    pthread_mutex_lock(&client->lock);
    if (client->idle_line_count < IDLE_LINES_MAX) {
        client->idle_lines[client->idle_line_count++] = line;
        line = NULL;
    }
    pthread_mutex_unlock(&client->lock);
    line_free(line);
}

/* What became of the transfer that has ended. */
static CURLcode take_result(const struct line *line)
{
    int left = 0;
    const CURLMsg *message = curl_multi_info_read(line->multi, &left);
    return message && message->msg == CURLMSG_DONE ? message->data.result : CURLE_FAILED_INIT;
}

/* Sees to the transfer once; false when libcurl cannot go on. */
static bool go_on(const struct line *line, int *running)
{
    return curl_multi_perform(line->multi, running) == CURLM_OK &&
           (!*running || curl_multi_poll(line->multi, NULL, 0, POLL_MS, NULL) == CURLM_OK);
}

CURLcode line_perform(struct line *line, const atomic_bool *cancel)
{
    CURLcode result = CURLE_OK;
    int running = 1;
    if (curl_multi_add_handle(line->multi, line->easy) != CURLM_OK)
        return CURLE_FAILED_INIT;
    while (running && result == CURLE_OK) {
        if (!go_on(line, &running))
            result = CURLE_FAILED_INIT;
        else if (running && registry_is_cancelled(cancel))
            result = CURLE_ABORTED_BY_CALLBACK;
    }
    if (result == CURLE_OK)
        result = take_result(line);
    curl_multi_remove_handle(line->multi, line->easy);
    return result;
}
