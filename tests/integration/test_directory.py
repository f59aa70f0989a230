"""A node and a blob directory that do not belong together."""

import subprocess
import time

import pytest
from daemons import wait_until
from larder import program
from postgres import sql


@pytest.fixture
def shared(postgres, new_directory, make_larder):
    """What a first node left, and has stopped with."""
    blob_dir = new_directory("shared")
    database = postgres.create_database(f"directory_{blob_dir.name}")
    shared = {"database": database, "blob_dir": blob_dir}
    make_larder(**shared).stop()
    return shared


def run(command, *flags, database, blob_dir):
    words = [program(), command, "--database", database, "--blob-dir", blob_dir, *flags]
    return subprocess.run(words, capture_output=True, text=True, timeout=60)


def test_a_node_in_front_of_an_empty_mount_point_says_so_and_stops(shared, new_directory):
    elsewhere = new_directory("not-mounted")
    done = run("serve", "--listen", "127.0.0.1:0", **shared | {"blob_dir": elsewhere})
    assert done.returncode == 1 and "is the shared directory mounted there?" in done.stderr
    assert not (elsewhere / "larder.id").exists()
    adopted = run("fsck", "--adopt-directory", **shared | {"blob_dir": elsewhere})
    assert adopted.returncode == 0, adopted.stderr
    assert run("fsck", **shared | {"blob_dir": elsewhere}).returncode == 0
    done = run("serve", "--listen", "127.0.0.1:0", **shared)
    assert done.returncode == 1 and "is not the one of this catalogue" in done.stderr


def test_what_nodes_left_goes_but_not_of_one_that_may_be_starting(shared, make_larder):
    """The directories are looked at in this order, so when the last is gone, all were."""
    begun, starting, last, dead = (
        shared["blob_dir"] / "tmp" / f"{number:08}-0000-4000-8000-000000000000"
        for number in (1, 2, 3, 4)
    )
    sql(
        shared["database"],
        "INSERT INTO nodes (id, hostname, version, heartbeat_at)"
        f" VALUES ('{dead.name}', 'h', '1', now() - interval '1 minute')",
    )
    for directory in (begun, last, dead):
        directory.mkdir()
        (directory / "probe").touch()
    time.sleep(10.5)  # longer than a start takes
    starting.mkdir()
    (starting / "probe").touch()
    make_larder(**shared)
    wait_until(lambda: not last.exists(), "nobody registered it in time")
    assert not begun.exists() and (starting / "probe").exists()
    wait_until(lambda: not dead.exists(), "the dead node's drafts go, once the new one may judge")
