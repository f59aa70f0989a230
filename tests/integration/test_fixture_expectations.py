"""The fixtures' own expectations, judged by umoci's unpack where it follows the spec.

A fixture with umoci=False is one in which umoci refuses, or applies members in the
order of the tar where the spec says otherwise; its theme file says why.
"""

import dataclasses

import layermodel
import pytest
from ocilayout import Layout, umoci_unpack
from tarfixtures import GOOD
from treewalk import walk_path


def without_times(records, paths):
    """umoci gives directories that nobody lists the time of the unpacking."""
    return {
        path: dataclasses.replace(record, mtime_ns=None) if path in paths else record
        for path, record in records.items()
    }


@pytest.mark.parametrize("name", [name for name, made in GOOD.items() if made.umoci])
def test_umoci_unpacks_what_is_expected(name, tmp_path):
    made = GOOD[name]
    layout = Layout(tmp_path / "layout")
    layout.tag("image", layout.image(made.tars(), "plain"))
    found = walk_path(umoci_unpack(layout.path, "image", tmp_path / "bundle"))
    untimed = layermodel.implied_paths([layer.members for layer in made.layers])
    lines = layermodel.differences(
        without_times(made.expected(), untimed), without_times(found, untimed), ignore=made.ignore
    )
    assert not lines, f"{name}: " + "\n".join(lines[:20])
