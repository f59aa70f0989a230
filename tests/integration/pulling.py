"""What the pull tests share: pull an image, look at it through both views."""

import os
from contextlib import contextmanager
from pathlib import Path

import images
from erofsmount import attached, erofs_mounted, flatten
from treewalk import walk

WAIT = {"Prefer": "wait=120"}


def pull(larder, reference, **options):
    """The finished pull, which must have succeeded."""
    answer = larder.post("/images:pull", json={"reference": reference, **options}, headers=WAIT)
    assert answer.status_code == 200, f"pull of {reference}: {answer.status_code} {answer.text}"
    finished = answer.json()
    assert finished["state"] == "done", f"pull of {reference}: {finished}"
    return finished


def refused(larder, reference, **options):
    """The problem that a pull which must fail was answered with."""
    answer = larder.post("/images:pull", json={"reference": reference, **options}, headers=WAIT)
    assert answer.status_code >= 400, f"pull of {reference} should fail: {answer.text}"
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == answer.status_code
    return problem


def push_and_pull(larder, registry, image, name, **options):
    images.push_to(registry, image, name)
    pull(larder, f"{registry}/{name}", **options)
    return inspect(larder, f"{registry}/{name}")


def inspect(larder, reference, **query):
    answer = larder.get(f"/images/{reference}/inspect", params=query)
    assert answer.status_code == 200, f"inspect {reference}: {answer.status_code} {answer.text}"
    return answer.json()


def path_of(larder, file):
    return str(Path(larder.blob_dir) / file["path"])


@contextmanager
def mounted(larder, detail):
    """The tree through fsmeta with its layer files as devices."""
    devices = [path_of(larder, layer) for layer in detail["files"]["layers"]]
    with erofs_mounted(path_of(larder, detail["files"]["fsmeta"]), devices) as fd:
        yield fd


@contextmanager
def mounted_flat(larder, detail, directory):
    """The tree through the vmdk, flattened by qemu-img."""
    flat = str(Path(directory) / "flat.raw")
    flatten(path_of(larder, detail["files"]["vmdk"]), flat)
    try:
        with erofs_mounted(flat) as fd:
            yield fd
    finally:
        os.unlink(flat)


def read_file(mount_fd, path):
    with attached(mount_fd) as point:
        return (Path(point) / path).read_bytes()


def trees(larder, detail, directory):
    """(view, tree) for each view of the image."""
    with mounted(larder, detail) as fd:
        yield "fsmeta with its devices", walk(fd)
    with mounted_flat(larder, detail, directory) as fd:
        yield "the flattened vmdk", walk(fd)


def differences(expected, found):
    """One line for each path that differs, at most 20."""
    lines = []
    for path in sorted(expected.keys() | found.keys()):
        if expected.get(path) != found.get(path):
            lines.append(f"{path!r}: expected {expected.get(path)}, found {found.get(path)}")
    return "\n".join(lines[:20])


def files_below(directory):
    """However deep; a directory that goes while we look has none."""
    return [Path(at) / name for at, _, names in os.walk(directory) for name in names]


def drafts(blob_dir):
    """What is being written, or was left half-written."""
    return files_below(Path(blob_dir) / "tmp")


def published_files(larder):
    """Relative names of all files outside tmp/ but the directory's mark."""
    names = (path.relative_to(larder.blob_dir) for path in files_below(larder.blob_dir))
    return {str(name) for name in names if name.parts[0] not in ("tmp", "larder.id")}


def allocated_bytes(larder):
    root = Path(larder.blob_dir)
    return sum((root / name).stat().st_blocks * 512 for name in published_files(larder))
