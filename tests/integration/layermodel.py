"""What a stack of OCI layers means, computed from the description of its members.

This is the tests' own reading of the OCI image spec (layer.md), written without
any code of the product: members -> one LayerTree each (apply_layer) -> one merged
tree (merge_layers) -> records, path by path (records_of). Where the spec is silent
it does what overlayfs and containerd's applier do.
"""

import hashlib
from dataclasses import dataclass, field, replace

WHITEOUT = b".wh."
OPAQUE = b".wh..wh..opq"
WHITEOUT_META = b".wh..wh."
MAX_LINKS = 40


class Refused(Exception):
    """This stack is no file system: the product must refuse it as well."""


@dataclass(frozen=True)
class Member:
    """One member of a layer's tar, as it is meant (how it is encoded: tarbytes.py)."""

    name: bytes
    kind: str = "file"  # file dir symlink hardlink char block fifo
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    mtime_ns: int = 1_700_000_000 * 10**9
    data: bytes = b""
    link: bytes = b""
    rdev: tuple = (0, 0)
    xattrs: dict = field(default_factory=dict)
    dialect: str = "pax"
    raw: bytes = None  # the whole encoding, where the fixture made it itself


@dataclass
class Node:
    """An inode of a layer or of the merged tree; hard links share one Node."""

    kind: str
    mode: int = 0o755
    uid: int = 0
    gid: int = 0
    mtime_ns: int = 0
    xattrs: dict = field(default_factory=dict)
    data: bytes = b""
    target: bytes = b""
    rdev: tuple = (0, 0)
    # Directories only.
    children: dict = field(default_factory=dict)
    explicit: bool = True  # False: the tar only implies it
    opaque: bool = False
    whiteouts: set = field(default_factory=set)

    def is_dir(self):
        return self.kind == "dir"


@dataclass(frozen=True)
class Record:
    """One path as seen in a mounted tree or as expected there."""

    kind: str
    mode: int
    uid: int
    gid: int
    mtime_ns: int
    xattrs: dict
    size: int = None
    sha256: str = None
    target: bytes = None
    rdev: tuple = None
    nlink: int = None
    group: bytes = None  # first path of its hard-link group


def implied_dir():
    return Node("dir", explicit=False)


def node_of(member):
    """The inode that a member describes; overlayfs's own attributes never survive."""
    xattrs = {
        name: value
        for name, value in member.xattrs.items()
        if not name.startswith("trusted.overlay.")
    }
    return Node(
        member.kind,
        member.mode & 0o7777 if member.kind != "symlink" else 0o777,
        member.uid,
        member.gid,
        member.mtime_ns,
        xattrs,
        member.data,
        member.link,
        member.rdev,
    )


def components(name):
    """The path below the root, `.` and empty parts gone; Refused if it leaves the root."""
    parts = []
    for part in name.split(b"/"):
        if part in (b"", b"."):
            continue
        if part == b"..":
            if not parts:
                raise Refused(f"{name!r} leaves the root")
            parts.pop()
        else:
            if len(part) > 255 + (len(WHITEOUT) if part.startswith(WHITEOUT) else 0):
                raise Refused(f"{name!r} has a name of {len(part)} bytes")
            parts.append(part)
    return parts


class LayerTree:
    """One layer on its own, before it meets the layers below."""

    def __init__(self):
        self.root = implied_dir()
        self.lower_links = []  # (parent Node, name, Node that stands in for the target)
        self.aufs = {}

    def resolve_dir(self, parts):
        """The directory at `parts`, made where missing, through this layer's symlinks."""
        trail, todo, links = [self.root], list(parts), 0
        while todo:
            part = todo.pop(0)
            if part in (b"", b"."):
                continue
            if part == b"..":
                if len(trail) > 1:
                    trail.pop()
                continue
            child = trail[-1].children.get(part)
            if child is not None and child.kind == "symlink":
                links += 1
                if links > MAX_LINKS:
                    raise Refused("symlink loop")
                if child.target.startswith(b"/"):
                    trail = trail[:1]
                todo = child.target.split(b"/") + todo
                continue
            if child is None:
                child = trail[-1].children[part] = implied_dir()
            elif not child.is_dir():
                raise Refused(f"{part!r} is no directory")
            trail.append(child)
        return trail[-1]

    def add(self, member):
        parts = components(member.name)
        if not parts:
            if member.kind != "dir":
                raise Refused("the root is no directory")
            self._set_dir(self.root, member)
            return
        if parts[0].startswith(WHITEOUT_META) and parts[0] != OPAQUE:
            self.aufs[b"/".join(parts)] = node_of(member)
            return
        parent = self.resolve_dir(parts[:-1])
        name = parts[-1]
        if name == OPAQUE:
            parent.opaque = True
        elif name.startswith(WHITEOUT_META):
            return
        elif name.startswith(WHITEOUT):
            hidden = name[len(WHITEOUT) :]
            if hidden in (b"", b".", b".."):
                raise Refused(f"{member.name!r} hides nothing")
            parent.whiteouts.add(hidden)
        elif member.kind == "hardlink":
            self._add_hardlink(parent, name, member)
        else:
            self._add_node(parent, name, member)

    def _set_dir(self, node, member):
        made = node_of(member)
        node.mode, node.uid, node.gid = made.mode, made.uid, made.gid
        node.mtime_ns, node.xattrs, node.explicit = made.mtime_ns, made.xattrs, True

    def _add_node(self, parent, name, member):
        old = parent.children.get(name)
        if member.kind == "dir" and old is not None and old.is_dir():
            self._set_dir(old, member)
            return
        if member.kind == "dir" and old is not None:
            parent.whiteouts.add(name)  # what stood between has hidden the lower directory
        parent.children[name] = node_of(member)

    def _add_hardlink(self, parent, name, member):
        target = components(member.link)
        if not target:
            raise Refused(f"{member.name!r} links to the root")
        found, below = self.aufs.get(b"/".join(target)), None
        if found is None:
            found, below = self._look_up(target)
        if found is None:
            found = Node("lower-link", target=b"/".join(below))
            parent.children[name] = found
            self.lower_links.append((parent, name, found))
        elif found.is_dir():
            raise Refused(f"{member.name!r} links to a directory")
        else:
            parent.children[name] = found
            if found.kind == "lower-link":
                self.lower_links.append((parent, name, found))

    def _look_up(self, parts):
        """What this layer has at `parts`, through its own symlinks; makes nothing.

        Returns the Node, or None and where to look in the layers below.
        """
        trail, names, todo, links = [self.root], [], list(parts), 0
        missing = 0  # of the names, those below trail[-1], which only a lower layer can have
        while todo:
            part = todo.pop(0)
            if part in (b"", b"."):
                continue
            if part == b"..":
                trail = trail if missing else trail[:-1] or trail
                names, missing = names[:-1], max(missing - 1, 0)
                continue
            child = None if missing else trail[-1].children.get(part)
            if child is None:
                names, missing = [*names, part], missing + 1
                continue
            if not todo:
                return child, None
            if child.kind == "symlink":
                links += 1
                if links > MAX_LINKS:
                    raise Refused("symlink loop")
                if child.target.startswith(b"/"):
                    trail, names = trail[:1], []
                todo = child.target.split(b"/") + todo
            elif child.is_dir():
                trail, names = [*trail, child], [*names, part]
            else:
                raise Refused(f"{part!r} is no directory any more")
        return (None, components(b"/".join(names))) if missing else (trail[-1], None)


def apply_layer(members):
    tree = LayerTree()
    for member in members:
        tree.add(member)
    return tree


def implied_paths(layers):
    """Directories that the topmost layer which has them only implies."""
    explicit = {}
    for members in layers:
        for path, node in walk_nodes(apply_layer(members).root):
            explicit[path] = node.explicit
    return {path for path, listed in explicit.items() if not listed}


def visible_from(layers):
    """The lowest layer of which anything shows: the topmost one with an opaque root.

    overlayfs looks for the mark on directories below a layer's root only, so a stack
    must begin there.
    """
    opaque = [number for number, members in enumerate(layers) if apply_layer(members).root.opaque]
    return opaque[-1] if opaque else 0


def find(root, parts):
    node = root
    for part in parts:
        node = node.children.get(part) if node is not None and node.is_dir() else None
    return node


def find_through_links(root, parts):
    """The same through symlinks on the way, but not at the end; None where nothing is."""
    trail, todo, links = [root], list(parts), 0
    while todo:
        part = todo.pop(0)
        if part in (b"", b"."):
            continue
        if part == b"..":
            trail = trail[:-1] or trail
            continue
        child = trail[-1].children.get(part) if trail[-1].is_dir() else None
        if child is None:
            return None
        if child.kind == "symlink" and todo:
            links += 1
            if links > MAX_LINKS:
                return None
            if child.target.startswith(b"/"):
                trail = trail[:1]
            todo = child.target.split(b"/") + todo
            continue
        trail = [*trail, child]
    return trail[-1]


def resolve_lower_links(tree, lower_root):
    """Puts the lower layers' inodes in place of hard links that reach down."""
    for parent, name, stand_in in tree.lower_links:
        if parent.children.get(name) is not stand_in:
            continue  # replaced later in the same layer
        found = find_through_links(lower_root, stand_in.target.split(b"/"))
        if found is None or found.is_dir():
            raise Refused(f"hard link {name!r} has no target {stand_in.target!r}")
        parent.children[name] = found


def merge_dir(lower, upper):
    """A new directory: `upper` of one layer over the merged `lower` (or None)."""
    if lower is None or not lower.is_dir():
        lower = implied_dir()
    merged = replace(upper if upper.explicit else lower, children={}, whiteouts=set(), opaque=False)
    if not upper.opaque:
        merged.children = {
            name: node for name, node in lower.children.items() if name not in upper.whiteouts
        }
    for name, child in upper.children.items():
        below = merged.children.pop(name, None)
        if child.is_dir():
            merged.children[name] = merge_dir(below, child)
        elif child.kind != "char" or child.rdev != (0, 0):
            merged.children[name] = child
    return merged


def merge_layers(layers):
    """The merged root of layers (lists of Members), bottom to top."""
    root = implied_dir()
    for members in layers:
        tree = apply_layer(members)
        resolve_lower_links(tree, root)
        root = merge_dir(root, tree.root)
    return root


def walk_nodes(node, path=b""):
    """Yields (path, node) depth first; the root's path is empty."""
    yield path, node
    if node.is_dir():
        for name in sorted(node.children):
            yield from walk_nodes(node.children[name], path + b"/" + name if path else name)


def records_of(root):
    """path -> Record of a merged tree."""
    nodes = list(walk_nodes(root))
    paths = {}
    for path, node in nodes:
        paths.setdefault(id(node), []).append(path)
    return {path: record_of(node, paths[id(node)]) for path, node in nodes}


def record_of(node, paths):
    details = {}
    if node.is_dir():
        details["nlink"] = 2 + sum(child.is_dir() for child in node.children.values())
    else:
        details["nlink"], details["group"] = len(paths), min(paths)
    if node.kind == "file":
        details["size"] = len(node.data)
        details["sha256"] = hashlib.sha256(node.data).hexdigest()
    elif node.kind == "symlink":
        details["size"], details["target"] = len(node.target), node.target
    elif node.kind in ("char", "block"):
        details["rdev"] = node.rdev
    return Record(
        node.kind, node.mode, node.uid, node.gid, node.mtime_ns, dict(node.xattrs), **details
    )


def differences(expected, actual, ignore=()):
    """Lines that name each path and field in which two record maps differ."""
    lines = [f"{path!r}: missing" for path in sorted(expected.keys() - actual.keys())]
    lines += [f"{path!r}: should not be there" for path in sorted(actual.keys() - expected.keys())]
    for path in sorted(expected.keys() & actual.keys()):
        want, got = vars(expected[path]), vars(actual[path])
        lines += [
            f"{path!r}: {name} expected {brief(want[name])} got {brief(got[name])}"
            for name in want
            if name not in ignore and want[name] != got[name]
        ]
    return lines


def brief(value):
    text = oct(value) if isinstance(value, int) and 0 <= value < 0o10000 else repr(value)
    return text if len(text) < 300 else f"{text[:280]}… ({len(text)} characters)"
