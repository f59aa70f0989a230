/* The handlers of the resources, one file each; the routes' table names them. */
#ifndef LARDER_SERVER_RESOURCES_H
#define LARDER_SERVER_RESOURCES_H

#include "server/routes.h"

route_handler health_alive, health_ready, version_show, metrics_show;
route_handler openapi_show_yaml, openapi_show_json, page_show;
route_handler images_list, images_show, images_inspect, images_remove, images_prune;
route_handler images_load, images_check_load;
route_handler pulls_start, pulls_list, pulls_show, pulls_follow, pulls_cancel;
route_handler sandboxes_put, sandboxes_put_batch, sandboxes_show, sandboxes_list, sandboxes_remove,
    sandboxes_remove_host;
route_handler snapshots_put, snapshots_show, snapshots_list, snapshots_remove;
route_handler pins_put, pins_list, pins_remove;
route_handler nodes_list;
route_handler layers_show, manifests_show_fsmeta, manifests_show_vmdk;

/* NULL, or a digest; else ERROR_INVALID_ARGUMENT that calls it by that name. */
[[nodiscard]] bool images_check_digest(const char *name, const char *text, struct error *error);
/* The length of a sandbox's or snapshot's id. */
[[nodiscard]] bool holders_check_id(const char *id, struct error *error);

#endif
