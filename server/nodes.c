/* GET /nodes: the fleet, as its heartbeats tell. */
#include "store/catalogue/nodes.h"
#include "server/json_writer.h"
#include "server/node.h"
#include "server/resources.h"

static void write_node(struct json_writer *out, const struct node_row *node)
{
    json_begin_object(out, NULL);
    json_write_text(out, "id", node->id);
    json_write_text(out, "hostname", node->hostname);
    json_write_text(out, "version", node->version);
    json_write_text(out, "address", node->address);
    json_write_raw(out, "load", node->load);
    json_write_int(out, "running_pulls", node->running_pulls);
    json_write_int(out, "started_at", node->started_at_ms);
    json_write_int(out, "heartbeat_age_ms", node->heartbeat_age_ms);
    json_end_object(out);
}

bool nodes_list(struct request *request, struct error *error)
{
    struct node_row *nodes = NULL;
    size_t count = 0;
    if (!catalogue_list_nodes(request->node->catalogue, &request->arena, &nodes, &count, error))
        return false;
    cleanup_json_writer struct json_writer out = {0};
    json_begin_object(&out, NULL);
    json_begin_array(&out, "nodes");
    for (size_t i = 0; i < count; i++)
        write_node(&out, &nodes[i]);
    json_end_array(&out);
    json_end_object(&out);
    request_answer_json(request, 200, &out);
    return true;
}
