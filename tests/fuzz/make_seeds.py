"""make_seeds.py BUILD_DIR: writes seeds for the targets of the converter from its
fixtures, and for that of archives, into BUILD_DIR/seeds/<target>/. Small ones only: a fuzzer is fast on those."""

import hashlib
import io
import json
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "integration"))

import tarfixtures  # noqa: E402

TAR_BYTES_MAX = 32 << 10
IMAGE_BYTES_MAX = 64 << 10
LAYERS_MAX = 4
TAR_BLOCK_BYTES = 512
EROFS_BLOCK_BYTES = 4096
# As fuzz_archive.c writes them over the first member of the table: an offset that overflows,
# and texts that do not end.
LIES = {"far": (0, 0xFF, 3), "endless-name": (24, 0x41, 8), "endless-target": (280, 0x41, 8)}


def write(directory, name, data):
    directory.mkdir(parents=True, exist_ok=True)
    (directory / name).write_bytes(data)


def stack_of_tars(tars):
    """As fuzz_compose.c takes it apart."""
    padded = [tar + bytes(-len(tar) % TAR_BLOCK_BYTES) for tar in tars]
    head = [len(tars) - 1] + [len(tar) // TAR_BLOCK_BYTES for tar in padded]
    return bytes(head) + b"".join(padded)


def images_of(build, tars):
    """The layer files and fsmeta of a stack, if it can be converted."""
    with tempfile.TemporaryDirectory() as directory:
        names = []
        for number, tar in enumerate(tars):
            names.append(f"{directory}/{number}.tar")
            Path(names[-1]).write_bytes(tar)
        output = Path(directory) / "out"
        output.mkdir()
        subprocess.run([build / "layer_stack", output, *names], capture_output=True, check=False)
        return [path.read_bytes() for path in sorted(output.glob("*/*.erofs"))]


def tar_of(files):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return out.getvalue()


def archives():
    """The same image as `docker save` and as an OCI layout writes it."""
    layer = tar_of({"a": b"b"})
    diff_id = hashlib.sha256(layer).hexdigest()
    config = {"os": "linux", "architecture": "amd64"}
    config |= {"rootfs": {"type": "layers", "diff_ids": [f"sha256:{diff_id}"]}}
    config = json.dumps(config).encode()
    blobs = {}

    def descriptor(kind, data):
        digest = hashlib.sha256(data).hexdigest()
        blobs[f"blobs/sha256/{digest}"] = data
        media_type = f"application/vnd.oci.image.{kind}"
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}

    manifest = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json"}
    manifest["config"] = descriptor("config.v1+json", config)
    manifest["layers"] = [descriptor("layer.v1.tar", layer)]
    entry = descriptor("manifest.v1+json", json.dumps(manifest).encode())
    entry["annotations"] = {"io.containerd.image.name": "docker.io/library/a:b"}
    index = json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode()
    yield "oci", tar_of({"oci-layout": b"{}", "index.json": index, **blobs})
    saved = [{"Config": "c.json", "RepoTags": ["a:b"], "Layers": ["l.tar"]}]
    files = {"manifest.json": json.dumps(saved).encode(), "c.json": config, "l.tar": layer}
    yield "docker", tar_of(files)


def main():
    build = Path(sys.argv[1])
    seeds = build / "seeds"
    for name, data in archives():
        write(seeds / "archive", name, data)
        for lie, (place, value, power) in LIES.items():
            lies = place.to_bytes(2, "big") + bytes([value, 2 * power])
            write(seeds / "archive", f"{name}-{lie}", data + lies)
    for name, fixture in tarfixtures.ALL.items():
        tars = fixture.tars()
        if len(tars) > LAYERS_MAX or max(map(len, tars)) > TAR_BYTES_MAX:
            continue
        for number, tar in enumerate(tars):
            write(seeds / "layer_tar", f"{name}-{number}", tar)
        write(seeds / "compose", name, stack_of_tars(tars))
        images = images_of(build, tars)
        images = [image for image in images if len(image) <= IMAGE_BYTES_MAX]
        for number, image in enumerate(images):
            write(seeds / "erofs_reader", f"{name}-{number}", image)
        for number, (lower, upper) in enumerate(zip(images, images[1:])):
            cut = len(lower) // EROFS_BLOCK_BYTES
            write(seeds / "compose_damaged", f"{name}-{number}", bytes([cut]) + lower + upper)


main()
