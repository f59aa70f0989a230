"""Owners, modes, times, devices, extended attributes, sizes and shapes of trees."""

import struct

from fixture import NOON, device, directory, fifo, file, fixture, hardlink, root, symlink
from tarbytes import encode

SECOND = 10**9

fixture(
    "owners",
    [
        file(b"u%d" % uid, uid=uid, gid=gid)
        for uid, gid in [
            (0, 0),
            (1000, 100),
            (65_534, 65_534),
            (65_535, 65_535),
            (65_536, 65_537),
            (0o7777777, 0o7777777),
            (0o10000000, 0o10000000),
            (2**31 - 1, 2**31),
            (2**32 - 2, 2**32 - 2),
        ]
    ],
)
fixture(
    "modes",
    [file(b"f%04o" % mode, mode=mode) for mode in (0, 0o400, 0o777, 0o4755, 0o2755, 0o1644, 0o7777)]
    + [directory(b"d%04o" % mode, mode) for mode in (0, 0o700, 0o1777, 0o2775, 0o7777)]
    + [fifo(b"p0622", mode=0o622), device(b"c4600", "char", 1, 3, mode=0o4600)],
)
fixture(
    "modes_with_file_type_bits",  # as GNU tar's forerunners and Docker 1.x wrote them
    [file(b"f", mode=0o100644), directory(b"d", 0o040755)],
)
TIMES = {
    b"epoch": 0,
    b"one_ns": 1,
    b"fraction": NOON + 123_456_789,
    b"tenth": NOON + 100_000_000,
    b"last_ns": NOON + 999_999_999,
    b"last_octal_second": (8**11 - 1) * SECOND,
    b"first_beyond_octal": 8**11 * SECOND,
    b"after_2038": 2**31 * SECOND + 5,
    b"after_2106": 2**32 * SECOND + 5,
    b"second_before_epoch": -SECOND,
    b"fraction_before_epoch": -SECOND - 500_000_000,
    b"quarter_before_epoch": -250_000_000,
    b"year_1901": -(2**31) * SECOND,
}
FAR_TIMES = {  # beyond what ext4 can keep, where umoci unpacks
    b"year_9999": 253_402_300_799 * SECOND,
    b"year_1": -62_135_596_800 * SECOND,
    b"year_4000_fraction": 64_060_588_800 * SECOND + 1,
}


def of_every_kind(times):
    return (
        [file(name, mtime_ns=time) for name, time in times.items()]
        + [directory(b"dir_" + name, mtime_ns=time) for name, time in times.items()]
        + [symlink(b"link_" + name, b"x", mtime_ns=time) for name, time in times.items()]
    )


fixture("times", of_every_kind(TIMES))
fixture("times_far_away", of_every_kind(FAR_TIMES), umoci=False)
for title, times in (("base256", TIMES), ("base256_far_away", FAR_TIMES)):
    fixture(
        f"times_{title}",
        [
            file(name, mtime_ns=time // SECOND * SECOND, dialect="gnu")
            for name, time in times.items()
        ],
        umoci=times is TIMES,
    )
fixture(
    "devices",
    [
        device(b"%s-%d-%d" % (kind.encode(), major, minor), kind, major, minor, mode=0o600)
        for kind in ("char", "block")
        for major, minor in [(1, 3), (5, 0), (8, 255), (8, 256), (255, 65_535), (4095, 1_048_575)]
    ]
    + [device(b"block-0-0", "block", 0, 0), device(b"char-0-1", "char", 0, 1)],
)
fixture(
    "hard_links_of_every_kind",
    [
        directory(b"d"),
        file(b"d/file", b"shared"),
        hardlink(b"file2", b"d/file"),
        hardlink(b"d/file3", b"file2"),
        symlink(b"sym", b"d/file"),
        hardlink(b"sym2", b"sym"),
        device(b"null", "char", 1, 3),
        hardlink(b"null2", b"null"),
        device(b"disk", "block", 8, 0),
        hardlink(b"disk2", b"disk"),
        fifo(b"pipe"),
        hardlink(b"pipe2", b"pipe"),
    ],
)
fixture(
    "hard_links_300_to_one_file",
    [file(b"one", b"1" * 5000), *(hardlink(b"l/%03d" % i, b"one") for i in range(299))],
)
fixture("hard_link_to_an_empty_file", [file(b"empty", b""), hardlink(b"also", b"empty")])

CAPABILITY = struct.pack("<IIIII", 0x02000001, 1 << 13, 0, 0, 0)  # cap_net_raw=ep
CAPABILITY_OF_A_NAMESPACE = struct.pack("<IIIIII", 0x03000001, 1 << 10, 0, 0, 0, 100_000)
ACL_ANY = 0xFFFFFFFF


def acl(*entries):
    """The kernel's form: version 2, then (tag, permissions, id)."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


ACL_ACCESS = acl((1, 6, ACL_ANY), (2, 4, 1234), (4, 4, ACL_ANY), (16, 4, ACL_ANY), (32, 0, ACL_ANY))
ACL_DEFAULT = acl(
    (1, 7, ACL_ANY), (4, 5, ACL_ANY), (8, 7, 70_000), (16, 7, ACL_ANY), (32, 5, ACL_ANY)
)
XATTRS = {
    "user.text": b"value",
    "user.binary": bytes(range(256)),
    "user.with.dots.and spaces": b"a=b\n",
    "user.caf\u00e9": b"utf-8 name",
    "trusted.thing": b"for root",
    "security.ima": b"\x04\x04digest",
}


def xattr_tree(dialect):
    return [
        root(xattrs={"user.root": b"of the root"}, dialect=dialect),
        file(b"all", xattrs=XATTRS, dialect=dialect),
        file(b"cap", mode=0o755, xattrs={"security.capability": CAPABILITY}, dialect=dialect),
        file(b"ns", xattrs={"security.capability": CAPABILITY_OF_A_NAMESPACE}, dialect=dialect),
        file(b"acl", mode=0o640, xattrs={"system.posix_acl_access": ACL_ACCESS}, dialect=dialect),
        directory(
            b"acl_dir",
            xattrs={"system.posix_acl_default": ACL_DEFAULT, "user.dir": b"d"},
            dialect=dialect,
        ),
        symlink(
            b"link", b"all", xattrs={"trusted.link": b"l", "security.x": b"y"}, dialect=dialect
        ),
        device(b"null", "char", 1, 3, xattrs={"trusted.dev": b"n"}, dialect=dialect),
        fifo(b"pipe", xattrs={"security.pipe": b"p"}, dialect=dialect),
        file(b"none", dialect=dialect),
    ]


for name in ("pax", "pax-all", "pax-both"):
    fixture(f"xattrs_{name}", xattr_tree(name))
# Go's archive/tar, and umoci with it, knows the SCHILY form only.
fixture("xattrs_pax-libarchive", xattr_tree("pax-libarchive"), umoci=False)

BIG = bytes(range(251)) * 245  # 61,495 bytes: prime length, so that no block repeats
SELINUX = {"security.selinux": b"system_u:object_r:bin_t:s0\0"}
fixture(
    "xattrs_selinux",
    [
        directory(b"d", xattrs=SELINUX),
        file(b"d/f", xattrs=SELINUX),
        symlink(b"l", b"d", xattrs=SELINUX),
        device(b"null", "char", 1, 3, xattrs=SELINUX),
    ],
    umoci=False,  # leaves them to the host's policy
)
# Go's archive/tar takes an empty value for a deletion; the tar says otherwise.
fixture("xattrs_empty_value", [file(b"f", xattrs={"user.empty": b"", "user.b": b"b"})], umoci=False)
fixture(
    "xattrs_of_60_kilobytes",
    [file(b"big", xattrs={"user.big": BIG[:60_000]}), file(b"after")],
    umoci=False,  # ext4 takes 4 KiB of them
)
fixture(
    "xattrs_same_on_many_files",
    [file(b"f%03d" % i, xattrs={"user.same": b"s" * 300, "user.n": b"%d" % i}) for i in range(200)],
)
fixture(
    "xattrs_many_on_one_file",
    [file(b"f", xattrs={"user.%03d" % i: b"%d" % i * 20 for i in range(300)})],
    umoci=False,
)
fixture(
    "xattrs_longest_name",
    [file(b"f", xattrs={"user." + "n" * 250: b"v", "trusted." + "t" * 247: b"v"})],
)
fixture(
    "xattrs_200_kilobytes_on_one_file",
    [file(b"f", xattrs={"user.%d" % i: BIG[i : i + 50_000] for i in range(4)}), file(b"g")],
    umoci=False,
)
fixture(
    "xattrs_450_kilobytes_on_one_file",
    [file(b"f", xattrs={"user.%d" % i: BIG[i : i + 50_000] for i in range(9)}), file(b"g")],
    umoci=False,
)
fixture(
    "xattrs_of_unknown_namespaces_are_left_out",  # as the kernel refuses to store them
    [
        file(
            b"f",
            xattrs={"user.kept": b"1"},
            raw=encode(
                file(b"f", xattrs={"user.kept": b"1", "system.nfs4_acl": b"x", "strange": b"y"})
            ),
        )
    ],
)
fixture(
    "overlay_attributes_never_survive",
    [
        directory(
            b"d",
            xattrs={
                "trusted.overlay.opaque": b"x",
                "trusted.overlay.redirect": b"/etc",
                "trusted.overlay.metacopy": b"",
                "user.kept": b"1",
            },
        ),
        file(b"d/f", xattrs={"trusted.overlay.metacopy": b"", "trusted.overlayed": b"kept"}),
    ],
)

fixture(
    "file_sizes",
    [
        file(b"s%d" % size, (b"%08d" % size * (size // 8 + 1))[:size])
        for size in (0, 1, 511, 512, 513, 4095, 4096, 4097, 8192, 65_536, 1_000_003)
    ],
)
fixture("same_content_twice", [file(b"a", b"same" * 3000), file(b"b", b"same" * 3000)])
fixture("large_file", [file(b"small"), file(b"large", b"0123456789abcde\n" * 600_000), file(b"z")])
fixture(
    "directory_of_5000_names",
    [file(b"d/%d-%s" % (i, b"n" * (i % 60)), b"%d" % i) for i in range(5000)],
    umoci=False,
)
fixture(
    "names_around_a_full_directory_block",
    [
        file(b"%d/%s" % (count, b"%03d" % i + b"n" * 225), b"")
        for count in (14, 15, 16, 17, 18, 33, 34, 35)
        for i in range(count)
    ],
)
fixture("names_of_one_byte", [file(bytes([byte])) for byte in range(1, 256) if byte not in b"./"])
fixture("deep_path", [file(b"/".join([b"d"] * 200) + b"/leaf", b"deep")])
fixture(
    "deep_path_beyond_path_max",
    [file(b"/".join([b"d" * 200] * 40) + b"/leaf", b"deep")],
    umoci=False,
    overlay=False,
)
fixture("empty_directories", [directory(b"a/b/c/d", 0o700, uid=5), directory(b"a", 0o750)])
fixture("root_metadata", [root(0o1750, uid=7, gid=8, mtime_ns=NOON + 5, xattrs={"user.r": b"1"})])
fixture("root_not_listed", [file(b"f")])
