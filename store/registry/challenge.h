/* The WWW-Authenticate header (RFC 9110, section 11.6.1): which kinds of
 * authentication a registry takes. Hostile input; bounded; no memory. Any thread.
 */
#ifndef LARDER_STORE_REGISTRY_CHALLENGE_H
#define LARDER_STORE_REGISTRY_CHALLENGE_H

#include <stdbool.h>

enum {
    CHALLENGE_REALM_SIZE = 2048,
    CHALLENGE_SERVICE_SIZE = 512,
    CHALLENGE_SCOPE_SIZE = 1024,
};

/* What was found in all headers of an answer so far; starts as {0}. */
struct challenge {
    bool basic;
    bool bearer;                          /* with a realm; the first one that has it */
    char realm[CHALLENGE_REALM_SIZE];     /* of the bearer challenge */
    char service[CHALLENGE_SERVICE_SIZE]; /* "" when absent */
    char scope[CHALLENGE_SCOPE_SIZE];     /* "" when absent */
};

/* Adds the challenges of one header value. Unknown schemes are passed over. False when
 * the value is malformed: what came before the fault is kept. */
bool challenge_parse(const char *value, struct challenge *challenge);

#endif
