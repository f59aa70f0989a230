#include "server/image_selection.h"

#include "server/node.h"

bool image_selection_read(struct request *request, struct image_selection *selection,
                          struct error *error)
{
    const char *platform = request_query(request, "platform");
    *selection = (struct image_selection){.choice.preferred = &request->node->platform};
    if (!reference_parse(request->variable, &selection->reference, error))
        return false;
    char *text = arena_alloc(&request->arena, REFERENCE_TEXT_SIZE);
    reference_format(&selection->reference, text);
    request->about_reference = text;
    if (platform && !platform_parse(platform, &selection->wanted, error))
        return false;
    selection->choice.wanted = platform ? &selection->wanted : NULL;
    return true;
}
