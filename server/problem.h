/* Errors on the wire: application/problem+json (RFC 9457; design: "Errors"). */
#ifndef LARDER_SERVER_PROBLEM_H
#define LARDER_SERVER_PROBLEM_H

#include "server/json_writer.h"
#include "store/catalogue/catalogue.h"
#include "store/error.h"

/* An error and what helps the one who gets it. */
struct problem {
    const struct error *error;
    const char *reference;           /* NULL: not about one */
    const struct id_list *sandboxes; /* NULL: not about any */
    const char *detail;              /* NULL: the error's message */
};

enum { PROBLEM_TYPE_SIZE = 96 };

/* "urn:larder:problem:image-not-found" */
void problem_type(enum error_code code, char type[PROBLEM_TYPE_SIZE]);

void problem_write(struct json_writer *out, const char *key, const struct problem *problem);

#endif
