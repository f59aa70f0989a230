/* An archive's images while they are listed. Only for archive_images.c and the two
 * formats that it knows. */
#ifndef LARDER_STORE_LOAD_LISTING_H
#define LARDER_STORE_LOAD_LISTING_H

#include "store/load/archive_images.h"

struct listing {
    struct archive *archive;
    const struct archive_choice *choice;
    struct arena *arena;
    struct archive_images *images; /* has room for ARCHIVE_MAX_IMAGES */
    struct platform *left_out;     /* that the choice's platform leaves out, for the error */
    size_t left_out_count;
};

/* Is an image for that platform of no use to who asks? Then it is noted. */
[[nodiscard]] bool listing_leaves_out(struct listing *listing, const struct platform *platform);

/* Adds the image under that name, checked as far as it can be without its layers' bytes;
 * `indexed` is the platform that an index gave, or NULL. */
[[nodiscard]] bool listing_add(struct listing *listing, const struct archive_image *image,
                               const struct reference *reference, const struct platform *indexed,
                               struct error *error);

/* The member as a document. `what` names it in errors. */
[[nodiscard]] bool listing_read(struct listing *listing, const char *name, const char *what,
                                struct archive_document *document, struct error *error);

/* The name of an image, from the archive. */
[[nodiscard]] bool listing_parse_name(const char *name, struct reference *reference,
                                      struct error *error);
[[nodiscard]] bool listing_refuse_nameless(const char *what, struct error *error);

/* The two formats. Each adds all images of the archive. */
[[nodiscard]] bool oci_layout_list(struct listing *listing, struct error *error);
[[nodiscard]] bool docker_archive_list(struct listing *listing, struct error *error);

#endif
