"""How large an image may be, and how much of it a node takes in at once."""

import gzip

import pytest

import images
import invariants
import pulling
from daemons import wait_until
from fault_registry import Fault, FaultRegistry

LAYER_BYTES = 1 << 20


@pytest.fixture(scope="module")
def builder(new_directory):
    builder = images.Builder(new_directory("limits-layout"))
    layers = [[images.file(b"f%d" % i, bytes([i]) * LAYER_BYTES)] for i in range(4)]
    builder.add("three", layers[:3])
    builder.add("one", layers[3:])
    for name in ("first", "second"):
        builder.add(name, [[images.file(name.encode(), b"%d" % i * 9000)] for i in range(6)])
    return builder


@pytest.fixture
def registry(builder):
    with FaultRegistry(builder.layout) as running:
        yield running


@pytest.fixture
def limited(make_larder, postgres, new_directory, request):
    """limited(*flags) -> a node whose catalogue the test can look into."""
    names = []

    def make(*flags):
        names.append("limits_" + request.node.name.split("[")[0][-40:])
        return make_larder(database=postgres.create_database(names[-1]), flags=list(flags))

    yield make
    for name in names:
        postgres.drop_database(name)


def blobs_fetched(registry, image):
    digests = {layer["digest"] for layer in image.manifest()["layers"]}
    return [r for r in registry.requests if r.path.rsplit("/", 1)[1] in digests]


def test_an_image_of_more_layers_than_allowed_is_refused_before_any_is_fetched(
    limited, builder, registry
):
    larder = limited("--max-image-layers", "3")
    problem = pulling.refused(larder, f"{registry.host}/limits:first")
    assert problem["code"] == "UnsupportedManifest", problem
    assert "6 layers" in problem["detail"] and "--max-image-layers" in problem["detail"]
    assert registry.count("GET", "/blobs/") == 0
    pulling.pull(larder, f"{registry.host}/limits:three")
    invariants.check(larder.database, larder.blob_dir)


@pytest.mark.parametrize("compression", ["gzip", "plain"])
def test_an_image_larger_than_allowed_is_refused_and_leaves_nothing(
    limited, builder, registry, compression
):
    """Three layers of a mebibyte each, and room for two and a half."""
    larder = limited("--max-image-bytes", "2560KiB", "--layer-jobs", "1")
    name = f"three-{compression}"
    layers = builder.images["three"].layers
    image = builder.add(name, layers, compressions=compression)
    problem = pulling.refused(larder, f"{registry.host}/a/b:{name}")
    assert (problem["code"], problem["status"]) == ("LayerTooLarge", 422), problem
    assert "--max-image-bytes" in problem["detail"]
    assert not invariants.published(larder.blob_dir)
    invariants.check(larder.database, larder.blob_dir)
    pulling.pull(larder, f"{registry.host}/a/b:one")
    if compression == "plain":
        assert not blobs_fetched(registry, image), "the manifest says how large it is"


def test_layers_that_are_here_count_as_well(limited, builder, registry):
    larder = limited("--max-image-bytes", "2560KiB")
    builder.add("two-of-three", builder.images["three"].layers[:2])
    pulling.pull(larder, f"{registry.host}/a/b:two-of-three")
    problem = pulling.refused(larder, f"{registry.host}/a/b:three")
    assert problem["code"] == "LayerTooLarge"
    assert pulling.inspect(larder, f"{registry.host}/a/b:two-of-three")["handle"]


def test_a_layer_that_stands_in_an_image_twice_counts_once(limited, builder, registry):
    larder = limited("--max-image-bytes", "2560KiB")
    twice = [builder.images["three"].layers[0]] * 2
    upper = [builder.images["three"].layers[1]]
    builder.add("twice", twice + upper, compressions="plain")
    pulling.pull(larder, f"{registry.host}/a/b:twice")


def test_an_image_as_large_as_allowed_is_taken(limited, builder, registry):
    blobs = [layer["digest"] for layer in builder.images["three"].manifest()["layers"]]
    tars = [gzip.decompress(builder.layout.blob_path(blob).read_bytes()) for blob in blobs]
    larder = limited("--max-image-bytes", str(sum(map(len, tars))))
    pulling.pull(larder, f"{registry.host}/a/b:three")


def test_a_layer_that_says_it_is_too_large_is_not_fetched(limited, builder, registry):
    larder = limited("--max-layer-bytes", "1000KiB", "--max-image-bytes", "1GiB")
    builder.add("large", [[images.file(b"f", b"x" * (4 << 20))]], compressions="plain")
    problem = pulling.refused(larder, f"{registry.host}/a/b:large")
    assert problem["code"] == "LayerTooLarge" and "--max-layer-bytes" in problem["detail"]
    assert not blobs_fetched(registry, builder.images["large"])


def test_a_node_builds_no_more_layers_at_once_than_it_may(limited, builder, registry):
    """Two pulls, two layers: each pull has one, and none of both a second one on top."""
    larder = limited("--pull-jobs", "2", "--layer-jobs", "2")
    digests = {
        name: [layer["digest"] for layer in builder.images[name].manifest()["layers"]]
        for name in ("first", "second")
    }
    every = digests["first"] + digests["second"]
    for digest in every:
        registry.fault("blobs", digest, Fault(stall_after=10, always=True))
    pulls = [
        larder.post("/images:pull", json={"reference": f"{registry.host}/a/b:{name}"}).json()
        for name in digests
    ]

    def fetched(names):
        return {r.path.rsplit("/", 1)[1] for r in registry.requests} & set(names)

    wait_until(lambda: all(fetched(names) for names in digests.values()), "both pulls build")
    wait_until(lambda: len(fetched(every)) >= 2, "as many as may be")
    for _ in range(3):  # ever more of them would come, one after the other
        larder.get("/images")
        wait_until(lambda: larder.get("/readyz").status_code == 200, "the node is well")
    assert len(fetched(every)) <= 3, "two, and one on top for the pull that came later"
    for pull in pulls:
        larder.delete(f"/pulls/{pull['id']}")
    registry.faults.clear()
    for name in digests:
        pulling.pull(larder, f"{registry.host}/a/b:{name}")
