"""What a pull leaves that did not succeed: nothing, or, where a retry may help, its layers."""

import os
import signal
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

import filelock
import images
import invariants
import pulling
from cataloguerows import Psql
from cutting_proxy import CuttingProxy
from daemons import wait_until
from fault_registry import Fault, FaultRegistry
from postgres import sql


RIGHT = b"to-the-right-place"
WRONG = b"to-the-wrong-place"


@pytest.fixture(scope="module")
def builder(new_directory):
    """Images with a small layer below and the layer that goes wrong above."""
    builder = images.Builder(new_directory("leavings-layout"))
    base = images.busybox_layer(b"a base of the leavings' own")
    builder.add("good", [base])
    builder.add("pair", [[images.file(b"small", b"s")], [images.file(b"large", b"l" * 300_000)]])
    builder.add("over-good", [base, [images.file(b"large", b"L" * 300_000)]])
    right = [images.symlink(b"pointer", RIGHT)]
    builder.add("pointing", [right])
    builder.add("over-pointing", [right, [images.file(b"large", b"p" * 300_000)]])
    builder.add("other-pair", [[images.file(b"small", b"s")], [images.file(b"large", b"o" * 300_000)]])
    return builder


@pytest.fixture
def registry(builder):
    with FaultRegistry(builder.layout) as running:
        yield running


@pytest.fixture
def shared(postgres, new_directory, request):
    """What the nodes of a test have in common."""
    name = "leavings_" + request.node.name.split("[")[0][-40:]
    yield {"database": postgres.create_database(name), "blob_dir": new_directory("leavings")}
    postgres.drop_database(name)


def ask_for_pull(node, reference):
    """The pull's path."""
    return f"/pulls/{node.post('/images:pull', json={'reference': reference}).json()['id']}"


def start_pull(node, reference):
    """A pull that stands still in its upper layer, with the lower one built; and its path."""
    path = ask_for_pull(node, reference)

    def lower_is_done():
        layers = node.get(path).json()["layers"]
        return layers and layers[0]["state"] in ("done", "reused")

    wait_until(lower_is_done, "the lower layer is built")
    return path


def wait_for_end(node, path, state):
    wait_until(lambda: node.get(path).json()["finished_at"], "the pull ends")
    assert node.get(path).json()["state"] == state


def stall(registry, builder, name):
    upper = builder.images[name].manifest()["layers"][-1]["digest"]
    registry.fault("blobs", upper, Fault(stall_after=500, always=True))


@pytest.mark.parametrize("asked", ["the node that runs it", "another node"])
def test_a_cancelled_pull_leaves_nothing(make_larder, shared, registry, builder, asked):
    runs = make_larder(**shared, flags=["--layer-jobs", "1"])
    stall(registry, builder, "pair")
    path = start_pull(runs, f"{registry.host}/a/b:pair")
    node = runs if asked == "the node that runs it" else make_larder(**shared)
    assert node.delete(path).status_code == 204
    wait_for_end(node, path, "cancelled")
    assert not invariants.published(shared["blob_dir"]), "the layer that was built goes, too"
    assert not pulling.drafts(shared["blob_dir"])
    invariants.check(shared["database"], shared["blob_dir"])
    registry.faults.clear()
    pulling.pull(node, f"{registry.host}/a/b:pair")


def start_two_that_share(node, registry, builder):
    """Their paths; they stand still over a lower layer that the first has built."""
    paths = []
    for name in ("pair", "other-pair"):
        stall(registry, builder, name)
        paths.append(start_pull(node, f"{registry.host}/a/b:{name}"))
    return paths


def test_two_cancelled_pulls_leave_nothing_of_what_they_shared(
    make_larder, shared, registry, builder
):
    """One built it, the other found it there and needed it a little longer."""
    node = make_larder(**shared)
    paths = start_two_that_share(node, registry, builder)
    assert [node.get(path).json()["layers"][0]["state"] for path in paths] == ["done", "reused"]
    node.delete(paths[0])
    wait_for_end(node, paths[0], "cancelled")
    assert len(invariants.published(shared["blob_dir"])) == 1, "the other pull needs it"
    node.delete(paths[1])
    wait_for_end(node, paths[1], "cancelled")
    assert not invariants.published(shared["blob_dir"])
    invariants.check(shared["database"], shared["blob_dir"])


WAITING = """
    SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype IN ('relation', 'advisory')
       AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"""


def test_two_pulls_that_are_cancelled_at_once_do_not_leave_it_to_each_other(
    make_larder, shared, registry, builder
):
    node = make_larder(**shared)
    paths = start_two_that_share(node, registry, builder)
    with Psql(shared["database"]) as other:
        other.run("BEGIN")
        other.run("LOCK TABLE condemned_files IN SHARE ROW EXCLUSIVE MODE")
        for path in paths:
            assert node.delete(path).status_code == 204
        wait_until(lambda: sql(shared["database"], WAITING) == [["2"]], "both are at it")
        other.run("ROLLBACK")
    for path in paths:
        wait_for_end(node, path, "cancelled")
    assert not invariants.published(shared["blob_dir"])
    invariants.check(shared["database"], shared["blob_dir"])


def test_what_a_lost_catalogue_left_survives_a_pull_that_fails(
    make_larder, shared, postgres, registry, builder
):
    """The registry may have it no more."""
    first = make_larder(**shared)
    pulling.pull(first, f"{registry.host}/a/b:pair")
    lower, upper = pulling.inspect(first, f"{registry.host}/a/b:pair")["files"]["layers"]
    first.close()
    (shared["blob_dir"] / "larder.id").unlink()  # no node takes another catalogue's directory
    (shared["blob_dir"] / upper["path"]).unlink()
    blob = builder.images["pair"].manifest()["layers"][-1]["digest"]
    registry.fault("blobs", blob, Fault(content=b"something else", always=True))
    empty = postgres.create_database("leavings_after_a_loss")
    node = make_larder(database=empty, blob_dir=shared["blob_dir"])
    problem = pulling.refused(node, f"{registry.host}/a/b:pair")
    assert problem["code"] == "DigestMismatch"
    assert (shared["blob_dir"] / lower["path"]).exists()
    registry.faults.clear()
    pulled = pulling.pull(node, f"{registry.host}/a/b:pair")
    assert [layer["state"] for layer in pulled["layers"]] == ["reused", "done"]


def test_what_another_image_needs_survives_a_cancel(make_larder, shared, registry, builder):
    node = make_larder(**shared, flags=["--layer-jobs", "1"])
    pulling.pull(node, f"{registry.host}/a/b:good")
    before = invariants.published(shared["blob_dir"])
    stall(registry, builder, "over-good")
    body = {"reference": f"{registry.host}/a/b:over-good", "force": True}
    path = f"/pulls/{node.post('/images:pull', json=body).json()['id']}"
    wait_until(
        lambda: [layer["state"] for layer in node.get(path).json()["layers"]]
        == ["done", "fetching"],
        "the base is built once more, and the layer over it is under way",
    )
    node.delete(path)
    wait_for_end(node, path, "cancelled")
    assert invariants.published(shared["blob_dir"]) == before
    invariants.check(shared["database"], shared["blob_dir"])


def test_a_mismatch_takes_the_layers_that_were_built_with_it(
    make_larder, shared, registry, builder
):
    node = make_larder(**shared, flags=["--layer-jobs", "1"])
    upper = builder.images["pair"].manifest()["layers"][-1]["digest"]
    registry.fault("blobs", upper, Fault(content=b"something else", always=True))
    problem = pulling.refused(node, f"{registry.host}/a/b:pair")
    assert problem["code"] == "DigestMismatch"
    assert not invariants.published(shared["blob_dir"])
    invariants.check(shared["database"], shared["blob_dir"])


def test_a_registry_that_fails_costs_no_layer_twice(make_larder, shared, registry, builder):
    node = make_larder(**shared, flags=["--layer-jobs", "1"])
    lower, upper = builder.images["pair"].manifest()["layers"]
    registry.fault("blobs", upper["digest"], Fault(status=404))
    assert pulling.refused(node, f"{registry.host}/a/b:pair")["code"] == "PullFailed"
    invariants.check(shared["database"], shared["blob_dir"])
    pulling.pull(node, f"{registry.host}/a/b:pair")
    assert registry.count("GET", lower["digest"]) == 1, "what was built was kept"


@pytest.mark.parametrize("force", [False, True])
def test_who_takes_over_fetches_what_is_missing_and_no_more(
    make_larder, shared, registry, builder, force
):
    """Also by force: what the pull built itself is new enough."""
    lower, upper = builder.images["pair"].manifest()["layers"]
    dies = make_larder(**shared, flags=["--layer-jobs", "1"])
    stall(registry, builder, "pair")
    body = {"reference": f"{registry.host}/a/b:pair", "force": force}
    path = f"/pulls/{dies.post('/images:pull', json=body).json()['id']}"
    wait_until(
        lambda: registry.seen(upper["digest"])
        and dies.get(path).json()["layers"][0]["state"] == "done",
        "one layer is built, the other under way",
    )
    node = make_larder(**shared)
    dies.kill9()
    registry.faults.clear()
    wait_for_end(node, path, "done")
    assert registry.count("GET", lower["digest"]) == 1
    assert registry.count("GET", upper["digest"]) == 2
    assert [layer["state"] for layer in node.get(path).json()["layers"]] == ["done", "done"]


def test_the_pull_of_a_dead_node_is_cancelled_by_any_other(make_larder, shared, registry, builder):
    dies = make_larder(**shared, flags=["--layer-jobs", "1"])
    stall(registry, builder, "pair")
    path = start_pull(dies, f"{registry.host}/a/b:pair")
    node = make_larder(**shared)
    dies.kill9()
    time.sleep(0.5)
    assert node.delete(path).status_code == 204
    wait_for_end(node, path, "cancelled")
    assert not invariants.published(shared["blob_dir"])
    invariants.check(shared["database"], shared["blob_dir"])


def test_a_node_that_hangs_is_taken_over_and_its_waking_harms_nothing(
    make_larder, shared, registry, builder
):
    """It keeps its connections, and with them the lock of the layer that it was building."""
    upper = builder.images["pair"].manifest()["layers"][-1]["digest"]
    hangs = make_larder(**shared)
    stall(registry, builder, "pair")
    path = start_pull(hangs, f"{registry.host}/a/b:pair")
    wait_until(lambda: registry.seen(upper), "the upper layer is under way")
    node = make_larder(**shared)
    registry.faults.clear()
    os.kill(hangs.pid, signal.SIGSTOP)
    try:
        wait_for_end(node, path, "done")
    finally:
        os.kill(hangs.pid, signal.SIGCONT)
    wait_until(lambda: hangs.get("/readyz").status_code == 200, "it is well again")
    wait_until(lambda: "pull given back" in hangs.log(), "it notices that the pull is not its own")
    invariants.check(shared["database"], shared["blob_dir"])
    assert hangs.get(path).json()["state"] == "done"
    body = {"reference": f"{registry.host}/a/b:pair", "force": True}
    # The other node may be ending the connections that it had while it slept: 503, Retry-After.
    wait_until(
        lambda: hangs.post("/images:pull", json=body, headers=pulling.WAIT).status_code == 200,
        "it pulls as before",
    )


def test_a_damaged_layer_is_built_anew_for_who_shares_it(make_larder, shared, registry, builder):
    """Its size is right, so that it is taken for whole until the image is composed."""
    node = make_larder(**shared)
    pulling.pull(node, f"{registry.host}/a/b:good")
    [base] = pulling.inspect(node, f"{registry.host}/a/b:good")["files"]["layers"]
    path = shared["blob_dir"] / base["path"]
    whole = path.read_bytes()
    damaged = whole[:1024] + bytes(128) + whole[1024 + 128 :]  # the superblock
    path.write_bytes(damaged)
    pulled = pulling.pull(node, f"{registry.host}/a/b:over-good")
    assert [layer["state"] for layer in pulled["layers"]] == ["done", "done"]
    assert path.read_bytes() == whole
    aside = [file for file in (shared["blob_dir"] / "quarantine").rglob("*") if file.is_file()]
    assert [file.read_bytes() for file in aside] == [damaged]
    lower, upper = builder.images["over-good"].manifest()["layers"]
    assert registry.count("GET", upper["digest"]) == 1, "what was whole is not fetched again"
    invariants.check(shared["database"], shared["blob_dir"])


def fsmeta_of(shared, builder, name):
    digest = builder.images[name].descriptor["digest"].removeprefix("sha256:")
    return shared["blob_dir"] / f"fsmeta/sha256_{digest}.erofs"


@contextmanager
def composed(shared, node, registry, builder, name="pair"):
    """The path of a pull that has composed its files and waits to publish them; it goes on
    afterwards."""
    with filelock.held(shared["database"], fsmeta_of(shared, builder, name)):
        path = ask_for_pull(node, f"{registry.host}/a/b:{name}")
        wait_until(lambda: node.get(path).json()["state"] == "composing", "all layers are there")
        drafts = sorted(file.name.split("-")[0] for file in pulling.drafts(shared["blob_dir"]))
        assert drafts == ["fsmeta", "manifest", "vmdk"]
        yield path


def test_a_pull_that_is_cancelled_when_it_has_composed_leaves_nothing(
    make_larder, shared, registry, builder
):
    node = make_larder(**shared)
    with composed(shared, node, registry, builder) as path:
        assert node.delete(path).status_code == 204
        wait_for_end(node, path, "cancelled")
        assert not pulling.drafts(shared["blob_dir"])
    assert not invariants.published(shared["blob_dir"])
    invariants.check(shared["database"], shared["blob_dir"])


def test_a_pull_that_is_cancelled_when_it_composed_ahead_leaves_nothing(
    make_larder, shared, registry, builder
):
    """Its layer is complete, and no row says so yet: that waits, six seconds at most."""
    node = make_larder(**shared)
    with Psql(shared["database"]) as other:
        other.run("BEGIN")
        other.run("LOCK TABLE layers IN SHARE MODE")
        path = ask_for_pull(node, f"{registry.host}/a/b:good")
        wait_until(
            lambda: any("fsmeta" in str(name) for name in pulling.drafts(shared["blob_dir"])),
            "fsmeta is composed",
        )
        assert node.delete(path).status_code == 204
        other.run("ROLLBACK")
    wait_for_end(node, path, "cancelled")
    assert not pulling.drafts(shared["blob_dir"])
    assert not invariants.published(shared["blob_dir"])
    invariants.check(shared["database"], shared["blob_dir"])


def test_a_layer_that_goes_when_it_has_been_composed_is_built_anew(
    make_larder, shared, registry, builder
):
    node = make_larder(**shared)
    with composed(shared, node, registry, builder) as path:
        [gone, kept] = sorted((shared["blob_dir"] / "layers").iterdir(), key=lambda p: p.stat().st_size)
        whole = gone.read_bytes()
        gone.unlink()
    wait_for_end(node, path, "done")
    assert gone.read_bytes() == whole
    lower, upper = builder.images["pair"].manifest()["layers"]
    assert [registry.count("GET", layer["digest"]) for layer in (lower, upper)] == [2, 1]
    assert not pulling.drafts(shared["blob_dir"])
    invariants.check(shared["database"], shared["blob_dir"])


def damage_the_pointer(node, shared, registry):
    """Its layer's path and whole bytes; what is there now is accepted by who composes of it."""
    pulling.pull(node, f"{registry.host}/a/b:pointing")
    [layer] = pulling.inspect(node, f"{registry.host}/a/b:pointing")["files"]["layers"]
    path = shared["blob_dir"] / layer["path"]
    whole = path.read_bytes()
    assert whole.count(RIGHT) == 1
    path.write_bytes(whole.replace(RIGHT, WRONG))
    return path, whole


def test_what_was_composed_of_a_damaged_layer_goes_with_the_damage(
    make_larder, shared, registry, builder
):
    """Nobody looks for damage that composing accepts, until something else goes wrong."""
    node = make_larder(**shared)
    path, whole = damage_the_pointer(node, shared, registry)
    with composed(shared, node, registry, builder, "over-pointing") as pull:
        [other] = set((shared["blob_dir"] / "layers").iterdir()) - {path}
        other.unlink()
    wait_for_end(node, pull, "done")
    assert path.read_bytes() == whole
    fsmeta = fsmeta_of(shared, builder, "over-pointing").read_bytes()
    assert RIGHT in fsmeta and WRONG not in fsmeta
    assert not pulling.drafts(shared["blob_dir"])


def test_what_was_composed_of_a_layer_that_was_mended_meanwhile_is_composed_again(
    make_larder, shared, registry, builder
):
    node = make_larder(**shared)
    path, whole = damage_the_pointer(node, shared, registry)
    with composed(shared, node, registry, builder, "over-pointing") as pull:
        built_anew = path.with_suffix(".new")
        built_anew.write_bytes(whole)
        built_anew.rename(path)
    wait_for_end(node, pull, "done")
    fsmeta = fsmeta_of(shared, builder, "over-pointing").read_bytes()
    assert RIGHT in fsmeta and WRONG not in fsmeta
    upper = builder.images["over-pointing"].manifest()["layers"][-1]["digest"]
    assert registry.count("GET", upper) == 1, "nothing is fetched for it"
    assert not pulling.drafts(shared["blob_dir"])
    invariants.check(shared["database"], shared["blob_dir"])


@pytest.mark.parametrize("kind", ["fsmeta", "vmdk", "manifest"])
def test_what_others_cleared_away_is_composed_again(make_larder, shared, registry, builder, kind):
    """As of a node that was silent for long."""
    node = make_larder(**shared)
    with composed(shared, node, registry, builder) as pull:
        [draft] = [file for file in pulling.drafts(shared["blob_dir"]) if file.name.startswith(kind)]
        draft.unlink()
    wait_for_end(node, pull, "done")
    assert not pulling.drafts(shared["blob_dir"])
    invariants.check(shared["database"], shared["blob_dir"])


def files_held(node, blob_dir):
    """The files of the directory that the node has open."""
    names = []
    for link in Path(f"/proc/{node.pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # a connection that ends
            names.append(os.readlink(link))
    return [name for name in names if name.startswith(f"{blob_dir}/") and not os.path.isdir(name)]


def test_pulls_keep_no_file_open(make_larder, shared, registry, builder):
    node = make_larder(**shared)
    for name in ("pair", "good", "over-good", "pair"):
        pulling.pull(node, f"{registry.host}/a/b:{name}", force=True)
    registry.fault("blobs", builder.images["other-pair"].manifest()["layers"][1]["digest"],
                   Fault(status=404, always=True))  # fmt: skip
    pulling.refused(node, f"{registry.host}/a/b:other-pair")
    wait_until(lambda: not files_held(node, shared["blob_dir"]), "none is open")


class CallsAtTheFinish(CuttingProxy):
    """Calls `call` once, when a pull is about to be done: its image written, not yet committed."""

    call = None

    def see(self, data):
        if b"\0pull_finish\0" in data and self.call:
            call, self.call = self.call, None
            call()


@pytest.mark.parametrize("policy", ["if_missing", "always"])
def test_a_cancel_that_was_accepted_before_the_commit_is_kept(
    make_larder, postgres, shared, registry, builder, policy
):
    """By the statement that ends the pull: its node may not have heard of it. Of a pull that
    composes, and of one for which the registry confirms what is here."""
    node = make_larder(**shared)
    reference = f"{registry.host}/a/b:pair"
    if policy == "always":
        pulling.pull(node, reference)
    before = invariants.published(shared["blob_dir"])
    with CallsAtTheFinish(postgres.port) as proxy:
        through = shared["database"].replace(f":{postgres.port}/", f":{proxy.port}/")
        runs = make_larder(**shared | {"database": through})
        os.kill(node.pid, signal.SIGSTOP)
        try:
            proxy.call = lambda: sql(shared["database"], "UPDATE pulls SET cancel_requested = true")
            body = {"reference": reference, "policy": policy}
            path = f"/pulls/{runs.post('/images:pull', json=body).json()['id']}"
            wait_for_end(runs, path, "cancelled")
        finally:
            os.kill(node.pid, signal.SIGCONT)
    assert "pull given back" not in runs.log()
    assert invariants.published(shared["blob_dir"]) == before
    assert node.get(f"/images/{reference}").status_code == (200 if policy == "always" else 404)
    invariants.check(shared["database"], shared["blob_dir"])


def test_who_claims_a_pull_that_is_to_be_cancelled_ends_it(make_larder, shared, registry):
    """Its node was asked to cancel it, and died or lost the catalogue before it could. Also one that
    was taken up so often that it would fail."""
    node = make_larder(**shared)
    [[id]] = sql(
        shared["database"],
        "INSERT INTO pulls (reference, platform, policy, force, cancel_requested, attempts)"
        f" VALUES ('{registry.host}/a/b:good', 'linux/amd64', 'if_missing', false, true, 10)"
        " RETURNING id",
    )
    wait_for_end(node, f"/pulls/{id}", "cancelled")
    assert not registry.requests, "the registry is not asked for it"
