"""The scrub: damage that nobody asked about is found, put aside and mended."""

import json

import pytest

import invariants
import pulling
from daemons import wait_until
from postgres import sql

FAST = ["--scrub-bytes-per-second", "1GiB"]
NUMBERS = iter(range(1, 1000))


@pytest.fixture
def shared(postgres, new_directory):
    name = f"scrub_{next(NUMBERS)}"
    yield {"database": postgres.create_database(name), "blob_dir": new_directory("scrubbed")}
    postgres.drop_database(name)


def make_due(shared):
    for table in ("layers", "manifests"):
        sql(shared["database"], f"UPDATE {table} SET scrubbed_at = NULL")


def due(shared):
    ask = "SELECT count(*) FROM (SELECT scrubbed_at FROM layers UNION ALL SELECT scrubbed_at"
    return int(sql(shared["database"], f"{ask} FROM manifests) x WHERE scrubbed_at IS NULL")[0][0])


def damage_told(node):
    lines = [json.loads(line) for line in node.log().splitlines()]
    return [line for line in lines if line["event"] == "damaged file"]


def pulled(make_larder, shared, registry, built_images, name):
    """An image, pulled by a node that is gone."""
    node = make_larder(**shared)
    detail = pulling.push_and_pull(node, registry, built_images["shared-two"], name)
    node.close()
    return detail


def metric(node, name):
    lines = [line for line in node.get("/metrics").text.splitlines() if line.startswith(name)]
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines)


@pytest.mark.parametrize("which", ["layers", "fsmeta", "vmdk", "manifests"])
def test_a_flipped_bit_is_found_put_aside_and_mended(
    make_larder, shared, registry, built_images, which
):
    detail = pulled(make_larder, shared, registry, built_images, f"scrub/{which}:1")
    if which == "manifests":
        path = next((shared["blob_dir"] / "manifests").iterdir())
    else:
        file = detail["files"][which]
        path = shared["blob_dir"] / (file[1] if which == "layers" else file)["path"]
    whole = path.read_bytes()
    damaged = bytearray(whole)
    damaged[len(whole) // 2] ^= 1
    path.write_bytes(damaged)
    make_due(shared)
    node = make_larder(**shared, flags=FAST)
    wait_until(lambda: damage_told(node), "the damage is told")
    told = damage_told(node)[0]
    assert (told["path"], told["problem"]) == (
        str(path.relative_to(shared["blob_dir"])),
        "damaged",
    )
    assert (shared["blob_dir"] / told["quarantined"]).read_bytes() == damaged
    assert told["reference"] == f"{registry}/scrub/{which}:1"
    state = f"/pulls/{told['pull_id']}"
    wait_until(lambda: node.get(state).json()["state"] == "done", "its pull rebuilds it")
    assert path.read_bytes() == whole
    assert metric(node, "larder_damaged_files_total") == 1
    invariants.check(**shared)


def test_a_missing_file_is_found_and_mended(make_larder, shared, registry, built_images):
    detail = pulled(make_larder, shared, registry, built_images, "scrub/missing:1")
    path = shared["blob_dir"] / detail["files"]["layers"][0]["path"]
    path.unlink()
    make_due(shared)
    node = make_larder(**shared, flags=FAST)
    wait_until(path.exists, "the layer is back")
    assert damage_told(node)[0]["problem"] == "missing"


def test_each_file_is_read_by_one_node_and_not_again_today(
    make_larder, shared, registry, built_images
):
    detail = pulled(make_larder, shared, registry, built_images, "scrub/once:1")
    make_due(shared)
    nodes = [make_larder(**shared, flags=FAST) for _ in range(2)]
    wait_until(lambda: due(shared) == 0, "all rows were scrubbed")
    files = len(detail["files"]["layers"]) + 3

    def read():
        return sum(metric(node, "larder_scrubbed_files_total") for node in nodes)

    wait_until(lambda: read() == files, f"{files} files were read")
    assert sum(metric(node, "larder_scrubbed_bytes_total") for node in nodes) > 0
    assert not any(damage_told(node) for node in nodes)


def test_a_scrub_that_is_stopped_in_a_file_leaves_it_due(
    make_larder, shared, registry, built_images
):
    pulled(make_larder, shared, registry, built_images, "scrub/stopped:1")
    make_due(shared)
    rows = due(shared)
    node = make_larder(**shared, flags=["--scrub-bytes-per-second", "1KiB"])
    wait_until(lambda: due(shared) == rows - 1, "a row was taken up")
    node.stop()
    assert due(shared) == rows


def test_without_a_rate_nothing_is_read(make_larder, shared, registry, built_images):
    pulled(make_larder, shared, registry, built_images, "scrub/off:1")
    make_due(shared)
    rows = due(shared)
    node = make_larder(**shared, flags=["--scrub-bytes-per-second", "0"])
    pulling.push_and_pull(node, registry, built_images["bare"], "scrub/other:1")
    assert metric(node, "larder_scrubbed_files_total") == 0 and due(shared) == rows
