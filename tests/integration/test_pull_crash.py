"""Nodes, and their PostgreSQL, that die in the middle of a pull."""

import time

import pytest

import images
import pulling
from daemons import wait_until
from erofsmount import fsck
from postgres import Postgres


@pytest.fixture(scope="module")
def debian(debian_tree, new_directory):
    """An image whose pull takes long enough to be interrupted."""
    builder = images.Builder(new_directory("debian-layout"))
    tar = images.tar_of_tree(debian_tree)
    note = [images.file(b"etc/larder", b"second layer\n")]
    return builder.add_tars("debian", [tar, images.tar_of(images.Layer(tuple(note)))])


@pytest.fixture(scope="module")
def reference(registry, debian):
    images.push_to(registry, debian, "crash/debian:12")
    return f"{registry}/crash/debian:12"


def assert_no_half_file(larder):
    for name in pulling.published_files(larder):
        if name.startswith("layers/"):
            assert fsck(str(larder.blob_dir / name)) == "", f"{name} is not whole"


def assert_whole(larder, reference, image, directory):
    detail = pulling.inspect(larder, reference)
    expected = images.expected_tree(image)
    for view, found in pulling.trees(larder, detail, directory):
        assert found == expected, f"{view}:\n{pulling.differences(expected, found)}"


def test_a_node_killed_in_a_pull_leaves_no_half_file_and_the_pull_succeeds(
    make_larder, reference, debian, tmp_path
):
    larder = make_larder()
    for delay_seconds in (0.1, 0.4, 0.8, 1.6):
        larder.post("/images:pull", json={"reference": reference})
        time.sleep(delay_seconds)
        larder.kill9()
        assert_no_half_file(larder)
        larder.start()
    pulling.pull(larder, reference)
    assert_whole(larder, reference, debian, tmp_path)
    wait_until(lambda: not pulling.drafts(larder.blob_dir), "what the killed nodes left under tmp/ is gone", 90)


def test_another_node_takes_over_the_pull_of_a_killed_one(
    make_larder, postgres, new_directory, reference, debian, tmp_path
):
    shared = {
        "database": postgres.create_database("take_over"),
        "blob_dir": new_directory("take-over-blobs"),
    }
    nodes = [make_larder(**shared), make_larder(**shared)]
    path = nodes[0].post("/images:pull", json={"reference": reference}).headers["Location"]
    runs = lambda node: '"pull resolved"' in node.log()  # noqa: E731
    wait_until(lambda: any(map(runs, nodes)), "a node took the pull up")
    nodes.sort(key=runs)
    other, dying = nodes
    dying.kill9()
    ended = lambda: other.get(path).json()["finished_at"]  # noqa: E731
    assert not ended(), "it was too fast to be taken over"
    wait_until(ended, "the pull ends", 60)
    assert other.get(path).json()["state"] == "done"
    assert runs(other)
    assert_whole(other, reference, debian, tmp_path)


def test_a_layer_wanted_on_two_nodes_at_once_is_built_once(
    make_larder, postgres, new_directory, registry, debian
):
    shared = {
        "database": postgres.create_database("built_once"),
        "blob_dir": new_directory("built-once-blobs"),
    }
    nodes = [make_larder(**shared, flags=["--pull-jobs", "1"]) for _ in range(2)]
    for name in ("once/a:1", "once/b:1"):
        images.push_to(registry, debian, name)
    for node, name in zip(nodes, ("once/a:1", "once/b:1")):
        node.post("/images:pull", json={"reference": f"{registry}/{name}"})
    finished = [
        pulling.pull(node, f"{registry}/{name}")
        for node, name in zip(nodes, ("once/a:1", "once/b:1"))
    ]
    pulls = nodes[0].get("/pulls").json()["pulls"]
    states = [layer["state"] for pull in pulls for layer in pull["layers"]]
    assert sorted(states) == ["done", "done", "reused", "reused"], finished


def test_a_pull_survives_a_restart_of_postgresql(
    make_larder, new_directory, reference, debian, tmp_path
):
    server = Postgres(new_directory("restarted")).start()
    try:
        larder = make_larder(database=server.create_database("restarted"))
        started = larder.post("/images:pull", json={"reference": reference}).json()
        time.sleep(0.5)
        server.kill9()
        assert larder.get("/images").status_code == 503
        assert larder.get("/readyz").status_code == 503
        assert larder.get("/healthz").status_code == 200
        server.start()
        wait_until(lambda: larder.get("/readyz").status_code == 200, "the node is ready again", 30)
        wait_until(
            lambda: larder.get(f"/pulls/{started['id']}").json()["state"] in ("done", "failed"),
            "the pull ends",
            60,
        )
        assert larder.get(f"/pulls/{started['id']}").json()["state"] == "done"
        assert_whole(larder, reference, debian, tmp_path)
        larder.close()
    finally:
        server.close()


def test_a_cancelled_pull_ends_within_a_second_or_so_and_leaves_nothing(make_larder, reference):
    larder = make_larder()
    started = larder.post("/images:pull", json={"reference": reference}).json()
    where = f"/pulls/{started['id']}"
    wait_until(lambda: larder.get(where).json()["state"] == "fetching", "the pull fetches")
    assert larder.delete(where).status_code == 204
    wait_until(lambda: larder.get(where).json()["state"] == "cancelled", "the pull ends", 10)
    assert larder.get("/images").json()["images"] == []
    assert pulling.drafts(larder.blob_dir) == []
    assert_no_half_file(larder)
