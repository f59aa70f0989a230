"""The four ways in which tars say "sparse file" (GNU tar manual, "Sparse Formats").

Each takes the pieces of a file as (offset, data) and its whole size, and returns
the raw encoding of one member.
"""

from tarbytes import BLOCK, GNU, base256, header, number, octal, padded, pax_header


def content(pieces, size):
    """What a reader must see: zeros between the pieces."""
    out = bytearray(size)
    for offset, data in pieces:
        out[offset : offset + len(data)] = data
    return bytes(out)


def _stored(pieces):
    return b"".join(data for _, data in pieces)


def _map(pieces, size):
    """The pieces, closed by an empty one at the end where the file ends in a hole."""
    entries = [(offset, len(data)) for offset, data in pieces]
    if not entries or sum(entries[-1]) < size:
        entries.append((size, 0))
    return entries


def old_gnu(name, pieces, size, mtime=1_700_000_000):
    """Typeflag S: four entries in the header, 21 in each extension block."""
    entries = _map(pieces, size)
    wide = size >= 8**11
    field = (lambda value: base256(value, 12)) if wide else (lambda value: number(value, 12))
    encoded = [field(offset) + field(length) for offset, length in entries]
    first, others = encoded[:4], encoded[4:]
    rest = bytearray(BLOCK - 345)
    rest[41 : 41 + 24 * len(first)] = b"".join(first)  # sparse map at byte 386
    rest[137] = 1 if others else 0  # "is extended" at byte 482
    rest[138:150] = field(size)  # real size at byte 483
    stored = _stored(pieces)
    out = header(name, typeflag=b"S", size=len(stored), mtime=mtime, magic=GNU, rest=bytes(rest))
    while others:
        block, others = others[:21], others[21:]
        out += b"".join(block).ljust(504, b"\0") + (b"\1" if others else b"\0") + bytes(7)
    return out + padded(stored)


def pax_00(name, pieces, size, mtime=1_700_000_000):
    """Version 0.0: repeated GNU.sparse.offset and .numbytes records."""
    pairs = [
        (b"GNU.sparse.size", b"%d" % size),
        (b"GNU.sparse.numblocks", b"%d" % len(_map(pieces, size))),
    ]
    for offset, length in _map(pieces, size):
        pairs.append((b"GNU.sparse.offset", b"%d" % offset))
        pairs.append((b"GNU.sparse.numbytes", b"%d" % length))
    return _pax(name, pairs, _stored(pieces), mtime)


def pax_01(name, pieces, size, mtime=1_700_000_000):
    """Version 0.1: the map in one record, the true name beside it."""
    flat = b",".join(b"%d,%d" % entry for entry in _map(pieces, size))
    pairs = [
        (b"GNU.sparse.size", b"%d" % size),
        (b"GNU.sparse.numblocks", b"%d" % len(_map(pieces, size))),
        (b"GNU.sparse.map", flat),
        (b"GNU.sparse.name", name),
    ]
    return _pax(b"GNUSparseFile.1/" + name.rpartition(b"/")[2], pairs, _stored(pieces), mtime)


def pax_10(name, pieces, size, mtime=1_700_000_000):
    """Version 1.0: the map stands before the data, padded to a block."""
    entries = _map(pieces, size)
    lines = b"%d\n" % len(entries) + b"".join(b"%d\n%d\n" % entry for entry in entries)
    pairs = [
        (b"GNU.sparse.major", b"1"),
        (b"GNU.sparse.minor", b"0"),
        (b"GNU.sparse.name", name),
        (b"GNU.sparse.realsize", b"%d" % size),
    ]
    data = padded(lines) + _stored(pieces)
    return _pax(b"GNUSparseFile.1/" + name.rpartition(b"/")[2], pairs, data, mtime)


def _pax(name, pairs, data, mtime):
    head = pax_header(pairs, name=b"PaxHeaders/sparse")
    return head + header(name[:100], size=len(data), mtime=mtime, numbers=octal) + padded(data)


KINDS = {"old_gnu": old_gnu, "pax_0_0": pax_00, "pax_0_1": pax_01, "pax_1_0": pax_10}
