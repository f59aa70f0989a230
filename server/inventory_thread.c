#include "server/inventory_thread.h"

#include "server/clock.h"
#include "server/node.h"
#include "store/catalogue/inventory.h"

enum {
    COUNT_EVERY_MS = 5000,
    PAUSE_FACTOR = 200, /* of the time that counting takes */
    FIRST_STEP_US = 10000,
};

/* What counting takes, after one that took so long: a machine that stood still for a while says
 * nothing about how large the catalogue is, so that the belief grows step by step. */
static int64_t usual_us(int64_t took_us, int64_t usual_before_us)
{
    int64_t most_us = 2 * usual_before_us + FIRST_STEP_US;
    return took_us < most_us ? took_us : most_us;
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
    node->inventory_usual_us = usual_us(clock_now_us() - begun_us, node->inventory_usual_us);
    int64_t rest_ms = node->inventory_usual_us * PAUSE_FACTOR / 1000;
    return rest_ms > COUNT_EVERY_MS ? (unsigned)rest_ms : COUNT_EVERY_MS;
}

struct periodic *inventory_thread_start(struct node *node, struct error *error)
{
    return periodic_start("The inventory", work, node, error);
}
