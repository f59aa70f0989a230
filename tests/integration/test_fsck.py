"""larder fsck: what it finds, what it repairs, and what its exit code says."""

import hashlib
import json
import os
import shutil
import subprocess
import time

import pytest

import filelock
import images
import invariants
import pulling
from daemons import wait_until
from dockerregistry import DockerRegistry
from larder import program
from postgres import sql

CLEAN, REPAIRED, LEFT, FAILED, USAGE = 0, 1, 4, 8, 16


def fsck(*flags, database=None, blob_dir=None, data_dir=None, crash_at=None, path=None):
    """Its exit code and JSON report."""
    words = [program(), "fsck", "--json", "--grace-seconds", "1", *flags]
    for flag, value in (("database", database), ("blob-dir", blob_dir), ("data-dir", data_dir)):
        words += [f"--{flag}", str(value)] if value else []
    kept = {k: v for k, v in os.environ.items() if not k.startswith("LARDER_")}
    if crash_at:
        kept["LARDER_CRASH_AT"] = crash_at
    kept |= {"PATH": path} if path else {}
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, env=kept)
    assert "Sanitizer" not in done.stderr and "runtime error" not in done.stderr, done.stderr
    report = json.loads(done.stdout) if done.stdout else None
    if report:
        assert report["exit_code"] == done.returncode
        assert report["left"] == report["found"] - report["repaired"]
    return done.returncode, report


class Cache:
    """An image in a catalogue and a directory, and fsck over both."""

    def __init__(self, node, registry, image, name):
        self.node = node
        self.reference = f"{registry}/{name}"
        self.detail = pulling.push_and_pull(node, registry, image, name)
        self.shared = {"database": node.database, "blob_dir": node.blob_dir}

    def path(self, which):
        """The image's file of that kind, the topmost layer's for "layers"."""
        if which == "manifests":
            key = hashlib.sha256(self.reference.encode()).hexdigest()
            return self.node.blob_dir / "manifests" / f"{key}.json"
        file = self.detail["files"][which]
        return self.node.blob_dir / (file[-1] if which == "layers" else file)["path"]

    def fsck(self, *flags, **options):
        return fsck(*flags, **self.shared, **options)

    def problems(self, *flags):
        return [(p["problem"], p["path"]) for p in self.fsck(*flags)[1]["problems"]]

    def found(self, *flags):
        code, report = self.fsck(*flags)
        assert code == LEFT, report
        return [(problem["problem"], problem["path"]) for problem in report["problems"]]

    def relative(self, path):
        return str(path.relative_to(self.node.blob_dir))

    def assert_repaired(self, *flags, count=1):
        code, report = self.fsck("--repair", *flags)
        assert (code, report["repaired"], report["left"]) == (REPAIRED, count, 0), report
        assert self.fsck("--verify")[0] == CLEAN
        invariants.check(**self.shared)
        assert pulling.inspect(self.node, self.reference)["files"] == self.detail["files"]
        return report

    def quarantine(self):
        return [path for path in (self.node.blob_dir / "quarantine").rglob("*") if path.is_file()]


NUMBERS = iter(range(1, 1000))


@pytest.fixture
def database(postgres):
    name = f"fsck_{next(NUMBERS)}"
    yield postgres.create_database(name)
    postgres.drop_database(name)


@pytest.fixture
def cache(make_larder, database, new_directory, registry, built_images):
    node = make_larder(database=database, blob_dir=new_directory("fsck-blobs"))
    return Cache(node, registry, built_images["shared-two"], "fsck/image:1")


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def age():
    """The grace period of these tests."""
    time.sleep(1.1)


def test_a_sound_cache_is_clean(cache):
    code, report = cache.fsck("--verify")
    assert code == CLEAN and report["problems"] == []
    assert report["checked"] | {"read_bytes": 0} == {
        "layers": 3, "fsmeta": 1, "vmdk": 1, "manifests": 1, "busy": 0, "read_bytes": 0
    }  # fmt: skip
    sizes = [size for size, _ in invariants.catalogued(cache.shared["database"]).values()]
    assert report["checked"]["read_bytes"] >= sum(sizes)
    assert report["fsck_erofs"] is bool(shutil.which("fsck.erofs"))


@pytest.mark.parametrize("which", ["layers", "fsmeta", "vmdk", "manifests"])
def test_a_missing_file_is_found_and_rebuilt(cache, which):
    path = cache.path(which)
    path.unlink()
    assert cache.found() == [("missing", cache.relative(path))]
    assert not path.exists(), "nothing is done without --repair"
    cache.assert_repaired()


@pytest.mark.parametrize("which", ["layers", "fsmeta", "vmdk", "manifests"])
def test_a_truncated_file_is_found_put_aside_and_rebuilt(cache, which):
    path = cache.path(which)
    path.write_bytes(path.read_bytes()[:-1] if which != "manifests" else b"")
    assert cache.found() == [("wrong_size", cache.relative(path))]
    cache.assert_repaired()
    assert [aside.name for aside in cache.quarantine()] == [path.name]


@pytest.mark.parametrize("which", ["layers", "fsmeta", "vmdk", "manifests"])
def test_a_flipped_bit_is_found_by_verify_put_aside_and_rebuilt(cache, which):
    path = cache.path(which)
    whole = path.read_bytes()
    flip_a_bit(path)
    assert cache.fsck()[0] == CLEAN, "the size is right"
    assert cache.found("--verify") == [("damaged", cache.relative(path))]
    cache.assert_repaired("--verify")
    assert path.read_bytes() == whole
    assert [aside.name for aside in cache.quarantine()] == [path.name]


@pytest.mark.parametrize("name", ["layers/sha256_{}.erofs", "fsmeta/sha256_{}.erofs",
                                  "vmdk/sha256_{}.vmdk", "manifests/{}.json"])  # fmt: skip
def test_an_extra_file_is_found_and_put_aside(cache, name):
    path = cache.node.blob_dir / name.format("7" * 64)
    path.write_bytes(b"nobody's")
    age()
    kind = "unknown_image" if "manifests" in name else "extra"
    assert cache.found() == [(kind, cache.relative(path))]
    report = cache.assert_repaired()
    aside = cache.node.blob_dir / report["problems"][0]["quarantined"]
    assert aside.read_bytes() == b"nobody's" and not path.exists()


def test_a_young_extra_file_is_no_problem_yet(cache):
    (cache.node.blob_dir / "layers" / f"sha256_{'7' * 64}.erofs").write_bytes(b"x")
    assert cache.fsck("--grace-seconds=3600")[0] == USAGE, "given twice"
    words = [program(), "fsck", "--database", cache.shared["database"]]
    done = subprocess.run([*words, "--blob-dir", cache.shared["blob_dir"]], capture_output=True)
    assert done.returncode == CLEAN


def test_a_half_renamed_file_is_found_and_repaired(cache):
    """The row is there, and the file stands under tmp/ still, of a node that is long dead."""
    path = cache.path("layers")
    draft = cache.node.blob_dir / "tmp" / "0d0d0d0d-0000-4000-8000-00000000dead" / "layer-3"
    draft.parent.mkdir()
    path.rename(draft)
    part = path.with_name(path.name + ".part")
    part.write_bytes(b"half")
    age()
    assert sorted(cache.found()) == [
        ("foreign", cache.relative(part)),
        ("missing", cache.relative(path)),
        ("stray", cache.relative(draft.parent)),
    ]
    cache.assert_repaired(count=3)
    assert not draft.exists()


def test_a_row_without_a_file_that_nothing_needs_goes(cache):
    lost = "sha256:" + "8" * 64
    sql(
        cache.shared["database"],
        "INSERT INTO layers (diff_id, erofs_size_bytes, erofs_digest, tar_size_bytes)"
        f" VALUES ('{lost}', 4096, '{lost}', 1)",
    )
    name = f"layers/sha256_{'8' * 64}.erofs"
    assert cache.found() == [("missing", name)]
    report = cache.assert_repaired()
    assert "removed from the catalogue" in report["problems"][0]["action"]


def test_a_file_without_a_row_is_put_aside(cache):
    """One of an image whose rows are lost."""
    path = cache.path("vmdk")
    extra = path.with_name(f"sha256_{'9' * 64}.vmdk")
    shutil.copy(path, extra)
    age()
    assert cache.found() == [("extra", cache.relative(extra))]
    cache.assert_repaired()


def test_what_is_held_and_cannot_be_pulled_is_left_and_told(cache):
    digest = cache.detail["handle"]["manifest_digest"]
    assert cache.node.put("/snapshots/s", json={"manifest_digest": digest}).status_code == 201
    sql(cache.shared["database"], "DELETE FROM image_refs")
    cache.path("manifests").unlink()
    cache.path("layers").unlink()
    code, report = cache.fsck("--repair")
    assert code == LEFT
    assert [(p["problem"], p["repaired"]) for p in report["problems"]] == [("missing", False)]
    assert "no reference" in report["problems"][0]["action"]


def test_a_registry_that_is_gone_leaves_the_problem_and_says_why(
    make_larder, database, new_directory, built_images
):
    server = DockerRegistry(new_directory("registry")).start()
    try:
        node = make_larder(database=database, blob_dir=new_directory("gone-blobs"))
        cache = Cache(node, server.address, built_images["shared-two"], "fsck/gone:1")
        server.stop()
        cache.path("layers").unlink()
        cache.path("vmdk").unlink()
        code, report = cache.fsck("--repair")
        assert code == LEFT and report["left"] == 2
        assert server.address in report["problems"][0]["action"]
    finally:
        server.close()


def test_a_file_that_somebody_works_on_is_not_judged(cache):
    path = cache.path("layers")
    path.unlink()
    with filelock.held(cache.shared["database"], path):
        code, report = cache.fsck()
    assert (code, report["checked"]["busy"]) == (CLEAN, 1)


def test_without_a_node_fsck_pulls_by_itself(make_larder, new_directory, registry, built_images):
    node = make_larder()
    cache = Cache(node, registry, built_images["shared-two"], "fsck/alone:1")
    cache.shared = {"data_dir": node.data_dir}
    node.stop()
    path = cache.path("layers")
    flip_a_bit(path)
    assert cache.found("--verify") == [("damaged", cache.relative(path))]
    assert cache.fsck("--verify", "--repair")[0] == REPAIRED
    assert cache.fsck("--verify")[0] == CLEAN
    node.start()
    assert pulling.inspect(node, cache.reference)["files"] == cache.detail["files"]


def test_beside_a_running_node_its_private_postgresql_is_used(larder, registry, built_images):
    cache = Cache(larder, registry, built_images["shared-two"], "fsck/beside:1")
    cache.shared = {"data_dir": larder.data_dir}
    path = cache.path("fsmeta")
    path.unlink()
    assert cache.found() == [("missing", cache.relative(path))]
    assert cache.fsck("--repair")[0] == REPAIRED
    assert cache.fsck("--verify")[0] == CLEAN
    assert larder.get("/readyz").status_code == 200


def test_an_image_that_fsck_erofs_does_not_accept_is_told(cache, tmp_path):
    """The digest is right, and the file is no EROFS."""
    path = cache.path("layers")
    content = b"\0" * path.stat().st_size
    path.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    sql(
        cache.shared["database"],
        f"UPDATE layers SET erofs_digest = 'sha256:{digest}'"
        f" WHERE diff_id = '{path.stem.replace('_', ':')}'",
    )
    assert ("rejected", cache.relative(path)) in cache.found("--verify")
    code, report = cache.fsck("--repair", "--verify")
    assert code & LEFT
    actions = [p["action"] for p in report["problems"] if p["problem"] == "rejected"]
    assert actions and all(action.startswith("left: it is as it was made") for action in actions)


def test_an_image_that_goes_while_fsck_erofs_reads_it_is_no_problem(cache, tmp_path):
    judge = tmp_path / "fsck.erofs"
    delete = f"curl -s -X DELETE '{cache.node.url}/images/{cache.reference}'"
    judge.write_text(f"#!/bin/sh\n{delete}\nexit 1\n")
    judge.chmod(0o755)
    code, report = cache.fsck("--verify", path=f"{tmp_path}:{os.environ['PATH']}")
    assert (code, report["problems"]) == (CLEAN, []), report


def test_what_cannot_be_looked_at_ends_with_8(cache, tmp_path):
    assert fsck(database="postgresql://127.0.0.1:1/none", blob_dir=tmp_path) == (FAILED, None)
    assert cache.fsck("--frob") == (USAGE, None)
    missing = tmp_path / "none"
    assert fsck(database=cache.shared["database"], blob_dir=missing) == (FAILED, None)
    assert not missing.exists(), "a directory that is mistyped is not made"


def test_people_are_told_line_by_line(cache):
    cache.path("vmdk").unlink()
    words = [program(), "fsck", "--database", cache.shared["database"]]
    words += ["--blob-dir", cache.shared["blob_dir"]]
    done = subprocess.run(words, capture_output=True, text=True)
    first, last = done.stdout.splitlines()
    assert first.endswith(f"missing: it is not there; needed by {cache.reference}")
    assert last == "3 layers, 1 fsmeta, 1 vmdk, 1 manifests: 1 problems, 0 repaired"


# --- the catalogue is lost, the directory is not ---


@pytest.fixture
def own_registry(new_directory):
    server = DockerRegistry(new_directory("registry"))
    yield server.start()
    server.close()


@pytest.fixture
def orphaned(make_larder, postgres, new_directory, own_registry, built_images):
    """Two images in a directory whose catalogue is gone, and a registry that is, too."""
    name = f"fsck_{next(NUMBERS)}"
    database = postgres.create_database(name)
    node = make_larder(database=database, blob_dir=new_directory("orphaned"))
    details = {
        image: pulling.push_and_pull(node, own_registry.address, built_images[image], f"lost/{image}:1")
        for image in ("shared-one", "multi", "same-layer-twice")
    }
    node.close()
    postgres.drop_database(name)
    own_registry.stop()
    empty = postgres.create_database(name)
    yield {"database": empty, "blob_dir": node.blob_dir}, details
    postgres.drop_database(name)


def test_the_catalogue_is_rebuilt_from_the_directory_alone(make_larder, orphaned):
    shared, details = orphaned
    before = invariants.published(shared["blob_dir"])
    age()
    code, report = fsck(**shared)
    assert code == LEFT and {p["problem"] for p in report["problems"]} == {"extra", "unknown_image"}
    code, report = fsck("--repair", **shared)
    assert (code, report["found"], report["repaired"]) == (REPAIRED, 3, 3), report
    code, report = fsck("--verify", **shared)
    assert code == CLEAN, report["problems"]
    assert invariants.published(shared["blob_dir"]) == before
    invariants.check(**shared)
    node = make_larder(**shared)
    for detail in details.values():
        again = pulling.inspect(node, detail["handle"]["reference"])
        for times in (again["handle"], detail["handle"]):
            times["created_at"] = times["last_used_at"] = 0
        assert again == detail


def test_what_cannot_be_taken_in_stays_where_it_is(orphaned):
    """A layer is damaged, and the registry is gone."""
    shared, details = orphaned
    own = details["shared-one"]["files"]["layers"][-1]["path"]
    flip_a_bit(shared["blob_dir"] / own)
    before = invariants.published(shared["blob_dir"])
    age()
    code, report = fsck("--repair", **shared)
    assert code == REPAIRED | LEFT and report["repaired"] == 2
    assert invariants.published(shared["blob_dir"]) == before, "nothing was put aside"
    left = {p["path"] for p in report["problems"] if not p["repaired"]}
    assert own in left and any(path.startswith("manifests/") for path in left)


def test_nothing_is_moved_when_a_description_cannot_be_read(orphaned):
    """By the disk: here it is a directory, which reads as badly."""
    shared, details = orphaned
    reference = details["multi"]["handle"]["reference"]
    name = f"manifests/{hashlib.sha256(reference.encode()).hexdigest()}.json"
    (shared["blob_dir"] / name).unlink()
    (shared["blob_dir"] / name).mkdir()
    before = invariants.published(shared["blob_dir"])
    age()
    code, report = fsck("--repair", **shared)
    assert code == REPAIRED | LEFT and report["repaired"] == 2, report
    assert invariants.published(shared["blob_dir"]) == before, "nothing was put aside"
    [unread] = [p for p in report["problems"] if p["problem"] == "unreadable"]
    assert unread["path"] == name and "left" in unread["action"], unread


def test_a_description_that_is_condemned_is_not_taken_in(cache, registry, built_images):
    """A deleted image comes back as its tag stands now, however slow the reaper is."""
    description = cache.path("manifests")
    with filelock.held(cache.shared["database"], description):
        assert cache.node.delete(f"/images/{cache.reference}").status_code == 204
        assert description.exists(), "the reaper found its lock taken"
        images.push_to(registry, built_images["bare"], cache.reference.split("/", 1)[1])
        started = cache.node.post("/images:pull", json={"reference": cache.reference}).json()
        where = f"/pulls/{started['id']}"
        wait_until(lambda: cache.node.get(where).json()["manifest_digest"], "it is resolved")
        resolved = cache.node.get(where).json()["manifest_digest"]
    assert resolved == built_images["bare"].descriptor["digest"]
