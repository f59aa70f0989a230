"""Loads whose node dies, that are cancelled, and that meet pulls and prunes."""

import threading
import time

import pytest

import archives
import images
import pulling
from daemons import Stopped, wait_until
from erofsmount import fsck
from postgres import Postgres
from problems import expect_problem


@pytest.fixture(scope="module")
def debian(debian_tree, new_directory):
    """An image whose load takes long enough to be interrupted."""
    builder = images.Builder(new_directory("debian-layout"))
    tar = images.tar_of_tree(debian_tree)
    note = [images.file(b"etc/larder", b"second layer\n")]
    return builder.add_tars("debian", [tar, images.tar_of(images.Layer(tuple(note)))])


@pytest.fixture(scope="module")
def archive(debian, new_directory):
    directory = new_directory("debian-archive")
    directory.mkdir()
    return archives.skopeo(debian, "docker-archive", directory / "a.tar", "q.io/crash/debian:12")


REFERENCE = "q.io/crash/debian:12"


class Sender(threading.Thread):
    """Loads on a thread of its own; `answer` is None when the connection broke."""

    def __init__(self, larder, data, **query):
        super().__init__()
        self.larder, self.data, self.query = larder, data, query
        self.answer = None
        self.start()

    def run(self):
        try:
            self.answer = self.larder.post("/images:load", data=self.data, params=self.query)
        except OSError:
            pass


def newest_pull(larder):
    pulls = larder.get("/pulls", params={"limit": 1}).json()["pulls"]
    return pulls[0] if pulls else None


def wait_state(larder, *states, seconds=60):
    wait_until(
        lambda: (pull := newest_pull(larder)) and pull["state"] in states,
        f"the load is {states}",
        seconds,
    )
    return newest_pull(larder)


def wait_for_a_layer(larder):
    """That one is built, another still under way."""
    wait_until(
        lambda: (pull := newest_pull(larder))
        and "done" in [layer["state"] for layer in pull["layers"]],
        "a layer is built",
    )
    assert newest_pull(larder)["state"] == "fetching"


def assert_no_half_file(larder):
    for name in pulling.published_files(larder):
        if name.startswith("layers/"):
            assert fsck(str(larder.blob_dir / name)) == "", f"{name} is not whole"


def assert_whole(larder, image, directory):
    detail = pulling.inspect(larder, REFERENCE)
    expected = images.expected_tree(image)
    for view, found in pulling.trees(larder, detail, directory):
        assert found == expected, f"{view}:\n{pulling.differences(expected, found)}"


def test_a_node_killed_in_a_load_leaves_no_half_file_and_the_next_load_succeeds(
    make_larder, archive, debian, tmp_path
):
    larder = make_larder()
    for delay_seconds in (0.1, 0.5, 1.0, 2.0, 3.0):
        sender = Sender(larder, archive)
        time.sleep(delay_seconds)
        larder.kill9()
        sender.join()
        assert_no_half_file(larder)
        larder.start()
    archives.load(larder, archive)
    assert_whole(larder, debian, tmp_path)
    wait_until(lambda: not pulling.drafts(larder.blob_dir), "what the killed nodes left under tmp/ is gone", 90)
    wait_until(
        lambda: {pull["state"] for pull in larder.get("/pulls").json()["pulls"]}
        <= {"done", "failed"},
        "no load is left half done",
        30,
    )


def test_nobody_takes_over_the_load_of_a_killed_node(
    make_larder, postgres, new_directory, archive, debian, tmp_path
):
    shared = {
        "database": postgres.create_database("load_lost"),
        "blob_dir": new_directory("load-lost-blobs"),
    }
    one, two = make_larder(**shared), make_larder(**shared)
    sender = Sender(one, archive)
    wait_for_a_layer(two)
    one.kill9()
    sender.join()
    pull = wait_state(two, "failed", seconds=30)
    assert pull["policy"] == "load"
    assert "send it again" in pull["error"]["detail"], pull
    assert not pulling.published_files(two), "what it had built is gone"
    archives.load(two, archive)
    assert_whole(two, debian, tmp_path)


def test_a_node_that_was_taken_for_dead_in_a_load_says_so(make_larder, postgres, new_directory, archive):
    """Nobody cancelled it."""
    shared = {
        "database": postgres.create_database("load_taken_for_dead"),
        "blob_dir": new_directory("load-taken-for-dead-blobs"),
    }
    hangs, other = make_larder(**shared), make_larder(**shared)
    sender = Sender(hangs, archive)
    wait_state(other, "fetching")
    with Stopped([hangs.pid]):
        wait_state(other, "failed", seconds=30)
    sender.join()
    problem = expect_problem(sender.answer, 503, "CatalogueUnavailable")
    assert "taken for dead" in problem["detail"] and "send the archive again" in problem["detail"]
    assert sender.answer.headers["Retry-After"] == "1"
    # The other node may be ending the connections that it had while it slept: 503, Retry-After.
    wait_until(
        lambda: hangs.post("/images:load", data=archive).status_code == 200, "it loads as before"
    )


def test_a_cancelled_load_is_told_and_leaves_nothing(make_larder, archive):
    larder = make_larder()
    sender = Sender(larder, archive)
    pull = wait_state(larder, "fetching")
    assert larder.delete(f"/pulls/{pull['id']}").status_code == 204
    sender.join()
    expect_problem(sender.answer, 409, "PullCancelled")
    assert larder.get(f"/pulls/{pull['id']}").json()["state"] == "cancelled"
    assert larder.get("/images").json()["images"] == []
    assert pulling.drafts(larder.blob_dir) == []
    wait_until(lambda: not pulling.published_files(larder), "its layers go")


def test_a_cancel_of_one_image_does_not_wait_for_another(make_larder, debian_tree):
    """Nor is the other built for nothing."""
    note = images.tar_of(images.Layer((images.file(b"note", b"small\n"),)))
    both = [
        (["q.io/crash/large:1"], [images.tar_of_tree(debian_tree)]),
        (["q.io/crash/small:1"], [note]),
    ]
    larder = make_larder()
    sender = Sender(larder, archives.docker_save(both).data())
    wait_until(lambda: len(larder.get("/pulls").json()["pulls"]) == 2, "both are begun")
    small = wait_state(larder, "fetching")
    assert small["reference"] == "q.io/crash/small:1"
    assert larder.delete(f"/pulls/{small['id']}").status_code == 204
    sender.join()
    expect_problem(sender.answer, 409, "PullCancelled")
    pulls = larder.get("/pulls").json()["pulls"]
    assert [pull["state"] for pull in pulls] == ["cancelled", "cancelled"]
    assert [layer["state"] for layer in pulls[1]["layers"]] != ["done"]


def test_a_load_is_followed_like_a_pull(make_larder, archive):
    larder = make_larder()
    sender = Sender(larder, archive)
    pull = wait_state(larder, "fetching")
    with larder.get(f"/pulls/{pull['id']}/events", stream=True) as events:
        text = events.raw.read().decode()
    sender.join()
    assert sender.answer.status_code == 200
    assert "event: done" in text, text[-500:]
    done = larder.get(f"/pulls/{pull['id']}").json()
    assert [layer["state"] for layer in done["layers"]] == ["done", "done"]
    assert all(layer["received_bytes"] == layer["total_bytes"] for layer in done["layers"])


def test_a_pull_and_a_load_of_one_image_at_once_build_each_layer_once(
    make_larder, registry, debian, archive
):
    larder = make_larder()
    images.push_to(registry, debian, "crash/debian:12")
    sender = Sender(larder, archive)
    wait_state(larder, "fetching")
    pulling.pull(larder, f"{registry}/crash/debian:12")
    sender.join()
    assert sender.answer.status_code == 200
    pulls = larder.get("/pulls").json()["pulls"]
    states = sorted(layer["state"] for pull in pulls for layer in pull["layers"])
    assert states == ["done", "done", "reused", "reused"]


def test_no_prune_takes_what_a_running_load_has_built(make_larder, archive, debian, tmp_path):
    larder = make_larder()
    sender = Sender(larder, archive)
    while sender.is_alive():
        assert larder.post("/images:prune", json={"reference": "nothing*"}).status_code == 200
    sender.join()
    assert sender.answer.status_code == 200, sender.answer.text
    assert_whole(larder, debian, tmp_path)


def test_two_loads_of_one_archive_at_once_both_succeed(make_larder, archive, debian, tmp_path):
    larder = make_larder()
    senders = [Sender(larder, archive), Sender(larder, archive)]
    for sender in senders:
        sender.join()
        assert sender.answer.status_code == 200, sender.answer.text
    pulls = larder.get("/pulls").json()["pulls"]
    states = sorted(layer["state"] for pull in pulls for layer in pull["layers"])
    assert states == ["done", "done", "reused", "reused"]
    assert_whole(larder, debian, tmp_path)


def test_a_load_without_its_catalogue_fails_and_is_not_running_for_ever(
    make_larder, new_directory, archive
):
    server = Postgres(new_directory("load-restarted")).start()
    try:
        larder = make_larder(database=server.create_database("load_restarted"))
        sender = Sender(larder, archive)
        wait_for_a_layer(larder)
        server.kill9()
        sender.join()
        expect_problem(sender.answer, 503, "CatalogueUnavailable")
        server.start()
        wait_until(lambda: larder.get("/readyz").status_code == 200, "the node is ready again", 30)
        pull = wait_state(larder, "failed", seconds=30)
        assert "send it again" in pull["error"]["detail"]
        assert pulling.drafts(larder.blob_dir) == []
        assert not pulling.published_files(larder), "what it had built is gone"
        archives.load(larder, archive)
        larder.close()
    finally:
        server.close()
