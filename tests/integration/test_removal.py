"""Delete and prune: what goes, what stays, and that the figures are true."""

import itertools
import time

import pytest

import images
import pulling
from daemons import wait_until
from postgres import sql

NUMBERS = itertools.count(1)


@pytest.fixture
def node(postgres, make_larder):
    """A node over a database of its own, since prunes take everything."""
    name = f"removal_{next(NUMBERS)}"
    yield make_larder(database=postgres.create_database(name))


@pytest.fixture
def cache(node, registry, built_images):
    """An empty cache."""

    class Cache:
        larder = node

        def pull(self, image, name):
            return pulling.push_and_pull(node, registry, built_images[image], name)

        def reference(self, name):
            return f"{registry}/{name}"

        def delete(self, name, **query):
            return node.delete(f"/images/{registry}/{name}", params=query)

        def prune(self, **body):
            answer = node.post("/images:prune", json=body)
            assert answer.status_code == 200, answer.text
            return answer.json()

        def hold(self, sandbox, name, **more):
            rootfs = {"type": "oci", "reference": self.reference(name)}
            body = {"host": "h1", "rootfs": rootfs, **more}
            answer = node.put(f"/sandboxes/{sandbox}", json=body)
            assert answer.status_code in (200, 201), answer.text
            return answer.json()

        def is_listed(self, name):
            answer = node.get("/images", params={"reference": self.reference(name)})
            return len(answer.json()["images"]) > 0

    return Cache()


def files_of(detail):
    files = detail["files"]
    return {file["path"] for file in (files["fsmeta"], files["vmdk"], *files["layers"])}


def test_a_deleted_image_is_gone_with_its_files(cache):
    detail = cache.pull("shared-one", "gone:1")
    assert files_of(detail) <= pulling.published_files(cache.larder)
    assert cache.delete("gone:1").status_code == 204
    answer = cache.larder.get(f"/images/{cache.reference('gone:1')}")
    assert (answer.status_code, answer.json()["code"]) == (404, "ImageNotFound")
    assert pulling.published_files(cache.larder) == set(), "nothing is left in the directory"
    assert cache.delete("gone:1").status_code == 404


def test_a_deleted_image_leaves_no_config(cache):
    database = cache.larder.database
    cache.pull("shared-one", "removal/config:1")
    cache.pull("shared-two", "removal/config:2")
    assert cache.delete("removal/config:1").status_code == 204
    configs = "SELECT count(*) FROM configs"
    wait_until(lambda: sql(database, configs) == [["1"]], "the other's config is left", 45)


def test_a_file_that_cannot_be_unlinked_does_not_keep_the_others(cache):
    detail = cache.pull("shared-one", "removal/stuck:1")
    stuck = cache.larder.blob_dir / detail["files"]["fsmeta"]["path"]
    stuck.unlink()
    stuck.mkdir()  # which unlink(2) refuses
    assert cache.delete("removal/stuck:1").status_code == 204
    assert not pulling.published_files(cache.larder)
    stuck.rmdir()


def test_a_layer_shared_by_two_images_survives_the_removal_of_one(cache, tmp_path, built_images):
    cache.pull("shared-one", "one:1")
    two = cache.pull("shared-two", "two:1")
    assert cache.delete("one:1").status_code == 204
    assert files_of(two) <= pulling.published_files(cache.larder)
    expected = images.expected_tree(built_images["shared-two"])
    for view, found in pulling.trees(cache.larder, two, tmp_path):
        assert found == expected, f"{view}:\n{pulling.differences(expected, found)}"


def test_removing_one_of_two_tags_of_a_manifest_leaves_the_other_whole(cache):
    cache.pull("busybox", "tags:one")
    other = cache.pull("busybox", "tags:two")
    assert cache.delete("tags:one").status_code == 204
    assert files_of(other) <= pulling.published_files(cache.larder)
    assert cache.is_listed("tags:two")


def test_an_image_in_use_is_refused_and_names_its_users(cache):
    cache.pull("busybox", "used:1")
    cache.hold("s1", "used:1")
    cache.hold("s2", "used:1")
    before = pulling.published_files(cache.larder)
    answer = cache.delete("used:1")
    assert answer.status_code == 409
    assert answer.json()["code"] == "ImageInUse"
    assert answer.json()["sandboxes"] == ["s1", "s2"]
    assert pulling.published_files(cache.larder) == before, "a failed request changes nothing"
    assert cache.larder.delete("/sandboxes/s1").status_code == 204
    assert cache.larder.delete("/sandboxes/s2").status_code == 204
    assert cache.delete("used:1").status_code == 204


def test_force_removes_an_image_in_use_and_keeps_the_sandbox_listed(cache):
    cache.pull("busybox", "forced:1")
    cache.hold("s1", "forced:1")
    assert cache.delete("forced:1", force="true").status_code == 204
    assert pulling.published_files(cache.larder) == set()
    sandbox = cache.larder.get("/sandboxes/s1").json()
    assert sandbox["image"] is None
    assert sandbox["rootfs"]["reference"] == cache.reference("forced:1")


def test_an_expired_sandbox_holds_nothing(cache):
    cache.pull("busybox", "expires:1")
    cache.hold("short", "expires:1", ttl_seconds=1)
    assert cache.delete("expires:1").status_code == 409
    deadline = time.monotonic() + 10
    while cache.larder.get("/sandboxes/short").status_code == 200:
        assert time.monotonic() < deadline, "the lease of one second never ran out"
        time.sleep(0.1)
    assert cache.delete("expires:1").status_code == 204


def test_a_snapshot_holds_its_manifest(cache):
    detail = cache.pull("busybox", "snapped:1")
    body = {"manifest_digest": detail["handle"]["manifest_digest"]}
    assert cache.larder.put("/snapshots/snap", json=body).status_code == 201
    assert cache.delete("snapped:1").status_code == 409
    assert cache.prune()["image_refs_removed"] == 0
    assert cache.larder.delete("/snapshots/snap").status_code == 204
    assert cache.prune()["image_refs_removed"] == 1


def test_a_prune_takes_what_is_unused_and_reports_what_really_went(cache):
    cache.pull("shared-one", "prune/one:1")
    kept = cache.pull("shared-two", "prune/two:1")
    cache.hold("s1", "prune/two:1")
    planned = cache.prune(dry_run=True)
    before = pulling.allocated_bytes(cache.larder)
    report = cache.prune()
    freed = before - pulling.allocated_bytes(cache.larder)

    assert report["bytes_reclaimed"] == freed > 0
    assert report == {
        "image_refs_removed": 1,
        "manifests_removed": 1,
        "layers_removed": 1,
        "fsmeta_removed": 1,
        "vmdk_removed": 1,
        "bytes_reclaimed": freed,
        "dry_run": False,
    }
    counts = [key for key in report if key.endswith("_removed")]
    assert planned["dry_run"] is True
    assert {key: planned[key] for key in counts} == {key: report[key] for key in counts}
    assert planned["bytes_reclaimed"] == freed, "measured when the files were published"
    assert files_of(kept) <= pulling.published_files(cache.larder)


def test_an_empty_prune_body_is_fine(cache):
    answer = cache.larder.post("/images:prune")
    assert answer.status_code == 200
    assert answer.json()["image_refs_removed"] == 0


def test_a_prune_spares_what_was_used_lately_and_what_the_glob_leaves_out(cache):
    cache.pull("busybox", "glob/a:1")
    cache.pull("bare", "glob/b:1")
    assert cache.prune(unused_for_seconds=3600)["image_refs_removed"] == 0
    assert cache.prune(reference=cache.reference("glob/b:*"))["image_refs_removed"] == 1
    assert cache.is_listed("glob/a:1")


def test_a_prune_to_a_size_takes_the_least_recently_used_first(cache):
    for number, image in enumerate(("layers25", "busybox", "mixed")):
        cache.pull(image, f"lru:{number}")
        time.sleep(0.05)
    size = pulling.allocated_bytes(cache.larder)
    assert cache.prune(keep_bytes=size)["image_refs_removed"] == 0
    assert cache.prune(keep_bytes=size - 1)["image_refs_removed"] == 1
    assert not cache.is_listed("lru:0")
    assert cache.is_listed("lru:1") and cache.is_listed("lru:2")
    assert cache.prune(keep_bytes=0)["image_refs_removed"] == 2
    assert pulling.published_files(cache.larder) == set()


def test_pinned_images_stay(cache):
    cache.pull("busybox", "pinned/a:1")
    pattern = cache.reference("pinned/*")
    assert cache.larder.put(f"/pins/{pattern}").status_code in (200, 201)
    assert cache.prune()["image_refs_removed"] == 0
    assert cache.delete("pinned/a:1").status_code == 409
    assert cache.larder.delete(f"/pins/{pattern}").status_code == 204
    assert cache.prune()["image_refs_removed"] == 1


def test_an_image_comes_back_after_it_was_removed(cache, tmp_path, built_images):
    cache.pull("shared-one", "back:1")
    assert cache.delete("back:1").status_code == 204
    detail = cache.pull("shared-one", "back:1")
    expected = images.expected_tree(built_images["shared-one"])
    for view, found in pulling.trees(cache.larder, detail, tmp_path):
        assert found == expected, f"{view}:\n{pulling.differences(expected, found)}"


def test_what_a_moved_tag_left_behind_goes_with_the_next_prune(cache):
    first = cache.pull("layers25", "moved:1")
    cache.pull("busybox", "moved:1")
    pulling.pull(cache.larder, cache.reference("moved:1"), policy="always")
    assert cache.is_listed("moved:1")
    cache.hold("s1", "moved:1")
    assert cache.prune()["manifests_removed"] == 1
    assert not files_of(first) & pulling.published_files(cache.larder)
