"""Every dialect of tar: headers, long names, numbers, sparse files, ends of archives."""

import sparsetar
from fixture import NOON, device, directory, fifo, file, fixture, hardlink, symlink
from layermodel import Member
from tarbytes import (
    BLOCK,
    END,
    GNU,
    Layer,
    encode,
    gnu_long,
    header,
    padded,
    pax_header,
    signed_checksum,
)


def both_kinds(dialect, **fields):
    """A small tree in which each member has the dialect."""
    return [
        directory(b"etc", dialect=dialect, mode=0o711, uid=10, gid=20),
        file(b"etc/hosts", b"127.0.0.1\n", dialect=dialect, mode=0o640, uid=1, gid=2, **fields),
        file(b"etc/empty", b"", dialect=dialect),
        symlink(b"etc/link", b"hosts", dialect=dialect),
        hardlink(b"etc/hard", b"etc/hosts", dialect=dialect),
        file(b"etc/block", b"x" * BLOCK, dialect=dialect),
        file(b"after", b"still here\n", dialect=dialect),
    ]


for name in ("ustar", "gnu", "pax", "pax-all", "pax-binary"):
    devices = [
        device(b"null", "char", 1, 3, mode=0o666, dialect=name),
        device(b"loop0", "block", 7, 0, mode=0o660, dialect=name),
        fifo(b"pipe", mode=0o600, dialect=name),
    ]
    fixture(f"dialect_{name}", both_kinds(name) + devices)
fixture("dialect_v7", both_kinds("v7"))


def raw_file(name, data, raw, **fields):
    return file(name, data, raw=raw, **fields)


def plain_file(name, data, **options):
    """A file whose header is made with `options` of tarbytes.header."""
    block = header(name, size=len(data), mtime=NOON // 10**9, **options)
    return raw_file(name, data, block + padded(data))


fixture(
    "typeflags_of_files",
    [
        plain_file(b"zero", b"0", typeflag=b"0"),
        plain_file(b"nul", b"NUL", typeflag=b"\0"),
        plain_file(b"contiguous", b"7", typeflag=b"7"),
        plain_file(b"after", b"after"),
    ],
    umoci=False,
)
fixture(
    "typeflag_nul_with_slash_is_a_directory",
    [
        directory(b"d", raw=header(b"d/", typeflag=b"\0", mode=0o755, mtime=NOON // 10**9)),
        file(b"d/f"),
    ],
)
fixture("checksum_of_signed_bytes", [plain_file(b"\xff\xfe\xfd", b"x", checksum=signed_checksum)])
fixture(
    "numbers_with_leading_spaces",
    [
        plain_file(b"spaces", b"x" * 9, numbers=lambda value, width: b"%*o " % (width - 1, value)),
        plain_file(b"no_end", b"x" * 9, numbers=lambda value, width: b"%0*o" % (width, value)),
    ],
)
fixture(
    "gnu_base256_numbers",
    [
        file(b"ids", dialect="gnu", uid=2**32 - 2, gid=2**31),
        file(b"before_epoch", dialect="gnu", mtime_ns=-86_400 * 10**9),
        file(b"far", dialect="gnu", mtime_ns=(2**33 + 1) * 10**9),
        device(b"big", "char", 4095, 1_048_575, dialect="gnu"),
    ],
)

LONG = b"long/" + b"n" * 250
DEEP = b"/".join([b"d" * 60] * 8) + b"/leaf"
for name in ("gnu", "pax"):
    fixture(
        f"long_names_{name}",
        [
            file(LONG, b"a", dialect=name),
            file(b"m" * 100, b"b", dialect=name),
            file(b"m" * 101, b"c", dialect=name),
            file(DEEP, b"d", dialect=name),
            symlink(b"s" * 255, b"t" * 200, dialect=name),
            hardlink(b"h" * 255, LONG, dialect=name),
            symlink(b"far", b"../" * 1_333 + b"x", dialect=name),  # 4,000 bytes
            directory(b"dir/" + b"e" * 255, dialect=name),
        ],
    )
fixture(
    "gnu_long_name_without_nul",
    [
        raw_file(
            b"n" * 150,
            b"x",
            header(b"././@LongLink", typeflag=b"L", size=150, magic=GNU)
            + padded(b"n" * 150)
            + header(b"n" * 100, size=1, mtime=NOON // 10**9, magic=GNU)
            + padded(b"x"),
        )
    ],
)
fixture(
    "gnu_long_link_before_long_name",
    [
        file(b"t" * 120, b"x", dialect="gnu"),
        hardlink(
            b"n" * 130,
            b"t" * 120,
            raw=gnu_long(b"n" * 130, b"L")
            + gnu_long(b"t" * 120, b"K")
            + header(b"n" * 100, typeflag=b"1", link=b"t" * 100, magic=GNU),
        ),
    ],
)
fixture(
    "ustar_prefix",
    [
        file(b"p" * 100 + b"/" + b"q" * 54 + b"/" + b"n" * 100, b"x", dialect="ustar"),
        file(b"p" * 100 + b"/short", b"y", dialect="ustar"),
    ],
)
fixture(
    "symlink_targets_up_to_the_limit",
    [symlink(b"l%d" % size, b"t" * size) for size in (1, 100, 101, 255, 1000, 4000, 4095)],
)

NAMES = [
    b"caf\xc3\xa9",
    b"latin1-\xe9",
    b"\xff\xfe\xfd",
    b"\x80",
    b"new\nline",
    b"back\\slash",
    b" lead and trail ",
    b"tab\t",
    b"\x01\x1b[31m",
    b"quote'\"",
    b"star*?[x]",
    b"-dash",
    b"...",
    b"..a",
    b".hidden",
    b"!before-dot",
    b"~",
    b"#",
    b"=a=b",
    b"x" * 255,
    b"\xe9" * 255,
    "日本語".encode(),
    "e\u0301".encode(),  # not normalised: stays beside the composed one
    "\u00e9".encode(),
    b"wh.no",
    b".wh",
    b".who",
]
for name in ("gnu", "pax", "pax-all", "pax-binary"):
    fixture(f"odd_names_{name}", [file(odd, odd, dialect=name) for odd in NAMES])
fixture("odd_names_of_directories", [directory(odd) for odd in NAMES])
fixture("odd_symlink_targets", [symlink(b"%d" % i, odd) for i, odd in enumerate(NAMES)])
fixture(
    "odd_symlink_targets_pax",
    [symlink(b"%d" % i, odd, dialect="pax-all") for i, odd in enumerate(NAMES)],
)

SPARSE = {
    "holes": ([(0, b"start"), (8192, b"middle" * 700), (65536, b"end")], 65539),
    "hole_at_both_ends": ([(4096, b"m" * 512)], 16384),
    "all_hole": ([], 10_000),
    "dense": ([(0, b"dense" * 300)], 1500),
    "thirty_pieces": ([(i * 4096, b"%04d" % i * 128) for i in range(30)], 30 * 4096),
    "unaligned": ([(1, b"a"), (513, b"b" * 600), (5001, b"c" * 3)], 5555),
}
for kind, encoder in sparsetar.KINDS.items():
    fixture(
        f"sparse_{kind}",
        [
            *(
                file(
                    b"s/" + title.encode(),
                    sparsetar.content(pieces, size),
                    raw=encoder(b"s/" + title.encode(), pieces, size),
                )
                for title, (pieces, size) in SPARSE.items()
            ),
            file(b"after", b"not swallowed\n"),
        ],
        umoci=kind == "pax_1_0",
    )
fixture(
    "sparse_long_name",
    [
        file(
            b"long/" + b"s" * 200,
            sparsetar.content([(4096, b"x")], 9000),
            raw=sparsetar.pax_10(b"long/" + b"s" * 200, [(4096, b"x")], 9000),
        )
    ],
)

fixture(
    "pax_global_header_is_no_member",
    Layer(
        (file(b"a"), file(b"b", b"b")),
        head=pax_header(
            [(b"comment", b"0123456789abcdef")], typeflag=b"g", name=b"pax_global_header"
        ),
    ),
    umoci=False,
)
fixture(
    "pax_unknown_keywords",
    [
        file(
            b"a",
            b"x",
            raw=pax_header(
                [(b"VENDOR.thing", b"1"), (b"comment", b"hello"), (b"charset", b"BINARY")]
            )
            + header(b"a", size=1, mtime=NOON // 10**9)
            + padded(b"x"),
        )
    ],
)
fixture(
    "pax_overrides_the_header",
    [
        file(
            b"true-name",
            b"true size",
            uid=70_000,
            gid=70_001,
            mtime_ns=1_234_567_890_123_456_789,
            raw=pax_header(
                [
                    (b"path", b"true-name"),
                    (b"size", b"9"),
                    (b"uid", b"70000"),
                    (b"gid", b"70001"),
                    (b"mtime", b"1234567890.123456789"),
                ]
            )
            + header(b"false-name", size=3, uid=1, gid=2, mtime=5)
            + padded(b"true size"),
        ),
        file(b"after"),
    ],
)
fixture(
    "header_only_members_with_a_size",
    [
        directory(
            b"d", raw=header(b"d/", typeflag=b"5", mode=0o755, size=4096, mtime=NOON // 10**9)
        ),
        file(b"d/f"),
        symlink(
            b"l",
            b"d/f",
            raw=header(b"l", typeflag=b"2", link=b"d/f", size=3, mtime=NOON // 10**9),
        ),
        hardlink(b"h", b"d/f", raw=header(b"h", typeflag=b"1", link=b"d/f", size=8)),
        file(b"after", b"still read\n"),
    ],
)
fixture(
    "spellings_of_one_path",
    [
        directory(b"./a"),
        file(b"./a//b", b"1"),
        file(b"/a/c", b"2"),
        file(b"a/./d", b"3"),
        file(b"a/x/../e", b"4"),
        hardlink(b"h1", b"./a/b"),
        hardlink(b"h2", b"/a/c"),
        Member(b"a/dir", "dir", mode=0o700),
        Member(b"a/dir2///", "dir", mode=0o700),
    ],
)

END_FILES = (file(b"first", b"1"), file(b"last", b"2"))
WHOLE = b"".join(encode(member) for member in END_FILES)
for name, tail in {
    "two_blocks": END,
    "many_blocks": END * 40,
    "one_block": bytes(BLOCK),
    "no_block": b"",
    "zeros_to_a_record": bytes(10240 - len(WHOLE) % 10240),
    "odd_zeros": END + bytes(77),
    "garbage_after_it": END + b"garbage" * 1000,
    "a_second_archive_after_it": END + encode(file(b"not-me")) + END,
}.items():
    fixture(f"end_{name}", Layer(END_FILES, tail=tail))
# `umoci insert` 0.4 leaves out what pads its last file; Go's archive/tar does not miss it.
LAST = (file(b"first", b"1"), file(b"last", b"x" * 700))
WHOLE = b"".join(encode(member) for member in LAST)
PADDING = -700 % BLOCK
for name, cut in {"without_padding": PADDING, "in_the_padding": PADDING - 100}.items():
    fixture(f"end_{name}", Layer(LAST, whole=WHOLE[:-cut]))
fixture("empty_layer", [])
fixture("empty_tar_of_no_bytes", Layer((), tail=b""))
fixture("empty_layer_between", [file(b"a")], [], [file(b"b")])
