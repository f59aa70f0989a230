"""A blob directory that fills up in the middle of a pull."""

import os
import subprocess

import pytest

import archives
import images
import pulling
from daemons import wait_until

ROOM_BYTES = 8 << 20
BLOCK_BYTES = 4096


@pytest.fixture
def small_disk(new_directory):
    """A directory on a file system of its own, of a few mebibytes."""
    path = new_directory("small-disk")
    path.mkdir(mode=0o755)
    options = f"size={ROOM_BYTES},mode=755"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", path], check=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", path], check=True)


def leave_room(disk, room_bytes):
    """Fills the disk but for that much."""
    filler = disk / "filler"
    filler.unlink(missing_ok=True)
    state = os.statvfs(disk)
    filler.write_bytes(bytes(max(0, state.f_bavail * state.f_frsize - room_bytes)))


def test_a_pull_that_fills_the_disk_is_told_and_leaves_the_directory_as_it_was(
    make_larder, registry, built_images, small_disk
):
    larder = make_larder(blob_dir=small_disk / "blobs")
    images.push_to(registry, built_images["shared-two"], "full/image:1")
    reference = f"{registry}/full/image:1"
    total = sum(layer["size"] for layer in built_images["shared-two"].manifest()["layers"])
    blocks = 4 * total // BLOCK_BYTES
    refusals = 0
    for room in [*range(1, 8), *range(8, blocks, 40)]:  # fails in a layer, between two, after them
        leave_room(small_disk, room * BLOCK_BYTES)
        answer = larder.post(
            "/images:pull", json={"reference": reference}, headers=pulling.WAIT
        )
        if answer.status_code == 200:
            break
        refusals += 1
        problem = answer.json()
        assert (problem["status"], problem["code"]) == (507, "StorageFull"), problem
        assert larder.get(f"/images/{reference}").status_code == 404
        wait_until(lambda: not pulling.published_files(larder), "what was published in vain goes")
        assert not pulling.drafts(larder.blob_dir)
    assert refusals > 8, "there was too much room to fail between the files"
    (small_disk / "filler").unlink()
    pulling.pull(larder, reference)


def test_a_load_that_fills_the_disk_is_told_and_leaves_the_directory_as_it_was(
    make_larder, built_images, small_disk
):
    larder = make_larder(blob_dir=small_disk / "blobs")
    images = [(["q.io/full/load:1"], archives.tars_of(built_images["bare"]))]
    big = archives.Archive().add("noise", os.urandom(1 << 20)).data()
    data = archives.docker_save([*images, (["q.io/full/load:2"], [big])]).data()
    refusals = 0
    for room in range(1, 2 * len(data) // BLOCK_BYTES + 40, 40):  # unpacking, in a layer, after
        leave_room(small_disk, room * BLOCK_BYTES)
        answer = larder.post("/images:load", data=data)
        if answer.status_code == 200:
            break
        refusals += 1
        problem = answer.json()
        assert (problem["status"], problem["code"]) == (507, "StorageFull"), problem
        assert not pulling.drafts(larder.blob_dir)
        if larder.get("/images").json()["images"]:
            assert "1 of the archive's 2 images" in problem["detail"]
            larder.delete("/images/q.io/full/load:1")
        wait_until(lambda: not pulling.published_files(larder), "what was published in vain goes")
    assert refusals > 8, "there was too much room to fail between the files"
    (small_disk / "filler").unlink()
    assert len(archives.load(larder, data)) == 2


@pytest.mark.parametrize("blocks", [0, 1, 2, 3, 5, 8])
def test_a_node_starts_on_a_full_disk_so_that_something_can_be_removed(
    make_larder, registry, built_images, small_disk, blocks
):
    larder = make_larder(blob_dir=small_disk / "blobs")
    images.push_to(registry, built_images["shared-two"], "full/there:1")
    reference = f"{registry}/full/there:1"
    body = {"reference": reference}
    assert larder.post("/images:pull", json=body, headers=pulling.WAIT).status_code == 200
    larder.stop()
    leave_room(small_disk, blocks * BLOCK_BYTES)
    larder.start()
    assert larder.get(f"/images/{reference}").status_code == 200
    assert larder.delete(f"/images/{reference}").status_code == 204
    assert larder.post("/images:prune", json={}).status_code == 200
    wait_until(lambda: not pulling.published_files(larder), "the image's files go")
