/* GET /images, /images/{reference} and its inspect: from memory where it is right, else from
 * PostgreSQL over the loop's connection (reader.h). On the event loop. */
#include "store/catalogue/image_reads.h"
#include "server/image_selection.h"
#include "server/node.h"
#include "server/reader.h"
#include "server/resources.h"
#include "server/shapes.h"
#include "store/catalogue/changes.h"

#include <string.h>

enum { GLOB_MAX_BYTES = 1024 };

enum view { VIEW_HANDLE = 'h', VIEW_DETAIL = 'i' };

static void choose_coding(struct request *request, struct read_question *question)
{
    question->varies = true;
    question->coding = content_coding_choose(request->headers.accept_encoding);
}

/* Each coding is an answer of its own in memory. */
static char coding_letter(const struct read_question *question)
{
    return (char)('0' + question->coding);
}

/* --- one image --- */

struct image_question {
    struct read_question read; /* first: it is what the reader hands back */
    struct image_selection selection;
};

static bool ask_image(struct request *request, const struct read_question *question,
                      const char **parameters, size_t *parameter_count, struct error *error)
{
    (void)error;
    const struct image_question *image = (const struct image_question *)question;
    *parameter_count = image_parameters(&image->selection.reference, &request->arena, parameters);
    return true;
}

static bool render_handle(struct request *request, const struct read_question *question,
                          const struct rows *rows, struct json_writer *out, struct error *error)
{
    const struct image_question *image = (const struct image_question *)question;
    struct image_handle handle;
    if (!image_find_read(rows, &image->selection.reference, &image->selection.choice,
                         &request->arena, &handle, error))
        return false;
    shape_image_handle(out, NULL, &handle);
    return true;
}

static bool render_detail(struct request *request, const struct read_question *question,
                          const struct rows *rows, struct json_writer *out, struct error *error)
{
    const struct image_question *image = (const struct image_question *)question;
    struct image_detail detail;
    if (!image_inspect_read(rows, &image->selection.reference, &image->selection.choice,
                            &request->arena, &detail, error))
        return false;
    shape_image_detail(out, NULL, &detail);
    return true;
}

/* Platforms have no line break, nor have references. */
static void name_image(struct request *request, struct image_question *image, enum view view)
{
    char platform[PLATFORM_TEXT_SIZE] = "";
    char change[REFERENCE_TEXT_SIZE];
    if (image->selection.choice.wanted)
        platform_format(image->selection.choice.wanted, platform);
    change_key_of(&image->selection.reference, change);
    char *text = arena_alloc(&request->arena,
                             strlen(platform) + strlen(request->about_reference) + sizeof("h0\n"));
    char *at = text;
    *at++ = (char)view;
    *at++ = coding_letter(&image->read);
    at = stpcpy(at, platform);
    *at++ = '\n';
    stpcpy(at, request->about_reference);
    image->read.key = (struct cache_key){
        .text = text,
        .length = strlen(text),
        .change = read_cache_change(request->node->cache, change),
    };
}

static struct image_question *image_question_new(struct request *request, enum view view,
                                                 struct error *error)
{
    struct image_question *image = arena_alloc(&request->arena, sizeof(*image));
    if (!image_selection_read(request, &image->selection, error))
        return NULL;
    if (view == VIEW_DETAIL)
        choose_coding(request, &image->read);
    name_image(request, image, view);
    image->read.ask = ask_image;
    return image;
}

bool images_show(struct request *request, struct error *error)
{
    struct image_question *image = image_question_new(request, VIEW_HANDLE, error);
    if (!image)
        return false;
    image->read.statement = image_find_statement(&image->selection.reference);
    image->read.render = render_handle;
    reader_read(request->reader, request, &image->read);
    return true;
}

bool images_inspect(struct request *request, struct error *error)
{
    struct image_question *image = image_question_new(request, VIEW_DETAIL, error);
    if (!image)
        return false;
    image->read.statement = image_inspect_statement(&image->selection.reference);
    image->read.render = render_detail;
    reader_read(request->reader, request, &image->read);
    return true;
}

/* --- lists --- */

struct list_question {
    struct read_question read; /* first: it is what the reader hands back */
    struct image_filter filter;
    size_t limit;
    const char *page_token;
};

/* An exact reference is put into canonical form; one with `*` is a glob. */
static bool read_reference_filter(struct request *request, struct image_filter *filter,
                                  struct error *error)
{
    const char *text = request_query(request, "reference");
    struct reference reference;
    if (!text)
        return true;
    if (strchr(text, '*')) {
        filter->reference_glob = text;
        return strlen(text) <= GLOB_MAX_BYTES ||
               error_set(error, ERROR_INVALID_ARGUMENT,
                         "The query parameter \"reference\" is longer than %d bytes",
                         GLOB_MAX_BYTES);
    }
    if (!reference_parse(text, &reference, error))
        return false;
    char *canonical = arena_alloc(&request->arena, REFERENCE_TEXT_SIZE);
    reference_format(&reference, canonical);
    filter->reference = canonical;
    return true;
}

static bool read_filter(struct request *request, struct image_filter *filter, struct error *error)
{
    bool in_use = false;
    filter->manifest_digest = request_query(request, "manifest_digest");
    filter->architecture = request_query(request, "architecture");
    filter->os = request_query(request, "os");
    if (!read_reference_filter(request, filter, error) ||
        !images_check_digest("manifest_digest", filter->manifest_digest, error) ||
        !request_query_bool(request, "in_use", false, &in_use, error))
        return false;
    if (request_query(request, "in_use"))
        filter->in_use = in_use ? IN_USE_YES : IN_USE_NO;
    return true;
}

static bool ask_list(struct request *request, const struct read_question *question,
                     const char **parameters, size_t *parameter_count, struct error *error)
{
    const struct list_question *list = (const struct list_question *)question;
    *parameter_count = IMAGE_LIST_PARAMETERS;
    return image_list_parameters(&list->filter, list->limit, list->page_token, &request->arena,
                                 parameters, error);
}

static void write_page(struct json_writer *out, const struct image_page *page)
{
    json_begin_object(out, NULL);
    json_begin_array(out, "images");
    for (size_t i = 0; i < page->count; i++)
        shape_image_handle(out, NULL, &page->images[i]);
    json_end_array(out);
    json_write_text(out, "next_page_token", page->next_page_token);
    json_end_object(out);
}

static bool render_list(struct request *request, const struct read_question *question,
                        const struct rows *rows, struct json_writer *out, struct error *error)
{
    (void)error;
    const struct list_question *list = (const struct list_question *)question;
    struct image_page page;
    image_list_read(rows, list->limit, &request->arena, &page);
    write_page(out, &page);
    return true;
}

static bool read_list(struct request *request, struct list_question *list, struct error *error)
{
    list->page_token = request_query(request, "page_token");
    return read_filter(request, &list->filter, error) &&
           request_query_limit(request, &list->limit, error);
}

/* What an index does not find may take long, and who uses an image is not logged as a
 * change: neither is for the loop. */
static bool needs_a_search(const struct image_filter *filter)
{
    return filter->reference_glob || filter->architecture || filter->os ||
           filter->in_use != IN_USE_ANY;
}

static bool search_images(struct request *request, struct error *error)
{
    struct list_question list = {0};
    struct image_page page;
    if (!read_list(request, &list, error) ||
        !catalogue_list_images(request->node->catalogue, &list.filter, list.limit, list.page_token,
                               &request->arena, &page, error))
        return false;
    cleanup_json_writer struct json_writer out = {0};
    write_page(&out, &page);
    if (request_answer_json(request, 200, &out))
        request_add_header(request, "Cache-Status", "larder; fwd=bypass");
    return true;
}

static void name_list(struct request *request, struct list_question *list)
{
    const struct image_filter *filter = &list->filter;
    const char *text =
        arena_printf(&request->arena, "l%c%zu\n%s\n%s\n%s", coding_letter(&list->read), list->limit,
                     filter->reference ? filter->reference : "",
                     filter->manifest_digest ? filter->manifest_digest : "",
                     list->page_token ? list->page_token : "");
    list->read.key = (struct cache_key){
        .text = text,
        .length = strlen(text),
        .change = read_cache_list_change(request->node->cache),
    };
}

bool images_list(struct request *request, struct error *error)
{
    struct list_question *list = arena_alloc(&request->arena, sizeof(*list));
    if (!read_list(request, list, error))
        return false;
    if (needs_a_search(&list->filter)) {
        request->on_worker = search_images;
        return true;
    }
    choose_coding(request, &list->read);
    name_list(request, list);
    list->read.statement = image_list_statement(&list->filter);
    list->read.ask = ask_list;
    list->read.render = render_list;
    reader_read(request->reader, request, &list->read);
    return true;
}
