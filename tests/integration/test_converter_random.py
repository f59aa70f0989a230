"""Random stacks of layers: fsmeta must show what overlayfs shows of the same stack.

The layers are unpacked by the tests' own applier into overlayfs's lower directories.
LARDER_RANDOM_SEED repeats a stack, LARDER_RANDOM_STACKS and
LARDER_RANDOM_SECONDS set how many are tried.
"""

import os
import random
import tempfile
import time
from contextlib import contextmanager

import erofsmount
import layermodel
from converter import convert
from layerunpack import unpack_layer
from randomlayers import Generator
from tarbytes import tar_of
from treewalk import walk

STACKS = 150
DEADLINE_SECONDS = 25  # of each test; LARDER_RANDOM_SECONDS overrides it


def seeds():
    first = int(os.environ.get("LARDER_RANDOM_SEED", random.randrange(10**9)))
    count = int(os.environ.get("LARDER_RANDOM_STACKS", STACKS))
    print(f"LARDER_RANDOM_SEED={first} LARDER_RANDOM_STACKS={count}")
    limit = float(os.environ.get("LARDER_RANDOM_SECONDS", DEADLINE_SECONDS))
    started = time.monotonic()
    for seed in range(first, first + count):
        if time.monotonic() - started > limit:
            print(f"stopped after {seed - first} stacks and {limit:.0f} s")
            return
        yield seed


@contextmanager
def overlay_of(stack):
    """A descriptor on overlayfs's view of the layers."""
    with tempfile.TemporaryDirectory(prefix="larder-random-") as directory:
        merged = layermodel.implied_dir()
        lowers = []
        for number, layer in enumerate(stack):
            tree = layermodel.apply_layer(layer.members)
            path = os.path.join(directory, str(number))
            os.mkdir(path)
            unpack_layer(tree.root, merged, path)
            merged = layermodel.merge_dir(merged, tree.root)
            lowers.append(path)
        shown = layermodel.visible_from([layer.members for layer in stack])
        with erofsmount.overlay_mounted(lowers[shown:]) as fd:
            yield fd


def overlay_records(stack):
    with overlay_of(stack) as fd:
        return walk(fd, whiteouts_listed=True)


def expected_records(stack):
    return layermodel.records_of(layermodel.merge_layers([layer.members for layer in stack]))


def told(seed, stack, lines):
    layers = "\n".join(
        f"layer {number}: " + ", ".join(f"{m.kind} {m.name!r} {m.link!r}" for m in layer.members)
        for number, layer in enumerate(stack)
    )
    return f"seed {seed}:\n" + "\n".join(lines[:20]) + "\n" + layers


def test_overlayfs_shows_what_the_rules_say():
    for seed in seeds():
        stack = Generator(seed).stack()
        # overlayfs counts the links that upper layers hide, too.
        lines = layermodel.differences(
            expected_records(stack), overlay_records(stack), ignore=("nlink",)
        )
        assert not lines, told(seed, stack, lines)


def fsmeta_records(stack):
    with tempfile.TemporaryDirectory(prefix="larder-random-") as directory:
        made = convert(directory, [tar_of(layer) for layer in stack])
        with erofsmount.erofs_mounted(made.fsmeta, made.layers) as fd:
            return walk(fd)


def test_fsmeta_shows_what_overlayfs_shows():
    for seed in seeds():
        stack = Generator(seed).stack()
        found = fsmeta_records(stack)
        lines = layermodel.differences(overlay_records(stack), found, ignore=("nlink",))
        lines += layermodel.differences(expected_records(stack), found)
        assert not lines, told(seed, stack, lines)


def test_hard_links_into_lower_layers_are_links():
    for seed in seeds():
        stack = Generator(seed, reaching_down=True).stack()
        lines = layermodel.differences(expected_records(stack), fsmeta_records(stack))
        assert not lines, told(seed, stack, lines)
