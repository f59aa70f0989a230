"""Prunes of many images: figures over several nodes, and nobody who waits behind them."""

import concurrent.futures
import itertools
import json
import threading
import time

import pytest

import bulk
import filelock
import pulling
from daemons import wait_until
from postgres import sql

NUMBERS = itertools.count(1)
OLD_AND_NEW = "now() - CASE n % 2 WHEN 0 THEN interval '1 day' ELSE interval '0' END"


@pytest.fixture
def fleet(postgres, make_larder, new_directory):
    """Two nodes, and 600 images in their cache, of which every second was not used today."""
    database = postgres.create_database(f"prune_many_{next(NUMBERS)}")
    blobs = new_directory("blobs")
    nodes = [make_larder(database=database, blob_dir=blobs) for _ in range(2)]
    bulk.fill(database, blobs, 600, used=OLD_AND_NEW)
    return nodes


def prune(node, **body):
    answer = node.post("/images:prune", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_prune_counts_what_the_reapers_of_all_nodes_unlinked(fleet):
    one, other = fleet
    before = pulling.allocated_bytes(one)
    reports = []
    ended = threading.Event()

    def help_out():
        """Empty prunes, which make this node's reaper take what the first one condemned."""
        while not ended.is_set():
            reports.append(prune(other, reference="nothing.example/*"))

    with concurrent.futures.ThreadPoolExecutor() as threads:
        helper = threads.submit(help_out)
        report = prune(one, unused_for_seconds=3600)
        ended.set()
        helper.result()

    freed = before - pulling.allocated_bytes(one)
    assert report == {
        "image_refs_removed": 300,
        "manifests_removed": 300,
        "layers_removed": 900,
        "fsmeta_removed": 300,
        "vmdk_removed": 300,
        "bytes_reclaimed": freed,
        "dry_run": False,
    }
    assert all(other_report["bytes_reclaimed"] == 0 for other_report in reports)
    left = {name for name, _ in bulk.file_names(600)} & pulling.published_files(one)
    assert len(left) == bulk.base_count(600) + 300 * (bulk.OWN_LAYERS + 3), "the others stay"


def test_a_dry_run_of_many_estimates_what_goes(fleet):
    planned = prune(fleet[0], dry_run=True, unused_for_seconds=3600)
    before = pulling.allocated_bytes(fleet[0])
    report = prune(fleet[0], unused_for_seconds=3600)
    assert before - pulling.allocated_bytes(fleet[0]) == report["bytes_reclaimed"]
    assert planned == {**report, "dry_run": True}


def rows_read(node):
    """Of condemned_files. A connection tells it when it ends."""
    others = """
        SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'
           AND datname = current_database() AND pid <> pg_backend_pid()"""
    wait_until(lambda: sql(node.database, others) == [["0"]], "its connections are gone")
    read = "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_user_tables"
    return int(sql(node.database, f"{read} WHERE relname = 'condemned_files'")[0][0])


def test_a_batch_reads_no_more_than_its_own_rows(fleet):
    """Also when PostgreSQL planned for the table as it mostly is: it would read all of it for each
    batch, which of 300,000 files took a second for 256."""
    one, other = fleet
    other.stop()
    sql(one.database, "VACUUM ANALYZE condemned_files")
    for number in range(10):  # PostgreSQL keeps a plan from the sixth time on
        assert one.delete(f"/images/{bulk.reference(number + 1)}").status_code == 204
        prune(one, reference="nothing.example/*")
    report = prune(one)
    files = report["layers_removed"] + 3 * report["manifests_removed"]
    one.stop()
    assert rows_read(one) < 6 * files, f"{files} files went"


def test_a_prune_that_waits_for_a_busy_file_keeps_nobody_and_ends(fleet):
    node = fleet[0]
    busy = sorted(name for name in pulling.published_files(node) if name.startswith("layers/"))[9]
    with filelock.held(node.database, node.blob_dir / busy):
        with concurrent.futures.ThreadPoolExecutor() as threads:
            pruning = threads.submit(prune, node)
            while not pruning.done():
                assert node.get("/readyz").status_code == 200
                time.sleep(0.05)
        left = pulling.published_files(node)
        assert left == {busy}, "what was busy is left"
    assert pruning.result()["layers_removed"] == bulk.base_count(600) + 600 * bulk.OWN_LAYERS
    prune(node)
    assert not pulling.published_files(node), "and goes with the next pass"


def test_a_node_that_stops_does_not_wait_for_its_prune(fleet):
    node = fleet[0]
    with concurrent.futures.ThreadPoolExecutor() as threads:
        pruning = threads.submit(prune, node)
        while not sql(node.database, "SELECT 1 FROM condemned_files LIMIT 1"):
            if pruning.done():
                break
        node.stop()
        assert pruning.result()["image_refs_removed"] == 600
    prune(fleet[1])
    assert not pulling.published_files(fleet[1]), "the other node goes on"


def test_prunes_are_logged_with_their_time(fleet):
    prune(fleet[0])
    wait_until(lambda: '"event":"pruned"' in fleet[0].log(), "it is logged")
    lines = [json.loads(line) for line in fleet[0].log().splitlines() if line.startswith("{")]
    pruned = [line for line in lines if line["event"] == "pruned"]
    assert [line["references"] for line in pruned] == [600]
    assert pruned[0]["transaction_us"] > 0
    reaped = [line for line in lines if line["event"] == "reaped"]
    assert sum(line["files"] for line in reaped) == bulk.base_count(600) + 600 * (
        bulk.OWN_LAYERS + 2
    )
