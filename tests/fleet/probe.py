"""Questions on a fixed schedule, whatever became of the ones before: for how long was there no
answer?

A read goes to the nodes in any order, to the next one when one does not answer in time, as a host's
agent would do; a write goes to one node and no other. Each has a connection of its own.
"""

import asyncio
import collections
import itertools
import json
import random
import threading
import time
from urllib.parse import urlsplit

READ_EVERY, READ_PATIENCE = 0.02, 0.5  # of one node, then the next is asked
WRITE_EVERY, WRITE_PATIENCE = 0.25, 15
GOOD, STALE, FAILED = "good", "stale", "failed"


async def ask(url, method, path, patience, body=b""):
    """(status, head in lower case), or (None, b"") when nobody answered in time."""
    words = f"{method} {path} HTTP/1.1\r\nHost: fleet\r\nConnection: close\r\n"
    words += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    address, writer = urlsplit(url), None
    try:
        async with asyncio.timeout(patience):
            reader, writer = await asyncio.open_connection(address.hostname, address.port)
            writer.write(words.encode() + body)
            head, _, _ = (await reader.read(-1)).partition(b"\r\n\r\n")
            return int(head.split(None, 2)[1]), head.lower()
    except (OSError, TimeoutError, IndexError):  # an empty answer has no status
        return None, b""
    finally:
        if writer:
            writer.transport.abort()


def outages(reads, end):
    """(from, to) of each time without an answer: from a failed read to the next good one."""
    begun = None
    for due, outcome, _ in sorted(reads):
        if outcome == FAILED:
            begun = due if begun is None else begun
        elif begun is not None:
            yield begun, due
            begun = None
    if begun is not None:
        yield begun, end


class Probe(threading.Thread):
    def __init__(self, urls, kept, seed):
        super().__init__(daemon=True)
        self.urls, self.path, self.random = urls, f"/images/{kept}", random.Random(seed)
        self.stopping = threading.Event()
        self.begun = self.ended = None
        self.reads = []  # (when it was due, outcome, seconds until its answer)
        self.failures = collections.Counter()  # of reads, by what the nodes answered: "503 none 503"
        self.acks = {url: [] for url in urls}  # (when it was asked, when it was answered)
        self.written, self.unknown = [], 0

    def run(self):
        asyncio.run(self._run())

    async def _run(self):
        self.begun = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._on_schedule(tasks, READ_EVERY, self._read))
            for url in self.urls:
                tasks.create_task(self._on_schedule(tasks, WRITE_EVERY, self._write, url))

    async def _on_schedule(self, tasks, every, question, *words):
        for number in itertools.count():
            due = self.begun + number * every
            await asyncio.sleep(max(0, due - time.monotonic()))
            if self.stopping.is_set():
                return
            tasks.create_task(question(due, *words))

    async def _read(self, due):
        outcome, statuses = FAILED, []
        for url in self.random.sample(self.urls, len(self.urls)):
            status, head = await ask(url, "GET", self.path, READ_PATIENCE)
            statuses.append(str(status or "none"))
            if status == 200:
                outcome = STALE if b"\r\nwarning: 110 " in head else GOOD
                break
        else:
            self.failures[" ".join(sorted(statuses))] += 1
        self.reads.append((due, outcome, time.monotonic() - due))

    async def _write(self, due, url):
        id, asked = f"probe-{self.urls.index(url)}-{due - self.begun:.2f}", time.monotonic()
        body = json.dumps({"host": "h", "rootfs": {"type": "bind", "path": "/srv"}}).encode()
        status, _ = await ask(url, "PUT", f"/sandboxes/{id}", WRITE_PATIENCE, body)
        if status in (200, 201):
            self.written.append(id)
            self.acks[url].append((asked, time.monotonic()))
        else:
            self.unknown += 1

    def writes_back(self, since):
        """When each node had acknowledged a write that was asked after that; None: not yet."""
        firsts = [self._first_ack(acks, since) for acks in self.acks.values()]
        return None if None in firsts else max(firsts)

    @staticmethod
    def _first_ack(acks, since):
        first = None
        for asked, answered in reversed(acks):
            if answered < since:
                break
            if asked >= since:
                first = answered
        return first

    def stop(self):
        self.ended = time.monotonic()
        self.stopping.set()
        self.join(2 * WRITE_PATIENCE)
