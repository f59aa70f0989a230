"""The catalogue is away for longer than a node may be silent: nobody is taken for dead over it."""

import random
import time
from contextlib import contextmanager

import pytest

import images
import invariants
from daemons import Stopped, processes_below, wait_until
from fault_registry import Fault, FaultRegistry
from postgres import Postgres

OUTAGE_SECONDS = 12  # a node is dead after 10
BEATS = 2  # of another node, which would take the pull with its first or second
CHUNK = 8 * 1024


@pytest.fixture(scope="module")
def image(new_directory):
    data = random.Random(1).randbytes(35 * CHUNK)
    return images.Builder(new_directory("outage-layout")).add("slow", [[images.file(b"f", data)]])


@pytest.fixture
def registry(image):
    """Sends the layer for over half a minute, once."""
    with FaultRegistry(image.layout) as running:
        layer = image.manifest()["layers"][0]["digest"]
        running.fault("blobs", layer, Fault(pause_seconds=1, chunk=CHUNK))
        yield running


@pytest.fixture
def server(new_directory):
    server = Postgres(new_directory("outage"))
    try:
        yield server.start()
    finally:
        server.close()


@contextmanager
def stopped(server):
    server.stop()
    yield
    server.start()


def hanging(server):
    """Its kernel keeps all connections."""
    return Stopped([server.daemon.pid, *processes_below(server.data)])


def owner_and_attempts(server):
    return server.sql("outage", "SELECT node_id, attempts FROM pulls")


def wait_for_beats(server, address):
    newest = f"SELECT heartbeat_at FROM nodes WHERE address = '{address}'"
    seen = set()

    def has_beaten():
        seen.add(server.sql("outage", newest)[0][0])
        return len(seen) > BEATS

    wait_until(has_beaten, "it beats")


@pytest.mark.parametrize("away", [hanging, stopped])
def test_a_pull_stays_where_it_runs_when_the_catalogue_was_away_for_long(
    make_larder, server, registry, image, new_directory, away
):
    shared = {"database": server.create_database("outage"), "blob_dir": new_directory("outage")}
    runs = make_larder(**shared)
    started = runs.post("/images:pull", json={"reference": f"{registry.host}/a/b:slow"}).json()
    path = f"/pulls/{started['id']}"
    wait_until(lambda: runs.get(path).json()["state"] == "fetching", "the layer is on its way")
    other = make_larder(**shared)
    server.sql("outage", "UPDATE nodes SET beating_since = now() - interval '1 minute'")
    before = owner_and_attempts(server)
    with Stopped([runs.pid]):  # the other one beats first
        with away(server):
            time.sleep(OUTAGE_SECONDS)
        wait_for_beats(server, other.url)
        assert owner_and_attempts(server) == before, "nobody took it over"
    wait_until(lambda: other.get(path).json()["finished_at"], "the pull ends", 120)
    assert other.get(path).json()["state"] == "done"
    if away is hanging:  # else the layer begins anew: its lock was lost with its connection
        assert owner_and_attempts(server) == before
        assert registry.count("GET", image.manifest()["layers"][0]["digest"]) == 1
    invariants.check(shared["database"], shared["blob_dir"])
    for node in (runs, other):
        node.close()
