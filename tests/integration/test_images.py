"""The images of the pull tests are what they claim to be."""

import json
import subprocess

import images
import pytest
from layermodel import differences
from ocilayout import umoci_unpack
from treewalk import walk_path


@pytest.fixture(scope="module")
def built(built_images):
    return built_images


def inspect(registry, name, *options):
    command = ["skopeo", "inspect", "--tls-verify=false", *options, f"docker://{registry}/{name}"]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)


def test_umoci_unpacks_what_is_expected_of_an_image(built, tmp_path):
    for name, image in built.items():
        # The parts of an index are images of their own; umoci 0.4 knows no zstd.
        if image.platforms or "zstd" in str(image.manifest()["layers"]):
            continue
        found = walk_path(umoci_unpack(image.layout.path, name, tmp_path / name))
        lines = differences(images.expected_tree(image), found, ignore=("mtime_ns",))
        assert not lines, f"{name}: {lines[:10]}"


def test_a_tree_becomes_an_image_that_equals_it(tmp_path):
    tree = tmp_path / "tree"
    (tree / "etc").mkdir(parents=True)
    (tree / "etc" / "hostname").write_text("larder\n")
    (tree / "link").symlink_to("etc/hostname")
    (tree / "hard").hardlink_to(tree / "etc" / "hostname")
    builder = images.Builder(tmp_path / "layout")
    made = images.add_tree(builder, "tree", tree)
    lines = differences(walk_path(tree), images.expected_tree(made))
    assert not lines, lines


@pytest.mark.parametrize("name", ("busybox-gzip", "busybox-zstd", "busybox-plain", "mixed"))
def test_pushed_blobs_keep_their_digests(built, registry, name):
    images.push_to(registry, built[name], f"test/{name}:1")
    raw = inspect(registry, f"test/{name}:1", "--raw")
    assert raw == built[name].manifest(), f"{name} changed on its way to the registry"


def test_the_same_tar_has_one_diff_id_in_every_compression(built):
    kinds = [built[f"busybox-{kind}"] for kind in ("gzip", "zstd", "plain")]
    diff_ids = {tuple(image.config()["rootfs"]["diff_ids"]) for image in kinds}
    blobs = {image.manifest()["layers"][0]["digest"] for image in kinds}
    assert len(diff_ids) == 1 and len(blobs) == 3


def test_docker_manifests_are_made_on_request(built, registry):
    images.push_to(registry, built["busybox"], "test/docker:1", manifest_format="v2s2")
    raw = inspect(registry, "test/docker:1", "--raw")
    assert raw["mediaType"] == "application/vnd.docker.distribution.manifest.v2+json"
    images.push_to(registry, built["multi"], "test/docker:multi", manifest_format="v2s2")
    raw = inspect(registry, "test/docker:multi", "--raw")
    assert raw["mediaType"] == "application/vnd.docker.distribution.manifest.list.v2+json"


def test_an_index_brings_all_its_platforms(built, registry):
    images.push_to(registry, built["multi"], "test/multi:1")
    raw = inspect(registry, "test/multi:1", "--raw")
    platforms = [part["platform"]["architecture"] for part in raw["manifests"]]
    assert platforms == ["amd64", "arm64"]
    assert raw["manifests"][1]["platform"]["variant"] == "v8"


def test_every_image_can_be_pushed(built, registry):
    for name, image in built.items():
        images.push_to(registry, image, f"all/{name}:latest")
