"""A reaper that stands still in the middle of its files, and goes on when their locks are another's."""

import concurrent.futures
import os
import signal

import invariants
import pytest
from daemons import is_stopped, wait_until
from postgres import sql
from pulling import pull, push_and_pull

# A reaper's connection is in a transaction for as long as it unlinks.
END_REAPERS = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
 WHERE datname = current_database() AND state = 'idle in transaction'"""


@pytest.fixture
def own_database(postgres):
    yield postgres.create_database("reaper_stopped")
    postgres.drop_database("reaper_stopped")


def test_it_unlinks_no_file_that_was_rescued_meanwhile(
    own_database, new_directory, make_larder, registry, built_images
):
    blob_dir = new_directory("reaper-stopped")
    share = {"database": own_database, "blob_dir": blob_dir}
    reaps = make_larder(**share, environment={"LARDER_STOP_AT": "reap.unlinked"})
    other = make_larder(**share)
    push_and_pull(other, registry, built_images["shared-one"], "reaper/stopped:1")
    reference = f"{registry}/reaper/stopped:1"
    with concurrent.futures.ThreadPoolExecutor(1) as threads:
        removing = threads.submit(reaps.delete, f"/images/{reference}")
        try:
            wait_until(lambda: is_stopped(reaps.pid), "it has unlinked the first of them")
            left = set(invariants.published(blob_dir))
            assert left, "the others are still there"
            assert sql(own_database, END_REAPERS), "as PostgreSQL does with a node that is silent"
            layers = pull(other, reference)["layers"]
            assert "reused" in [layer["state"] for layer in layers], "it is rescued"
        finally:
            os.kill(reaps.pid, signal.SIGCONT)
        assert removing.result().status_code == 204, "the image is gone, whoever unlinks"
    assert "reaping left for later" in reaps.log(), "it could not go on"
    invariants.check(own_database, blob_dir)
    assert left < set(invariants.published(blob_dir)), "all that was there, and the first of them again"
