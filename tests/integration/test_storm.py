"""Pulls, prunes, deletes and sandboxes at once, on two nodes; then rows and files agree."""

import random
import subprocess
import threading
import time

import pytest

import images
import pulling
from postgres import binary

STORM_SECONDS = 6


def rows(database, statement):
    command = [binary("psql"), database, "-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", statement]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


def catalogued_files(database):
    """name -> size of every file that the catalogue says is there."""
    statement = """
        SELECT 'layers/sha256_' || substr(diff_id, 8) || '.erofs', erofs_size_bytes FROM layers
        UNION ALL SELECT 'fsmeta/sha256_' || substr(digest, 8) || '.erofs', fsmeta_size_bytes
          FROM manifests
        UNION ALL SELECT 'vmdk/sha256_' || substr(digest, 8) || '.vmdk', vmdk_size_bytes
          FROM manifests"""
    return {name: int(size) for name, size in (row.split("|") for row in rows(database, statement))}


def condemned_digests(database):
    return {row[7:] for row in rows(database, "SELECT digest FROM condemned_files")}


def described_references(database):
    statement = "SELECT DISTINCT encode(sha256(convert_to(reference, 'UTF8')), 'hex')"
    return {f"manifests/{key}.json" for key in rows(database, f"{statement} FROM image_refs")}


def assert_rows_and_files_agree(database, larder):
    wanted = catalogued_files(database)
    described = described_references(database)
    found = pulling.published_files(larder)
    sizes = {name: (larder.blob_dir / name).stat().st_size for name in found & wanted.keys()}
    assert sizes == wanted, "every catalogued file is there, with its size"
    assert described <= found, "every reference has its description"
    condemned = condemned_digests(database)
    unknown = found - wanted.keys() - described
    assert not [name for name in unknown if not any(key in name for key in condemned)]
    held = "SELECT count(*) FROM pull_layers JOIN pulls ON id = pull_id"
    assert rows(database, f"{held} WHERE held_diff_id IS NOT NULL AND finished_at IS NOT NULL") == [
        "0"
    ], "a pull that ended holds nothing"


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
    assert_rows_and_files_agree(database, nodes[0])
    assert nodes[1].post("/images:prune", json={}).status_code == 200
    assert_rows_and_files_agree(database, nodes[0])
    assert not catalogued_files(database), "a prune takes all that nobody uses"
