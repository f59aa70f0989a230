#include "store/convert/deflate.h"

const struct deflate_engine *const deflate_engines[] = {
#ifdef LARDER_ISAL
    &deflate_igzip,
#endif
    &deflate_zlib,
    NULL,
};
