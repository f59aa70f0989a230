/* What the catalogue holds, counted for /metrics: files and bytes by kind, what sharing
 * saves, what waits to be unlinked, who uses it. Reads whole tables (index-only where an
 * index has it all), so it is for a thread that does it now and then. Thread-safe.
 */
#ifndef LARDER_STORE_CATALOGUE_INVENTORY_H
#define LARDER_STORE_CATALOGUE_INVENTORY_H

#include "store/catalogue/catalogue.h"

/* Counts, and sets the gauges of metrics_table.h. When it fails they stay as they were. */
[[nodiscard]] bool catalogue_take_inventory(struct catalogue *catalogue, struct error *error);

#endif
