#include "server/inventory_thread.h"

#include "server/clock.h"
#include "server/node.h"
#include "store/catalogue/inventory.h"

enum {
    COUNT_EVERY_MS = 5000,
    PAUSE_FACTOR = 200, /* of the time that counting took */
};

/* By the shorter of the last two counts: a machine that stood still during one of them says
 * nothing about how large the catalogue is. */
static unsigned rest_ms(int64_t took_us, int64_t took_before_us)
{
    int64_t shorter_us = took_us < took_before_us ? took_us : took_before_us;
    int64_t ms = shorter_us * PAUSE_FACTOR / 1000;
    return ms > COUNT_EVERY_MS ? (unsigned)ms : COUNT_EVERY_MS;
}

static unsigned work(void *context, const atomic_bool *)
{
    struct node *node = context;
    struct error error;
    int64_t begun_us = clock_now_us();
    /* That the catalogue is away, readiness says; the time of the last count stays. */
    if (!catalogue_take_inventory(node->catalogue, &error) &&
        error.code != ERROR_CATALOGUE_UNAVAILABLE)
        LOG(&node->log, LOG_WARNING, "counting the catalogue failed",
            FIELD_TEXT("detail", error.message));
    int64_t took_us = clock_now_us() - begun_us;
    unsigned rest = rest_ms(took_us, node->inventory_took_us);
    node->inventory_took_us = took_us;
    return rest;
}

struct periodic *inventory_thread_start(struct node *node, struct error *error)
{
    return periodic_start("The inventory", work, node, error);
}
