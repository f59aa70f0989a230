#include "store/layer/layer_raw.h"

#include <criterion/criterion.h>
#include <string.h>

enum { BLOCK_SIZE = 512, SIZE_OFFSET = 124, TYPE_OFFSET = 156 };

/* libarchive takes the body for the archive's end, others step over it. */
Test(layer_raw, a_label_with_a_body_of_zeros_ends_no_archive_wherever_its_bytes_end)
{
    unsigned char label[5 * BLOCK_SIZE] = "label";
    memcpy(label + SIZE_OFFSET, "00000002000", 11);
    label[TYPE_OFFSET] = 'V';
    for (size_t size = BLOCK_SIZE; size <= sizeof(label); size += BLOCK_SIZE)
        cr_expect(raw_scan_end(label, size), "%zu bytes of it are there", size);
}
