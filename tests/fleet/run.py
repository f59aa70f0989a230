"""A fleet, a load, faults one after the other, and the judgement over it all."""

import random
import time

import faults
import images
from cluster import Cluster
from daemons import processes_below, wait_until
from judge import figures, judge
from load import Load
from network import Network
from probe import Probe

KEPT, OTHERS = "library/kept:1", ("library/one:1", "library/two:1")
ORPHAN_SECONDS = 15


class Fleet(Cluster):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.problems, self.counts, self.skipped = [], {}, {}
        self.timeline = [(0, "none")]  # (begun, name) of each fault
        self.promotions, self.healings, self.orphans_gone = {}, {}, {}  # fault -> seconds

    def children_of(self, server):
        pids = processes_below(server.data)
        return [pid for pid in pids if pid != server.daemon.pid]

    def push_images(self, built):
        names = {KEPT: "busybox", OTHERS[0]: "shared-one", OTHERS[1]: "shared-two"}
        for name, image in names.items():
            images.push_to(self.registry.address, built[image], name)
        self.references = [f"{self.registry.address}/{name}" for name in (KEPT, *OTHERS)]
        wanted = {"reference": self.references[0]}
        done = self.nodes[0].post("/images:pull", json=wanted, headers={"Prefer": "wait=60"})
        assert done.status_code == 200, done.text
        for node in self.nodes:  # each has it in memory before the first fault
            assert node.get(f"/images/{self.references[0]}").status_code == 200

    def start_load(self, seed):
        urls = [node.address for node in self.nodes]
        self.load = Load(urls, self.references[1:], self.references[0], seed)
        self.probe = Probe(urls, self.references[0], seed)
        self.load.start()
        self.probe.start()

    def suffer(self, seconds, every, seed):
        """A fault each `every` seconds at most: all kinds in any order, then all again."""
        chance, end = random.Random(seed), time.monotonic() + seconds
        while time.monotonic() < end:
            for fault in chance.sample(faults.ALL, len(faults.ALL)):
                next_at = time.monotonic() + every
                if self.undergo(fault, chance):
                    time.sleep(max(0, min(next_at, end) - time.monotonic()))
                if time.monotonic() >= end:
                    break
        self.await_no_orphans()

    def undergo(self, fault, chance):
        """False: it could not be done here."""
        name = fault.__name__
        self.timeline.append((time.monotonic(), name))
        try:
            fault(self, chance)
        except faults.NotHere as why:
            self.timeline.pop()
            self.skipped[name] = str(why)
            return False
        self.counts[name] = self.counts.get(name, 0) + 1
        return True

    def fault_at(self, when):
        """The last one that had begun by then."""
        return next(name for begun, name in reversed(self.timeline) if begun <= when)

    def problem(self, what):
        self.problems.append(f"{self.timeline[-1][1]}: {what}")

    def note(self, figures, seconds):
        figures.setdefault(self.timeline[-1][1], []).append(round(seconds, 2))

    def await_writes(self, since, figures):
        """Until each node has acknowledged a write that it was asked after `since`."""
        try:
            back = wait_until(lambda: self.probe.writes_back(since), "each node writes again")
            self.note(figures, back - since)
        except AssertionError as late:
            self.problem(str(late))

    def await_no_orphans(self):
        """Until no backend outlives its connection: it would keep its locks, and its place."""
        begun = time.monotonic()
        try:
            while orphans := self.orphans():
                after = time.monotonic() - begun
                locking = sum(orphans.values())
                what = f"{len(orphans)} backends outlive their connections, {locking} with locks"
                assert after < ORPHAN_SECONDS, f"{after:.0f} s after all was mended {what}"
                time.sleep(0.2)
            self.note(self.orphans_gone, time.monotonic() - begun)
        except AssertionError as left:
            self.problem(str(left))


def run(new_directory, built_images, seconds, every=20, seed=None):
    """The figures, with the problems: what was lost, or read that could not be."""
    seed = seed or str(random.randrange(1 << 32))
    print(f"seed {seed}")
    with Network() as network:
        fleet = Fleet(network, new_directory)
        try:
            fleet.start()
            fleet.push_images(built_images)
            fleet.start_load(seed)
            try:
                fleet.suffer(seconds, every, seed)
            finally:
                fleet.probe.stop()
                fleet.load.stop()
            judge(fleet)
            return figures(fleet)
        finally:
            fleet.close()
