"""Random stacks of layers: few names, so that layers meet in every way."""

import random

from fixture import NOON, device, directory, fifo, file, hardlink, opaque, root, symlink, whiteout
from layermodel import LayerTree, Refused, find, implied_dir, merge_layers, walk_nodes
from tarbytes import Layer

NAMES = [b"a", b"b", b"c", b"d", b"\xff", b"name with spaces", b"n" * 120]
MAX_LAYERS = 6
MAX_MEMBERS = 24
MAX_DEPTH = 4
SIZES = (0, 1, 100, 4095, 4096, 4097, 9000, 40_000)


class Generator:
    """Makes one stack from one seed; the same seed makes the same stack.

    `reaching_down`: with hard links to files of lower layers, which overlayfs itself
    cannot show.
    """

    def __init__(self, seed, reaching_down=False):
        self.random = random.Random(seed)
        self.reaching_down = reaching_down
        self.below = implied_dir()  # the merged tree of the layers made so far

    def stack(self):
        layers = []
        for _ in range(self.random.randint(1, MAX_LAYERS)):
            layers.append(self.layer())
            self.below = merge_layers([layer.members for layer in layers])
        return layers

    def layer(self):
        """Members that no rule refuses, judged one by one."""
        members = []
        tree = LayerTree()
        for _ in range(self.random.randint(0, MAX_MEMBERS)):
            member = self.member(tree)
            try:
                tree.add(member)
                members.append(member)
            except Refused:
                tree = LayerTree()
                for accepted in members:
                    tree.add(accepted)
            if not self.resolves(tree):
                tree, members = self._without_last(members)
        return Layer(tuple(members))

    def resolves(self, tree):
        """Whether all hard links have a target, in this layer or in those below."""
        if not self.reaching_down:
            return not tree.lower_links
        targets = [find(self.below, link.target.split(b"/")) for _, _, link in tree.lower_links]
        return all(target is not None and not target.is_dir() for target in targets)

    @staticmethod
    def _without_last(members):
        tree = LayerTree()
        for member in members[:-1]:
            tree.add(member)
        return tree, members[:-1]

    def path(self):
        depth = self.random.choices(range(1, MAX_DEPTH + 1), (6, 5, 3, 1))[0]
        return b"/".join(self.random.choice(NAMES[:5] * 3 + NAMES) for _ in range(depth))

    def metadata(self):
        pick = self.random.choice
        fields = {
            "uid": pick((0, 0, 1000, 70_000)),
            "gid": pick((0, 0, 100)),
            "mtime_ns": NOON + pick((0, 1, 5_000_000_000, -(10**18))),
            "dialect": pick(("pax", "pax", "pax-all", "pax-libarchive")),
        }
        if self.random.random() < 0.3:
            fields["xattrs"] = {
                pick(("trusted.a", "trusted.b", "security.c")): b"%d" % self.random.randrange(9)
                for _ in range(self.random.randint(1, 3))
            }
        return fields

    def mode(self):
        return self.random.choice((0o644, 0o755, 0o4755, 0o600, 0o1777, 0))

    def member(self, tree):
        kinds = ("file", "dir", "symlink", "hardlink", "whiteout", "opaque", "other", "root")
        kind = self.random.choices(kinds, (30, 25, 10, 10, 12, 6, 5, 2))[0]
        return getattr(self, "_" + kind)(tree)

    def _file(self, _):
        size = self.random.choice(SIZES)
        data = b"%d " % self.random.randrange(10**6) * (size // 2 + 1)
        return file(self.path(), data[:size], mode=self.mode(), **self.metadata())

    def _dir(self, _):
        return directory(self.path(), self.mode(), **self.metadata())

    def _symlink(self, _):
        target = self.random.choice((b"", b"/", b"../", b"../../")) + self.path()
        return symlink(self.path(), target, **self.metadata())

    def _hardlink(self, tree):
        below = self.reaching_down and self.random.random() < 0.5
        start = self.below if below else tree.root
        targets = [path for path, node in walk_nodes(start) if not node.is_dir()]
        return hardlink(self.path(), self.random.choice(targets)) if targets else self._file(tree)

    def _whiteout(self, _):
        return whiteout(self.path())

    def _opaque(self, _):
        return opaque(self.random.choice((self.path(), self.path(), b"")))

    def _other(self, _):
        if self.random.random() < 0.4:
            return fifo(self.path(), mode=self.mode(), **self.metadata())
        kind = self.random.choice(("char", "block"))
        minor = self.random.randint(1, 1000)
        return device(self.path(), kind, 8, minor, mode=self.mode(), **self.metadata())

    def _root(self, _):
        return root(self.mode(), **self.metadata())
