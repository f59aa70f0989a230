"""A node and a blob directory that do not belong together."""

import subprocess

import pytest
from larder import program


@pytest.fixture
def shared(database, new_directory, make_larder):
    """What a first node left, and has stopped with."""
    shared = {"database": database, "blob_dir": new_directory("shared")}
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
