"""An image that is here and lost files is rebuilt as it was."""

import hashlib
import itertools
import json

import images
import invariants
import pulling
import pytest
from dockerregistry import DockerRegistry
from postgres import sql

NUMBERS = itertools.count(1)


@pytest.fixture
def own_registry(new_directory):
    """One that a test may stop."""
    server = DockerRegistry(new_directory("registry"))
    yield server.start()
    server.close()


@pytest.fixture
def node(make_larder, postgres, new_directory):
    database = postgres.create_database(f"recall_{next(NUMBERS)}")
    yield make_larder(database=database, blob_dir=new_directory("recall"))


def test_a_lost_layer_is_fetched_for_the_image_that_is_here_though_its_tag_moved(
    node, registry, built_images
):
    reference = f"{registry}/recall/moved:1"
    first = pulling.push_and_pull(node, registry, built_images["shared-one"], "recall/moved:1")
    images.push_to(registry, built_images["mixed"], "recall/moved:1")
    (node.blob_dir / first["files"]["layers"][0]["path"]).unlink()
    finished = pulling.pull(node, reference)
    assert [layer["state"] for layer in finished["layers"]] == ["done", "reused", "reused"]
    again = pulling.inspect(node, reference)
    assert again["handle"]["manifest_digest"] == first["handle"]["manifest_digest"]
    invariants.check(node.database, node.blob_dir)


def test_what_is_composed_is_rebuilt_without_the_registry(node, own_registry, built_images):
    name = "recall/alone:1"
    image = built_images["multi"]
    detail = pulling.push_and_pull(node, own_registry.address, image, name)
    own_registry.stop()
    for file in ("fsmeta", "vmdk"):
        (node.blob_dir / detail["files"][file]["path"]).unlink()
    for description in (node.blob_dir / "manifests").iterdir():
        description.unlink()
    pulling.pull(node, f"{own_registry.address}/{name}")
    again = pulling.inspect(node, f"{own_registry.address}/{name}")
    assert again["files"] == detail["files"]
    invariants.check(node.database, node.blob_dir)


def test_force_asks_the_registry_all_the_same(node, registry, built_images):
    reference = f"{registry}/recall/forced:1"
    pulling.push_and_pull(node, registry, built_images["shared-one"], "recall/forced:1")
    images.push_to(registry, built_images["mixed"], "recall/forced:1")
    pulling.pull(node, reference, force=True)
    handle = pulling.inspect(node, reference)["handle"]
    assert handle["manifest_digest"] == built_images["mixed"].descriptor["digest"]


def digest(text):
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def with_one_diff_id_less(description):
    """Each document has the digest that it should have, and they do not fit each other."""
    config = json.loads(description["raw_config_json"])
    manifest = json.loads(description["raw_manifest_json"])
    config["rootfs"]["diff_ids"].pop()
    description["raw_config_json"] = json.dumps(config)
    description["config_digest"] = digest(description["raw_config_json"])
    manifest["config"]["digest"] = description["config_digest"]
    return with_manifest(description, manifest)


def with_manifest(description, manifest):
    description["raw_manifest_json"] = json.dumps(manifest)
    description["manifest_digest"] = digest(description["raw_manifest_json"])
    return description


def with_another_config(description):
    manifest = json.loads(description["raw_manifest_json"])
    manifest["config"]["digest"] = digest("another")
    return with_manifest(description, manifest)


def with_an_index(description):
    media_type = "application/vnd.oci.image.index.v1+json"
    description["larder"]["manifest_media_type"] = media_type
    index = {"schemaVersion": 2, "mediaType": media_type, "manifests": []}
    return with_manifest(description, index)


CHANGES = [with_one_diff_id_less, with_another_config, with_an_index]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_what_does_not_fit_is_not_recalled_and_the_registry_is_asked(
    node, registry, built_images, change
):
    name = f"recall/{change.__name__}:1"
    detail = pulling.push_and_pull(node, registry, built_images["multi"], name)
    sql(node.database, "DELETE FROM image_refs")
    [description] = (node.blob_dir / "manifests").iterdir()
    description.write_text(json.dumps(change(json.loads(description.read_text()))))
    pulling.pull(node, f"{registry}/{name}")
    again = pulling.inspect(node, f"{registry}/{name}")
    assert again["handle"]["manifest_digest"] == detail["handle"]["manifest_digest"]
    invariants.check(node.database, node.blob_dir)
