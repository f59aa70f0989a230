"""A real tree, and the programs that make tars of one.

TREE_PARTS says what the tree holds; a Writer says which parts its format has room for
and what of a file it cannot keep.
"""

import json
import os
import stat
import subprocess
import tarfile
from dataclasses import dataclass

NOON_NS = 1_700_000_000 * 10**9
CONTENT = b"0123456789abcdef" * 700  # 11,200 bytes


def write(path, data, mode=0o644):
    with open(path, "xb") as out:
        out.write(data)
    os.chmod(path, mode)


def plain_part(root):
    """What every format has room for; no two names of one file lie in one directory."""
    os.makedirs(root + b"/plain/sub")
    write(root + b"/plain/file", CONTENT, 0o640)
    write(root + b"/plain/empty", b"")
    write(root + b"/plain/block", b"x" * 512)
    os.symlink(b"../plain/file", root + b"/plain/link")
    os.link(root + b"/plain/file", root + b"/plain/sub/hard")
    os.chown(root + b"/plain/sub", 1000, 100)
    os.chmod(root + b"/plain/sub", 0o1755)
    os.chown(root + b"/plain/empty", 12, 34)


def special_part(root):
    os.mkdir(root + b"/special")
    os.mknod(root + b"/special/null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mknod(root + b"/special/disk", stat.S_IFBLK | 0o660, os.makedev(8, 17))
    os.mkfifo(root + b"/special/pipe", 0o622)


def wide_part(root):
    """Long names, names that are no UTF-8, and large owners."""
    long = b"n" * 200
    os.makedirs(root + b"/wide/" + long)
    write(root + b"/wide/" + long + b"/" + b"m" * 255, b"far away\n")
    os.symlink(b"t" * 900, root + b"/wide/link")
    os.link(root + b"/wide/" + long + b"/" + b"m" * 255, root + b"/wide/hard")
    write(root + b"/wide/owned", b"")
    os.chown(root + b"/wide/owned", 3_000_000, 4_000_000)


def bytes_part(root):
    os.mkdir(root + b"/bytes")
    write(root + b"/bytes/latin1-\xe9", b"1")
    os.symlink(b"latin1-\xe9", root + b"/bytes/link\xff")


def unicode_part(root):
    """Names of which ASCII has nothing."""
    name = "日本".encode()
    os.mkdir(root + b"/unicode")
    write(root + b"/unicode/" + name, b"nihon")
    os.symlink(name, root + b"/unicode/" + "リンク".encode())
    os.link(root + b"/unicode/" + name, root + b"/unicode/zhard")


def xattr_part(root):
    os.mkdir(root + b"/xattr")
    write(root + b"/xattr/file", b"x")
    os.setxattr(root + b"/xattr/file", "user.text", b"value")
    os.setxattr(root + b"/xattr/file", "user.binary", bytes(range(256)))
    os.setxattr(root + b"/xattr/file", "trusted.thing", b"a=b\n\0c")
    os.setxattr(root + b"/xattr", "user.of.directory", b"d")


def sparse_part(root):
    os.mkdir(root + b"/sparse")
    with open(root + b"/sparse/holes", "xb") as out:
        for offset in (0, 1 << 20, 3 << 20):
            out.seek(offset)
            out.write(CONTENT)
        out.truncate(5 << 20)
    with open(root + b"/sparse/hole", "xb") as out:
        out.truncate(100_000)


TREE_PARTS = {
    "plain": plain_part,
    "special": special_part,
    "wide": wide_part,
    "bytes": bytes_part,
    "unicode": unicode_part,
    "xattr": xattr_part,
    "sparse": sparse_part,
}


def make_tree(path, parts, fraction_ns):
    """The parts below the new directory `path`; each file has a time of its own."""
    root = os.fsencode(path)
    os.mkdir(root, 0o755)
    for part in parts:
        TREE_PARTS[part](root)
    number = 0
    for directory, directories, names in os.walk(root, topdown=False):
        for name in sorted(directories + names) + [b""]:
            number += 1
            time_ns = NOON_NS + number * 10**9 + (fraction_ns if number % 2 else 0)
            os.utime(os.path.join(directory, name), ns=(time_ns, time_ns), follow_symlinks=False)


@dataclass(frozen=True)
class Writer:
    command: tuple  # run in the tree, prints the tar; or a function of the tree's path
    parts: tuple
    fraction_ns: int = 0  # times with such fractions survive


def run(command, tree, **options):
    return subprocess.run(command, cwd=tree, stdout=subprocess.PIPE, check=True, **options).stdout


def python_tar(tar_format):
    def make(tree):
        path = f"{tree}.tar"
        with tarfile.open(path, "w", format=tar_format, encoding="utf-8") as tar:
            tar.add(tree, arcname=".")
        with open(path, "rb") as made:
            return made.read()

    return make


def cpio_tar(tree):
    """Depth first, as cpio wants it."""
    names = run(["find", ".", "-print0"], tree)
    return run(["cpio", "--quiet", "-0", "-o", "-H", "ustar"], tree, input=names)


def umoci_tar(tree):
    """Go's archive/tar: a layer of `umoci insert`."""
    layout = f"{tree}-layout"
    for command in (
        ["umoci", "init", "--layout", layout],
        ["umoci", "new", "--image", f"{layout}:t"],
        ["umoci", "insert", "--image", f"{layout}:t", str(tree), "/"],
    ):
        subprocess.run(command, check=True, capture_output=True)

    def blob(digest):
        with open(f"{layout}/blobs/{digest.replace(':', '/')}", "rb") as file:
            return file.read()

    with open(f"{layout}/index.json", "rb") as file:
        index = json.load(file)
    manifest = json.loads(blob(index["manifests"][0]["digest"]))
    layer = blob(manifest["layers"][-1]["digest"])
    return run(["gzip", "-dc"], tree, input=layer)


BASE = ("plain", "special")
LONG = (*BASE, "wide", "bytes", "unicode")
ALL = (*LONG, "xattr", "sparse")
NS = 123_456_789


def gnu_tar(*options):
    return ("tar", "--create", "--file=-", "--sort=name", "--numeric-owner", *options, ".")


XATTRS = ("--xattrs", "--xattrs-include=*")

WRITERS = {
    "gnu_v7": Writer(gnu_tar("--format=v7"), ("plain",)),
    "gnu_oldgnu": Writer(gnu_tar("--format=oldgnu"), LONG),
    "gnu_gnu": Writer(gnu_tar("--format=gnu"), LONG),
    "gnu_ustar": Writer(gnu_tar("--format=ustar"), (*BASE, "bytes", "unicode")),
    "gnu_posix": Writer(gnu_tar("--format=posix", *XATTRS), ALL, NS),
    "gnu_posix_acls": Writer(gnu_tar("--format=posix", "--acls", *XATTRS), ALL, NS),
    "gnu_sparse": Writer(gnu_tar("--format=gnu", "--sparse"), (*LONG, "sparse")),
    "gnu_sparse_0_0": Writer(
        gnu_tar("--format=posix", "--sparse", "--sparse-version=0.0", *XATTRS), ALL, NS
    ),
    "gnu_sparse_0_1": Writer(
        gnu_tar("--format=posix", "--sparse", "--sparse-version=0.1", *XATTRS), ALL, NS
    ),
    "gnu_sparse_1_0": Writer(
        gnu_tar("--format=posix", "--sparse", "--sparse-version=1.0", *XATTRS), ALL, NS
    ),
    "gnu_label": Writer(gnu_tar("--format=gnu", "--label=a label"), BASE),
    "gnu_label_posix": Writer(gnu_tar("--format=posix", "--label=a label"), BASE, NS),
    "gnu_incremental": Writer(gnu_tar("--format=gnu", "--incremental"), BASE),
    "bsd_pax": Writer(("bsdtar", "-c", "--format=pax", "-f", "-", "."), ALL, NS),
    "bsd_restricted": Writer(("bsdtar", "-c", "--format=paxr", "-f", "-", "."), LONG),
    "bsd_gnutar": Writer(("bsdtar", "-c", "--format=gnutar", "-f", "-", "."), LONG),
    "bsd_ustar": Writer(("bsdtar", "-c", "--format=ustar", "-f", "-", "."), BASE),
    "bsd_v7": Writer(("bsdtar", "-c", "--format=v7tar", "-f", "-", "."), ("plain",)),
    "python_ustar": Writer(python_tar(tarfile.USTAR_FORMAT), BASE),
    "python_gnu": Writer(python_tar(tarfile.GNU_FORMAT), (*BASE, "wide", "unicode")),
    "python_pax": Writer(python_tar(tarfile.PAX_FORMAT), (*BASE, "wide", "unicode")),
    "busybox": Writer(("busybox", "tar", "-c", "-f", "-", "."), LONG),
    "cpio_ustar": Writer(cpio_tar, BASE),
    "umoci": Writer(umoci_tar, ALL),
}
