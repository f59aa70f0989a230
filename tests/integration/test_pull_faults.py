"""Pulls from a registry that misbehaves: what it costs, what is said, what is left."""

import gzip
import os
import random
import signal
from pathlib import Path

import pytest

import images
import pulling
from daemons import wait_until
from fault_registry import Fault, FaultRegistry

NAME = "shared-one"


@pytest.fixture
def faulty(built_images):
    with FaultRegistry(built_images[NAME].layout) as registry:
        yield registry


@pytest.fixture
def layers(built_images):
    """The layers' descriptors of the image."""
    image = built_images[NAME]
    return image.layout.read_document(image.layout.tags[NAME]["digest"])["layers"]


def reference_of(registry, test):
    """Each test pulls a repository of its own."""
    return f"{registry.host}/faults/{test.node.name.split('[')[0].replace('_', '-')}:{NAME}"


def assert_nothing_is_left(larder, reference, before):
    assert larder.get(f"/images/{reference}").status_code == 404, "no image is listed"
    left = pulling.published_files(larder) - before
    assert not [name for name in left if name.startswith(("manifests", "fsmeta", "vmdk"))]


@pytest.mark.parametrize(
    "kind, fault, status, code",
    [
        ("manifests", Fault(status=404), 404, "ImageNotFound"),
        ("manifests", Fault(status=401), 502, "RegistryUnauthorized"),
        ("manifests", Fault(status=403), 502, "RegistryUnauthorized"),
        ("manifests", Fault(status=418), 502, "PullFailed"),
        ("manifests", Fault(status=429, headers={"Retry_After": "300"}), 429, "TooManyRequests"),
        ("manifests", Fault(content=b"{}"), 502, "DigestMismatch"),
        ("blobs", Fault(status=404), 502, "PullFailed"),
        ("blobs", Fault(content=b"not what was promised"), 502, "DigestMismatch"),
    ],
)
def test_a_fault_that_stays_is_told_and_leaves_nothing(
    larder, faulty, request, kind, fault, status, code
):
    reference = reference_of(faulty, request)
    before = pulling.published_files(larder)
    what = NAME if kind == "manifests" else "*"
    faulty.fault(kind, what, *[fault] * 20)
    problem = pulling.refused(larder, reference)
    assert (problem["status"], problem["code"]) == (status, code), problem
    if fault.status:
        assert problem["registry_status"] == fault.status, problem
    if fault.headers:
        assert problem["retry_after"] == 300, problem
    assert_nothing_is_left(larder, reference, before)


def test_other_bytes_of_the_right_size_are_a_mismatch(larder, faulty, layers, request):
    reference = reference_of(faulty, request)
    before = pulling.published_files(larder)
    layer = layers[-1]
    data, _ = faulty.content("blobs", layer["digest"])
    middle = len(data) // 2
    changed = data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
    faulty.fault("blobs", layer["digest"], Fault(content=changed, always=True))
    problem = pulling.refused(larder, reference)
    assert problem["code"] == "DigestMismatch", problem
    assert_nothing_is_left(larder, reference, before)


def test_a_pull_survives_drops_limits_and_expired_tokens(larder, faulty, layers, request):
    reference = reference_of(faulty, request)
    faulty.require_bearer(uses=3)
    faulty.fault("manifests", NAME, Fault(status=503))
    for layer in layers:
        half = layer["size"] // 2
        faults = [Fault(status=429, headers={"Retry_After": "1"}), Fault(drop_after=half)]
        faulty.fault("blobs", layer["digest"], *faults, Fault(drop_after=0))
    pulling.pull(larder, reference, force=True)
    detail = pulling.inspect(larder, reference)
    assert [layer["blob_digest"] for layer in detail["layers"]] == [
        layer["digest"] for layer in layers
    ]
    assert any("Range" in request.headers for request in faulty.seen("/blobs/"))


def test_a_failed_pull_succeeds_when_the_registry_is_well_again(larder, faulty, request):
    reference = reference_of(faulty, request)
    faulty.fault("manifests", NAME, Fault(status=403))
    assert pulling.refused(larder, reference)["code"] == "RegistryUnauthorized"
    pulling.pull(larder, reference)
    assert pulling.inspect(larder, reference)["handle"]["layer_count"] > 0


def test_a_missing_platform_names_those_there_are(larder, faulty):
    problem = pulling.refused(
        larder, f"{faulty.host}/faults/platform:multi", platform="linux/s390x"
    )
    assert (problem["status"], problem["code"]) == (422, "PlatformNotFound")
    assert "linux/amd64" in problem["detail"]


def test_only_allowed_registries_are_asked(make_larder, faulty):
    node = make_larder(flags=["--allow-registry", "ghcr.io"])
    problem = pulling.refused(node, f"{faulty.host}/faults/allowed:{NAME}")
    assert (problem["status"], problem["code"]) == (403, "RegistryNotAllowed")
    assert faulty.requests == []


def test_a_mirror_serves_what_the_registry_names(make_larder, faulty, built_images):
    with FaultRegistry(built_images[NAME].layout) as upstream:
        node = make_larder(flags=["--registry-mirror", f"{upstream.host}={faulty.url}"])
        reference = f"{upstream.host}/faults/mirrored:{NAME}"
        pulling.pull(node, reference)
        assert pulling.inspect(node, reference)["handle"]["reference"] == reference
        assert upstream.requests == [] and faulty.requests


def test_a_mirror_with_wrong_bytes_is_passed_over(make_larder, faulty, layers, built_images):
    with FaultRegistry(built_images[NAME].layout) as upstream:
        node = make_larder(flags=["--registry-mirror", f"{upstream.host}={faulty.url}"])
        data, _ = faulty.content("blobs", layers[-1]["digest"])
        wrong = data[:-1] + bytes([data[-1] ^ 1])
        faulty.fault("blobs", layers[-1]["digest"], Fault(content=wrong, always=True))
        pulling.pull(node, f"{upstream.host}/faults/wrong-mirror:{NAME}")
        asked = [request.path.rsplit("/", 1)[1] for request in upstream.requests]
        assert asked == [layers[-1]["digest"]], "for the one blob, and nothing else"


def test_a_mirror_whose_wrong_bytes_are_a_bomb_is_passed_over(make_larder, new_directory):
    """As large as the blob, and refused before their digest is known."""
    noise = random.Random(7).randbytes(200_000)
    image = images.Builder(new_directory("bomb")).add("noise", [[images.file(b"noise", noise)]])
    [layer] = image.manifest()["layers"]
    assert layer["mediaType"].endswith("+gzip")
    bomb = gzip.compress(bytes(64 << 20))
    with FaultRegistry(image.layout) as upstream, FaultRegistry(image.layout) as mirror:
        flags = ["--registry-mirror", f"{upstream.host}={mirror.url}"]
        node = make_larder(flags=[*flags, "--max-layer-bytes", "16MiB"])
        wrong = bomb + bytes(layer["size"] - len(bomb))
        mirror.fault("blobs", layer["digest"], Fault(content=wrong, always=True))
        pulling.pull(node, f"{upstream.host}/faults/bomb-mirror:noise")
        assert mirror.seen(layer["digest"]) and upstream.count("GET", layer["digest"]) == 1


def test_an_authority_that_cannot_be_read_is_told_at_the_start(make_larder, tmp_path):
    with pytest.raises(AssertionError, match="--registry-ca .* cannot be read"):
        make_larder(flags=["--registry-ca", str(tmp_path / "nothing.pem")])


def test_the_rate_limit_of_a_registry_is_a_metric(larder, faulty, request):
    limits = {"RateLimit_Limit": "200;w=21600", "RateLimit_Remaining": "123;w=21600"}
    faulty.fault("manifests", NAME, Fault(headers=limits))
    pulling.pull(larder, reference_of(faulty, request))
    metrics = larder.get("/metrics").text
    assert "\nlarder_registry_rate_limit 200\n" in metrics
    assert "\nlarder_registry_rate_limit_remaining 123\n" in metrics


def text_of(path):
    """What stands in a file of /proc, or nothing when its thread or process has ended."""
    try:
        return path.read_text()
    except OSError:
        return ""


def boxed(larder, command):
    """The processes of the node that were started as `larder COMMAND`."""
    lists = map(text_of, Path(f"/proc/{larder.pid}/task").glob("*/children"))
    pids = {pid for found in lists for pid in found.split()}
    return [int(pid) for pid in pids if f"\0{command}\0" in text_of(Path(f"/proc/{pid}/cmdline"))]


def converters(larder):
    """The processes in which the node has layers converted."""
    return boxed(larder, "convert")


def test_a_converter_that_hangs_ends_at_its_deadline(make_larder, faulty, layers, request):
    larder = make_larder(flags=["--convert-timeout", "1500ms"])
    reference = reference_of(faulty, request)
    before = pulling.published_files(larder)
    half = layers[-1]["size"] // 2 + 1
    faulty.fault("blobs", layers[-1]["digest"], Fault(pause_seconds=2, chunk=half))
    path = larder.post("/images:pull", json={"reference": reference}).headers["Location"]
    stopped = wait_until(lambda: converters(larder), "a converter runs")
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: larder.get(path).json()["state"] == "failed", "the pull has failed")
    problem = larder.get(path).json()["error"]
    assert (problem["code"], problem["status"]) == ("UnsupportedLayer", 422)
    assert "the limit of 2 seconds (--convert-timeout)" in problem["detail"], "rounded up"
    assert_nothing_is_left(larder, reference, before)
    assert not converters(larder)


def test_a_killed_converter_is_one_failed_pull(make_larder, faulty, layers, request):
    larder = make_larder()  # without the layers of the tests before
    reference = reference_of(faulty, request)
    before = pulling.published_files(larder)
    faulty.fault("blobs", layers[-1]["digest"], Fault(pause_seconds=0.5, chunk=8))
    started = larder.post("/images:pull", json={"reference": reference}).json()
    path = f"/pulls/{started['id']}"

    def last_one():
        """The converter of the last layer, when the others are done."""
        states = [layer["state"] for layer in larder.get(path).json()["layers"]]
        done = len(states) == len(layers) and not set(states[:-1]) - {"done", "reused"}
        running = converters(larder)
        return running if done and len(running) == 1 else None

    [pid] = wait_until(last_one, "only the last layer is being converted")
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: larder.get(path).json()["state"] == "failed", "the pull has failed")
    problem = larder.get(path).json()["error"]
    assert (problem["code"], problem["status"]) == ("PullFailed", 502), "not the layer's fault"
    assert "the converter was killed by SIGKILL" in problem["detail"]
    assert layers[-1]["digest"] in problem["detail"], "it names the layer"
    assert_nothing_is_left(larder, reference, before)
    assert pulling.pull(larder, reference)["state"] == "done", "the next pull is another one"


def test_a_killed_composer_is_one_failed_pull(make_larder, new_directory):
    """Also one that composes while the last layer is made durable."""
    builder = images.Builder(new_directory("killed-composer"))
    builder.add("many", [[images.file(b"%05d" % number) for number in range(40_000)]])
    larder = make_larder()
    with FaultRegistry(builder.layout) as registry:
        reference = f"{registry.host}/faults/killed-composer:many"
        path = larder.post("/images:pull", json={"reference": reference}).headers["Location"]
        [pid] = wait_until(lambda: boxed(larder, "compose"), "the image is composed")
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: larder.get(path).json()["finished_at"], "the pull ends")
        problem = larder.get(path).json()["error"]
        assert problem and problem["code"] == "PullFailed", "and is not composed again"
        assert "the composer was killed by SIGKILL" in problem["detail"]
        assert not pulling.drafts(larder.blob_dir)
        assert pulling.pull(larder, reference)["state"] == "done", "the next pull is another one"
