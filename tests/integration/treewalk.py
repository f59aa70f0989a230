"""Reads a real tree into the records of layermodel.py.

Works from a directory's descriptor, so that neither a detached mount nor a path
longer than PATH_MAX stands in the way.
"""

import errno
import hashlib
import os
import stat

from layermodel import Record

KINDS = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "dir",
    stat.S_IFLNK: "symlink",
    stat.S_IFCHR: "char",
    stat.S_IFBLK: "block",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
}
READ_SIZE = 1 << 20


def walk(root_fd, whiteouts_listed=False):
    """path (bytes, the root is empty) -> Record of everything below root_fd (O_PATH will do).

    `whiteouts_listed`: overlayfs lists whiteouts in directories of one layer only, but
    does not find them; leave those out.
    """
    found = {}
    readable = os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=root_fd)
    try:
        _walk_dir(readable, b"", found, whiteouts_listed)
    finally:
        os.close(readable)
    groups = {}
    for path, (inode, _) in found.items():
        groups.setdefault(inode, []).append(path)
    return {path: _record(fields, min(groups[inode])) for path, (inode, fields) in found.items()}


def walk_path(path):
    root_fd = os.open(path, os.O_PATH | os.O_DIRECTORY)
    try:
        return walk(root_fd)
    finally:
        os.close(root_fd)


def _record(fields, first_path):
    group = None if fields["kind"] == "dir" else first_path
    return Record(group=group, **fields)


def _walk_dir(fd, path, found, whiteouts_listed):
    info = os.fstat(fd)
    found[path] = ((info.st_dev, info.st_ino), _fields(info, f"/proc/self/fd/{fd}", follow=True))
    for name in sorted(os.fsencode(entry) for entry in os.listdir(fd)):
        child_path = path + b"/" + name if path else name
        try:
            info = os.stat(name, dir_fd=fd, follow_symlinks=False)
        except FileNotFoundError:
            if whiteouts_listed:
                continue
            raise
        if stat.S_ISDIR(info.st_mode):
            child = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=fd)
            try:
                _walk_dir(child, child_path, found, whiteouts_listed)
            finally:
                os.close(child)
            continue
        fields = _fields(info, os.path.join(b"/proc/self/fd/%d" % fd, name), follow=False)
        if stat.S_ISREG(info.st_mode):
            fields["sha256"] = _content(name, fd)
        elif stat.S_ISLNK(info.st_mode):
            fields["target"] = os.fsencode(os.readlink(name, dir_fd=fd))
        found[child_path] = ((info.st_dev, info.st_ino), fields)


def _fields(info, proc_path, follow):
    kind = KINDS[stat.S_IFMT(info.st_mode)]
    fields = {
        "kind": kind,
        "mode": stat.S_IMODE(info.st_mode),
        "uid": info.st_uid,
        "gid": info.st_gid,
        "mtime_ns": info.st_mtime_ns,
        "xattrs": _xattrs(proc_path, follow),
        "nlink": info.st_nlink,
    }
    if kind in ("file", "symlink"):
        fields["size"] = info.st_size
    if kind in ("char", "block"):
        fields["rdev"] = (os.major(info.st_rdev), os.minor(info.st_rdev))
    return fields


def _xattrs(path, follow):
    return {name: _xattr(path, name, follow) for name in os.listxattr(path, follow_symlinks=follow)}


def _xattr(path, name, follow):
    """None where it is listed but the kernel does not let it be read (user.* of a symlink)."""
    try:
        return os.getxattr(path, name, follow_symlinks=follow)
    except OSError as error:
        if error.errno in (errno.ENODATA, errno.EPERM):
            return None
        raise


def _content(name, dir_fd):
    digest = hashlib.sha256()
    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=dir_fd)
    try:
        while piece := os.read(fd, READ_SIZE):
            digest.update(piece)
    finally:
        os.close(fd)
    return digest.hexdigest()
