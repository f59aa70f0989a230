"""How old an answer from memory may be, under load and while connections to PostgreSQL fail.

`LARDER_COMMITS=100000 LARDER_WRITES=10000` are the long runs; `pytest -s` shows what they measure.
"""

import contextlib
import json
import os
import random
import selectors
import threading
import time

import ownnetwork
import pytest
import rawhttp
from cataloguerows import Psql, add_image, backends, prepare, use
from daemons import Stopped
from larder import Larder
from postgres import sql

REFERENCE = "docker.io/test/stale:1"
PATH = f"/images/{REFERENCE}"
BOUND_SECONDS = 1.0  # the default of --max-staleness
FRESH = {"Cache-Control": "no-cache"}
READ = f"GET {PATH} HTTP/1.1\r\nHost: x\r\nCache-Control: no-cache\r\n\r\n".encode()
READERS = 30  # of a node: what they ask for at a time shares a fence
COMMITS = int(os.environ.get("LARDER_COMMITS", "3000"))
WRITES = int(os.environ.get("LARDER_WRITES", "1000"))


@pytest.fixture(scope="module")
def nodes(new_directory, database):
    with Larder(new_directory("one"), database=database) as one:
        with Larder(new_directory("other"), database=database) as other:
            prepare(database)
            add_image(database, REFERENCE, "stale")
            yield one, other


class Disturbed:
    """While it lasts, backends of the nodes' polls and loops are stopped for a while, or killed."""

    def __init__(self, database):
        self.database = database
        self.random = random.Random(1)
        self.ended = threading.Event()
        self.count = 0
        self.thread = threading.Thread(target=self._run)

    def _run(self):
        while not self.ended.wait(0.4):
            pids = backends(self.database, self.random.choice(["larder heartbeat", "larder loop"]))
            if not pids:
                continue
            self.count += 1
            if self.random.random() < 0.5:
                sql(self.database, f"SELECT pg_terminate_backend({self.random.choice(pids)})")
                continue
            with Stopped([self.random.choice(pids)]):
                self.ended.wait(self.random.uniform(0.2, 1.5))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()


def shown(answer):
    """What an answer shows; None when the node has none to give."""
    return answer.json()["last_used_at"] if answer.status_code == 200 else None


def write(writer, number):
    writer.run(f"UPDATE image_refs SET last_used_at = to_timestamp({number} / 1000.0)"
               f" WHERE reference = '{REFERENCE}'")  # fmt: skip


@pytest.mark.timeout(3600)
def test_no_cache_is_never_stale(nodes, database):
    """Each commit, once acknowledged, is in every no-cache read that begins after it, on every
    node, while others read along and the nodes' connections fail."""
    committed = [0]
    ended = threading.Event()
    stale = []
    seen_fresh = [0] * (2 * READERS)
    at_least = [0] * (2 * READERS)

    def ask(place, connection):
        at_least[place] = committed[0]
        connection.ask(READ)

    def check(place, answer):
        if answer.status != 200:
            return
        seen_fresh[place] += 1
        seen = json.loads(answer.body)["last_used_at"]
        if seen < at_least[place]:
            stale.append((seen, at_least[place]))

    def read(first, node):
        with selectors.DefaultSelector() as selector, contextlib.ExitStack() as stack:
            for place in range(first, first + READERS):
                connection = stack.enter_context(contextlib.closing(rawhttp.KeptAlive(node.url)))
                selector.register(connection, selectors.EVENT_READ, place)
                ask(place, connection)
            while not ended.is_set():
                for key, _ in selector.select(0.1):
                    if answer := key.fileobj.take():
                        check(key.data, answer)
                        ask(key.data, key.fileobj)

    def read_along(node):
        while not ended.is_set():
            node.get(PATH)

    use(database, REFERENCE, 0)
    threads = [threading.Thread(target=read, args=(i * READERS, nodes[i])) for i in range(2)]
    threads += [threading.Thread(target=read_along, args=(node,)) for node in nodes]
    with Psql(database) as writer, Disturbed(database) as disturbed:
        for thread in threads:
            thread.start()
        for number in range(1, COMMITS + 1):
            write(writer, number)
            committed[0] = number
        ended.set()
    for thread in threads:
        thread.join()
    print(f"\n{COMMITS:,} commits, {sum(seen_fresh):,} no-cache reads, {disturbed.count} backends"
          f" stopped or killed: {len(stale)} stale")  # fmt: skip
    assert all(seen_fresh), "every reader was answered"
    assert not stale, f"{len(stale)} stale answers, the first (seen, committed): {stale[0]}"


def delays_of(committed, reads):
    """For each commit, in order, how long after it the first read ended that shows it."""
    delays = []
    for ended_at, seen in sorted(reads):
        while len(delays) < seen:
            delays.append(max(0.0, ended_at - committed[len(delays)]))
    return sorted(delays)


@pytest.mark.timeout(3600)
def test_reads_through_another_node_are_within_the_bound(nodes, database):
    """What was acknowledged longer ago than the bound is in every read that begins now."""
    other = nodes[1]
    committed = []
    reads = []
    ended = threading.Event()
    stale = []

    def read():
        due = 0
        while not ended.is_set():
            began = time.monotonic()
            seen = shown(other.get(PATH))
            reads.append((time.monotonic(), seen))
            while due < len(committed) and committed[due] < began - BOUND_SECONDS:
                due += 1
            if seen < due:
                stale.append((seen, due))

    use(database, REFERENCE, 0)
    other.get(PATH, headers=FRESH)
    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    with Psql(database) as writer:
        for number in range(1, WRITES + 1):
            write(writer, number)
            committed.append(time.monotonic())
            time.sleep(0.002)
    time.sleep(BOUND_SECONDS)
    ended.set()
    for thread in threads:
        thread.join()
    delays = delays_of(committed, reads)
    print(f"\n{WRITES:,} writes: seen after {1000 * delays[len(delays) // 2]:.0f} ms, p99"
          f" {1000 * delays[len(delays) * 99 // 100]:.0f} ms, at most {1000 * delays[-1]:.0f} ms")
    assert not stale, f"{len(stale)} stale answers, the first (seen, committed): {stale[0]}"
    assert shown(nodes[0].get(PATH, headers=FRESH)) == len(delays) == WRITES


def test_a_poll_whose_packets_are_lost_does_not_make_reads_stale():
    """In a network of its own, where packets are ours to lose."""
    answer = ownnetwork.run("lost_packets.py")
    assert answer["lost"] >= 1
    assert answer["shown"] == answer["written"]
