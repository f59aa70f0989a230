"""An image that is here and lost files is rebuilt as it was."""

import images
import invariants
import pulling
import pytest
from dockerregistry import DockerRegistry


@pytest.fixture
def own_registry(new_directory):
    """One that a test may stop."""
    server = DockerRegistry(new_directory("registry"))
    yield server.start()
    server.close()


@pytest.fixture
def node(make_larder, postgres, new_directory, request):
    name = "recall_" + request.node.name.rsplit("_", 1)[1]
    yield make_larder(database=postgres.create_database(name), blob_dir=new_directory("recall"))


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
