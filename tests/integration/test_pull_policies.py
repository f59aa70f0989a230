"""What a pull asks of the registry, by policy: as little as it may, and all that it must."""

import pytest

import images
import pulling
from cataloguerows import Psql
from daemons import wait_until
from fault_registry import Fault, FaultRegistry
from larder import Larder
from postgres import sql

PLATFORM = "linux/amd64"


@pytest.fixture(scope="module")
def larder(new_directory, database):
    with Larder(new_directory("larder"), database=database) as node:
        yield node


@pytest.fixture(scope="module")
def two(new_directory):
    """Two images that share their lower layer, and an index of the first."""
    builder = images.Builder(new_directory("policy-layout"))
    base = images.busybox_layer(b"a base of the policies' own")
    one = builder.add("one", [base, [images.file(b"own", b"1")]])
    builder.add("two", [base, [images.file(b"own", b"2")]])
    builder.add("slow", [base, [images.file(b"own", b"that no other test pulls")]])
    builder.add_index("index", {PLATFORM: one})
    return builder


@pytest.fixture
def registry(two):
    two.layout.tag("moving", two.images["one"].descriptor)
    with FaultRegistry(two.layout) as running:
        yield running


@pytest.fixture
def name(registry, request):
    """Each test pulls a repository of its own."""
    return f"{registry.host}/policies/{request.node.name.split('[')[0].replace('_', '-')}"


def asked(registry):
    """(method, kind) of all requests, then none any more."""
    requests = [(r.method, r.path.split("/")[-2]) for r in registry.requests]
    registry.requests.clear()
    return requests


@pytest.mark.parametrize("tag", ["one", "index"])
def test_always_costs_one_head_while_the_tag_stays(larder, registry, name, tag):
    first = pulling.pull(larder, f"{name}:{tag}", policy="always")
    asked(registry)
    used = last_used(larder, f"{name}:{tag}", age_seconds=120)
    again = pulling.pull(larder, f"{name}:{tag}", policy="always")
    assert asked(registry) == [("HEAD", "manifests")]
    assert again["manifest_digest"] == first["manifest_digest"]
    assert again["image"]["last_used_at"] > used, "it counts as a use"


def last_used(larder, reference, age_seconds):
    """When the image was used last, which is that long ago from here on."""
    sql(
        larder.database,
        f"UPDATE image_refs SET last_used_at = now() - interval '{age_seconds} seconds'"
        f" WHERE reference = '{reference}'",
    )
    return pulling.inspect(larder, reference)["handle"]["last_used_at"]


@pytest.mark.parametrize("policy", ["if_missing", "always", "never"])
def test_a_use_is_written_once_a_minute_and_waits_for_nobody(larder, registry, name, policy):
    reference = f"{name}:one"
    pulling.pull(larder, reference)
    row = f"SELECT xmin FROM image_refs WHERE reference = '{reference}'"
    before = sql(larder.database, row)
    assert pulling.pull(larder, reference, policy=policy)["state"] == "done"
    assert sql(larder.database, row) == before, "it was used a moment ago"
    used = last_used(larder, reference, age_seconds=120)
    with Psql(larder.database) as other:
        other.run("BEGIN")
        other.run(f"SELECT FROM image_refs WHERE reference = '{reference}' FOR NO KEY UPDATE")
        body = {"reference": reference, "policy": policy}
        answer = larder.post("/images:pull", json=body, headers={"Prefer": "wait=5"})
        assert answer.json()["state"] == "done", "somebody is at it"
        other.run("ROLLBACK")
    pulling.pull(larder, reference, policy=policy)
    assert pulling.inspect(larder, reference)["handle"]["last_used_at"] > used


def test_never_takes_what_is_here_for_a_lesser_platform(larder, registry, name):
    """As GET does; the other policies ask for better."""
    reference = f"{name}:one"
    better = {"platform": "linux/amd64/v3"}
    first = pulling.pull(larder, reference)
    assert larder.get(f"/images/{reference}", params=better).status_code == 200
    asked(registry)
    pulled = pulling.pull(larder, reference, policy="never", **better)
    assert pulled["manifest_digest"] == first["manifest_digest"]
    assert asked(registry) == []
    pulling.pull(larder, reference, **better)
    assert ("GET", "manifests") in asked(registry)


def test_always_follows_a_tag_that_moved_and_fetches_what_is_new(larder, registry, two, name):
    pulling.pull(larder, f"{name}:moving")
    asked(registry)
    two.layout.tag("moving", two.images["two"].descriptor)
    pulling.pull(larder, f"{name}:moving", policy="always")
    assert asked(registry) == [
        ("HEAD", "manifests"),
        ("GET", "manifests"),
        ("GET", "blobs"),  # the config
        ("GET", "blobs"),  # the layer that is not here
    ]
    moved = pulling.inspect(larder, f"{name}:moving")["handle"]["manifest_digest"]
    assert moved == two.images["two"].descriptor["digest"]


def test_always_rebuilds_a_file_that_went_though_the_tag_stays(larder, registry, name):
    pulling.pull(larder, f"{name}:one")
    detail = pulling.inspect(larder, f"{name}:one")
    lost = larder.blob_dir / detail["files"]["layers"][1]["path"]
    lost.unlink()
    pulling.pull(larder, f"{name}:one", policy="always")
    assert lost.exists()


@pytest.mark.parametrize("status", [405, 400])
def test_always_asks_with_get_a_registry_that_knows_no_head(larder, registry, name, status):
    pulling.pull(larder, f"{name}:one")
    registry.fault("manifests", "one", Fault(status=status, method="HEAD", always=True))
    pulling.pull(larder, f"{name}:one", policy="always")
    assert pulling.inspect(larder, f"{name}:one")["handle"]["layer_count"] == 2


def test_always_fails_when_the_registry_does_and_the_image_stays(larder, registry, name):
    pulling.pull(larder, f"{name}:one")
    registry.fault("manifests", "one", Fault(status=403, always=True))
    problem = pulling.refused(larder, f"{name}:one", policy="always")
    assert problem["code"] == "RegistryUnauthorized"
    assert pulling.pull(larder, f"{name}:one")["state"] == "done", "if_missing has it"


def test_never_is_answered_at_once_though_every_job_is_busy(make_larder, registry, name):
    larder = make_larder(flags=["--pull-jobs", "1"])
    pulling.pull(larder, f"{name}:one")
    registry.fault("manifests", "two", Fault(stall_after=0, always=True))
    blocking = larder.post("/images:pull", json={"reference": f"{name}:two"}).json()
    path = f"/pulls/{blocking['id']}"
    wait_until(lambda: larder.get(path).json()["state"] == "resolving", "the pull runs")
    assert pulling.pull(larder, f"{name}:one", policy="never")["state"] == "done"
    problem = pulling.refused(larder, f"{name}:missing", policy="never")
    assert (problem["code"], problem["status"]) == ("ImageNotFound", 404)
    assert '"never"' in problem["detail"]
    assert larder.get(path).json()["state"] == "resolving"
    larder.delete(path)


def test_force_that_joins_a_running_pull_is_obeyed(larder, registry, two, name):
    """The pull that runs would reuse the base; who joins wants everything built anew."""
    pulling.pull(larder, f"{name}:one")
    asked(registry)
    base, own = two.images["slow"].manifest()["layers"]
    registry.fault("blobs", own["digest"], Fault(pause_seconds=0.3, chunk=100))
    running = larder.post("/images:pull", json={"reference": f"{name}:slow"}).json()
    wait_until(lambda: registry.seen(own["digest"]), "the layer is being fetched")
    joined = larder.post("/images:pull", json={"reference": f"{name}:slow", "force": True}).json()
    assert joined["id"] == running["id"]
    path = f"/pulls/{running['id']}"
    wait_until(lambda: larder.get(path).json()["state"] == "done", "the pull ends")
    finished = larder.get(path).json()
    assert [layer["state"] for layer in finished["layers"]] == ["done", "done"]
    assert registry.count("GET", base["digest"]) == 1, "the base is fetched once, by force"
    assert registry.count("GET", own["digest"]) == 2


def test_force_fetches_all_of_a_complete_image_again(larder, registry, two, name):
    pulling.pull(larder, f"{name}:one")
    asked(registry)
    finished = pulling.pull(larder, f"{name}:one", force=True)
    assert [layer["state"] for layer in finished["layers"]] == ["done", "done"]
    for layer in two.images["one"].manifest()["layers"]:
        assert registry.count("GET", layer["digest"]) == 1
