#include "store/erofs/hash.h"

#include <stdlib.h>
#include <sys/random.h>

uint64_t erofs_hash_key[2];

/* Early, as the converter process may ask the kernel for little once it reads a blob. */
__attribute__((constructor)) static void draw_key(void)
{
    if (getentropy(erofs_hash_key, sizeof(erofs_hash_key)) != 0)
        abort();
    erofs_hash_key[0] |= 1;
    erofs_hash_key[1] |= 1;
}
