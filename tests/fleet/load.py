"""Clients that never stop, and write down what they were answered.

Each sandbox belongs to one client, so what may be true of it follows from that client's own
history. A change whose outcome nobody knows may take effect at any later time (a commit that waits
for a standby): its sandbox is left alone from then on."""

import random
import threading
import time

import requests

BOUND_SECONDS = 1.0  # --max-staleness
PATIENCE_SECONDS = 30
SETTLE_SECONDS = 30  # no change of an image is under way for longer, unknown or not


class Client(threading.Thread):
    def __init__(self, load, seed):
        super().__init__(daemon=True)
        self.load, self.random = load, random.Random(seed)
        self.session = requests.Session()
        self.session.trust_env = False
        self.acknowledged = self.unknown = 0
        self.judged = 0  # answers that could only be one thing

    def ask(self, method, path, timeout=PATIENCE_SECONDS, url=None, **options):
        """(status, answer), or (None, None) when nobody answered."""
        url = url or self.random.choice(self.load.urls)
        try:
            answer = self.session.request(method, url + path, timeout=timeout, **options)
            return answer.status_code, answer
        except requests.RequestException:
            return None, None

    def run(self):
        try:
            while not self.load.stopping.is_set():
                self.step()
        except Exception as problem:  # or nobody would see that it asks no more
            self.load.wrong(f"{type(self).__name__} ended: {problem!r}")


class Writer(Client):
    """Registers and releases sandboxes, and reads its own back through any node. Each change has a
    host of its own, so that none can hide behind one like it; None: it is not there."""

    def __init__(self, load, number, reference):
        super().__init__(load, f"{load.seed}-{number}")
        self.number, self.reference = number, reference
        self.possible, self.count, self.changes = {}, 0, 0
        for _ in range(20):
            self.add()

    def add(self):
        self.count += 1
        self.possible[f"fleet-{self.number}-{self.count}"] = {None}

    def step(self):
        id, choice = self.random.choice(list(self.possible)), self.random.random()
        if choice < 0.4:
            self.register(id)
        elif choice < 0.6:
            self.release(id)
        else:
            status, answer = self.ask("GET", f"/sandboxes/{id}")
            if status in (200, 404):
                self.expect(f"GET {id}", id, answer.json()["host"] if status == 200 else None)

    def register(self, id):
        self.changes += 1
        host, rootfs = f"h-{self.changes}", {"type": "bind", "path": "/srv"}
        if self.random.random() < 0.3:
            rootfs = {"type": "oci", "reference": self.reference}
        status, _ = self.ask("PUT", f"/sandboxes/{id}", json={"host": host, "rootfs": rootfs})
        self.learn(id, status, {200, 201}, host)

    def release(self, id):
        status, _ = self.ask("DELETE", f"/sandboxes/{id}")
        if status == 404:
            self.expect(f"DELETE {id}", id, None)
        if status == 204 and self.possible[id] == {None}:
            self.load.wrong(f"DELETE {id}: 204, it was not there")
        self.learn(id, status, {204, 404}, None)

    def expect(self, question, id, found):
        self.judged += len(self.possible[id]) == 1
        if found not in self.possible[id]:
            self.load.wrong(f"{question}: {found}, it could be {self.possible[id]}")

    def learn(self, id, status, done, value):
        if status in done:
            self.possible[id] = {value}
            self.acknowledged += status != 404  # that tells, but changes nothing
        elif status is None or status >= 500:  # 404 of an image that is not there: nothing
            del self.possible[id]
            self.add()
            self.unknown += 1


class Puller(Client):
    """Brings an image and removes it, and looks from every node how soon that is seen."""

    def __init__(self, load, reference):
        super().__init__(load, f"{load.seed}-{reference}")
        self.reference = reference
        self.here = {False}
        self.settled = 0  # when what nobody knows has happened or never will
        self.is_pulling = False  # perhaps: an unknown pull may end at any time, until one is joined

    def step(self):
        if not self.is_pulling and True in self.here and self.random.random() < 0.5:
            status, _ = self.ask("DELETE", f"/images/{self.reference}")
            self.learn(status, {204, 404}, False)
        else:
            status, _ = self.ask("POST", "/images:pull", json={"reference": self.reference},
                                 headers={"Prefer": "wait=20"})  # fmt: skip
            self.is_pulling = status not in (200, 502)
            self.learn(status, {200}, True)
        time.sleep(BOUND_SECONDS)
        for url in self.load.urls:
            status, answer = self.ask("GET", f"/images/{self.reference}", timeout=2, url=url)
            known = status in (200, 404) and "Warning" not in answer.headers
            self.judged += known and len(self.here) == 1
            if known and (status == 200) not in self.here:
                self.load.wrong(f"GET {self.reference} of {url}: {status}, it could be {self.here}")

    def check_kept(self, references):
        if len(self.here) == 1 and not self.is_pulling:
            found = self.reference in references
            if found not in self.here:
                self.load.wrong(f"in the end {self.reference}: {found}, it could be {self.here}")

    def learn(self, status, done, value):
        if status in done:
            self.acknowledged += status != 404 and self.here != {value}
            self.here = {value} if time.monotonic() > self.settled else {True, False}
        elif status != 502:  # that is the registry's fault, and changes nothing
            self.here = {True, False}
            self.settled = time.monotonic() + SETTLE_SECONDS
            self.unknown += 1


class Load:
    def __init__(self, urls, references, kept, seed):
        self.urls, self.seed = urls, seed
        self.stopping = threading.Event()
        self.problems = []
        self.writers = [Writer(self, n, kept) for n in range(4)]
        self.pullers = [Puller(self, reference) for reference in references]
        self.clients = [*self.writers, *self.pullers]

    def start(self):
        for client in self.clients:
            client.start()

    def stop(self):
        self.stopping.set()
        for client in self.clients:
            client.join(2 * PATIENCE_SECONDS)

    def wrong(self, what):
        self.problems.append(f"{time.monotonic():.3f} {what}")

    def check_kept(self, sandboxes, references):
        """`sandboxes`: id -> host of all that the catalogue has in the end; `references` likewise."""
        for puller in self.pullers:
            puller.check_kept(references)
        for writer in self.writers:
            for id in writer.possible:
                writer.expect(f"in the end {id}", id, sandboxes.get(id))
