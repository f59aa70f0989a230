"""Writes tars byte by byte, in every dialect that a layer may come in.

tar_of(layer) encodes the Members of layermodel.py; what a Member's `dialect` names
is one of DIALECTS. POSIX pax (IEEE 1003.1), GNU tar's manual ("Basic Tar Format"),
and the SCHILY and LIBARCHIVE extensions for attributes.
"""

import base64
import urllib.parse
from dataclasses import dataclass, replace

BLOCK = 512
END = bytes(2 * BLOCK)
TYPEFLAGS = {
    "file": b"0",
    "hardlink": b"1",
    "symlink": b"2",
    "char": b"3",
    "block": b"4",
    "dir": b"5",
    "fifo": b"6",
}
USTAR = b"ustar\x0000"
GNU = b"ustar  \x00"
V7 = bytes(8)


@dataclass(frozen=True)
class Layer:
    """Members and what stands behind them; `whole` overrides everything."""

    members: tuple
    tail: bytes = END
    head: bytes = b""
    whole: bytes = None


def padded(data):
    return data + bytes(-len(data) % BLOCK)


def octal(value, width):
    """The usual form: zero-padded octal with a NUL."""
    text = b"%0*o\0" % (width - 1, value)
    assert value >= 0 and len(text) == width, f"{value} does not fit {width} octal bytes"
    return text


def base256(value, width):
    """GNU's binary form; negative numbers are two's complement."""
    raw = value.to_bytes(width, "big", signed=True)
    return bytes([raw[0] | 0x80]) + raw[1:]


def number(value, width):
    """Octal where it fits, else base-256."""
    return octal(value, width) if 0 <= value < 8 ** (width - 1) else base256(value, width)


def header(
    name,
    *,
    typeflag=b"0",
    mode=0o644,
    uid=0,
    gid=0,
    size=0,
    mtime=0,
    link=b"",
    magic=USTAR,
    prefix=b"",
    rdev=(0, 0),
    numbers=number,
    rest=b"",
    checksum=None,
):
    """One header block. `rest` replaces the bytes from offset 345 (GNU's extensions)."""
    assert len(name) <= 100 and len(link) <= 100 and len(prefix) <= 155
    block = bytearray(BLOCK)

    def put(offset, data):
        block[offset : offset + len(data)] = data

    put(0, name)
    put(100, numbers(mode, 8))
    put(108, numbers(uid, 8))
    put(116, numbers(gid, 8))
    put(124, numbers(size, 12))
    put(136, numbers(mtime, 12))
    put(148, b" " * 8)
    put(156, typeflag)
    put(157, link)
    put(257, magic)
    if magic != V7:
        put(265, b"builder\0")
        put(297, b"builder\0")
        if typeflag in (b"3", b"4"):
            put(329, numbers(rdev[0], 8))
            put(337, numbers(rdev[1], 8))
    put(345, rest or prefix)
    total = (checksum or sum)(block)
    put(148, b"%06o\0 " % total)
    return bytes(block)


def signed_checksum(block):
    """What some old tars stored: the sum of signed bytes."""
    return sum(byte - 256 if byte > 127 else byte for byte in block)


def pax_records(pairs):
    """`length key=value\\n` for each pair; the length counts itself."""
    out = b""
    for key, value in pairs:
        body = b" " + key + b"=" + value + b"\n"
        length = len(body)
        while len(b"%d" % length) + len(body) != length:
            length = len(b"%d" % length) + len(body)
        out += b"%d" % length + body
    return out


def pax_header(pairs, typeflag=b"x", name=b"PaxHeaders/member"):
    records = pax_records(pairs)
    return header(name, typeflag=typeflag, size=len(records)) + padded(records)


def pax_time(mtime_ns):
    """Decimal seconds, also negative ones: -0.25 is -250000000 ns."""
    sign, value = (b"-", -mtime_ns) if mtime_ns < 0 else (b"", mtime_ns)
    fraction = (b".%09d" % (value % 10**9)).rstrip(b"0")
    return sign + b"%d" % (value // 10**9) + (fraction if fraction != b"." else b"")


def schily_xattrs(xattrs):
    return [(b"SCHILY.xattr." + name.encode(), value) for name, value in xattrs.items()]


def libarchive_xattrs(xattrs):
    return [
        (
            b"LIBARCHIVE.xattr." + urllib.parse.quote(name).encode(),
            base64.b64encode(value).rstrip(b"="),
        )
        for name, value in xattrs.items()
    ]


def gnu_long(text, typeflag):
    """A GNU long name ('L') or long link ('K') member."""
    data = text + b"\0"
    return header(b"././@LongLink", typeflag=typeflag, size=len(data), magic=GNU) + padded(data)


def _plain(member, magic, numbers=number):
    """The header block and the data, for what fits an old header."""
    data = member.data if member.kind == "file" else b""
    name, prefix = member.name, b""
    if len(name) > 100 and magic == USTAR:
        cut = name.rfind(b"/", 0, 156)
        prefix, name = name[:cut], name[cut + 1 :]
    block = header(
        name,
        prefix=prefix,
        typeflag=TYPEFLAGS[member.kind],
        mode=member.mode,
        uid=member.uid,
        gid=member.gid,
        size=len(data),
        mtime=member.mtime_ns // 10**9,
        link=member.link,
        rdev=member.rdev,
        magic=magic,
        numbers=numbers,
    )
    return block + padded(data)


def encode_ustar(member):
    assert not member.xattrs and member.mtime_ns % 10**9 == 0
    return _plain(member, USTAR, octal)


def encode_v7(member):
    """Typeflag NUL for files; a directory is a name that ends in a slash."""
    assert not member.xattrs and member.kind in ("file", "dir", "hardlink", "symlink")
    typeflag = {"hardlink": b"1", "symlink": b"2"}.get(member.kind, b"\0")
    name = member.name.rstrip(b"/") + b"/" if member.kind == "dir" else member.name
    data = member.data if member.kind == "file" else b""
    block = header(
        name,
        typeflag=typeflag,
        mode=member.mode,
        uid=member.uid,
        gid=member.gid,
        size=len(data),
        mtime=member.mtime_ns // 10**9,
        link=member.link,
        magic=V7,
        numbers=octal,
    )
    return block + padded(data)


def encode_gnu(member):
    assert not member.xattrs and member.mtime_ns % 10**9 == 0
    out, changes = b"", {}
    if len(member.link) > 100:
        out += gnu_long(member.link, b"K")
        changes["link"] = member.link[:100]
    if len(member.name) > 100:
        out += gnu_long(member.name, b"L")
        changes["name"] = member.name[:100]
    return out + _plain(_changed(member, **changes), GNU)


def encode_pax(member, always=False, xattrs=schily_xattrs):
    """An extended header for what the ustar one cannot say (or, `always`, for all)."""
    pairs, changes = [], {}
    seconds, fraction = divmod(member.mtime_ns, 10**9)
    if always or len(member.name) > 100:
        pairs.append((b"path", member.name))
        changes["name"] = member.name[:100]
    if always or len(member.link) > 100:
        pairs += [(b"linkpath", member.link)] if member.link else []
        changes["link"] = member.link[:100]
    for key in ("uid", "gid"):
        if always or getattr(member, key) >= 8**7:
            pairs.append((key.encode(), b"%d" % getattr(member, key)))
            changes[key] = 0
    if always or fraction or not 0 <= seconds < 8**11:
        pairs.append((b"mtime", pax_time(member.mtime_ns)))
        changes["mtime_ns"] = 0
    pairs += xattrs(member.xattrs)
    head = pax_header(pairs) if pairs else b""
    return head + _plain(_changed(member, **changes), USTAR)


def encode_pax_binary(member):
    """As bsdtar writes names that are no UTF-8: hdrcharset=BINARY first."""
    pairs = [(b"hdrcharset", b"BINARY"), (b"path", member.name)]
    if member.link:
        pairs.append((b"linkpath", member.link))
    return pax_header(pairs) + _plain(
        _changed(member, name=b"x", link=b"y"[: len(member.link)]), USTAR
    )


def _changed(member, **changes):
    return replace(member, **changes) if changes else member


DIALECTS = {
    "pax": encode_pax,
    "pax-all": lambda member: encode_pax(member, always=True),
    "pax-libarchive": lambda member: encode_pax(member, xattrs=libarchive_xattrs),
    "pax-both": lambda member: encode_pax(
        member, xattrs=lambda x: libarchive_xattrs(x) + schily_xattrs(x)
    ),
    "pax-binary": encode_pax_binary,
    "ustar": encode_ustar,
    "gnu": encode_gnu,
    "v7": encode_v7,
}


def encode(member):
    return member.raw if member.raw is not None else DIALECTS[member.dialect](member)


def tar_of(layer):
    """The bytes of a layer's tar."""
    if layer.whole is not None:
        return layer.whole
    return layer.head + b"".join(encode(member) for member in layer.members) + layer.tail
