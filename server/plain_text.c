#include "server/plain_text.h"

#include <stdint.h>
#include <string.h>

static uint64_t eight_of(unsigned char byte)
{
    return byte * UINT64_C(0x0101010101010101);
}

/* The subtractions borrow into a byte's highest bit where it was below what is taken off. A
 * borrow may reach the byte above, but only from one that is not plain itself. */
static bool word_is_plain(uint64_t word)
{
    uint64_t control = word - eight_of(' ');
    uint64_t quote = (word ^ eight_of('"')) - eight_of(1);
    uint64_t backslash = (word ^ eight_of('\\')) - eight_of(1);
    uint64_t del = (word ^ eight_of(0x7f)) - eight_of(1);
    return ((word | control | quote | backslash | del) & eight_of(0x80)) == 0;
}

bool text_is_plain(const char *bytes, size_t size)
{
    uint64_t word = eight_of(' ');
    if (size < sizeof(word)) {
        for (size_t i = 0; i < size; i++)
            word = word << 8 | (unsigned char)bytes[i];
        return word_is_plain(word);
    }
    for (size_t i = 0; i + sizeof(word) < size; i += sizeof(word)) {
        memcpy(&word, bytes + i, sizeof(word));
        if (!word_is_plain(word))
            return false;
    }
    memcpy(&word, bytes + size - sizeof(word), sizeof(word)); /* some of it again */
    return word_is_plain(word);
}
