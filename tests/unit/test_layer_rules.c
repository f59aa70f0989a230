/* The OCI layer rules: stacks of layers, and the tree that they give. */
#include "layer_view.h"

#include "store/cleanup.h"
#include "store/compose.h"
#include "store/erofs/image.h"
#include "store/layer/layer_tree.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

struct rule {
    const char *promise;
    const char *layers[5];
    const char *view;
};

#define ROOT "/ d 755\n"

static void expect_rules(const struct rule *rules, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        cleanup_free char *view = view_of(rules[i].layers);
        cr_expect_str_eq(view, rules[i].view, "%s; expected\n%s\nbut got\n%s", rules[i].promise,
                         rules[i].view, view);
    }
}
#define expect_all(rules) expect_rules(rules, sizeof(rules) / sizeof((rules)[0]))

Test(layer_rules, a_whiteout_hides_lower_layers_only_wherever_it_stands)
{
    static const struct rule rules[] = {
        {"a whiteout removes", {"f x 1\nf y 1", "w .wh.x"}, ROOT "y f 644 1\n"},
        {"x before .wh.x stays", {"f x 1", "f x 2\nw .wh.x"}, ROOT "x f 644 2\n"},
        {"x after .wh.x stays", {"f x 1", "w .wh.x\nf x 2"}, ROOT "x f 644 2\n"},
        {"x/ after .wh.x is empty below",
         {"d x\nf x/1 1", "w .wh.x\nd x mode=711\nf x/2 2"},
         ROOT "x d 711\nx/2 f 644 2\n"},
        {"x/ before .wh.x too",
         {"d x\nf x/1 1", "d x mode=711\nf x/2 2\nw .wh.x"},
         ROOT "x d 711\nx/2 f 644 2\n"},
        {"an implied x/ does not take over what .wh.x removed",
         {"d x mode=700\nf x/1 1", "w .wh.x\nf x/2 2"},
         ROOT "x d 755\nx/2 f 644 2\n"},
        {"a whiteout of nothing is nothing", {"f x 1", "w .wh.y"}, ROOT "x f 644 1\n"},
        {"a whiteout holds over several layers", {"f x 1", "w .wh.x", "f y 1", "w .wh.y"}, ROOT},
        {"a 0:0 device is a whiteout", {"f x 1", "c x 0:0"}, ROOT},
        {"aufs's own files are ignored",
         {"d .wh..wh.plnk\nf .wh..wh.plnk/1.2 p\nw .wh..wh.aufs\nh a .wh..wh.plnk/1.2\nh b a"},
         ROOT "a f 644 n2 p\nb f 644 n2 p\n"},
    };
    expect_all(rules);
}

Test(layer_rules, an_opaque_directory_hides_what_lies_below_it)
{
    static const struct rule rules[] = {
        {"marker before its directory",
         {"d x mode=700\nf x/1 1", "w x/.wh..wh..opq\nd x mode=711\nf x/2 2"},
         ROOT "x d 711\nx/2 f 644 2\n"},
        {"marker after",
         {"d x mode=700\nf x/1 1", "d x mode=711\nf x/2 2\nw x/.wh..wh..opq"},
         ROOT "x d 711\nx/2 f 644 2\n"},
        {"marker without: the directory stays as it was",
         {"d x mode=700 uid=9\nf x/1 1", "f x/2 2\nw x/.wh..wh..opq"},
         ROOT "x d 700 9:0\nx/2 f 644 2\n"},
        {"root", {"d ./ mode=700\nf x 1", "f y 1\nw .wh..wh..opq"}, "/ d 700\ny f 644 1\n"},
    };
    expect_all(rules);
}

Test(layer_rules, a_directory_that_is_only_implied_keeps_the_lower_metadata)
{
    static const struct rule rules[] = {
        {"lower metadata and attributes stay",
         {"d a mode=700 uid=3 mtime=5 user.k=v\nf a/1 1", "f a/2 2"},
         ROOT "a d 700 3:0 @5 user.k=v\na/1 f 644 1\na/2 f 644 2\n"},
        {"listed metadata and attributes replace",
         {"d a mode=700 uid=3 user.k=v\nf a/1 1", "d a mode=711 user.l=w"},
         ROOT "a d 711 user.l=w\na/1 f 644 1\n"},
        {"new ones are 0755 root", {"f a/b/1 1"}, ROOT "a d 755\na/b d 755\na/b/1 f 644 1\n"},
        {"listed after being implied", {"f a/1 1\nd a mode=700"}, ROOT "a d 700\na/1 f 644 1\n"},
        {"the root's own",
         {"d ./ mode=701 uid=5 mtime=7 user.r=v", "f x 1"},
         "/ d 701 5:0 @7 user.r=v\nx f 644 1\n"},
    };
    expect_all(rules);
}

Test(layer_rules, types_replace_each_other)
{
    static const struct rule rules[] = {
        {"directory, file, directory",
         {"d x\nf x/1 1", "f x f", "d x\nf x/3 3"},
         ROOT "x d 755\nx/3 f 644 3\n"},
        {"the same within the upper layer",
         {"d x\nf x/1 1", "f x f\nd x\nf x/3 3"},
         ROOT "x d 755\nx/3 f 644 3\n"},
        {"symlink over directory", {"d x\nf x/1 1", "l x y"}, ROOT "x l 777 y\n"},
        {"directory over symlink", {"l x y\nf y 1", "d x"}, ROOT "x d 755\ny f 644 1\n"},
        {"twice in one layer: the last wins whole",
         {"f x 1 user.a=1 mode=600\nf x 2 user.b=2"},
         ROOT "x f 644 2 user.b=2\n"},
        {"a directory twice keeps its children, not its attributes",
         {"d x user.a=1\nf x/1 1\nd x user.b=2"},
         ROOT "x d 755 user.b=2\nx/1 f 644 1\n"},
        {"a hard link keeps the file that a later member replaced",
         {"f x 1\nh y x\nf x 2"},
         ROOT "x f 644 2\ny f 644 1\n"},
    };
    expect_all(rules);
}

Test(layer_rules, hard_links_share_one_inode)
{
    static const struct rule rules[] = {
        {"of a lower layer's file",
         {"f a/f low\nl s a", "h l a/f\nh m s/f\nh a/n /a/f"},
         ROOT "a d 755\na/f f 644 n4 low\na/n f 644 n4 low\nl f 644 n4 low\nm f 644 n4 low\n"
              "s l 777 a\n"},
        {"of a lower file that this layer replaces",
         {"f x old", "h y x\nf x new"},
         ROOT "x f 644 new\ny f 644 old\n"},
        {"of a lower file that is removed later",
         {"f x old", "h y x", "w .wh.x"},
         ROOT "y f 644 old\n"},
        {"through a symlink of the same layer",
         {"f u/b/x old", "l b u/b\nh y b/x"},
         ROOT "b l 777 u/b\nu d 755\nu/b d 755\nu/b/x f 644 n2 old\ny f 644 n2 old\n"},
        {"through a directory that only a lower layer has, and up again",
         {"d low/er\nd real\nf real/f old",
          "f real/f new\nl way low/er/../../real\nl up low/er/../../../../real\nh h way/f\n"
          "h i up/f"},
         ROOT "h f 644 n3 new\ni f 644 n3 new\nlow d 755\nlow/er d 755\nreal d 755\n"
              "real/f f 644 n3 new\nup l 777 low/er/../../../../real\n"
              "way l 777 low/er/../../real\n"},
        {"up, but not as far as it led down",
         {"f low/real/f old", "f real/f new\nl way low/er/../real\nh h way/f"},
         ROOT "h f 644 n2 old\nlow d 755\nlow/real d 755\nlow/real/f f 644 n2 old\n"
              "real d 755\nreal/f f 644 new\nway l 777 low/er/../real\n"},
        {"and from there through a symlink",
         {"d low", "f real/f new\nl link real\nl way low/../link\nh h way/f"},
         ROOT "h f 644 n2 new\nlink l 777 real\nlow d 755\nreal d 755\nreal/f f 644 n2 new\n"
              "way l 777 low/../link\n"},
        {"symlinks and devices",
         {"l s t\nh s2 s\nc d 5:70000\nh d2 d"},
         ROOT "d c 644 n2 5:70000\nd2 c 644 n2 5:70000\ns l 777 n2 t\ns2 l 777 n2 t\n"},
        {"to itself", {"f x 1\nh x x", "h x x"}, ROOT "x f 644 1\n"},
    };
    expect_all(rules);
}

Test(layer_rules, paths_stay_inside_the_root)
{
    static const struct rule rules[] = {
        {"cleaned", {"f /etc//./x/../y 1"}, ROOT "etc d 755\netc/y f 644 1\n"},
        {"through symlinks of the same layer, never out",
         {"d usr/bin\nl bin usr/bin\nf bin/a 1\nl up ../../usr\nf up/b 2\nl abs /usr\nf abs/c 3"},
         ROOT "abs l 777 /usr\nbin l 777 usr/bin\nup l 777 ../../usr\nusr d 755\n"
              "usr/b f 644 2\nusr/bin d 755\nusr/bin/a f 644 1\nusr/c f 644 3\n"},
        {"a lower layer's symlink is shadowed, as overlayfs does",
         {"d usr/bin\nl bin usr/bin", "f bin/a 1"},
         ROOT "bin d 755\nbin/a f 644 1\nusr d 755\nusr/bin d 755\n"},
        {"metadata survives",
         {"f a 1 uid=4294967294 gid=4294967294 mtime=-1\nf b 2 mtime=1099511627776 mode=6755\n"
          "f c 3 mtime=123.987654321\nd d mode=1777\nc e 4095:1048575\np f"},
         ROOT "a f 644 4294967294:4294967294 @-1 1\nb f 6755 @1099511627776 2\n"
              "c f 644 @123.987654321 3\nd d 1777\ne c 644 4095:1048575\nf p 644\n"},
    };
    expect_all(rules);
}

Test(layer_rules, marks_never_come_from_a_tar_and_unknown_namespaces_are_left_out)
{
    static const struct rule rules[] = {
        {"overlay's and ours are dropped",
         {"d a\nf a/1 1",
          "d a trusted.overlay.opaque=y trusted.larder.implied=y trusted.k=v foo.bar=x"},
         ROOT "a d 755 trusted.k=v\na/1 f 644 1\n"},
        {"the others stay",
         {"f a 1 user.k=v security.capability=c trusted.x=y system.posix_acl_access=acl"},
         ROOT "a f 644 1 user.k=v system.posix_acl_access=acl trusted.x=y "
              "security.capability=c\n"},
    };
    expect_all(rules);
}

Test(layer_rules, what_cannot_be_right_is_refused_by_name)
{
    static const struct {
        const char *layers[3];
        const char *member;
    } bad[] = {
        {{"f a/../../b 1"}, "\"a/../../b\" leads out of the root"},
        {{"f a 1\nf a/b 1"}, "\"a/b\" leads through \"a\""},
        {{"l a b\nl b a\nf a/x 1"}, "\"a/x\" leads through too many symbolic links"},
        {{"w a/.wh."}, "\"a/.wh.\" is a whiteout of no name"},
        {{"w .wh..."}, "\".wh...\" is a whiteout of no name"},
        {{"f .wh.a/b 1"}, "\".wh.a/b\" lies below a whiteout"},
        {{"f a 1 uid=4294967295"}, "\"a\" has owner 4294967295:0"},
        {{"f . 1"}, "would replace the root"},
        {{"d a\nh b a"}, "\"b\" is a hard link to a directory"},
        {{"h b ../a"}, "\"b\" leads out of the root"},
        {{"c a 4096:0"}, "\"a\" is device 4096:0"},
        {{"f a 1", "h b c"}, "\"b\" is a hard link to \"c\", which no lower layer has"},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        cleanup_free char *view = view_of(bad[i].layers);
        cr_expect(strncmp(view, "UnsupportedLayer: ", 18) == 0 && strstr(view, bad[i].member),
                  "expected a refusal with: %s; got: %s", bad[i].member, view);
    }
}

Test(layer_rules, more_attributes_than_a_file_can_have_are_refused_by_name)
{
    char value[901];
    memset(value, 'v', 900);
    value[900] = '\0';
    char *lines = NULL;
    size_t size = 0;
    FILE *text = open_memstream(&lines, &size);
    fputs("f good 1\nf a/fat 1", text);
    for (int i = 0; i < 300; i++)
        fprintf(text, " user.%03d=%s", i, value);
    fclose(text);
    cleanup_free char *owned = lines;
    const char *layers[] = {lines, NULL};
    cleanup_free char *view = view_of(layers);
    cr_expect_str_eq(view,
                     "UnsupportedLayer: \"a/fat\" has more extended attributes than EROFS can "
                     "hold");
}

/* 255 attributes that are large enough to be shared, and the rest of `inline_bytes`. */
static struct erofs_xattr_set *many_attributes(struct erofs_xattr_pool *pool, uint32_t inline_bytes)
{
    static const char value[EROFS_XATTR_LARGE] = "";
    const uint32_t most = 1024;
    const uint32_t head = sizeof(struct erofs_disk_xattr) + 3;
    struct erofs_xattr *items[600];
    size_t count = 0;
    for (; inline_bytes > 0; count++) {
        uint32_t size = inline_bytes > most + head ? most : inline_bytes;
        char name[8];
        snprintf(name, sizeof(name), "%03zu", count);
        items[count] =
            erofs_xattr_intern(pool, EROFS_XATTR_USER, name, 3, value, (uint16_t)(size - head));
        inline_bytes -= size;
    }
    for (size_t end = count + EROFS_MAX_SHARED_XATTRS; count < end; count++) {
        char name[8];
        snprintf(name, sizeof(name), "%03zu", count);
        items[count] = erofs_xattr_intern(pool, EROFS_XATTR_USER, name, 3, value, sizeof(value));
    }
    return erofs_xattr_set_intern(pool, items, count);
}

/* Whether the tree as it is makes a file that can be read back. */
static void expect_sound_image(struct layer_tree *layer)
{
    cleanup_fd int fd = memfd_create("layer", MFD_CLOEXEC);
    cleanup(erofs_output_close) struct erofs_output output;
    erofs_output_open(&output, fd, UINT64_C(1) << 30);
    const struct digest identity = {{0}};
    struct erofs_image image = {.identity = &identity};
    struct error error = {0};
    uint64_t entries = 0;
    cr_assert(erofs_output_skip(&output, erofs_image_head_size(0), &error) &&
                  erofs_image_write(&layer->tree, &image, &output, &entries, &error),
              "%s", error.message);
    cr_expect(erofs_file_check(fd, erofs_output_offset(&output), &error), "%s", error.message);
}

/* Adds an opaque directory with that many attributes: refused by name, or sound. */
static bool is_opaque_directory_taken(uint32_t inline_bytes)
{
    cleanup(layer_tree_close) struct layer_tree layer;
    layer_tree_open(&layer, &wide_limits);
    struct tar_member directory = {.name = "a/x", .type = TAR_DIRECTORY};
    struct tar_member marker = {.name = "a/x/.wh..wh..opq", .type = TAR_FILE};
    struct erofs_inode *file;
    struct error error = {0};
    cr_assert(layer_tree_add(&layer, &marker, NULL, &file, &error), "%s", error.message);
    if (!layer_tree_add(&layer, &directory, many_attributes(&layer.tree.xattrs, inline_bytes),
                        &file, &error)) {
        cr_expect_eq(error.code, ERROR_UNSUPPORTED_LAYER);
        cr_expect(strstr(error.message, "\"a/x\" has more extended attributes"), "%s",
                  error.message);
        return false;
    }
    layer_tree_finish(&layer);
    expect_sound_image(&layer);
    return true;
}

Test(layer_rules, an_opaque_directory_whose_attributes_just_fit_has_room_for_its_mark)
{
    const uint32_t near = 4 * (EROFS_MAX_XATTR_COUNT - EROFS_MAX_SHARED_XATTRS - 20);
    const uint32_t far = 4 * EROFS_MAX_XATTR_COUNT;
    uint32_t size = near;
    while (size < far && is_opaque_directory_taken(size))
        size += 4;
    cr_expect_gt(size, near, "what leaves room is taken");
    cr_expect_lt(size, far, "what does not is refused");
}
