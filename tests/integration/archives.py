"""Image archives to send to POST /images:load, and sending them.

What skopeo writes is what podman writes: both are the same library. Docker's old layout,
with links to shared layers, is made here by hand.
"""

import gzip
import io
import json
import subprocess
import tarfile
from pathlib import Path

from ocilayout import sha256
from tarbytes import tar_of

OLD_DATE = 1_600_000_000


def skopeo(image, kind, path, name=""):
    """Copies the image, with all its platforms where `kind` ("docker-archive", "oci-archive")
    has room for them, into the file `path`."""
    target = f"{kind}:{path}" + (f":{name}" if name else "")
    command = ["skopeo", "copy", "--insecure-policy", "--quiet"]
    command += ["--all", "--preserve-digests"] if kind == "oci-archive" else []
    command += [f"oci:{image.layout.path}:{image.tag}", target]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}: {done.stderr.strip()}"
    return path.read_bytes()


class Archive:
    """A tar of named members; the order of what is added is the order in it."""

    def __init__(self):
        self.members = []

    def add(self, name, data):
        member = tarfile.TarInfo(name)
        member.size = len(data)
        self.members.append((member, data))
        return self

    def link(self, name, target, kind=tarfile.SYMTYPE):
        member = tarfile.TarInfo(name)
        member.type = kind
        member.linkname = target
        self.members.append((member, b""))
        return self

    def directory(self, name):
        member = tarfile.TarInfo(name)
        member.type = tarfile.DIRTYPE
        self.members.append((member, b""))
        return self

    def data(self, order=None, tar_format=tarfile.GNU_FORMAT):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=tar_format) as tar:
            for member, data in sorted(self.members, key=order) if order else self.members:
                member.mtime = OLD_DATE
                tar.addfile(member, io.BytesIO(data))
        return out.getvalue()


def reordered(archive, order):
    """The same members, sorted by their names' `order`."""
    again = Archive()
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        for member in tar.getmembers():
            data = tar.extractfile(member).read() if member.isfile() else b""
            again.members.append((member, data))
    return again.data(order=lambda entry: order(entry[0].name))


def names(archive):
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return tar.getnames()


def read(archive, name):
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return tar.extractfile(name).read()


def replaced(archive, name, data):
    """The same archive, with other bytes in that member; None leaves it out."""
    again = Archive()
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        for member in tar.getmembers():
            old = tar.extractfile(member).read() if member.isfile() else b""
            if member.name != name:
                again.members.append((member, old))
            elif data is not None:
                member.size = len(data)
                again.members.append((member, data))
    return again.data()


def config_of(tars, **more):
    described = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Cmd": ["sh"]},
        "rootfs": {"type": "layers", "diff_ids": [sha256(tar) for tar in tars]},
    }
    return json.dumps(described | more).encode()


def docker_save(images):
    """As `docker save` wrote it before version 25, of `images`: a list of (tags, layers' tars).
    A layer that an earlier image has is a link to it."""
    archive = Archive()
    entries = []
    seen = {}
    for number, (tags, tars) in enumerate(images):
        config = config_of(tars)
        layer_names = []
        for position, tar in enumerate(tars):
            identity = f"{number:032x}{position:032x}"
            name = f"{identity}/layer.tar"
            archive.directory(identity)
            archive.add(f"{identity}/VERSION", b"1.0")
            archive.add(f"{identity}/json", b"{}")
            if tar in seen:
                archive.link(name, f"../{seen[tar]}")
            else:
                archive.add(name, tar)
                seen[tar] = name
            layer_names.append(name)
        config_name = sha256(config).removeprefix("sha256:") + ".json"
        archive.add(config_name, config)
        entries.append({"Config": config_name, "RepoTags": tags, "Layers": layer_names})
    archive.add("manifest.json", json.dumps(entries).encode())
    archive.add("repositories", b"{}")
    return archive


def tars_of(image):
    return [tar_of(layer) for layer in image.layers]


def zstd(data):
    return subprocess.run(["zstd", "-q", "-1"], input=data, capture_output=True, check=True).stdout


COMPRESSIONS = {"plain": bytes, "gzip": lambda data: gzip.compress(data, 1), "zstd": zstd}


def in_pieces(data, size=1 << 16):
    """For requests: a body without a Content-Length, which goes in chunks."""
    for start in range(0, len(data), size):
        yield data[start : start + size]


def load(larder, data, **query):
    """The images that were loaded; loading must succeed."""
    answer = larder.post("/images:load", data=data, params=query)
    assert answer.status_code == 200, f"load: {answer.status_code} {answer.text}"
    assert set(answer.json()) == {"images"}
    return answer.json()["images"]


def cmdline(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except FileNotFoundError:
        return b""


def unpacker_of(larder):
    """The process that takes an archive apart; None: there is none."""
    for children in Path(f"/proc/{larder.pid}/task").glob("*/children"):
        for child in children.read_text().split():
            if b"unpack" in cmdline(child):
                return int(child)
    return None
