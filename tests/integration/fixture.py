"""A fixture: layers as tars, what they mean, or how they must be refused.

The themes (fixtures_*.py) fill ALL; tarfixtures.py loads them all.
"""

from dataclasses import dataclass, field

import layermodel
from layermodel import Member
from tarbytes import Layer, tar_of

ALL = {}
NOON = 1_700_000_000 * 10**9


@dataclass(frozen=True)
class Fixture:
    name: str
    layers: tuple
    refused: str = None  # part of the message; the code is UnsupportedLayer
    may_refuse: str = None  # right or refused, but never wrong
    ignore: tuple = ()  # fields in which the specs leave a choice
    umoci: bool = True  # umoci unpacks it to the same tree
    overlay: bool = True  # the layer files stacked by overlayfs show the same tree
    _cache: dict = field(default_factory=dict, compare=False, repr=False)

    def tars(self):
        if "tars" not in self._cache:
            self._cache["tars"] = [tar_of(layer) for layer in self.layers]
        return self._cache["tars"]

    def expected(self):
        """path -> Record of the merged tree, computed from the members alone."""
        if "records" not in self._cache:
            root = layermodel.merge_layers([layer.members for layer in self.layers])
            self._cache["records"] = layermodel.records_of(root)
        return self._cache["records"]


def fixture(name, *layers, **options):
    """Registers a fixture; a layer may be a Layer or a list of Members."""
    assert name not in ALL, f"two fixtures named {name}"
    made = tuple(layer if isinstance(layer, Layer) else Layer(tuple(layer)) for layer in layers)
    ALL[name] = Fixture(name, made, **options)


def refused(name, part, *layers, **options):
    """Registers a stack that must fail with UnsupportedLayer and `part` in the message."""
    fixture(f"refused_{name}", *layers, refused=part, **options)


def file(name, data=b"content\n", **fields):
    return Member(name, "file", data=data, **fields)


def directory(name, mode=0o755, **fields):
    return Member(name + b"/", "dir", mode=mode, **fields)


def symlink(name, target, **fields):
    return Member(name, "symlink", mode=0o777, link=target, **fields)


def hardlink(name, target, **fields):
    return Member(name, "hardlink", link=target, **fields)


def device(name, kind, major, minor, **fields):
    return Member(name, kind, rdev=(major, minor), **fields)


def fifo(name, **fields):
    return Member(name, "fifo", **fields)


def whiteout(name):
    """Hides `name` of the layers below."""
    head, slash, tail = name.rpartition(b"/")
    return Member(head + slash + b".wh." + tail, "file", mode=0)


def opaque(name=b""):
    """Hides all that the layers below have in the directory."""
    return Member((name + b"/" if name else b"") + b".wh..wh..opq", "file", mode=0)


def root(mode=0o755, **fields):
    return Member(b"./", "dir", mode=mode, **fields)
