"""What must fail with UnsupportedLayer, naming the member."""

from fixture import directory, file, hardlink, opaque, refused, symlink, whiteout
from layermodel import Member
from tarbytes import BLOCK, END, Layer, encode, header, pax_header

GOOD = file(b"good", b"good\n")

for name, path in {
    "leading": b"../evil",
    "inside": b"a/../../evil",
    "absolute": b"/../evil",
    "only": b"..",
    "many": b"../" * 20 + b"evil",
}.items():
    refused(f"path_leaves_the_root_{name}", "..", [GOOD, file(path)])
refused("directory_leaves_the_root", "..", [directory(b"../evil")])
refused("symlink_leaves_the_root", "..", [symlink(b"../evil", b"x")])
refused("whiteout_leaves_the_root", "..", [GOOD], [whiteout(b"../evil")])
refused("opaque_leaves_the_root", "..", [GOOD], [opaque(b"..")])
refused("hard_link_target_leaves_the_root", "evil", [GOOD, hardlink(b"evil", b"../good")])

refused("name_of_256_bytes", "n" * 100, [GOOD, file(b"n" * 256)])
refused("directory_name_of_256_bytes", "n" * 100, [GOOD, file(b"n" * 256 + b"/f")])
refused("symlink_target_of_4096_bytes", "long", [GOOD, symlink(b"long", b"t" * 4096)])
refused("symlink_without_a_target", "nowhere", [GOOD, symlink(b"nowhere", b"")])
refused("path_of_50000_parts", "d/d/d", [file(b"d/" * 50_000 + b"f")])

refused("xattr_value_over_the_limit", "fat", [GOOD, file(b"fat", xattrs={"user.v": b"v" * 65_536})])
refused(
    "xattr_name_over_the_limit", "fat", [GOOD, file(b"fat", xattrs={"user." + "n" * 251: b"v"})]
)
refused(
    "xattrs_of_ten_megabytes",
    "",  # the header that would name it is past what is read
    [GOOD, file(b"fat", xattrs={"user.%d" % i: b"%d" % i * 8_000 for i in range(400)})],
)

refused("hard_link_to_nothing", "lost", [GOOD, hardlink(b"lost", b"missing")])
refused("hard_link_to_nothing_over_layers", "lost", [GOOD], [hardlink(b"lost", b"missing")])
refused("hard_link_to_a_directory", "evil", [directory(b"d"), hardlink(b"evil", b"d")])
refused("hard_link_to_a_lower_directory", "evil", [directory(b"d")], [hardlink(b"evil", b"d")])
refused("hard_link_to_itself", "self", [hardlink(b"self", b"self")])
refused("hard_link_to_the_root", "evil", [hardlink(b"evil", b"./")])
refused(
    "hard_link_to_a_whited_out_file",
    "lost",
    [GOOD],
    [whiteout(b"good")],
    [hardlink(b"lost", b"good")],
)
refused(
    "symlink_loop_in_a_path",
    "one",
    [symlink(b"one", b"two"), symlink(b"two", b"one"), file(b"one/f")],
)
refused("file_below_a_file", "good", [GOOD, file(b"good/below")])
refused("root_that_is_a_file", "", [GOOD, file(b".")])
refused("root_that_is_a_symlink", "", [symlink(b"./", b"etc")])
refused("whiteout_of_a_name_of_256_bytes", "n" * 100, [GOOD], [whiteout(b"n" * 256)])
refused("whiteout_of_no_name", ".wh.", [GOOD], [file(b".wh.")])
refused("whiteout_of_the_directory_itself", ".wh..", [directory(b"d")], [file(b"d/.wh..")])
refused("whiteout_of_the_parent", ".wh...", [directory(b"d")], [file(b"d/.wh...")])

BIG = encode(file(b"cut-short", b"0123456789abcdef" * 512))


def raw(whole):
    return Layer((), whole=whole)


refused("cut_in_the_data", "cut-short", raw(encode(GOOD) + BIG[:3000]))
for cut in (1, 511, 513, 1211):  # of 512 bytes of header and 700 of data
    refused(
        f"cut_{cut}_bytes_behind_its_start",
        "",
        raw(encode(GOOD) + encode(file(b"cut-short", b"x" * 700))[:cut]),
    )
refused(
    "cut_in_the_body_of_a_pax_header",
    "",
    raw(encode(GOOD) + pax_header([(b"path", b"lost")])[:530]),
)
refused("cut_in_a_header", "", raw(encode(GOOD) + BIG[:300]))
refused("cut_after_a_pax_header", "", raw(encode(GOOD) + pax_header([(b"path", b"lost")])))
refused("no_tar_at_all", "", raw(b"this is not a tar\n" * 200))
refused("gzip_inside", "", raw(b"\x1f\x8b\x08\0" + bytes(range(256)) * 8))
BROKEN = bytearray(encode(file(b"broken", b"x")))
BROKEN[0] ^= 0xFF
refused("wrong_checksum", "", raw(encode(GOOD) + bytes(BROKEN) + END))
refused("wrong_checksum_of_the_first_header", "", raw(bytes(BROKEN) + END))
refused(
    "size_beyond_the_end",
    "huge",
    raw(encode(GOOD) + header(b"huge", size=2**39) + bytes(4 * BLOCK)),
)
refused("negative_size", "", raw(encode(GOOD) + header(b"minus", size=-512) + END))
refused(
    "sparse_map_beyond_the_size",
    "",
    raw(
        encode(GOOD)
        + pax_header(
            [
                (b"GNU.sparse.size", b"10"),
                (b"GNU.sparse.map", b"0,4096,8192,4096"),
                (b"GNU.sparse.numblocks", b"2"),
            ]
        )
        + header(b"evil", size=8192)
        + bytes(8192)
        + END
    ),
)
refused("unknown_device_numbers", "dev", [Member(b"dev", "char", rdev=(4096, 0))])
refused("minor_over_the_limit", "dev", [Member(b"dev", "char", rdev=(1, 2**20))])
