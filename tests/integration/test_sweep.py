"""The sweep: files that the catalogue does not know go, after a while; nothing else does."""

import hashlib
import json
import subprocess
import time

import pytest

import filelock
import pulling
from daemons import wait_until
from larder import program
from postgres import sql

EVERY_SECOND = ["--sweep-seconds", "1", "--grace-seconds", "1"]


@pytest.fixture
def shared(postgres, new_directory, request):
    """What nodes of one fleet have in common."""
    name = f"sweep_{hashlib.sha256(request.node.name.encode()).hexdigest()[:8]}"
    yield {"database": postgres.create_database(name), "blob_dir": new_directory("swept")}
    postgres.drop_database(name)


def orphan(node, content=b"nobody's"):
    """A layer file without a row, as a node leaves it that dies between publish and commit."""
    digest = hashlib.sha256(content).hexdigest()
    path = node.blob_dir / "layers" / f"sha256_{digest}.erofs"
    path.write_bytes(content)
    return path


def condemned(shared):
    return sql(shared["database"], "SELECT kind, digest FROM condemned_files")


def sweeps(node):
    return node.log().count('"event":"swept"')


def wait_for_sweeps(node, count):
    seen = sweeps(node)
    wait_until(lambda: sweeps(node) >= seen + count, f"{count} more sweeps")


def test_an_orphan_goes_and_what_is_catalogued_stays(
    make_larder, shared, registry, built_images
):
    node = make_larder(**shared, flags=EVERY_SECOND)
    detail = pulling.push_and_pull(node, registry, built_images["shared-one"], "sweep/kept:1")
    kept = pulling.published_files(node)
    path = orphan(node)
    (node.blob_dir / "fsmeta" / path.name).write_bytes(b"x")
    (node.blob_dir / "vmdk" / f"{path.stem}.vmdk").write_bytes(b"x")
    wait_until(lambda: pulling.published_files(node) == kept, "all three orphans are gone")

    def told():
        lines = node.log().rpartition("\n")[0].splitlines()
        return sum(json.loads(line).get("condemned", 0) for line in lines)

    wait_until(lambda: told() >= 3, "they are told of")
    assert told() == 3
    assert pulling.inspect(node, detail["handle"]["reference"]) == detail


def test_a_young_orphan_stays(make_larder, shared):
    node = make_larder(**shared, flags=["--sweep-seconds", "1"])
    path = orphan(node)
    wait_for_sweeps(node, 2)
    assert path.exists() and not condemned(shared), "the grace period is an hour"


def test_a_file_that_a_pull_has_published_and_not_yet_catalogued_stays(make_larder, shared):
    node = make_larder(**shared, flags=EVERY_SECOND)
    path = orphan(node)
    with filelock.held(shared["database"], path):
        time.sleep(1.1)
        wait_for_sweeps(node, 2)
        assert path.exists() and not condemned(shared), "its lock is taken"
    wait_until(lambda: not path.exists(), "the orphan goes once its lock is free")


def test_an_orphan_whose_layer_is_pulled_is_built_anew(
    make_larder, shared, registry, built_images
):
    """Condemned without a digest to check it by, it is not rescued."""
    node = make_larder(**shared)
    image = built_images["bare"]
    diff_id = image.config()["rootfs"]["diff_ids"][0]
    path = node.blob_dir / "layers" / f"{diff_id.replace(':', '_')}.erofs"
    path.write_bytes(b"not what it should be" * 1000)
    sql(
        shared["database"],
        f"INSERT INTO condemned_files (kind, digest) VALUES ('layer', '{diff_id}')",
    )
    pulling.push_and_pull(node, registry, image, "sweep/anew:1")
    assert path.read_bytes()[1024:1028] == b"\xe2\xe1\xf5\xe0", "an EROFS super block"
    assert not condemned(shared)


def test_other_names_stay_and_are_told(make_larder, shared):
    node = make_larder(**shared, flags=EVERY_SECOND)
    names = ["layers/README", f"layers/sha256_{'0' * 64}.erofs.part", f"vmdk/sha256_{'0' * 64}"]
    for name in names:
        (node.blob_dir / name).write_bytes(b"x")
    lock = orphan(node).with_suffix(".erofs.lock")  # of a microsandbox host
    lock.touch()
    time.sleep(1.1)
    wait_for_sweeps(node, 2)
    assert all((node.blob_dir / name).exists() for name in names) and lock.exists()
    assert '"event":"files of other names in the blob directory","files":3' in node.log()


def test_strays_under_tmp_go_and_drafts_of_nodes_stay(make_larder, shared):
    node = make_larder(**shared, flags=EVERY_SECOND)
    tmp = node.blob_dir / "tmp"
    (tmp / "blob.work").mkdir()
    strays = [tmp / "blob.part", tmp / "blob.work" / "data"]
    for stray in strays:
        stray.write_bytes(b"x")
    draft = tmp / sql(shared["database"], "SELECT id FROM nodes")[0][0] / "layer-99"
    draft.parent.mkdir(exist_ok=True)
    draft.write_bytes(b"x")
    wait_until(lambda: not (tmp / "blob.work").exists(), "the strays' directory is gone")
    assert not any(stray.exists() for stray in strays)
    assert draft.exists(), "a running node's own"


def test_an_image_that_the_catalogue_lost_keeps_all_orphans(
    make_larder, shared, postgres, registry, built_images
):
    first = make_larder(**shared)
    pulling.push_and_pull(first, registry, built_images["shared-one"], "sweep/lost:1")
    before = pulling.published_files(first)
    first.close()
    (shared["blob_dir"] / "larder.id").unlink()  # no node takes another catalogue's directory
    empty = postgres.create_database("sweep_lost")
    node = make_larder(database=empty, blob_dir=shared["blob_dir"], flags=EVERY_SECOND)
    time.sleep(1.1)
    wait_for_sweeps(node, 2)
    assert pulling.published_files(node) == before
    assert not sql(empty, "SELECT digest FROM condemned_files")
    assert '"event":"images in the blob directory that the catalogue lacks","images":1' in node.log()


def test_an_image_that_was_lost_young_keeps_its_old_layers(
    make_larder, shared, postgres, registry, built_images
):
    first = make_larder(**shared)
    pulling.push_and_pull(first, registry, built_images["shared-one"], "sweep/young:1")
    before = pulling.published_files(first)
    first.close()
    time.sleep(5.1)
    next((shared["blob_dir"] / "manifests").iterdir()).touch()
    (shared["blob_dir"] / "larder.id").unlink()
    empty = postgres.create_database("sweep_young")
    flags = ["--sweep-seconds", "1", "--grace-seconds", "5"]
    node = make_larder(database=empty, blob_dir=shared["blob_dir"], flags=flags)
    wait_for_sweeps(node, 3)
    assert pulling.published_files(node) == before
    assert not sql(empty, "SELECT digest FROM condemned_files")


ROUNDS = """
    CREATE TABLE rounds (begun_at timestamptz);
    CREATE FUNCTION write_round() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO rounds VALUES (new.begun_at);
        RETURN NULL;
    END $$;
    CREATE TRIGGER write_round AFTER INSERT OR UPDATE ON chores
        FOR EACH ROW WHEN (new.name = 'sweep') EXECUTE FUNCTION write_round();"""

SHORTEST = """
    SELECT extract(epoch FROM min(gap))
      FROM (SELECT begun_at - lag(begun_at) OVER (ORDER BY begun_at) AS gap FROM rounds) gaps"""


def test_one_node_sweeps_for_all(make_larder, shared):
    subprocess.run([program(), "migrate", "--database", shared["database"]], check=True)
    sql(shared["database"], ROUNDS)
    nodes = [make_larder(**shared, flags=["--sweep-seconds", "2"]) for _ in range(3)]
    wait_until(lambda: sum(sweeps(node) for node in nodes) >= 3, "the third sweep")
    swept = sum(sweeps(node) for node in nodes)
    rounds = int(sql(shared["database"], "SELECT count(*) FROM rounds")[0][0])
    assert swept <= rounds, "each round is one node's"
    assert float(sql(shared["database"], SHORTEST)[0][0]) >= 2, "nodes take turns"
