"""A fleet, a load, faults one after the other, and the judgement over it all."""

import random
import time

import faults
import images
import invariants
from cluster import Cluster
from daemons import processes_below, wait_until
from load import Load
from network import Network

KEPT, OTHERS = "library/kept:1", ("library/one:1", "library/two:1")


class Fleet(Cluster):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.promotions, self.skipped, self.counts = [], set(), {}

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

    def suffer(self, seconds, every, seed):
        """A fault each `every` seconds at most, in turn, and by chance in its details."""
        chance, begun = random.Random(seed), time.monotonic()
        for number, fault in enumerate(self.faults_for(seconds)):
            time.sleep(max(0, begun + number * every - time.monotonic()))
            if time.monotonic() - begun > seconds:
                break
            fault(self, chance)
            self.counts[fault.__name__] = self.counts.get(fault.__name__, 0) + 1
        time.sleep(3)

    def faults_for(self, seconds):
        while True:
            yield from faults.ALL

    def judge(self):
        load = self.load
        for node in self.nodes:
            wait_until(lambda n=node: n.get("/readyz").status_code == 200, "every node is ready")
        wait_until(
            lambda: self.rows("SELECT count(*) FROM pulls WHERE finished_at IS NULL") == [["0"]],
            "no pull is left",
        )
        load.check_kept({row[0] for row in self.rows("SELECT id FROM sandboxes")})
        wait_until(lambda: self.rows("SELECT count(*) FROM condemned_files") == [["0"]], "reaped")
        assert not load.problems, "\n".join(load.problems)
        invariants.check(self.database(), self.blob_dir, lost_layers=True)
        return {
            "faults": self.counts,
            "skipped": sorted(self.skipped),
            "acknowledged": len(load.acks),
            "unknown": load.unknown,
            "reads": load.reads,
            "failed_reads": load.failed_reads,
            "writes_back_after_s": [round(seconds, 2) for seconds in self.promotions],
        }


def run(new_directory, built_images, seconds, every=20, seed=None):
    """The figures; fails when something was lost, or read that could not be."""
    seed = seed or str(random.randrange(1 << 32))
    print(f"seed {seed}")
    with Network() as network:
        fleet = Fleet(network, new_directory)
        try:
            fleet.start()
            fleet.push_images(built_images)
            urls = [node.address for node in fleet.nodes]
            fleet.load = Load(urls, fleet.references[1:], fleet.references[0], seed)
            fleet.load.start()
            try:
                fleet.suffer(seconds, every, seed)
            finally:
                fleet.load.stop()
            return fleet.judge()
        finally:
            fleet.close()
