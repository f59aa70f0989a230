"""A blob directory that fills up in the middle of a pull."""

import os
import subprocess

import pytest

import images
import pulling
from daemons import wait_until

ROOM_BYTES = 1 << 20
BLOCK_BYTES = 4096


@pytest.fixture
def small_disk(new_directory):
    """A directory on a file system of its own, of a mebibyte."""
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


def files_of_images(larder):
    return [name for name in pulling.published_files(larder) if not name.startswith("layers/")]


def test_a_pull_that_fills_the_disk_is_told_and_leaves_no_half_image(
    make_larder, registry, built_images, small_disk
):
    larder = make_larder(blob_dir=small_disk / "blobs")
    images.push_to(registry, built_images["bare"], "full/bare:1")
    reference = f"{registry}/full/bare:1"
    for attempt in range(20):  # twice with each room: the second finds the layer there
        leave_room(small_disk, (1 + attempt // 2) * BLOCK_BYTES)
        problem = pulling.refused(larder, reference)
        assert (problem["status"], problem["code"]) == (507, "StorageFull"), problem
        assert larder.get(f"/images/{reference}").status_code == 404
        assert not [path for path in (larder.blob_dir / "tmp").rglob("*") if path.is_file()]
        if files_of_images(larder):
            break
    assert files_of_images(larder), "this time it failed between two files of the image"

    larder.stop()
    larder.start()
    wait_until(lambda: not files_of_images(larder), "what was published in vain is gone")
    (small_disk / "filler").unlink()
    pulling.pull(larder, reference)
