"""Headers that lenient readers forgive and then get wrong: right here, or refused."""

from fixture import NOON, device, directory, fifo, file, fixture, hardlink, refused, symlink
from tarbytes import (
    BLOCK,
    END,
    GNU,
    Layer,
    base256,
    encode,
    gnu_long,
    header,
    padded,
    pax_header,
    pax_records,
)

SECONDS = NOON // 10**9
AFTER = file(b"after", b"still here\n")


def raw_file(name, data, head=b"", **options):
    """A file's encoding behind the given extension headers."""
    return head + header(name, size=len(data), mtime=SECONDS, **options) + padded(data)


def raw_records(records, **options):
    """An extended header with these bytes, sound or not."""
    return header(b"PaxHeaders/f", typeflag=b"x", size=len(records), **options) + padded(records)


# Go's archive/tar leaves out of the ustar header what is not ASCII: of this, all.
JAPAN = "日本".encode()
fixture(
    "pax_names_of_which_the_header_has_nothing",
    [
        file(JAPAN, b"x", raw=raw_file(b"", b"x", pax_header([(b"path", JAPAN)]))),
        symlink(
            b"symbolic",
            JAPAN,
            raw=pax_header([(b"linkpath", JAPAN)])
            + header(b"symbolic", typeflag=b"2", mtime=SECONDS),
        ),
        hardlink(
            b"hard",
            JAPAN,
            raw=pax_header([(b"linkpath", JAPAN)])
            + header(b"hard", typeflag=b"1", mtime=SECONDS),
        ),
        AFTER,
    ],
)
fixture(
    "pax_path_without_a_value_leaves_the_headers",
    [file(b"f", b"x", raw=raw_file(b"f", b"x", pax_header([(b"path", b"")]))), AFTER],
)
fixture(
    "pax_header_twice_the_last_counts",
    [
        file(
            b"two",
            b"x",
            raw=raw_file(
                b"f", b"x", pax_header([(b"path", b"one")]) + pax_header([(b"path", b"two")])
            ),
        ),
        AFTER,
    ],
)
fixture(
    "gnu_long_name_twice_the_last_counts",
    [
        file(
            b"m" * 120,
            b"x",
            raw=raw_file(
                b"f", b"x", gnu_long(b"n" * 120, b"L") + gnu_long(b"m" * 120, b"L"), magic=GNU
            ),
        ),
        AFTER,
    ],
    umoci=False,
)
fixture(
    "pax_global_header_between_a_header_and_its_member",
    [
        file(
            b"name",
            b"x",
            raw=raw_file(
                b"f",
                b"x",
                pax_header([(b"path", b"name")])
                + pax_header([(b"path", b"everywhere")], typeflag=b"g"),
            ),
        ),
        AFTER,
    ],
    umoci=False,
)
fixture(
    "pax_header_whose_size_is_in_base_256",
    [
        file(
            b"name",
            b"x",
            raw=raw_records(pax_records([(b"path", b"name")]), numbers=base256)
            + raw_file(b"f", b"x"),
        ),
        AFTER,
    ],
)
# Go's appliers take the mode of the header; the text of an ACL is left out.
fixture(
    "texts_of_acls_do_not_change_the_mode",
    [
        file(
            b"f",
            b"x",
            mode=0o670,
            raw=raw_file(
                b"f",
                b"x",
                pax_header(
                    [
                        (
                            b"SCHILY.acl.access",
                            b"user::rw-,user:1234:rwx,group::r--,mask::rwx,other::---",
                        )
                    ]
                ),
                mode=0o670,
            ),
        ),
        AFTER,
    ],
)
fixture(
    "gnu_tar_selinux_record_is_an_attribute",
    [
        file(
            b"f",
            b"x",
            xattrs={"security.selinux": b"system_u:object_r:bin_t:s0"},
            raw=raw_file(
                b"f", b"x", pax_header([(b"RHT.security.selinux", b"system_u:object_r:bin_t:s0")])
            ),
        )
    ],
    umoci=False,
)


def blank(value, width):
    """A number that nobody filled in, as NULs."""
    return b"%0*o\0" % (width - 1, value) if value else bytes(width)


def spaces(value, width):
    return b"%*o " % (width - 1, value) if value else b" " * width


fixture(
    "numbers_that_nobody_filled_in",
    [
        file(b"nuls", b"x", raw=raw_file(b"nuls", b"x", numbers=blank)),
        file(b"spaces", b"x", raw=raw_file(b"spaces", b"x", numbers=spaces)),
    ],
)
fixture(
    "ustar_versions",
    [
        file(b"nuls", b"x", raw=raw_file(b"nuls", b"x", magic=b"ustar\0\0\0")),
        file(b"spaces", b"x", raw=raw_file(b"spaces", b"x", magic=b"ustar\0  ")),
    ],
)
fixture(
    "ustar_prefix_and_name_of_full_length",
    [
        file(
            b"p" * 155 + b"/" + b"n" * 100,
            b"x",
            raw=raw_file(b"n" * 100, b"x", prefix=b"p" * 155),
        )
    ],
)
fixture(
    "gnu_volume_label_is_no_member",
    Layer((file(b"f", b"x"), AFTER), head=header(b"label", typeflag=b"V", magic=GNU)),
    umoci=False,
)
fixture(
    "gnu_incremental_directory",
    [
        directory(
            b"d",
            raw=header(b"d/", typeflag=b"D", mode=0o755, size=9, mtime=SECONDS, magic=GNU)
            + padded(b"Yf\0Nold\0\0"),
        ),
        file(b"d/f", b"x"),
        AFTER,
    ],
    umoci=False,
)
fixture(
    "names_that_end_in_a_slash_or_dots",
    [
        symlink(b"l", b"t", raw=header(b"l/", typeflag=b"2", link=b"t", mtime=SECONDS)),
        directory(b"d", raw=header(b"d/.", typeflag=b"5", mode=0o755, mtime=SECONDS)),
        symlink(b"d/s", b"t", raw=header(b"d/s/x/..", typeflag=b"2", link=b"t", mtime=SECONDS)),
        AFTER,
    ],
)


def refused_records(name, records):
    refused(name, "f", [file(b"f", raw=raw_records(records) + raw_file(b"f", b"x")), AFTER])


GOOD_RECORD = pax_records([(b"uid", b"5")])
refused_records("pax_record_without_a_newline", b"10 gid=77x" + GOOD_RECORD)
refused_records("pax_record_without_an_equals_sign", b"6 foo\n" + GOOD_RECORD)
refused_records("pax_record_without_a_key", b"6 =foo\n" + GOOD_RECORD)
refused_records("pax_record_of_a_megabyte", pax_records([(b"SCHILY.xattr.user.a", b"v" * 10**6)]))
for key in (b"uid", b"gid", b"size", b"mtime", b"GNU.sparse.realsize", b"SCHILY.devmajor"):
    for value in (b"", b"5x", b"many", b"0x5"):
        title = f"pax_{key.decode()}_of_{value.decode() or 'nothing'}"
        refused_records(title, pax_records([(key, value)]))
refused_records("pax_time_in_scientific_notation", pax_records([(b"mtime", b"1e5")]))
refused_records("pax_time_beyond_64_bits", pax_records([(b"mtime", b"9" * 20)]))
refused_records("pax_time_of_a_sign_alone", pax_records([(b"mtime", b"-")]))
refused(
    "forty_global_headers_before_a_member",
    "",
    Layer((file(b"f"),), head=pax_header([(b"comment", b"c")], typeflag=b"g") * 40),
)


def sparse(*pairs):
    return pax_header([(b"GNU.sparse.size", b"9000"), (b"GNU.sparse.numblocks", b"1"), *pairs])


def refused_sparse(name, head, data, **options):
    refused(name, "s", [file(b"s", raw=raw_file(b"s", data, head, **options)), AFTER])


refused_sparse("sparse_map_with_a_word", sparse((b"GNU.sparse.map", b"0,512,x")), b"d" * 512)
refused_sparse("sparse_map_of_odd_length", sparse((b"GNU.sparse.map", b"0,512,4096")), b"d" * 512)
refused_sparse("sparse_map_of_nothing", sparse((b"GNU.sparse.map", b"")), b"d" * 512)
refused_sparse(
    "sparse_of_version_2",
    pax_header(
        [
            (b"GNU.sparse.major", b"2"),
            (b"GNU.sparse.minor", b"0"),
            (b"GNU.sparse.realsize", b"9000"),
        ]
    ),
    b"d" * 512,
)
# What no piece of the map is about would be taken for the next header.
LEFT = {
    "a_byte": b"e",
    "600_bytes": b"e" * 600,
    "two_blocks_of_zeros": bytes(2 * BLOCK),
    "a_whole_member": encode(file(b"hidden")),
}
for title, extra in LEFT.items():
    refused_sparse(
        f"sparse_map_that_leaves_{title}",
        sparse((b"GNU.sparse.map", b"0,512")),
        b"d" * 512 + extra,
    )
refused_sparse("sparse_map_that_wants_more", sparse((b"GNU.sparse.map", b"0,1024")), b"d" * 512)
refused_sparse("sparse_map_of_data_that_is_not_there", sparse((b"GNU.sparse.map", b"0,9000")), b"")
refused_sparse("star_realsize_alone", pax_header([(b"SCHILY.realsize", b"9000")]), b"d" * 512)
refused_sparse("sparse_typeflag_without_gnu_magic", b"", b"d" * 512, typeflag=b"S")
refused_sparse(
    "solaris_holes_with_a_word", pax_header([(b"SUN.holesdata", b" 0 x 9")]), b"d" * 512
)
fixture(
    "sparse_solaris_holes",
    [
        file(
            b"s",
            b"a" * BLOCK + bytes(BLOCK) + b"b" * BLOCK,
            raw=raw_file(
                b"s",
                b"a" * BLOCK + bytes(BLOCK) + b"b" * BLOCK,
                pax_header([(b"SUN.holesdata", b" 0 512 1024 1536")]),
            ),
        ),
        AFTER,
    ],
    may_refuse="s",
    umoci=False,
)
for order in (1, -1):
    pairs = [
        (b"size", b"1024"),
        (b"GNU.sparse.major", b"1"),
        (b"GNU.sparse.minor", b"0"),
        (b"GNU.sparse.name", b"s"),
        (b"GNU.sparse.realsize", b"9000"),
    ][::order]
    fixture(
        f"sparse_with_a_size_record_{'first' if order == 1 else 'last'}",
        [
            file(
                b"s",
                b"d" * BLOCK + bytes(9000 - BLOCK),
                raw=pax_header(pairs)
                + header(b"GNUSparseFile.1/s", size=0, mtime=SECONDS)
                + padded(b"1\n0\n512\n")
                + b"d" * BLOCK,
            ),
            AFTER,
        ],
    )

for letter in b"MNZIE8":
    refused(
        f"typeflag_{chr(letter)}",
        "t",
        [file(b"t", raw=raw_file(b"t", b"data", typeflag=bytes([letter]), magic=GNU)), AFTER],
    )
refused(
    "gnu_volume_label_with_a_body",
    "",
    Layer((AFTER,), head=header(b"label", typeflag=b"V", size=1024, magic=GNU) + bytes(1024)),
)
# Some readers skip a body, some take it for the next header.
TYPES = {"hard_link": b"1", "symlink": b"2", "device": b"3", "directory": b"5"}
for name, typeflag in TYPES.items():
    refused(
        f"{name}_with_a_size_record",
        "m",
        [
            file(b"t"),
            file(
                b"m",
                raw=pax_header([(b"size", b"512")])
                + header(b"m", typeflag=typeflag, link=b"t", rdev=(1, 3), mtime=SECONDS),
            ),
            directory(b"d"),
            AFTER,
        ],
    )
# A size in the header itself: behind a PAX header, be it another member's or everybody's, POSIX
# lets a hard link have a body. Nothing else has one.
for name, head in {
    "another_members_pax_header": pax_header([(b"uid", b"0")]),
    "a_global_pax_header": pax_header([(b"comment", b"c")], typeflag=b"g"),
}.items():
    link = header(b"m", typeflag=b"1", link=b"t", size=8, mtime=SECONDS)
    refused(
        f"hard_link_with_a_size_behind_{name}",
        '"m" has a size, which only files have',
        [file(b"t", b"x", raw=raw_file(b"t", b"x", head)), file(b"m", raw=link), AFTER],
    )
    fixture(
        f"other_members_with_a_size_behind_{name}",
        [
            file(b"t", b"x", raw=raw_file(b"t", b"x", head)),
            symlink(
                b"s", b"t", raw=header(b"s", typeflag=b"2", link=b"t", size=8, mtime=SECONDS)
            ),
            directory(
                b"d", raw=header(b"d/", typeflag=b"5", mode=0o755, size=8, mtime=SECONDS)
            ),
            fifo(b"p", raw=header(b"p", typeflag=b"6", size=8, mtime=SECONDS)),
            device(
                b"c", "char", 1, 3, raw=header(b"c", typeflag=b"3", rdev=(1, 3), size=8, mtime=SECONDS)
            ),
            AFTER,
        ],
        umoci=name != "a_global_pax_header",
    )
refused(
    "file_with_content_and_a_slash_behind_its_name", "f/", [file(b"f", raw=raw_file(b"f/", b"x"))]
)
# GNU tar would stop at the zeros, Go's archive/tar says that the tar is damaged.
ONE = encode(file(b"f", b"x"))
for name, whole in {
    "between_members": ONE + bytes(BLOCK) + encode(AFTER) + END,
    "before_all_members": bytes(BLOCK) + encode(AFTER) + END,
    "before_garbage": ONE + bytes(BLOCK) + b"garbage" * 200,
    "before_a_little_garbage": ONE + bytes(BLOCK) + bytes(100) + b"garbage",
}.items():
    refused(f"lone_block_of_zeros_{name}", "zeros", Layer((), whole=whole))
