#include "store/load/archive_images.h"

#include "store/excerpt.h"
#include "store/load/listing.h"

#include <stdio.h>
#include <string.h>

bool listing_leaves_out(struct listing *listing, const struct platform *platform)
{
    const struct platform *wanted = listing->choice->platform;
    if (!wanted || platform_rank(wanted, platform) >= 0)
        return false;
    if (listing->left_out_count < ARCHIVE_MAX_IMAGES)
        listing->left_out[listing->left_out_count++] = *platform;
    return true;
}

bool listing_read(struct listing *listing, const char *name, const char *what,
                  struct archive_document *document, struct error *error)
{
    const struct archive_member *member = archive_find(listing->archive, name);
    if (!member)
        return error_set(error, ERROR_INVALID_ARGUMENT, "the archive lacks \"%s\", %s",
                         excerpt_of(name).text, what);
    return archive_read_document(listing->archive, member, listing->arena, document, error);
}

bool listing_parse_name(const char *name, struct reference *reference, struct error *error)
{
    return reference_parse(name, reference, error) ||
           error_context(error, "a name in the archive cannot be used (give another with "
                                "?reference=)");
}

bool listing_refuse_nameless(const char *what, struct error *error)
{
    return error_set(error, ERROR_INVALID_ARGUMENT,
                     "the archive gives %s no name; name the first image with ?reference=", what);
}

/* One who asks for content by digest must get that content. */
static bool check_digest(const struct archive_image *image, struct error *error)
{
    const char *digest = image->reference.digest;
    char own[DIGEST_TEXT_SIZE];
    char index[DIGEST_TEXT_SIZE] = "";
    digest_format(&image->manifest_bytes.digest, own);
    if (image->is_from_index)
        digest_format(&image->index_digest, index);
    if (!digest[0] || strcmp(digest, own) == 0 || strcmp(digest, index) == 0)
        return true;
    return error_set(error, ERROR_INVALID_ARGUMENT,
                     "the image that is named with the digest %s has the digest %s", digest, own);
}

/* As image_config_check() wants it; what the index says must not contradict the config. */
static bool settle_platform(struct archive_image *image, const struct platform *indexed,
                            struct error *error)
{
    if (!image_config_check(&image->config, image->manifest.layer_count, indexed, error))
        return false;
    image->platform = image_config_platform(&image->config, indexed);
    return true;
}

bool listing_add(struct listing *listing, const struct archive_image *image,
                 const struct reference *reference, const struct platform *indexed,
                 struct error *error)
{
    struct archive_images *images = listing->images;
    struct archive_image added = *image;
    added.reference = *reference;
    if (image->manifest.layer_count > listing->choice->max_layers)
        return error_set(error, ERROR_UNSUPPORTED_MANIFEST,
                         "it has %zu layers; this node takes at most %u (--max-image-layers)",
                         image->manifest.layer_count, listing->choice->max_layers);
    if (!settle_platform(&added, indexed, error) || !check_digest(&added, error))
        return false;
    if (listing_leaves_out(listing, &added.platform))
        return true;
    if (images->count == ARCHIVE_MAX_IMAGES)
        return error_set(error, ERROR_INVALID_ARGUMENT,
                         "the archive has more than %d images or names", ARCHIVE_MAX_IMAGES);
    images->images[images->count++] = added;
    return true;
}

static bool is_better(const struct archive_image *one, const struct archive_image *other,
                      const struct platform *wanted)
{
    return reference_equal(&one->reference, &other->reference) &&
           platform_rank(wanted, &one->platform) < platform_rank(wanted, &other->platform);
}

/* Of each name the image that suits best; of equals the first. */
static void keep_best(struct archive_images *images, const struct platform *wanted)
{
    size_t kept = 0;
    for (size_t i = 0; i < images->count; i++) {
        const struct archive_image *image = &images->images[i];
        bool beaten = false;
        for (size_t other = i + 1; other < images->count && !beaten; other++)
            beaten = is_better(&images->images[other], image, wanted);
        for (size_t other = 0; other < kept && !beaten; other++)
            beaten = reference_equal(&images->images[other].reference, &image->reference) &&
                     !is_better(image, &images->images[other], wanted);
        if (!beaten)
            images->images[kept++] = *image;
    }
    images->count = kept;
}

static bool refuse_platform(const struct listing *listing, struct error *error)
{
    char wanted[PLATFORM_TEXT_SIZE];
    char offered[512] = "";
    platform_format(listing->choice->platform, wanted);
    for (size_t i = 0, used = 0; i < listing->left_out_count && used < sizeof(offered); i++) {
        char text[PLATFORM_TEXT_SIZE];
        platform_format(&listing->left_out[i], text);
        used += (size_t)snprintf(offered + used, sizeof(offered) - used, "%s%s", used ? ", " : "",
                                 text);
    }
    return error_set(error, ERROR_PLATFORM_NOT_FOUND,
                     "the archive has no image for %s, only for %s", wanted, offered);
}

static bool list(struct listing *listing, struct error *error)
{
    if (archive_find(listing->archive, "index.json"))
        return oci_layout_list(listing, error);
    if (archive_find(listing->archive, "manifest.json"))
        return docker_archive_list(listing, error);
    return error_set(error, ERROR_INVALID_ARGUMENT,
                     "the archive has neither an index.json nor a manifest.json at its top: it is "
                     "no OCI layout and not from `docker save`, or it is cut off");
}

bool archive_list_images(struct archive *archive, const struct archive_choice *choice,
                         struct arena *arena, struct archive_images *images, struct error *error)
{
    *images = (struct archive_images){0};
    images->images = arena_alloc_array(arena, ARCHIVE_MAX_IMAGES, sizeof(*images->images));
    struct listing listing = {
        .archive = archive,
        .choice = choice,
        .arena = arena,
        .images = images,
        .left_out = arena_alloc_array(arena, ARCHIVE_MAX_IMAGES, sizeof(struct platform)),
    };
    if (!list(&listing, error))
        return false;
    if (choice->platform)
        keep_best(images, choice->platform);
    if (images->count > 0)
        return true;
    return listing.left_out_count > 0
               ? refuse_platform(&listing, error)
               : error_set(error, ERROR_INVALID_ARGUMENT, "the archive lists no images");
}
