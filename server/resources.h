/* The handlers of the resources, one file each; the routes' table names them. */
#ifndef LARDER_SERVER_RESOURCES_H
#define LARDER_SERVER_RESOURCES_H

#include "server/routes.h"

route_handler health_alive, health_ready, version_show;

#endif
