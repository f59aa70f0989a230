"""What other programs than Go's archive/tar write, and what they leave in a header."""

from fixture import NOON, directory, file, fixture, hardlink, refused, symlink
from tarbytes import BLOCK, GNU, encode, header, octal, padded, pax_header

SECONDS = NOON // 10**9


def with_pax(name, data, pairs, **options):
    """The raw encoding of a file behind an extended header with just these records."""
    block = header(name, size=len(data), mtime=SECONDS, **options)
    return pax_header(pairs) + block + padded(data)


fixture(
    "gnu_header_with_access_and_change_times",  # of `tar --format=gnu --incremental`
    [
        file(
            b"f",
            b"x",
            raw=header(
                b"f", size=1, mtime=SECONDS, magic=GNU, rest=octal(SECONDS, 12) + octal(SECONDS, 12)
            )
            + padded(b"x"),
        )
    ],
)
STAR_REST = (
    (b"some/prefix").ljust(131, b"\0")
    + octal(SECONDS, 12)
    + octal(SECONDS, 12)
    + bytes(8)
    + b"tar\0"
)
fixture(
    "star_header_with_prefix_and_times",
    [
        file(
            b"some/prefix/f",
            b"x",
            raw=header(b"f", size=1, mtime=SECONDS, rest=STAR_REST) + padded(b"x"),
        )
    ],
)
fixture(
    "pax_time_with_more_digits_than_nanoseconds",
    [
        file(
            b"f",
            b"x",
            mtime_ns=NOON + 123_456_789,
            raw=with_pax(b"f", b"x", [(b"mtime", b"%d.123456789987" % SECONDS)]),
        ),
        file(
            b"g",
            b"x",
            mtime_ns=NOON,
            raw=with_pax(b"g", b"x", [(b"mtime", b"%d." % SECONDS)]),
        ),
    ],
)
fixture(
    "pax_records_that_say_it_twice",
    [
        file(
            b"second",
            b"x",
            uid=2,
            xattrs={"user.a": b"2"},
            raw=with_pax(
                b"header",
                b"x",
                [
                    (b"path", b"first"),
                    (b"uid", b"1"),
                    (b"SCHILY.xattr.user.a", b"1"),
                    (b"path", b"second"),
                    (b"uid", b"2"),
                    (b"SCHILY.xattr.user.a", b"2"),
                ],
            ),
        )
    ],
)
fixture(
    "pax_inode_and_device_numbers_are_nobodys_business",
    [
        file(
            b"f",
            b"x",
            raw=with_pax(
                b"f",
                b"x",
                [
                    (b"SCHILY.dev", b"65024"),
                    (b"SCHILY.ino", b"1234567"),
                    (b"SCHILY.nlink", b"7"),
                    (b"atime", b"1.5"),
                    (b"ctime", b"2.5"),
                    (b"LIBARCHIVE.creationtime", b"3.5"),
                    (b"uname", b"somebody"),
                    (b"gname", b"wheel"),
                ],
            ),
        )
    ],
)
fixture(
    "apple_double_files_are_files",
    [file(b"._f", b"\0\5\26\7mac"), file(b"f"), file(b"d/._g", b"mac"), file(b"d/g", b"g")],
)
fixture(
    "texts_of_acls_are_left_out",  # as Go's appliers do; the binary form is an attribute
    [
        file(
            b"f",
            b"x",
            mode=0o640,
            raw=with_pax(
                b"f",
                b"x",
                [
                    (
                        b"SCHILY.acl.access",
                        b"user::rw-,user:1234:r--,group::r--,mask::r--,other::---",
                    ),
                    (b"SCHILY.acl.default", b""),
                    (b"SCHILY.fflags", b"nodump"),
                ],
                mode=0o640,
            ),
        )
    ],
)
fixture(
    "directory_with_the_mode_of_a_file_in_its_bits",
    [directory(b"d", 0o755, raw=header(b"d", typeflag=b"5", mode=0o100755, mtime=SECONDS))],
)
fixture(
    "directory_without_a_slash",
    [
        directory(b"d", 0o711, raw=header(b"d", typeflag=b"5", mode=0o711, mtime=SECONDS)),
        file(b"d/f"),
    ],
)
fixture(
    "symlink_modes_do_not_count",
    [
        symlink(
            b"l%o" % mode,
            b"t",
            raw=header(b"l%o" % mode, typeflag=b"2", link=b"t", mode=mode, mtime=SECONDS),
        )
        for mode in (0, 0o644, 0o755, 0o777, 0o4777)
    ],
)
fixture(
    "symlink_with_attributes_and_owner",
    [symlink(b"l", b"t", uid=70_000, gid=5, xattrs={"trusted.a": b"1"}, mtime_ns=NOON + 1)],
)
fixture(
    "hard_link_before_other_members_of_its_target",
    [
        file(b"z", b"z" * 9000),
        hardlink(b"a", b"z"),
        directory(b"z.d"),
        hardlink(b"z.d/z", b"a"),
        file(b"m", b"m"),
    ],
)
fixture(
    "a_name_that_is_a_prefix_of_another",
    [file(b"a"), file(b"a.b"), directory(b"a-b"), file(b"a-b/a"), file(b"aa"), file(b"a b")],
)
fixture(
    "content_that_looks_like_a_tar",
    [file(b"inner.tar", encode(file(b"not-me")) + bytes(2 * BLOCK)), file(b"after")],
)
fixture(
    "xattr_values_like_records",
    [file(b"f", xattrs={"user.a": b"12 path=evil\n", "user.b": b"\n\n=\0="})],
)

refused("uid_over_32_bits", "who", [file(b"who", uid=2**32)])
refused("gid_over_32_bits", "who", [file(b"who", gid=2**40)])
refused(
    "name_with_a_nul",
    "",
    [file(b"f", raw=with_pax(b"f", b"x", [(b"path", b"good\0evil")]))],
)
refused(
    "symlink_target_with_a_nul",
    "",
    [
        symlink(
            b"l",
            b"x",
            raw=pax_header([(b"linkpath", b"good\0evil")])
            + header(b"l", typeflag=b"2", link=b"x", mtime=SECONDS),
        )
    ],
)
refused(
    "pax_record_with_a_wrong_length",
    "",
    [
        file(
            b"f",
            raw=header(b"PaxHeaders/f", typeflag=b"x", size=20)
            + padded(b"99 path=does-not-fit")
            + header(b"f"),
        )
    ],
)
refused(
    "pax_size_that_is_no_number", "", [file(b"f", raw=with_pax(b"f", b"x", [(b"size", b"many")]))]
)
