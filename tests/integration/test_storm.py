"""Pulls, prunes, deletes and sandboxes at once, on two nodes; then rows and files agree."""

import random
import threading
import time

import pytest

import images
import invariants
import pulling

STORM_SECONDS = 6


@pytest.fixture(scope="module")
def references(registry, new_directory):
    """Images that share layers, and a second tag of one."""
    builder = images.Builder(new_directory("storm-layout"))
    base = [images.file(b"base", b"base" * 20000)]
    for number in range(3):
        middle = [images.file(b"middle", b"%d" % (number // 2) * 5000)]
        builder.add(f"storm{number}", [base, middle, [images.file(b"own", b"%d" % number)]])
    named = {f"storm/i{number}:1": f"storm{number}" for number in range(3)}
    named["storm/alias:2"] = "storm0"
    for name, image in named.items():
        images.push_to(registry, builder.images[image], name)
    return [f"{registry}/{name}" for name in named]


class Storm:
    def __init__(self, references):
        self.references = references
        self.ends = time.monotonic() + STORM_SECONDS
        self.problems = []

    def expect(self, answer, *statuses):
        if answer.status_code not in statuses:
            self.problems.append(f"{answer.request.method} {answer.url}: {answer.text}")
        return answer

    def pull(self, node, choice):
        body = {"reference": choice.choice(self.references), "force": choice.random() < 0.1}
        self.expect(node.post("/images:pull", json=body, headers=pulling.WAIT), 200)

    def remove(self, node, choice):
        if choice.random() < 0.5:
            body = {"dry_run": choice.random() < 0.2}
            self.expect(node.post("/images:prune", json=body), 200)
        else:
            path = f"/images/{choice.choice(self.references)}"
            self.expect(node.delete(path), 204, 404, 409)

    def hold(self, node, choice):
        path = f"/sandboxes/{threading.get_ident()}"
        rootfs = {"type": "oci", "reference": choice.choice(self.references)}
        answer = node.put(path, json={"host": "storm", "rootfs": rootfs})
        if self.expect(answer, 200, 201, 404).status_code == 404:
            return
        files = answer.json()["image"]["files"]
        for file in (files["fsmeta"], files["vmdk"], *files["layers"]):
            if not (node.blob_dir / file["path"]).exists():
                self.problems.append(f"a held image lost {file['path']}")
        self.expect(node.delete(path), 204)

    def run(self, work, node, seed):
        choice = random.Random(seed)
        while time.monotonic() < self.ends:
            work(node, choice)


def test_pulls_and_removals_at_once_never_harm_each_other(
    make_larder, postgres, references, new_directory
):
    database = postgres.create_database("storm")
    blobs = new_directory("storm-blobs")
    nodes = [make_larder(database=database, blob_dir=blobs) for _ in range(2)]
    storm = Storm(references)
    threads = [
        threading.Thread(target=storm.run, args=(work, node, f"{work.__name__} {number}"))
        for number, node in enumerate(nodes)
        for work in (storm.pull, storm.remove, storm.hold)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not storm.problems, "\n".join(storm.problems[:10])
    invariants.check(database, blobs)
    assert nodes[1].post("/images:prune", json={}).status_code == 200
    invariants.check(database, blobs)
    assert not invariants.catalogued(database), "a prune takes all that nobody uses"
