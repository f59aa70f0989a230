"""Tars as real programs write them: what they read is what must be mounted."""

import erofsmount
import pytest
import tarwriters
from converter import convert
from layermodel import differences
from treewalk import walk, walk_path


def tar_of(writer, tree):
    if callable(writer.command):
        return writer.command(tree)
    return tarwriters.run(writer.command, tree, env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"})


@pytest.mark.parametrize("name", tarwriters.WRITERS)
def test_a_tree_comes_back_from_the_tar_of_any_writer(name, tmp_path):
    writer = tarwriters.WRITERS[name]
    tree = tmp_path / "tree"
    tarwriters.make_tree(tree, writer.parts, writer.fraction_ns)
    expected = walk_path(tree)
    stack = convert(str(tmp_path), [tar_of(writer, tree)])
    with erofsmount.erofs_mounted(stack.fsmeta, stack.layers) as fd:
        lines = differences(expected, walk(fd))
    assert not lines, f"{name}: " + "\n".join(lines[:20])
