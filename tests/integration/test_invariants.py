"""The check of the invariants notices what it is for."""

import pytest

import images
import invariants
import pulling
from postgres import sql


@pytest.fixture
def cache(make_larder, postgres, new_directory, registry):
    """(database, directory) of a node that has one image and has ended."""
    database = postgres.create_database("invariants")
    node = make_larder(database=database)
    builder = images.Builder(new_directory("invariants-layout"))
    builder.add("image", [[images.file(b"f", b"f" * 9000)]])
    images.push_to(registry, builder.images["image"], "invariants/image:1")
    pulling.pull(node, f"{registry}/invariants/image:1")
    node.stop()
    yield database, node.blob_dir
    postgres.drop_database("invariants")


def only(directory, kind):
    (path,) = (directory / kind).iterdir()
    return path


def change_a_byte(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def let_go_of_rows(database):
    sql(database, "DELETE FROM image_refs; DELETE FROM manifests")


DAMAGES = {
    "layer-gone": lambda database, blobs: only(blobs, "layers").unlink(),
    "layer-short": lambda database, blobs: only(blobs, "layers").write_bytes(b"short"),
    "bit-flipped": lambda database, blobs: change_a_byte(only(blobs, "fsmeta")),
    "vmdk-gone": lambda database, blobs: only(blobs, "vmdk").unlink(),
    "description-gone": lambda database, blobs: only(blobs, "manifests").unlink(),
    "orphan": lambda database, blobs: (blobs / "layers" / "sha256_0.erofs").write_bytes(b"x"),
    "rows-gone": lambda database, blobs: let_go_of_rows(database),
    "held": lambda database, blobs: sql(
        database, "UPDATE pull_layers SET held_diff_id = diff_id"
    ),
}


def test_a_whole_cache_passes(cache):
    invariants.check(*cache)


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_noticed(cache, damage):
    DAMAGES[damage](*cache)
    with pytest.raises(AssertionError):
        invariants.check(*cache)
