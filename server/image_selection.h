/* Which image a request means: the reference in its path and ?platform=. */
#ifndef LARDER_SERVER_IMAGE_SELECTION_H
#define LARDER_SERVER_IMAGE_SELECTION_H

#include "server/request.h"
#include "store/catalogue/images.h"

struct image_selection {
    struct reference reference;
    struct platform wanted;
    struct platform_choice choice; /* points into this struct and the node */
};

/* Also names the reference in the problem, should there be one. */
[[nodiscard]] bool image_selection_read(struct request *request, struct image_selection *selection,
                                        struct error *error);

#endif
