#include "server/inventory_thread.h"

#include "server/clock.h"
#include "server/node.h"
#include "store/catalogue/inventory.h"

enum {
    COUNT_EVERY_MS = 5000,
    PAUSE_FACTOR = 200, /* of the time that counting took */
};

static unsigned work(void *context, const atomic_bool *)
{
    const struct node *node = context;
    struct error error;
    int64_t begun_us = clock_now_us();
    /* That the catalogue is away, readiness says; the time of the last count stays. */
    if (!catalogue_take_inventory(node->catalogue, &error) &&
        error.code != ERROR_CATALOGUE_UNAVAILABLE)
        LOG(&node->log, LOG_WARNING, "counting the catalogue failed",
            FIELD_TEXT("detail", error.message));
    int64_t pause_ms = (clock_now_us() - begun_us) * PAUSE_FACTOR / 1000;
    return pause_ms > COUNT_EVERY_MS ? (unsigned)pause_ms : COUNT_EVERY_MS;
}

struct periodic *inventory_thread_start(struct node *node, struct error *error)
{
    return periodic_start("The inventory", work, node, error);
}
