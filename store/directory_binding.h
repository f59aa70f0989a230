/* One catalogue, one blob directory: the mark in the directory (store/blob_mark.h) and the row of
 * the catalogue name each other, and are compared at every start.
 *
 * A catalogue that has no directory yet, new or made by a Larder that knew no marks, takes one
 * that has no mark. A crash between mark and row is finished by the next start.
 */
#ifndef LARDER_STORE_DIRECTORY_BINDING_H
#define LARDER_STORE_DIRECTORY_BINDING_H

#include "store/blobdir.h"
#include "store/catalogue/catalogue.h"

enum directory_claim {
    DIRECTORY_LOOK, /* changes nothing; a catalogue that has none may look at any */
    DIRECTORY_MUST_MATCH,
    DIRECTORY_TAKE_OVER, /* by a catalogue that has none: what another one left is rebuilt */
    DIRECTORY_ADOPT,     /* whatever the marks say: a person said so */
};

/* Fails with a sentence that says what to do. `path` is the directory's, for that. */
[[nodiscard]] bool directory_bind(struct catalogue *catalogue, struct blobdir *blobdir,
                                  const char *path, enum directory_claim claim,
                                  struct error *error);

#endif
