"""A node that dies at each named step of bringing and removing files (store/crash_point.h)."""

import hashlib
import os
import signal
import subprocess
import threading
import time
from contextlib import contextmanager

import pytest
import requests

import filelock
import images
import invariants
import pulling
from daemons import is_stopped, wait_until
from larder import program
from postgres import sql

PULLED = [
    "publish.begun", "publish.synced", "publish.done",
    *(f"publish.renamed:{n}" for n in range(1, 6)),  # two layers, fsmeta, vmdk, description
    "layer.held", "layer.held:2", "layer.published", "layer.catalogued", "layer.catalogued:2",
    "compose.drafted", "compose.condemned", "compose.published",
    *(f"transaction.{when}:{n}" for when in ("written", "done") for n in range(1, 4)),
]  # fmt: skip
REMOVED = [
    "transaction.written", "transaction.done",
    "reap.begun", "reap.locked", "reap.unlinked", "reap.unlinked:3", "reap.forgotten", "reap.done",
]  # fmt: skip
RESCUED = ["rescue.found", "rescue.done"]
SWEPT = ["sweep.begun", "sweep.locked", "sweep.condemned", "sweep.done"]
DESCRIBED = ["reap.described"]  # test_descriptions.py
PUT_ASIDE = ["quarantine.begun", "quarantine.renamed", "quarantine.done"]

# What a node had asked for goes on a moment longer than the node.
BACKENDS = """
    SELECT pid FROM pg_stat_activity
     WHERE datname = current_database() AND application_name LIKE 'larder node %'"""

BEGUN = """
    INSERT INTO chores VALUES ('sweep', {})
        ON CONFLICT (name) DO UPDATE SET begun_at = excluded.begun_at"""


def crash_points():
    said = subprocess.run([program(), "crash-points"], capture_output=True, text=True)
    if said.returncode:
        pytest.skip("this build has no crash points (LARDER_CRASH_POINTS)", allow_module_level=True)
    return [line.split("\t")[0] for line in said.stdout.splitlines()]


TABLE = crash_points()


@pytest.fixture(scope="module")
def reference(registry, new_directory):
    builder = images.Builder(new_directory("crash-layout"))
    layers = [[images.file(b"base", b"base" * 9000)], [images.file(b"own", b"own" * 100)]]
    images.push_to(registry, builder_image(builder, layers), "crash/two:1")
    return f"{registry}/crash/two:1"


def builder_image(builder, layers):
    builder.add("two", layers)
    return builder.images["two"]


@pytest.fixture
def cache(postgres, new_directory, make_larder, request):
    name = f"crash_{hashlib.sha256(request.node.name.encode()).hexdigest()[:8]}"
    yield Cache(postgres.create_database(name), new_directory("crash-blobs"), make_larder)
    postgres.drop_database(name)


class Cache:
    """One catalogue and directory, and the nodes that come and go over them."""

    def __init__(self, database, blob_dir, make_larder):
        self.database = database
        self.blob_dir = blob_dir
        self.make_larder = make_larder

    def node(self, crash_at=None, stop_at=None, flags=()):
        at = {"LARDER_CRASH_AT": crash_at, "LARDER_STOP_AT": stop_at}
        environment = {name: step for name, step in at.items() if step}
        node = self.make_larder(
            database=self.database, blob_dir=self.blob_dir, flags=flags, environment=environment
        )
        # As if it had lived for long enough to take others for dead.
        sql(self.database, "UPDATE nodes SET beating_since = now() - interval '1 minute'")
        return node

    @contextmanager
    def stopped_node(self):
        """A node that ends before what comes next."""
        node = self.node()
        yield node
        node.close()

    def check(self, **options):
        invariants.check(self.database, self.blob_dir, **options)

    def bury(self):
        """As if the time had passed after which a silent node is taken for dead."""
        sql(self.database, "UPDATE nodes SET heartbeat_at = now() - interval '1 minute'")

    def files(self):
        return invariants.published(self.blob_dir)

    def drafts(self):
        return pulling.drafts(self.blob_dir)


PUBLISHERS = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
 WHERE datname = current_database() AND pid IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory')"""


LAYER = "SELECT 'layers/sha256_' || substr(diff_id, 8) || '.erofs' FROM pull_layers WHERE position = 0"
FSMETA = "SELECT 'fsmeta/sha256_' || substr(manifest_digest, 8) || '.erofs' FROM pulls"
VMDK = "SELECT 'vmdk/sha256_' || substr(manifest_digest, 8) || '.vmdk' FROM pulls"


@pytest.mark.parametrize(
    "step, path",
    [
        ("publish.synced", LAYER),
        ("compose.condemned", FSMETA),
        ("publish.renamed:3", VMDK),  # after two layers and fsmeta
    ],
)
def test_a_file_whose_lock_was_lost_gets_no_name(cache, reference, step, path):
    """The lock may be another's by now, as it is here. Once it is not, the pull goes on."""
    stands = cache.node(stop_at=step, flags=["--layer-jobs", "1"])
    pull = stands.post("/images:pull", json={"reference": reference}).headers["Location"]
    wait_until(lambda: is_stopped(stands.pid), "it is about to publish a file")
    try:
        file = cache.blob_dir / sql(cache.database, path)[0][0]
        assert sql(cache.database, PUBLISHERS), "as PostgreSQL does with a node that is silent"
        with filelock.held(cache.database, file):
            os.kill(stands.pid, signal.SIGCONT)
            wait_until(lambda: "pull interrupted" in stands.log(), "it has noticed")
            assert not file.exists()
    finally:
        os.kill(stands.pid, signal.SIGCONT)
    wait_until(lambda: stands.get(pull).json()["finished_at"], "another attempt ends")
    assert stands.get(pull).json()["state"] == "done"
    cache.check()


LOCK_IS_WAITED_FOR = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"


@contextmanager
def lock_taken_over(node, file):
    """The stopped node goes on once somebody waits for the file's lock, and has it as soon as the
    node lets go of it."""

    def go_on():
        try:
            wait_until(lambda: sql(node.database, LOCK_IS_WAITED_FOR), "the lock is waited for")
        finally:
            os.kill(node.pid, signal.SIGCONT)

    thread = threading.Thread(target=go_on)
    thread.start()
    with filelock.held(node.database, file):
        thread.join()
        yield


def replace(file):
    """By another of the same bytes, as a pull with `force` does."""
    another = file.with_suffix(".another")
    another.write_bytes(file.read_bytes())
    another.rename(file)


def test_a_layer_that_is_replaced_twice_before_its_image_has_files_is_composed_thrice(cache, reference):
    node = cache.node(stop_at="compose.condemned")
    pull = node.post("/images:pull", json={"reference": reference}).headers["Location"]
    wait_until(lambda: is_stopped(node.pid), "it is about to give names to what it composed")
    first = set(cache.drafts())
    layer = min((cache.blob_dir / "layers").iterdir())
    replace(layer)
    with lock_taken_over(node, cache.blob_dir / sql(cache.database, FSMETA)[0][0]):
        wait_until(lambda: len(set(cache.drafts()) - first) == 3, "it has composed again")
        replace(layer)
    wait_until(lambda: node.get(pull).json()["finished_at"], "the pull ends")
    assert node.get(pull).json()["state"] == "done"
    cache.check()


def die(node, ask=None):
    """Asks the node for what it dies of."""
    if ask:
        with pytest.raises(requests.ConnectionError):
            answer = ask(node)
            pytest.fail(f"the node should have died: {answer.status_code} {answer.text}")
    process = node.daemon.process
    assert process.wait(60) == -signal.SIGKILL
    node.daemon.process = None
    node.assert_sane()
    wait_until(lambda: not sql(node.database, BACKENDS), "PostgreSQL has ended what it was doing")


def pull(reference):
    body = {"reference": reference}
    return lambda node: node.post("/images:pull", json=body, headers=pulling.WAIT)


def remove(reference):
    return lambda node: node.delete(f"/images/{reference}")


def end_well(cache, node, reference):
    """The same pull succeeds, and nothing is left of it once it is removed."""
    pulling.pull(node, reference)
    cache.check(lost_layers=True)
    assert remove(reference)(node).status_code == 204
    wait_until(lambda: not cache.files(), "all files of the image are gone")
    cache.check()
    wait_until(lambda: not cache.drafts(), "the drafts of the dead node are cleaned away")


def test_every_step_of_the_table_is_walked():
    walked = {name.split(":")[0] for name in PULLED + REMOVED + RESCUED + SWEPT + DESCRIBED + PUT_ASIDE}
    assert walked == set(TABLE)


@pytest.mark.parametrize("step", PULLED)
def test_a_crash_in_a_pull_leaves_nothing_that_the_next_one_minds(cache, reference, step):
    die(cache.node(crash_at=step), pull(reference))
    cache.check(lost_layers=True)
    cache.bury()
    end_well(cache, cache.node(), reference)


@pytest.mark.parametrize("step", REMOVED)
def test_a_crash_in_a_removal_leaves_the_image_whole_or_gone(cache, reference, step):
    with cache.stopped_node() as node:
        pulling.pull(node, reference)
    die(cache.node(crash_at=step), remove(reference))
    cache.check()
    cache.bury()
    node = cache.node()
    status = 200 if step == "transaction.written" else 404
    assert node.get(f"/images/{reference}").status_code == status
    if status == 404:
        wait_until(lambda: not cache.files(), "the reaper finishes what was begun")
    end_well(cache, node, reference)


@pytest.mark.parametrize("step", RESCUED)
def test_a_crash_in_a_rescue_leaves_the_layer_condemned_or_catalogued(cache, reference, step):
    with cache.stopped_node() as node:
        pulling.pull(node, reference)
        layers = [cache.blob_dir / name for name in cache.files() if name.startswith("layers/")]
        with filelock.held(cache.database, *layers):
            assert remove(reference)(node).status_code == 204
            node.close()
    assert all(layer.exists() for layer in layers), "the reaper found their locks taken"
    with filelock.held(cache.database, *layers):
        node = cache.node(crash_at=step)
        wait_until(lambda: len(cache.files()) == 2, "the other files are gone")
        # It waits for a pass of the reaper, in vain: the next one is half a minute away.
        assert node.post("/images:prune", json={"reference": "nothing.example/*"}).ok
        started = node.post("/images:pull", json={"reference": reference})
        assert started.status_code == 202
        state = f"/pulls/{started.json()['id']}"
        wait_until(lambda: node.get(state).json()["state"] == "fetching", "it waits for the locks")
    die(node)
    cache.check()
    cache.bury()
    end_well(cache, cache.node(), reference)


@pytest.mark.parametrize("step", SWEPT)
def test_a_crash_in_a_sweep_leaves_the_orphan_to_the_next(cache, reference, step):
    with cache.stopped_node() as node:
        pulling.pull(node, reference)
    kept = cache.files()
    orphan = cache.blob_dir / "layers" / f"sha256_{'5' * 64}.erofs"
    orphan.write_bytes(b"nobody's")
    time.sleep(1.1)  # the grace period
    # A sweep that is due at once would end the node before it is ready.
    sql(cache.database, BEGUN.format("now() + interval '1 day'"))
    node = cache.node(crash_at=step, flags=["--sweep-seconds", "1", "--grace-seconds", "1"])
    sql(cache.database, BEGUN.format("now() - interval '1 day'"))
    die(node)
    cache.check(lost_layers=True)
    node = cache.node(flags=["--sweep-seconds", "1", "--grace-seconds", "1"])
    wait_until(lambda: cache.files() == kept, "the orphan goes")
    end_well(cache, node, reference)


@pytest.mark.parametrize("step", PUT_ASIDE)
def test_a_crash_of_fsck_leaves_the_file_where_it_was_or_in_quarantine(cache, reference, step):
    with cache.stopped_node() as node:
        pulling.pull(node, reference)
    layer = next((cache.blob_dir / "layers").iterdir())
    damaged = layer.read_bytes()[:-1] + b"!"
    layer.write_bytes(damaged)
    words = [program(), "fsck", "--verify", "--repair"]
    words += ["--database", cache.database, "--blob-dir", cache.blob_dir]
    environment = os.environ | {"LARDER_CRASH_AT": step}
    done = subprocess.run(words, env=environment, capture_output=True, timeout=60)
    assert done.returncode == -signal.SIGKILL, done
    aside = [path for path in (cache.blob_dir / "quarantine").rglob("*") if path.is_file()]
    assert [path.read_bytes() for path in [layer, *aside] if path.exists()] == [damaged]
    again = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert again.returncode == 1, again
    cache.check()
    end_well(cache, cache.node(), reference)


def test_a_step_that_does_not_exist_is_told(tmp_path):
    environment = os.environ | {"LARDER_CRASH_AT": "no.such.step"}
    words = [program(), "serve", "--data-dir", tmp_path, "--listen", "127.0.0.1:0"]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0 and "no.such.step" in done.stderr
