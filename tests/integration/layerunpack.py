"""Writes a layer of layermodel.py to a real directory, as a lower layer of overlayfs."""

import os
import stat

from layermodel import implied_dir

KIND_BITS = {"char": stat.S_IFCHR, "block": stat.S_IFBLK, "fifo": stat.S_IFIFO}


def unpack_layer(root, lower_root, path):
    """`root` of one layer into the empty directory `path`; as root.

    Whiteouts become 0:0 character devices, and directories that the layer only
    implies take the metadata of the merged tree below: overlayfs shows the topmost.
    """
    _fill_dir(root, lower_root, os.fsencode(path), {})


def _fill_dir(node, lower, path, links):
    for name in node.whiteouts - node.children.keys():
        os.mknod(os.path.join(path, name), stat.S_IFCHR, os.makedev(0, 0))
    if node.opaque:
        os.setxattr(path, "trusted.overlay.opaque", b"y")
    for name, child in node.children.items():
        _write(child, os.path.join(path, name), _visible(node, lower, name), links)
        if child.is_dir() and name in node.whiteouts:
            os.setxattr(os.path.join(path, name), "trusted.overlay.opaque", b"y")
    below = lower if lower is not None and lower.is_dir() else implied_dir()
    _set_metadata(node if node.explicit else below, path)


def _visible(node, lower, name):
    """What the layers below show at `name` of the directory."""
    if lower is None or not lower.is_dir() or node.opaque or name in node.whiteouts:
        return None
    return lower.children.get(name)


def _write(node, path, lower, links):
    if node.is_dir():
        os.mkdir(path)
        _fill_dir(node, lower, path, links)
        return
    if id(node) in links:
        os.link(links[id(node)], path, follow_symlinks=False)
        return
    links[id(node)] = path
    if node.kind == "file":
        with open(path, "xb") as out:
            out.write(node.data)
    elif node.kind == "symlink":
        os.symlink(node.target, path)
    else:
        os.mknod(path, KIND_BITS[node.kind], os.makedev(*node.rdev))
    _set_metadata(node, path)


def _set_metadata(node, path):
    os.chown(path, node.uid, node.gid, follow_symlinks=False)
    if node.kind != "symlink":
        os.chmod(path, node.mode)
    for name, value in node.xattrs.items():
        os.setxattr(path, name, value, follow_symlinks=False)
    os.utime(path, ns=(node.mtime_ns, node.mtime_ns), follow_symlinks=False)
