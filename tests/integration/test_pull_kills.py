"""Nodes killed at random while they pull overlapping images: every pull ends done, rows and files
agree, and nothing is downloaded that was here already.

LARDER_KILLS says how many (20), LARDER_KILL_SEED repeats a run; it is printed at the start.
"""

import contextlib
import os
import random
import socket
import time
from dataclasses import dataclass

import pytest
import requests

import images
import invariants
from daemons import wait_until
from fault_registry import Fault, FaultRegistry, RegistryHandler
from postgres import sql

KILLS = int(os.environ.get("LARDER_KILLS", "20"))
SEED = int(os.environ.get("LARDER_KILL_SEED") or random.SystemRandom().randrange(1 << 32))
KILLS_A_ROUND = 10
NODES = 3
PULLS_AT_ONCE = 4
LAYER_BYTES = 1 << 20  # of noise; 64 KiB come every 10 ms, so a layer takes 0.2 s
END_SECONDS = 120
HOST = "registry.example"  # never asked: each node has a mirror of its own, so that it is known
TCP_ESTABLISHED = 1  # of linux/tcp.h


@dataclass(frozen=True)
class Download:
    """A layer that a node asked for, and whether the catalogue had it at that moment."""

    digest: str
    node: int
    at: float
    was_here: bool


@dataclass(frozen=True)
class Kill:
    node: int
    begun: float
    done: float  # then it was surely dead


def is_there(connection):
    """Whether the other end lives: what a node asked for just before it died is no download."""
    return connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == TCP_ESTABLISHED


class WatchfulHandler(RegistryHandler):
    def answer_content(self, kind, what):
        self.registry.watch(what, self.connection)
        super().answer_content(kind, what)


class Downloads:
    """All that were asked for, of any node."""

    def __init__(self):
        self.diff_ids = {}  # by blob digest
        self.all = []

    def expect(self, image):
        config = image.config()["rootfs"]["diff_ids"]
        for layer, diff_id in zip(image.manifest()["layers"], config):
            self.diff_ids[layer["digest"]] = diff_id


class WatchfulRegistry(FaultRegistry):
    """A node's own mirror: looks into the catalogue whenever its node asks for a layer."""

    handler = WatchfulHandler

    def __init__(self, node, layout, database, downloads):
        super().__init__(layout)
        self.node = node
        self.database = database
        self.downloads = downloads
        self.fault("blobs", "*", Fault(pause_seconds=0.01, always=True))

    def watch(self, what, connection):
        diff_id = self.downloads.diff_ids.get(what)
        if not diff_id:
            return
        at = time.monotonic()  # before the looks, for a node may be killed meanwhile
        query = f"SELECT FROM layers WHERE diff_id = '{diff_id}'"
        was_here = sql(self.database, f"SELECT count(*) FROM ({query}) found") != [["0"]]
        if is_there(connection):
            with self.lock:
                self.downloads.all.append(Download(what, self.node, at, was_here))


class Fleet:
    def __init__(self, nodes, chance):
        self.nodes = nodes
        self.chance = chance
        self.kills = []

    def ask(self, method, path, **options):
        """The answer of whichever node is well; a killed one is passed over."""
        for node in self.chance.sample(self.nodes, len(self.nodes)):
            try:
                answer = node.request(method, path, timeout=20, **options)
            except requests.RequestException:
                continue
            if answer.status_code < 500:
                return answer
        raise AssertionError(f"no node answers {method} {path}")

    def pull(self, reference):
        return self.ask("POST", "/images:pull", json={"reference": reference}).json()["id"]

    def state(self, pull_id):
        return self.ask("GET", f"/pulls/{pull_id}").json()

    def kill(self):
        number = self.chance.randrange(len(self.nodes))
        begun = time.monotonic()
        self.nodes[number].kill9()
        self.kills.append(Kill(number, begun, time.monotonic()))
        self.nodes[number].start()


class Images:
    """Ever new ones; each shares its base with the two before it."""

    def __init__(self, builder, downloads, chance):
        self.builder, self.downloads, self.chance = builder, downloads, chance
        self.count = 0
        self.base = None

    def layer(self, name):
        return [images.file(name, self.chance.randbytes(LAYER_BYTES))]

    def next_reference(self):
        if self.count % 3 == 0:
            self.base = self.layer(b"base")
        layers = [self.base, self.layer(b"middle"), self.layer(b"own")]
        name = f"i{self.count}"
        self.count += 1
        self.downloads.expect(self.builder.add(name, layers))
        return f"{HOST}/kills/{name}:{name}"


def run_round(fleet, made, kills):
    """Keeps pulls under way while it kills; returns the ids of all it began."""
    pulls, running = [], []
    for _ in range(kills):
        running = [pull for pull in running if not fleet.state(pull)["finished_at"]]
        while len(running) < PULLS_AT_ONCE:
            reference = made.next_reference()
            running.append(fleet.pull(reference))
            pulls.append(running[-1])
            if fleet.chance.random() < 0.3:
                assert fleet.pull(reference), "asked twice, it is one pull or done"
        time.sleep(fleet.chance.uniform(0, 1))
        fleet.kill()
    return pulls


def assert_nothing_twice(downloads, kills):
    """What the catalogue had was never asked for; the rest only after who fetched it had died."""
    assert not [d for d in downloads if d.was_here], "fetched, though it was here"
    last = {}
    for download in sorted(downloads, key=lambda download: download.at):
        before = last.get(download.digest)
        if before:
            died = [
                kill
                for kill in kills
                if kill.node == before.node and before.at < kill.done and kill.begun < download.at
            ]
            assert died, f"{before}, then {download}, and no such node died in between: {kills}"
        last[download.digest] = download


@pytest.mark.timeout(1800)
def test_killed_nodes_lose_no_pull_and_fetch_nothing_twice(make_larder, postgres, new_directory):
    print(f"LARDER_KILLS={KILLS} LARDER_KILL_SEED={SEED}")
    chance = random.Random(SEED)
    database, blobs = postgres.create_database("kills"), new_directory("kills-blobs")
    builder = images.Builder(new_directory("kills-layout"))
    downloads, nodes = Downloads(), []
    with contextlib.ExitStack() as stack:
        for number in range(NODES):
            mirror = WatchfulRegistry(number, builder.layout, database, downloads)
            stack.enter_context(mirror)
            flags = ["--pull-jobs", "2", "--layer-jobs", "2"]
            flags += ["--registry-mirror", f"{HOST}={mirror.url}"]
            nodes.append(make_larder(database=database, blob_dir=blobs, flags=flags))
        fleet = Fleet(nodes, chance)
        made = Images(builder, downloads, chance)
        while len(fleet.kills) < KILLS:
            kills = min(KILLS_A_ROUND, KILLS - len(fleet.kills))
            for pull in run_round(fleet, made, kills):
                wait_until(lambda: fleet.state(pull)["finished_at"], "the pull ends", END_SECONDS)
                state = fleet.state(pull)
                assert state["state"] == "done", f"after {len(fleet.kills)} kills: {state}"
            invariants.check(database, blobs)
        again = len(downloads.all) - len({d.digest for d in downloads.all})
        takeovers = sql(database, "SELECT coalesce(sum(attempts - 1), 0) FROM pulls")[0][0]
        print(
            f"{len(fleet.kills)} kills, {made.count} images, {len(downloads.all)} layers"
            f" fetched, {again} of them again; pulls taken over: {takeovers}"
        )
        assert_nothing_twice(downloads.all, fleet.kills)
