"""Two nodes that see the one directory through mounts of their own, as hosts of NFS or CephFS do:
what one removed, the other's kernel may believe to be there for a while (fusemount.py)."""

import concurrent.futures
import time

import bulk
import images
import invariants
import pytest
from daemons import Stopped, wait_until
from fusemount import Mount, why_not
from postgres import sql
from pulling import inspect, pull, push_and_pull

BATCH = 2048  # files that a walk of a reaper has at most
WALKS = 2
HANGS_SECONDS = 40  # one look of a node into the directory, after which it beats no more


@pytest.fixture
def mounts(new_directory):
    if why_not():
        pytest.skip(why_not())
    source = new_directory("exported")
    source.mkdir(mode=0o755)
    made = []
    try:
        made = [Mount(source, new_directory(f"mount{number}")) for number in range(2)]
        if not all(mount.point.is_mount() for mount in made):
            pytest.skip(f"FUSE does not mount here: {made[0].daemon.output()}")
        yield source, made
    finally:
        for mount in made:
            mount.close()


@pytest.fixture
def own_database(postgres):
    yield postgres.create_database("mounts")
    postgres.drop_database("mounts")


@pytest.fixture
def nodes(mounts, own_database, make_larder):
    """Two over one catalogue; their start-up probes have passed."""
    return [make_larder(database=own_database, blob_dir=mount.point) for mount in mounts[1]]


def tags(node, detail):
    files = detail["files"]
    files = (*files["layers"], files["fsmeta"], files["vmdk"])
    return [node.head(file["url"]).headers["ETag"] for file in files]


def read_all(node, detail, source):
    """Every file of the image, whole and right."""
    files = detail["files"]
    for file in (*files["layers"], files["fsmeta"], files["vmdk"]):
        answer = node.get(file["url"])
        assert answer.status_code == 200, f"{file['url']}: {answer.status_code} {answer.text}"
        assert answer.content == (source / file["path"]).read_bytes(), file["url"]


def wait_until_gone(source, detail):
    fsmeta = source / detail["files"]["fsmeta"]["path"]
    wait_until(lambda: not fsmeta.exists(), "what was removed is gone")


def test_nodes_with_mounts_of_their_own_pull_read_and_prune(mounts, nodes, registry, built_images):
    source, (first, second) = mounts[0], nodes
    detail = push_and_pull(first, registry, built_images["shared-one"], "mounts/one:1")
    reference = f"{registry}/mounts/one:1"
    read_all(second, detail, source)
    assert tags(first, detail) == tags(second, detail), "a part of one fits to a part of the other"
    other = push_and_pull(second, registry, built_images["shared-two"], "mounts/two:1")
    read_all(first, other, source)
    assert first.post("/images:prune", json={"reference": reference}).json()["image_refs_removed"] == 1
    wait_until_gone(source, detail)
    pull(second, reference)  # whose kernel thinks that the files are still there
    again = inspect(second, reference)
    read_all(second, again, source)
    read_all(first, again, source)
    invariants.check(first.database, source)


def test_what_another_node_removed_and_brought_back_is_read(mounts, nodes, registry, built_images):
    source, (first, second) = mounts[0], nodes
    detail = push_and_pull(first, registry, built_images["shared-one"], "mounts/back:1")
    reference = f"{registry}/mounts/back:1"
    read_all(second, detail, source)
    assert first.delete(f"/images/{reference}").status_code == 204
    wait_until_gone(source, detail)
    gone = second.get(detail["files"]["layers"][0]["url"])
    assert gone.status_code == 404, "a name that is remembered is not a file"
    pull(first, reference)
    read_all(second, inspect(second, reference), source)
    invariants.check(first.database, source)


def test_a_node_whose_directory_hangs_beats_on_for_a_while_and_is_taken_over_then(
    mounts, nodes, own_database, registry, built_images
):
    """Else the others would end its connections for a moment's trouble, or wait for its locks for
    ever. The directory of the other node is well."""
    images.push_to(registry, built_images["shared-one"], "mounts/hangs:1")
    reference = f"{registry}/mounts/hangs:1"
    age = "SELECT max(extract(epoch FROM clock_timestamp() - heartbeat_at)) FROM nodes"
    hangs, other = nodes
    with Stopped([mounts[1][0].daemon.pid]):
        stopped = time.monotonic()
        with Stopped([other.pid]):
            asked = hangs.post("/images:pull", json={"reference": reference}).json()
            wait_until(lambda: "pull started" in hangs.log(), "it takes it")
        path = f"/pulls/{asked['id']}"
        oldest = 0
        while time.monotonic() < stopped + HANGS_SECONDS - 5:
            oldest = max(oldest, float(sql(own_database, age)[0][0]))
            time.sleep(0.5)
        assert oldest < 5, "every second, unless the machine is busy"
        assert other.get(path).json()["finished_at"] is None, "the node that hangs took it"
        with concurrent.futures.ThreadPoolExecutor(1) as threads:
            waiting = threads.submit(pull, hangs, reference)
            wait_until(lambda: other.get(path).json()["state"] == "done", "it is taken over", 120)
            assert waiting.result(timeout=20)["id"] == asked["id"], "who waits there hears of it"
        assert "pull started" in hangs.log() and "pull started" in other.log()
    wait_until(lambda: float(sql(own_database, age)[0][0]) < 3, "it beats again", 30)
    read_all(hangs, inspect(hangs, reference), mounts[0])
    invariants.check(own_database, mounts[0])


CONDEMNED = "SELECT count(*) FROM condemned_files"
FREE = "SELECT count(*) FROM (SELECT FROM condemned_files FOR UPDATE SKIP LOCKED) free"


def count(database, query):
    return int(sql(database, query)[0][0])


def test_a_reaper_whose_directory_hangs_keeps_the_files_of_its_batches_and_no_other(
    mounts, nodes, own_database
):
    (source, made), (hangs, other) = mounts, nodes
    bulk.fill(own_database, source, 2000)
    layers = source / "layers"
    many = len(list(layers.iterdir()))
    with concurrent.futures.ThreadPoolExecutor() as threads:
        pruning = threads.submit(hangs.post, "/images:prune", json={}, timeout=120)
        wait_until(lambda: len(list(layers.iterdir())) < many - 100, "files go", 60)
        with Stopped([made[0].daemon.pid]):
            assert other.post("/images:prune", json={}).status_code == 200
            wait_until(lambda: count(own_database, FREE) == 0, "the other takes all else", HANGS_SECONDS / 2)
            assert 0 < count(own_database, CONDEMNED) <= WALKS * BATCH
        assert pruning.result().status_code == 200
    wait_until(lambda: count(own_database, CONDEMNED) == 0, "what it kept goes as well", 60)
    invariants.check(own_database, source)
