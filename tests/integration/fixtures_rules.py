"""The OCI layer rules (image spec, layer.md, "Applying Changesets"), one at a time."""

from fixture import (
    NOON,
    device,
    directory,
    fifo,
    file,
    fixture,
    hardlink,
    opaque,
    root,
    symlink,
    whiteout,
)

BASE = [
    root(0o755),
    directory(b"d", 0o750, uid=3, gid=4, xattrs={"user.lower": b"d"}),
    file(b"d/a", b"lower a"),
    file(b"d/b", b"lower b"),
    directory(b"d/sub", 0o700),
    file(b"d/sub/c", b"lower c"),
    file(b"f", b"lower f"),
    symlink(b"l", b"d"),
]

fixture("whiteout_of_a_file", BASE, [whiteout(b"f"), whiteout(b"d/a")])
fixture("whiteout_of_a_directory", BASE, [whiteout(b"d")])
fixture("whiteout_of_a_symlink", BASE, [whiteout(b"l")])
fixture("whiteout_of_nothing", BASE, [whiteout(b"never"), whiteout(b"d/never")])
fixture("whiteout_in_the_lowest_layer", [whiteout(b"f"), file(b"g")], [file(b"h")])
fixture("whiteout_below_a_missing_directory", BASE, [whiteout(b"no/such/thing")], umoci=False)
fixture("whiteout_then_back_again", BASE, [whiteout(b"f")], [file(b"f", b"new f")])
fixture("whiteout_then_directory_again", BASE, [whiteout(b"d")], [directory(b"d"), file(b"d/new")])
fixture("whiteout_then_implied_directory_again", BASE, [whiteout(b"d")], [file(b"d/new")])
fixture("whiteout_before_its_file", BASE, [whiteout(b"f"), file(b"f", b"new")])
fixture("whiteout_after_its_file", BASE, [file(b"f", b"new"), whiteout(b"f")])
# umoci removes here what the same layer has just brought, against the spec.
fixture(
    "whiteout_after_its_directory",
    BASE,
    [directory(b"d", 0o711), file(b"d/new"), whiteout(b"d")],
    umoci=False,
)
fixture(
    "whiteout_before_its_directory", BASE, [whiteout(b"d"), directory(b"d", 0o711), file(b"d/new")]
)
fixture("whiteout_and_an_implied_directory", BASE, [whiteout(b"d"), file(b"d/new")])
fixture(
    "whiteout_at_the_very_end",
    BASE,
    [file(b"%d" % i) for i in range(50)] + [whiteout(b"d/sub"), whiteout(b"f")],
)
fixture("whiteout_twice", BASE, [whiteout(b"f"), whiteout(b"f")])
fixture(
    "whiteout_of_a_hard_link",
    [file(b"a", b"x"), hardlink(b"b", b"a"), hardlink(b"c", b"a")],
    [whiteout(b"a")],
)
fixture(
    "whiteout_of_names_up_to_the_limit",  # the marker's own name is no file's
    [file(b"n" * size) for size in (251, 252, 255)],
    [whiteout(b"n" * size) for size in (251, 252, 255)],
    umoci=False,
)
fixture("whiteout_of_a_path_with_dots", BASE, [whiteout(b"no/../f"), whiteout(b"./d//a")])
fixture("whiteout_with_content_and_owner", BASE, [file(b".wh.f", b"some bytes", uid=9, mode=0o600)])
fixture(
    "whiteout_through_a_symlink_of_the_layer",
    BASE,
    [symlink(b"way", b"d"), whiteout(b"way/a")],
)

# Images in the wild ship markers of other types: only the name counts.
fixture(
    "whiteouts_of_other_types",
    BASE,
    [
        hardlink(b".wh.f", b"d/a"),
        symlink(b"d/.wh.a", b"b"),
        directory(b"d/.wh.b"),
        hardlink(b"d/sub/.wh.c", b"no/such/file"),
    ],
    umoci=False,
)
fixture("opaque_marker_of_another_type", BASE, [hardlink(b"d/.wh..wh..opq", b"f")], umoci=False)
fixture("opaque_before_its_directory", BASE, [opaque(b"d"), directory(b"d", 0o711), file(b"d/new")])
fixture("opaque_after_its_directory", BASE, [directory(b"d", 0o711), opaque(b"d"), file(b"d/new")])
fixture("opaque_after_new_files", BASE, [directory(b"d", 0o711), file(b"d/new"), opaque(b"d")])
fixture("opaque_without_its_directory", BASE, [opaque(b"d")])
fixture("opaque_with_new_files_without_its_directory", BASE, [file(b"d/new"), opaque(b"d")])
fixture(
    "opaque_keeps_a_listed_lower_name",
    BASE,
    [directory(b"d"), opaque(b"d"), file(b"d/a", b"new a")],
)
fixture("opaque_subdirectory", BASE, [opaque(b"d/sub"), file(b"d/sub/new")])
fixture(
    "opaque_hides_the_lower_subdirectory",
    BASE,
    [opaque(b"d"), directory(b"d/sub", 0o711), file(b"d/sub/new")],
)
fixture(
    "opaque_hides_the_lower_subdirectory_when_implied", BASE, [opaque(b"d"), file(b"d/sub/new")]
)
fixture("opaque_root", BASE, [opaque(), file(b"only", b"this")])
fixture("opaque_root_and_its_metadata", BASE, [root(0o700, uid=1), opaque(), file(b"only")])
fixture("opaque_root_twice", BASE, [opaque(), file(b"one")], [opaque(), file(b"two")])
fixture("opaque_where_a_file_was", BASE, [directory(b"f"), opaque(b"f"), file(b"f/x")])
fixture("opaque_and_a_whiteout", BASE, [opaque(b"d"), whiteout(b"d/a"), file(b"d/b", b"new b")])
fixture(
    "opaque_through_a_whiteout_holds_none",
    BASE,
    [whiteout(b"d"), directory(b"d"), whiteout(b"d/a"), file(b"d/b", b"new b")],
)
fixture("opaque_in_the_lowest_layer", [directory(b"d"), opaque(b"d"), file(b"d/x")], [file(b"d/y")])
fixture("opaque_in_the_middle", BASE, [opaque(b"d"), file(b"d/m")], [file(b"d/top")])
fixture("opaque_nothing_below", [file(b"x")], [opaque(b"no/dir"), file(b"y")], umoci=False)

fixture("implied_directory_keeps_the_lower_metadata", BASE, [file(b"d/sub/new")])
fixture("implied_directory_with_nothing_below", [file(b"made/up/file")])
fixture(
    "implied_root_keeps_the_lower_metadata",
    [root(0o751, uid=6, xattrs={"user.r": b"r"})],
    [file(b"f")],
)
fixture(
    "implied_first_then_listed", BASE, [file(b"d/new"), directory(b"d", 0o711, mtime_ns=NOON + 1)]
)
fixture("implied_over_two_layers", BASE, [directory(b"d", 0o701)], [file(b"d/x")], [file(b"d/y")])
fixture(
    "listed_directory_replaces_metadata", BASE, [directory(b"d", 0o701, xattrs={"user.new": b"1"})]
)
fixture(
    "root_of_the_upper_layer_wins",
    [root(0o751, uid=6, xattrs={"user.r": b"r"})],
    [root(0o700, uid=1)],
)
fixture("implied_directory_where_a_file_was", BASE, [file(b"f/inside")], umoci=False)
fixture("implied_directory_where_a_symlink_was", BASE, [file(b"l/inside")], umoci=False)

fixture("file_over_directory", BASE, [file(b"d", b"now a file")])
fixture("directory_over_file", BASE, [directory(b"f"), file(b"f/x")])
fixture("symlink_over_directory", BASE, [symlink(b"d", b"elsewhere")])
fixture("directory_over_symlink", BASE, [directory(b"l", 0o701), file(b"l/x")])
KINDS = {
    "file": lambda i: [file(b"x", b"file %d" % i)],
    "dir": lambda i: [directory(b"x", 0o700 + i), file(b"x/%d" % i)],
    "symlink": lambda i: [symlink(b"x", b"target%d" % i)],
    "device": lambda i: [device(b"x", "char", 1, 3 + i)],
    "fifo": lambda i: [fifo(b"x")],
}
for first in KINDS:
    for second in KINDS:
        for third in ("file", "dir", "symlink"):
            if first != second != third:
                fixture(
                    f"replace_{first}_{second}_{third}",
                    KINDS[first](1),
                    KINDS[second](2),
                    KINDS[third](3),
                )

fixture("hard_link_to_a_lower_file", [file(b"low", b"content", uid=5)], [hardlink(b"up", b"low")])
fixture(
    "hard_link_to_a_lower_file_two_down",
    [directory(b"d"), file(b"d/low", b"content")],
    [file(b"other")],
    [hardlink(b"d/up", b"d/low"), hardlink(b"up2", b"d/up")],
)
fixture(
    "hard_link_to_a_lower_file_with_metadata",
    [file(b"low", b"content", mode=0o4755, xattrs={"user.a": b"b"}, mtime_ns=NOON + 7)],
    [hardlink(b"up", b"low", mode=0o4755, mtime_ns=NOON + 7)],
)
fixture(
    "hard_link_to_a_lower_file_then_replaced",
    [file(b"low", b"content")],
    [hardlink(b"up", b"low")],
    [file(b"low", b"new")],
)
fixture(
    "hard_link_through_lower_symlinks",
    [
        directory(b"real/sub"),
        file(b"real/sub/low", b"content", uid=5),
        symlink(b"way", b"real"),
        symlink(b"real/back", b"/way/sub/../sub"),
    ],
    [hardlink(b"up", b"way/back/low"), hardlink(b"up2", b"up")],
)
fixture(
    "hard_link_up_from_a_directory_that_only_a_lower_layer_has",
    [directory(b"lower/deep"), directory(b"real"), file(b"real/f", b"old")],
    [
        file(b"real/f", b"new"),
        symlink(b"way", b"lower/deep/../../real"),
        symlink(b"out", b"lower/../../real"),
        hardlink(b"one", b"way/f"),
        hardlink(b"two", b"out/f"),
    ],
)
fixture("hard_link_to_a_lower_symlink", [symlink(b"low", b"t")], [hardlink(b"up", b"low")])
fixture("hard_link_to_a_lower_device", [device(b"low", "char", 1, 5)], [hardlink(b"up", b"low")])
fixture("hard_link_over_a_lower_directory", [file(b"low"), file(b"d/x")], [hardlink(b"d", b"low")])
fixture("hard_link_over_a_lower_file", [file(b"a", b"a"), file(b"b", b"b")], [hardlink(b"b", b"a")])
fixture(
    "hard_link_group_over_layers",
    [file(b"a", b"1"), hardlink(b"b", b"a")],
    [file(b"a", b"2"), hardlink(b"c", b"a")],
)

# What issue trackers of the field tell of.
fixture(
    "opaque_over_a_symlink_spares_its_target",
    [directory(b"target"), file(b"target/keep"), symlink(b"link", b"/target")],
    [directory(b"link"), opaque(b"link"), file(b"link/new")],
)
fixture(
    "opaque_and_names_with_dots",
    [file(b"d/.old"), file(b"d/..old"), file(b"d/.wh"), file(b"d/sub/.deep")],
    [file(b"d/.new"), file(b"d/..new/.deep"), opaque(b"d"), file(b"d/.late")],
)
fixture(
    "hard_link_whose_parent_is_implied",
    [file(b"bin/app", b"app", mode=0o755), hardlink(b"bin/app.runfiles/_main/app", b"bin/app")],
)
fixture(
    "hard_link_survives_the_whiteout_of_its_target",
    [file(b"a", b"x" * 5000), hardlink(b"z", b"a")],
    [whiteout(b"a")],
    [hardlink(b"y", b"z")],
)
fixture(
    "directory_becomes_a_symlink_to_its_new_place",
    [directory(b"lib"), file(b"lib/a"), directory(b"usr/lib"), file(b"usr/lib/b")],
    [whiteout(b"lib"), symlink(b"lib", b"usr/lib"), file(b"usr/lib/a")],
)
fixture(
    "symlinks_beside_an_opaque_marker",
    [directory(b"doc"), file(b"doc/copyright"), symlink(b"doc/old", b"copyright")],
    [
        directory(b"doc"),
        opaque(b"doc"),
        symlink(b"doc/copyright", b"../other"),
        symlink(b"doc/old", b"x"),
    ],
)
