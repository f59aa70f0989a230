"""A description in manifests/ is of an image that its reference leads to now, for one of the
platforms that it is cached for (docs/removing.md). An image that is gone or replaced is described by
none."""

import hashlib
import itertools
import json
import os
import signal

import pytest
import requests

import filelock
import images
import invariants
import pulling
from cataloguerows import Psql
from daemons import is_stopped, wait_until
from postgres import sql

NUMBERS = itertools.count(1)
AMD64, ARM64 = "linux/amd64", "linux/arm64"
FLAGS = ["--platform", AMD64]
WAITERS = """
    SELECT 1 FROM pg_stat_activity
     WHERE datname = current_database() AND wait_event_type = 'Lock'"""

REAPERS = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
     WHERE datname = current_database() AND state = 'idle in transaction'"""

BACKENDS = """
    SELECT pid FROM pg_stat_activity
     WHERE datname = current_database() AND application_name LIKE 'larder node %'"""


@pytest.fixture(scope="module")
def indexes(new_directory):
    """"first" and "second": what a tag names before and after it moves, for two platforms each."""
    builder = images.Builder(new_directory("description-layout"))
    base = [images.file(b"base", b"base" * 3000)]
    for name in ("first", "second"):
        parts = {
            platform: builder.add(
                f"{name}-{architecture}",
                [base, [images.file(b"own", f"{name} {architecture}".encode())]],
                architecture=architecture,
                variant=variant,
            )
            for platform, architecture, variant in ((AMD64, "amd64", ""), (ARM64, "arm64", "v8"))
        }
        builder.add_index(name, parts)
    return builder.images


@pytest.fixture
def cache(postgres, new_directory, make_larder, registry, indexes):
    number = next(NUMBERS)
    database = postgres.create_database(f"description_{number}")
    blob_dir = new_directory("description-blobs")
    yield Cache(database, blob_dir, make_larder, registry, indexes, number)
    postgres.drop_database(f"description_{number}")


class Cache:
    """One catalogue and directory, a reference, and nodes that come and go."""

    def __init__(self, database, blob_dir, make_larder, registry, indexes, number):
        self.database = database
        self.blob_dir = blob_dir
        self.make_larder = make_larder
        self.registry = registry
        self.indexes = indexes
        self.name = f"description/r{number}:1"
        self.reference = f"{registry}/{self.name}"
        key = hashlib.sha256(self.reference.encode()).hexdigest()
        self.path = blob_dir / "manifests" / f"{key}.json"
        self.tag("first")

    def node(self, crash_at=None, stop_at=None):
        environment = {"LARDER_CRASH_AT": crash_at} if crash_at else {}
        if stop_at:
            environment["LARDER_STOP_AT"] = stop_at
        return self.make_larder(
            database=self.database, blob_dir=self.blob_dir, flags=FLAGS, environment=environment
        )

    def tag(self, index):
        """The reference names that index from now on."""
        images.push_to(self.registry, self.indexes[index], self.name)

    def digest(self, index, platform):
        return self.indexes[index].platforms[platform].descriptor["digest"]

    def described(self):
        """Of which manifest the file is, and for which platform."""
        description = json.loads(self.path.read_text())
        return description["manifest_digest"], description["larder"]["platform"]

    def expect(self, index, platform):
        expected = (self.digest(index, platform), platform)
        what = f"{self.path} is of {index} {platform}"
        wait_until(lambda: self.described() == expected, what, 20)
        wait_until(lambda: not sql(self.database, "SELECT 1 FROM condemned_files"), "nothing waits")
        invariants.check(self.database, self.blob_dir, lost_layers=True)

    def delete(self, node, **query):
        answer = node.delete(f"/images/{self.reference}", params=query)
        assert answer.status_code == 204, answer.text


def test_a_tag_that_moved_is_described_anew_for_its_only_platform(cache):
    node = cache.node()
    pulling.pull(node, cache.reference, platform=ARM64)
    cache.expect("first", ARM64)
    cache.tag("second")
    pulling.pull(node, cache.reference, platform=ARM64, policy="always")
    cache.expect("second", ARM64)


def test_the_nodes_own_platform_is_described_before_another(cache):
    node = cache.node()
    pulling.pull(node, cache.reference, platform=ARM64)
    pulling.pull(node, cache.reference)
    cache.expect("first", AMD64)
    pulling.pull(node, cache.reference, platform=ARM64, force=True)
    cache.expect("first", AMD64)


def test_a_platform_that_goes_is_described_no_more_when_another_stays(cache):
    node = cache.node()
    pulling.pull(node, cache.reference)
    before = json.loads(cache.path.read_text())
    pulling.pull(node, cache.reference, platform=ARM64)
    cache.delete(node, platform=AMD64)
    cache.expect("first", ARM64)
    pulling.pull(node, cache.reference)
    after = json.loads(cache.path.read_text())
    assert after == before, "who writes it, a pull or a reaper, writes the same"
    cache.delete(node, platform=ARM64)
    cache.expect("first", AMD64)
    cache.delete(node)
    assert not cache.path.exists()


def test_what_a_reaper_writes_is_what_a_pull_writes(cache):
    node = cache.node()
    pulling.pull(node, cache.reference, platform=ARM64)
    pulled = json.loads(cache.path.read_text())
    pulling.pull(node, cache.reference)
    cache.delete(node, platform=AMD64)
    cache.expect("first", ARM64)
    assert json.loads(cache.path.read_text()) == pulled


def test_a_prune_that_takes_the_described_platform_leaves_the_other_described(cache):
    node = cache.node()
    pulling.pull(node, cache.reference)
    pulling.pull(node, cache.reference, platform=ARM64)
    snapshot = {"manifest_digest": cache.digest("first", ARM64)}
    assert node.put("/snapshots/s1", json=snapshot).status_code in (200, 201)
    report = node.post("/images:prune", json={}).json()
    assert report["image_refs_removed"] == 1
    cache.expect("first", ARM64)


def test_a_reaper_that_dies_while_it_describes_leaves_it_to_the_next(cache):
    node = cache.node()
    pulling.pull(node, cache.reference)
    pulling.pull(node, cache.reference, platform=ARM64)
    node.close()
    for step in ("reap.locked", "publish.synced", "publish.done", "reap.described"):
        node = cache.node(crash_at=step)
        die(node, lambda: node.delete(f"/images/{cache.reference}", params={"platform": AMD64}))
        node = cache.node()
        cache.expect("first", ARM64)
        pulling.pull(node, cache.reference)
        cache.expect("first", AMD64)
        node.close()


def die(node, ask):
    with pytest.raises(Exception):
        answer = ask()
        pytest.fail(f"the node should have died: {answer.status_code} {answer.text}")
    node.daemon.process.wait(60)
    node.daemon.process = None
    wait_until(lambda: not sql(node.database, BACKENDS), "PostgreSQL has ended what it was doing")


def test_a_condemned_description_is_not_kept_by_the_pull_of_another_platform(cache):
    """The pull has the file's lock before a reaper has its row."""
    node = cache.node()
    pulling.pull(node, cache.reference)
    its_row = "SELECT FROM condemned_files WHERE kind = 'manifest'"
    with Psql(cache.database) as reaper:
        with filelock.held(cache.database, cache.path):
            cache.delete(node)
            assert cache.path.exists(), "it is busy"
            reaper.run("BEGIN")
            reaper.run(f"{its_row} FOR KEY SHARE")  # keeps other reapers off, and no pull
        node.close()
        node = cache.node(stop_at="compose.condemned")
        body = {"reference": cache.reference, "platform": ARM64}
        pull = node.post("/images:pull", json=body).json()
        wait_until(lambda: is_stopped(node.pid), "the pull has the lock")
        reaper.run(f"{its_row} FOR UPDATE")
        os.kill(node.pid, signal.SIGCONT)
        wait_until(lambda: sql(cache.database, WAITERS), "the pull waits for the row")
        reaper.run("COMMIT")
    wait_until(lambda: node.get(f"/pulls/{pull['id']}").json()["finished_at"], "the pull ends")
    cache.expect("first", ARM64)


def test_a_reaper_that_lost_its_row_during_the_fsync_gives_no_description_its_name(cache):
    """The row is another's by then, as it is here, and a pull may have published."""
    node = cache.node(stop_at="publish.synced:6")  # after two layers, fsmeta, vmdk, description
    pulling.pull(node, cache.reference)
    cache.path.unlink()
    a_pulls = json.dumps({"manifest_digest": "a pull's", "larder": {"platform": AMD64}})
    sql(cache.database, f"INSERT INTO condemned_files (kind, digest, reference)"
                        f" VALUES ('manifest', 'sha256:{cache.path.stem}', '{cache.reference}')")  # fmt: skip
    with pytest.raises(requests.Timeout):  # it waits for the reaper
        node.post("/images:prune", json={"reference": "nothing.example/*"}, timeout=5)
    wait_until(lambda: is_stopped(node.pid), "its reaper has written one")
    try:
        assert sql(cache.database, REAPERS), "as PostgreSQL does with a node that is silent"
        with Psql(cache.database) as another:
            another.run("BEGIN")
            another.run("SELECT FROM condemned_files FOR UPDATE")
            cache.path.write_text(a_pulls)
            os.kill(node.pid, signal.SIGCONT)
            wait_until(lambda: not list(cache.blob_dir.glob("tmp/*/*")), "it is done with its own")
            assert cache.path.read_text() == a_pulls
            another.run("COMMIT")
    finally:
        os.kill(node.pid, signal.SIGCONT)
    cache.node()
    cache.expect("first", AMD64)


def test_a_pull_that_dies_before_its_commit_leaves_the_image_that_is_here_described(cache):
    node = cache.node()
    pulling.pull(node, cache.reference)
    node.close()
    cache.tag("second")
    node = cache.node(crash_at="compose.published")
    body = {"reference": cache.reference, "policy": "always"}
    die(node, lambda: node.post("/images:pull", json=body, headers=pulling.WAIT))
    assert cache.described()[0] == cache.digest("second", AMD64), "it was published in vain"
    sql(cache.database, "UPDATE pulls SET state = 'cancelled', finished_at = now(), node_id = NULL"
                        " WHERE finished_at IS NULL")  # fmt: skip
    cache.node()
    cache.expect("first", AMD64)
