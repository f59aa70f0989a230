"""Duplicates in one layer, symlinked paths, AUFS leftovers, and tall stacks."""

from fixture import (
    NOON,
    device,
    directory,
    file,
    fixture,
    hardlink,
    opaque,
    root,
    symlink,
    whiteout,
)

fixture(
    "duplicate_file_the_last_wins",
    [file(b"f", b"first", xattrs={"user.a": b"1"}), file(b"f", b"second!", uid=4)],
)
fixture(
    "duplicate_directory_the_last_wins",
    [
        directory(b"d", 0o700, xattrs={"user.a": b"1", "user.b": b"1"}),
        file(b"d/x"),
        directory(b"d", 0o711, xattrs={"user.b": b"2"}, mtime_ns=NOON + 9),
        file(b"d/y"),
    ],
)
fixture("duplicate_root", [root(0o700, xattrs={"user.a": b"1"}), file(b"f"), root(0o711, uid=2)])
fixture("duplicate_file_then_symlink", [file(b"x", b"file"), symlink(b"x", b"y")])
fixture("duplicate_symlink_then_file", [symlink(b"x", b"y"), file(b"y", b"y"), file(b"x", b"file")])
fixture("duplicate_directory_then_file", [directory(b"x"), file(b"x/in"), file(b"x", b"file")])
fixture(
    "duplicate_file_then_directory", [file(b"x", b"file"), directory(b"x", 0o701), file(b"x/in")]
)
fixture(
    "duplicate_directory_then_symlink",
    [directory(b"x"), file(b"x/in"), directory(b"y"), symlink(b"x", b"y"), file(b"x/in2")],
)
fixture(
    "duplicate_symlink_then_directory",
    [directory(b"y"), file(b"y/f"), symlink(b"x", b"y"), directory(b"x", 0o701), file(b"x/in")],
)
fixture(
    "duplicate_directory_then_symlink_then_directory",
    [
        directory(b"foo", 0o701),
        file(b"foo/f", b"first"),
        directory(b"bar"),
        symlink(b"foo", b"/bar"),
        file(b"foo/f", b"in bar"),
        directory(b"foo", 0o711),
        file(b"foo/f", b"third"),
    ],
)
fixture(
    "duplicate_file_then_directory_hides_the_lower_one",
    [directory(b"x", 0o700), file(b"x/low"), directory(b"y"), file(b"y/low")],
    [
        file(b"x", b"file"),
        directory(b"x", 0o701),
        file(b"x/in"),
        directory(b"y"),
        symlink(b"y", b"x"),
        directory(b"y"),
    ],
)
fixture(
    "duplicate_of_a_link_target", [file(b"a", b"old"), hardlink(b"b", b"a"), file(b"a", b"new")]
)
fixture(
    "duplicate_hard_link",
    [file(b"a", b"a"), file(b"c", b"c"), hardlink(b"b", b"a"), hardlink(b"b", b"c")],
)
fixture(
    "duplicate_file_becomes_a_hard_link", [file(b"a", b"a"), file(b"b", b"b"), hardlink(b"b", b"a")]
)
fixture("duplicate_a_hundred_times", [file(b"f", b"%d" % i * 100) for i in range(100)])
fixture(
    "duplicate_upper_keeps_lower_content",
    [directory(b"d"), file(b"d/low")],
    [directory(b"d", 0o700), directory(b"d", 0o711)],
)

fixture(
    "symlink_of_the_layer_in_a_path",
    [directory(b"real", 0o711), symlink(b"way", b"real"), file(b"way/f", b"x")],
)
fixture(
    "symlink_of_the_layer_absolute",
    [directory(b"real"), symlink(b"way", b"/real"), file(b"way/f", b"x")],
)
fixture(
    "symlink_of_the_layer_chain",
    [
        directory(b"a/b"),
        symlink(b"one", b"a"),
        symlink(b"two", b"one/b"),
        file(b"two/f", b"x"),
        directory(b"two/d", 0o700),
    ],
)
fixture(
    "symlink_of_the_layer_with_dots",
    [directory(b"a/b"), directory(b"c"), symlink(b"a/b/up", b"../../c"), file(b"a/b/up/f", b"x")],
)
# A chroot would stop at its root; so does every applier.
fixture(
    "symlink_of_the_layer_above_the_root",
    [symlink(b"way", b"../../../c"), directory(b"c"), file(b"way/f", b"x")],
)
fixture(
    "symlink_of_the_layer_to_nothing", [symlink(b"way", b"made"), file(b"way/f", b"x")], umoci=False
)
fixture(
    "symlink_of_the_layer_usr_merge",
    [
        directory(b"usr/bin"),
        symlink(b"bin", b"usr/bin"),
        file(b"bin/sh", b"#!", mode=0o755),
        file(b"usr/bin/ls", b"#!"),
    ],
)
fixture(
    "symlink_of_the_layer_listed_after",
    [file(b"way/f", b"x"), directory(b"real"), symlink(b"way", b"real")],
)
fixture(
    "symlink_of_the_layer_in_a_link_target",
    [directory(b"real"), file(b"real/f", b"x"), symlink(b"way", b"real"), hardlink(b"h", b"way/f")],
)
fixture(
    "symlink_of_a_lower_layer_is_shadowed",
    [directory(b"real"), file(b"real/low"), symlink(b"way", b"real")],
    [file(b"way/f", b"x")],
    umoci=False,
)
fixture(
    "symlink_of_a_lower_layer_stays_a_symlink",
    [directory(b"real"), symlink(b"way", b"real")],
    [file(b"real/f", b"x")],
)
fixture(
    "symlink_as_the_last_part_is_not_followed",
    [file(b"t", b"target"), symlink(b"l", b"t"), file(b"l", b"new")],
)
fixture(
    "symlink_of_the_layer_to_a_lower_directory",
    [directory(b"real", 0o701, uid=8), file(b"real/low")],
    [symlink(b"way", b"real"), file(b"way/f", b"x")],
)

fixture(
    "aufs_leftovers_are_not_files",
    [
        file(b".wh..wh.aufs", b""),
        directory(b".wh..wh.plnk", 0o700),
        file(b".wh..wh.plnk/123.456", b"linked"),
        directory(b".wh..wh.orph", 0o700),
        file(b"f"),
    ],
    umoci=False,
)
fixture(
    "aufs_leftovers_below_the_root", [directory(b"d"), file(b"d/.wh..wh.aufs", b""), file(b"d/f")]
)
fixture(
    "aufs_hard_link_source",
    [
        directory(b".wh..wh.plnk"),
        file(b".wh..wh.plnk/1.2", b"linked"),
        hardlink(b"a", b".wh..wh.plnk/1.2"),
        hardlink(b"b", b".wh..wh.plnk/1.2"),
    ],
    ignore=("nlink",),
    may_refuse="a",
    umoci=False,
)
# Nobody can tell a real 0:0 character device from overlayfs's own whiteout.
fixture(
    "device_0_0_is_a_whiteout", [file(b"f"), file(b"g")], [device(b"f", "char", 0, 0)], umoci=False
)

fixture(
    "sixty_layers",
    *(
        [
            directory(b"d", 0o700 + i % 8),
            file(b"d/%02d" % i, b"%d" % i * 3000),
            file(b"shared", b"layer %d" % i),
            *([whiteout(b"d/%02d" % (i - 7))] if i % 7 == 0 and i else []),
            *([opaque(b"d")] if i == 30 else []),
            *([hardlink(b"link%02d" % i, b"d/%02d" % (i - 1))] if i % 10 == 5 else []),
        ]
        for i in range(60)
    ),
    overlay=False,  # its hard links reach into lower layers
)
TWICE = [directory(b"d", 0o711), file(b"d/f", b"same" * 2000), symlink(b"l", b"d")]
fixture("same_layer_twice", TWICE, TWICE)
fixture("same_layer_twice_around_a_whiteout", TWICE, [whiteout(b"d/f"), whiteout(b"l")], TWICE)
fixture("same_empty_layer_three_times", [], TWICE, [], [])
fixture("layers_that_cancel_out", TWICE, [whiteout(b"d"), whiteout(b"l")])
fixture("only_whiteouts", [whiteout(b"a")], [whiteout(b"b")])
fixture(
    "large_file_in_the_middle",
    [file(b"a", b"a" * 10_000)],
    [file(b"big", b"0123456789abcdef" * 131_072), file(b"b", b"b" * 10_000)],
    [file(b"c", b"c" * 10_000)],
)
fixture(
    "files_of_all_layers_side_by_side", *([file(b"f%d" % i, b"%d" % i * 4096)] for i in range(25))
)
