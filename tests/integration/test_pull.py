"""Pulls from a real registry, compared path by path in both views."""

import hashlib
import json
import re
import socket
import subprocess
import time

import pytest

import images
import pulling
from daemons import free_port, wait_until
from erofsmount import fsck

CONVERTED = [
    "busybox",
    "busybox-zstd",
    "busybox-plain",
    "mixed",
    "bare",
    "layers25",
    "shared-one",
    "shared-two",
    "shared-base",
    *images.CONTENT,
]


@pytest.mark.parametrize("name", CONVERTED)
def test_a_pulled_image_is_what_its_layers_say(larder, registry, built_images, tmp_path, name):
    image = built_images[name]
    detail = pulling.push_and_pull(larder, registry, image, f"kinds/{name}:1")
    expected = images.expected_tree(image)
    for view, found in pulling.trees(larder, detail, tmp_path):
        assert found == expected, f"{view}:\n{pulling.differences(expected, found)}"


def test_a_debian_image_is_what_umoci_unpacks(larder, registry, debian_tree, tmp_path):
    builder = images.Builder(tmp_path / "layout")
    tar = images.tar_of_tree(debian_tree)
    debian = builder.add_tars("debian", [tar], config={"Cmd": ["bash"]})
    detail = pulling.push_and_pull(larder, registry, debian, "kinds/debian:12")
    expected = images.expected_tree(debian)
    assert len(expected) > 3000, "a Debian has thousands of files"
    for view, found in pulling.trees(larder, detail, tmp_path):
        assert found == expected, f"{view}:\n{pulling.differences(expected, found)}"


def test_a_docker_v2s2_image_pulls_like_an_oci_one(larder, registry, built_images, tmp_path):
    image = built_images["shared-one"]
    images.push_to(registry, image, "kinds/docker:1", manifest_format="v2s2")
    reference = f"{registry}/kinds/docker:1"
    pulling.pull(larder, reference)
    detail = pulling.inspect(larder, reference)
    assert all("docker" in layer["media_type"] for layer in detail["layers"])
    expected = images.expected_tree(image)
    for view, found in pulling.trees(larder, detail, tmp_path):
        assert found == expected, f"{view}:\n{pulling.differences(expected, found)}"


@pytest.mark.parametrize("manifest_format", ["oci", "v2s2"])  # an index, Docker's list
def test_each_platform_of_an_index_is_an_image_of_its_own(
    larder, registry, built_images, tmp_path, manifest_format
):
    image = built_images["multi"]
    name = f"kinds/multi-{manifest_format}:1"
    wanted = None if manifest_format == "oci" else manifest_format  # it is one already
    images.push_to(registry, image, name, manifest_format=wanted)
    reference = f"{registry}/{name}"
    for platform, part in image.platforms.items():
        pulling.pull(larder, reference, platform=platform)
        detail = pulling.inspect(larder, reference, platform=platform)
        assert detail["handle"]["architecture"] == platform.split("/")[1]
        expected = images.expected_tree(part)
        for view, found in pulling.trees(larder, detail, tmp_path):
            lines = pulling.differences(expected, found)
            assert found == expected, f"{platform}, {view}:\n{lines}"
    listed = larder.get("/images", params={"reference": reference}).json()["images"]
    assert {row["architecture"] for row in listed} == {"amd64", "arm64"}


def test_an_image_is_found_by_its_index_digest_and_by_its_own(larder, registry, built_images):
    image = built_images["multi"]
    images.push_to(registry, image, "kinds/digests:1")
    pulling.pull(larder, f"{registry}/kinds/digests:1", platform="linux/amd64")
    own = image.platforms["linux/amd64"].descriptor["digest"]
    for digest in (image.descriptor["digest"], own):
        answer = larder.get(f"/images/{registry}/kinds/digests@{digest}")
        assert answer.status_code == 200, f"by {digest}: {answer.text}"
        assert answer.json()["manifest_digest"] == own


def test_a_pull_by_digest_is_kept_under_that_digest(larder, registry, built_images):
    image = built_images["busybox"]
    images.push_to(registry, image, "kinds/by-digest:1")
    reference = f"{registry}/kinds/by-digest@{image.descriptor['digest']}"
    assert pulling.pull(larder, reference)["reference"] == reference
    assert pulling.inspect(larder, reference)["handle"]["reference"] == reference


def skopeo_inspect(reference, *options):
    command = ["skopeo", "inspect", "--tls-verify=false", *options, f"docker://{reference}"]
    return json.loads(subprocess.run(command, capture_output=True, check=True).stdout)


def test_every_field_is_what_the_registry_says(larder, registry, built_images):
    image = built_images["mixed"]
    detail = pulling.push_and_pull(larder, registry, image, "kinds/fields:1")
    reference = f"{registry}/kinds/fields:1"
    manifest = skopeo_inspect(reference, "--raw")
    config = skopeo_inspect(reference, "--config")
    digest = skopeo_inspect(reference)["Digest"]

    handle = detail["handle"]
    assert handle == larder.get(f"/images/{reference}").json()
    listed = larder.get("/images", params={"reference": reference}).json()["images"]
    assert listed == [handle]
    assert handle["reference"] == reference
    assert handle["manifest_digest"] == digest
    assert handle["architecture"] == config["architecture"]
    assert handle["os"] == config["os"]
    assert handle["layer_count"] == len(manifest["layers"])
    assert handle["size_bytes"] == sum(layer["size"] for layer in manifest["layers"])
    now = time.time() * 1000
    assert now - 60_000 < handle["created_at"] <= handle["last_used_at"] <= now + 5_000

    for position, layer in enumerate(detail["layers"]):
        described = manifest["layers"][position]
        assert layer["position"] == position
        assert layer["diff_id"] == config["rootfs"]["diff_ids"][position]
        assert layer["blob_digest"] == described["digest"]
        assert layer["media_type"] == described["mediaType"]
        assert layer["compressed_size_bytes"] == described["size"]
        file = detail["files"]["layers"][position]
        size = (larder.blob_dir / file["path"]).stat().st_size
        assert layer["erofs_size_bytes"] == file["size_bytes"] == size
        hexadecimal = layer["diff_id"].removeprefix("sha256:")
        assert file["path"] == f"layers/sha256_{hexadecimal}.erofs"
    for kind in ("fsmeta", "vmdk"):
        file = detail["files"][kind]
        assert file["size_bytes"] == (larder.blob_dir / file["path"]).stat().st_size


def test_the_config_is_the_images_own(larder, registry, built_images):
    image = built_images["busybox"]
    detail = pulling.push_and_pull(larder, registry, image, "kinds/config:1")
    own = image.config()["config"]
    assert detail["config"] == {
        "digest": image.manifest()["config"]["digest"],
        "env": own["Env"],
        "cmd": own["Cmd"],
        "entrypoint": own["Entrypoint"],
        "working_dir": own["WorkingDir"],
        "user": own["User"],
        "labels": own["Labels"],
        "stop_signal": own["StopSignal"],
    }
    said = skopeo_inspect(f"{registry}/kinds/config:1")
    assert detail["config"]["env"] == said["Env"]
    assert detail["config"]["labels"] == said["Labels"]
    assert detail["handle"]["architecture"] == said["Architecture"]
    assert detail["handle"]["os"] == said["Os"]
    assert [layer["blob_digest"] for layer in detail["layers"]] == said["Layers"]
    bare = pulling.push_and_pull(larder, registry, built_images["bare"], "kinds/no-config:1")
    assert bare["config"] == {
        "digest": built_images["bare"].manifest()["config"]["digest"],
        "env": [],
        "cmd": None,
        "entrypoint": None,
        "working_dir": None,
        "user": None,
        "labels": None,
        "stop_signal": None,
    }


def test_the_description_in_the_blob_directory_is_microsandboxs(larder, registry, built_images):
    image = built_images["busybox"]
    detail = pulling.push_and_pull(larder, registry, image, "kinds/described:1")
    key = images_key(f"{registry}/kinds/described:1")
    described = json.loads((larder.blob_dir / "manifests" / f"{key}.json").read_text())
    assert described["manifest_digest"] == detail["handle"]["manifest_digest"]
    assert described["config_digest"] == detail["config"]["digest"]
    assert json.loads(described["raw_manifest_json"]) == image.manifest()
    assert json.loads(described["raw_config_json"]) == image.config()
    assert described["config"]["env"] == image.config()["config"]["Env"]
    assert [layer["diff_id"] for layer in described["layers"]] == [
        layer["diff_id"] for layer in detail["layers"]
    ]


def images_key(reference):
    return hashlib.sha256(reference.encode()).hexdigest()


def test_a_layer_that_is_here_is_not_fetched_again(larder, registry, tmp_path):
    builder = images.Builder(tmp_path / "layout")
    base = images.busybox_layer(b"a base that no other test has")
    first = builder.add("first", [base, [images.file(b"one", b"1")]])
    second = builder.add("second", [base, [images.file(b"two", b"2")]])
    pulling.push_and_pull(larder, registry, first, "kinds/first:1")
    images.push_to(registry, second, "kinds/second:1")
    finished = pulling.pull(larder, f"{registry}/kinds/second:1")
    assert [layer["state"] for layer in finished["layers"]] == ["reused", "done"]


def test_a_complete_image_is_not_pulled_again(larder, registry, built_images):
    pulling.push_and_pull(larder, registry, built_images["busybox"], "kinds/again:1")
    again = pulling.pull(larder, f"{registry}/kinds/again:1")
    assert again["layers"] == [], "nothing was asked of the registry"


def test_a_complete_image_is_answered_at_once(larder, registry, built_images):
    pulling.push_and_pull(larder, registry, built_images["busybox"], "kinds/at-once:1")
    reference = f"{registry}/kinds/at-once:1"
    took = []
    for policy in ["if_missing", "never"] * 10:
        started = time.monotonic()
        finished = pulling.pull(larder, reference, policy=policy)
        took.append(time.monotonic() - started)
        assert finished["image"]["reference"] == reference
        assert finished["created_at"] == finished["finished_at"]
    assert min(took) < 0.5, f"nothing is waited for: {took}"
    answer = larder.post("/images:pull", json={"reference": reference})
    assert (answer.status_code, answer.json()["state"]) == (202, "done")
    assert larder.get(answer.headers["Location"]).json() == answer.json()


@pytest.mark.parametrize("damage", ["missing", "short"])
def test_a_damaged_file_is_rebuilt_by_the_next_pull(
    larder, registry, built_images, tmp_path, damage
):
    image = built_images["shared-two"]
    name = f"kinds/damaged-{damage}:1"
    detail = pulling.push_and_pull(larder, registry, image, name)
    for file in (detail["files"]["layers"][2], detail["files"]["vmdk"]):
        path = larder.blob_dir / file["path"]
        if damage == "missing":
            path.unlink()
        else:
            path.write_bytes(path.read_bytes()[:-1])
    pulling.pull(larder, f"{registry}/{name}")
    expected = images.expected_tree(image)
    for view, found in pulling.trees(larder, detail, tmp_path):
        assert found == expected, f"{view}:\n{pulling.differences(expected, found)}"


def test_a_moved_tag_is_noticed_by_policy_always(larder, registry, built_images):
    first = pulling.push_and_pull(larder, registry, built_images["shared-one"], "kinds/moved:1")
    images.push_to(registry, built_images["shared-two"], "kinds/moved:1")
    reference = f"{registry}/kinds/moved:1"
    pulling.pull(larder, reference)
    assert pulling.inspect(larder, reference)["handle"] | {"last_used_at": 0} == first["handle"] | {
        "last_used_at": 0
    }
    pulling.pull(larder, reference, policy="always")
    moved = pulling.inspect(larder, reference)["handle"]
    assert moved["manifest_digest"] == built_images["shared-two"].descriptor["digest"]
    assert moved["created_at"] == first["handle"]["created_at"], "first pulled then"


def test_policy_never_only_looks(larder, registry, built_images):
    images.push_to(registry, built_images["bare"], "kinds/never:1")
    problem = pulling.refused(larder, f"{registry}/kinds/never:1", policy="never")
    assert problem["code"] == "ImageNotFound"


def test_what_a_registry_lacks_is_said(larder, registry, built_images):
    problem = pulling.refused(larder, f"{registry}/kinds/nothing:1")
    assert (problem["code"], problem["registry_status"]) == ("ImageNotFound", 404)

    images.push_to(registry, built_images["multi"], "kinds/platforms:1")
    problem = pulling.refused(larder, f"{registry}/kinds/platforms:1", platform="linux/s390x")
    assert problem["code"] == "PlatformNotFound"
    assert "linux/amd64" in problem["detail"], "it names what there is"

    images.push_to(registry, built_images["bare"], "kinds/one-platform:1")
    problem = pulling.refused(larder, f"{registry}/kinds/one-platform:1", platform="linux/arm64")
    assert problem["code"] == "PlatformNotFound"


def test_a_registry_that_is_down_is_said(larder):
    port = free_port()
    problem = pulling.refused(larder, f"127.0.0.1:{port}/a/b:1")
    assert problem["code"] == "PullFailed"
    assert f"127.0.0.1:{port}" in problem["detail"]


def test_the_same_pull_asked_twice_at_once_is_one(
    make_larder, postgres, new_directory, registry, built_images
):
    """Of whichever node."""
    shared = {"database": postgres.create_database("twice"), "blob_dir": new_directory("twice")}
    larder, other = make_larder(**shared), make_larder(**shared)
    images.push_to(registry, built_images["layers25"], "kinds/twice:1")
    body = {"reference": f"{registry}/kinds/twice:1"}
    answers = [node.post("/images:pull", json=body) for node in (larder, other, larder)]
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert answers[0].headers["Location"] == f"/pulls/{answers[0].json()['id']}"
    pulling.pull(larder, body["reference"])
    finished = larder.get(answers[0].headers["Location"]).json()
    assert finished["state"] == "done"
    assert finished["image"]["reference"] == body["reference"]


@pytest.fixture
def busy(make_larder):
    """A node whose only pull job waits for a registry that never answers; and that pull."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        larder = make_larder(flags=["--pull-jobs", "1"])
        reference = f"127.0.0.1:{silent.getsockname()[1]}/silent/image:1"
        started = larder.post("/images:pull", json={"reference": reference}).json()
        path = f"/pulls/{started['id']}"
        wait_until(lambda: larder.get(path).json()["state"] == "resolving", "the pull runs")
        yield larder, started


def test_nobody_joins_a_pull_that_only_looks(busy, registry, built_images):
    larder, blocking = busy
    images.push_to(registry, built_images["bare"], "kinds/look:1")
    body = {"reference": f"{registry}/kinds/look:1"}
    looking = larder.post("/images:pull", json=body | {"policy": "never"}).json()
    fetching = larder.post("/images:pull", json=body).json()
    larder.delete(f"/pulls/{blocking['id']}")
    pulling.pull(larder, body["reference"])
    assert larder.get(f"/pulls/{looking['id']}").json()["error"]["code"] == "ImageNotFound"
    assert larder.get(f"/pulls/{fetching['id']}").json()["state"] == "done"


def test_who_joins_with_a_stricter_wish_gets_it(busy, registry, built_images):
    larder, blocking = busy
    images.push_to(registry, built_images["bare"], "kinds/strict:1")
    body = {"reference": f"{registry}/kinds/strict:1"}
    first = larder.post("/images:pull", json=body).json()
    second = larder.post("/images:pull", json=body | {"policy": "always", "force": True}).json()
    third = larder.post("/images:pull", json=body).json()
    assert first["id"] == second["id"] == third["id"]
    assert (third["policy"], third["force"]) == ("always", True)
    larder.delete(f"/pulls/{blocking['id']}")


def test_nobody_joins_a_pull_that_is_being_cancelled(busy):
    larder, cancelled = busy
    larder.delete(f"/pulls/{cancelled['id']}")
    again = larder.post("/images:pull", json={"reference": cancelled["reference"]}).json()
    assert again["id"] != cancelled["id"]
    larder.delete(f"/pulls/{again['id']}")


def test_pulls_are_listed_newest_first_in_pages(larder, registry, built_images):
    for number in range(3):
        pulling.push_and_pull(larder, registry, built_images["bare"], f"kinds/listed:{number}")
    listed, token = [], None
    while token or not listed:
        page = larder.get("/pulls", params={"limit": 2, **({"page_token": token} if token else {})})
        assert page.status_code == 200, page.text
        listed += page.json()["pulls"]
        token = page.json()["next_page_token"]
    assert len({pull["id"] for pull in listed}) == len(listed), "no pull stands on two pages"
    times = [pull["created_at"] for pull in listed]
    assert times == sorted(times, reverse=True)
    assert [pull["reference"].rsplit(":")[-1] for pull in listed[:3]] == ["2", "1", "0"]


def test_every_published_layer_passes_the_independent_checker(larder, registry, built_images):
    detail = pulling.push_and_pull(larder, registry, built_images["shared-two"], "kinds/fsck:1")
    layers = [pulling.path_of(larder, layer) for layer in detail["files"]["layers"]]
    for layer in layers:
        assert fsck(layer) == ""
    assert fsck(pulling.path_of(larder, detail["files"]["fsmeta"]), layers) == ""


def test_every_step_of_a_pull_is_one_line_of_the_log(larder, registry, tmp_path):
    builder = images.Builder(tmp_path / "layout")
    base = images.busybox_layer(b"a base that no other test has either")
    for name in ("steps-one", "steps-two"):
        image = builder.add(name, [base, [images.file(name.encode(), b"1")]])
        images.push_to(registry, image, f"kinds/{name}:1")
    for name in ("steps-one", "steps-two"):
        done = pulling.pull(larder, f"{registry}/kinds/{name}:1")
    last = re.compile(f'"event":"pull done",.*{done["id"]}')
    wait_until(lambda: last.search(larder.log()), "the last step is logged")
    lines = [json.loads(line) for line in larder.log().splitlines() if line.startswith("{")]
    steps = [line["event"] for line in lines if line.get("pull_id") == done["id"]]
    assert steps[0] == "pull started" and steps[1] == "pull resolved"
    assert sorted(steps[2:4]) == ["layer built", "layer reused"]
    assert steps[4:] == ["pull composed", "pull done"]
