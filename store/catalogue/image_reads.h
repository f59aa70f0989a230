/* Reading images with the question apart from the answer, for who sends it over a
 * connection of its own (pipeline.h); images.h does both over the pool. Parameters and what
 * is read live in the arena or point into the arguments and the rows.
 */
#ifndef LARDER_STORE_CATALOGUE_IMAGE_READS_H
#define LARDER_STORE_CATALOGUE_IMAGE_READS_H

#include "store/catalogue/images.h"

/* As catalogue_find_image() and catalogue_inspect_image(). */
enum { IMAGE_PARAMETERS_MAX = 3 };
[[nodiscard]] const struct statement *image_find_statement(const struct reference *reference);
[[nodiscard]] const struct statement *image_inspect_statement(const struct reference *reference);
/* How many there are. */
size_t image_parameters(const struct reference *reference, struct arena *arena,
                        const char *parameters[IMAGE_PARAMETERS_MAX]);
[[nodiscard]] bool image_find_read(const struct rows *rows, const struct reference *reference,
                                   const struct platform_choice *choice, struct arena *arena,
                                   struct image_handle *handle, struct error *error);
[[nodiscard]] bool image_inspect_read(const struct rows *rows, const struct reference *reference,
                                      const struct platform_choice *choice, struct arena *arena,
                                      struct image_detail *detail, struct error *error);

/* As catalogue_list_images(). */
enum { IMAGE_LIST_PARAMETERS = 12 };
[[nodiscard]] const struct statement *image_list_statement(const struct image_filter *filter);
[[nodiscard]] bool image_list_parameters(const struct image_filter *filter, size_t limit,
                                         const char *page_token, struct arena *arena,
                                         const char *parameters[IMAGE_LIST_PARAMETERS],
                                         struct error *error);
void image_list_read(const struct rows *rows, size_t limit, struct arena *arena,
                     struct image_page *page);

#endif
