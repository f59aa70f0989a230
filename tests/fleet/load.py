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

    def ask(self, method, path, timeout=PATIENCE_SECONDS, url=None, **options):
        """(status, headers), or (None, {}) when nobody answered."""
        url = url or self.random.choice(self.load.urls)
        try:
            answer = self.session.request(method, url + path, timeout=timeout, **options)
            return answer.status_code, answer.headers
        except requests.RequestException:
            return None, {}

    def run(self):
        while not self.load.stopping.is_set():
            self.step()


class Writer(Client):
    """Registers and releases sandboxes, and reads its own back through any node."""

    def __init__(self, load, number, reference):
        super().__init__(load, f"{load.seed}-{number}")
        self.number, self.reference = number, reference
        self.possible, self.count = {}, 0
        for _ in range(20):
            self.add()

    def add(self):
        self.count += 1
        self.possible[f"{self.number}-{self.count}"] = {False}

    def step(self):
        id, choice = self.random.choice(list(self.possible)), self.random.random()
        path, before = f"/sandboxes/fleet-{id}", self.possible[id]
        if choice < 0.4:
            rootfs = {"type": "bind", "path": "/srv"}
            if self.random.random() < 0.3:
                rootfs = {"type": "oci", "reference": self.reference}
            status, _ = self.ask("PUT", path, json={"host": "h", "rootfs": rootfs})
            self.learn(id, status, {200, 201}, True)
        elif choice < 0.6:
            status, _ = self.ask("DELETE", path)
            self.learn(id, status, {204, 404}, False)
            if status in (204, 404) and (status == 204) not in before:
                self.load.wrong(f"DELETE {path}: {status}, it could be {before}")
        else:
            status, _ = self.ask("GET", path)
            if status in (200, 404) and (status == 200) not in before:
                self.load.wrong(f"GET {path}: {status}, it could be {before}")

    def learn(self, id, status, done, value):
        if status in done:
            self.possible[id] = {value}
            self.load.acknowledged(time.monotonic())
        elif status is None or status >= 500:  # 404 of an image that is not there: nothing
            del self.possible[id]
            self.add()
            self.load.unknown += 1


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
            status, headers = self.ask("GET", f"/images/{self.reference}", timeout=2, url=url)
            stale = "warning" in {name.lower() for name in headers}
            if status in (200, 404) and (status == 200) not in self.here and not stale:
                self.load.wrong(f"GET {self.reference} of {url}: {status}, it could be {self.here}")

    def learn(self, status, done, value):
        if status in done:
            self.here = {value} if time.monotonic() > self.settled else {True, False}
            self.load.acknowledged(time.monotonic())
        elif status != 502:  # that is the registry's fault, and changes nothing
            self.here = {True, False}
            self.settled = time.monotonic() + SETTLE_SECONDS
            self.load.unknown += 1


class Reader(Client):
    """A read that everybody has in memory, of one node after the other until one answers."""

    def step(self):
        urls = self.random.sample(self.load.urls, len(self.load.urls))
        path = f"/images/{self.load.kept}"
        good = any(self.ask("GET", path, timeout=0.5, url=url)[0] == 200 for url in urls)
        self.load.reads += 1
        self.load.failed_reads += not good
        time.sleep(0.01)


class Load:
    def __init__(self, urls, references, kept, seed):
        self.urls, self.kept, self.seed = urls, kept, seed
        self.stopping = threading.Event()
        self.problems, self.acks = [], []
        self.reads = self.failed_reads = self.unknown = 0
        self.writers = [Writer(self, n, kept) for n in range(4)]
        self.clients = [*self.writers, Reader(self, seed)]
        self.clients += [Puller(self, reference) for reference in references]

    def start(self):
        for client in self.clients:
            client.start()

    def stop(self):
        self.stopping.set()
        for client in self.clients:
            client.join(2 * PATIENCE_SECONDS)

    def acknowledged(self, when):
        self.acks.append(when)

    def wrong(self, what):
        self.problems.append(f"{time.monotonic():.3f} {what}")

    def check_kept(self, sandboxes):
        """`sandboxes`: the ids that the catalogue has in the end."""
        for writer in self.writers:
            for id, possible in writer.possible.items():
                if (f"fleet-{id}" in sandboxes) not in possible:
                    self.wrong(f"in the end: fleet-{id} could be {possible}")
