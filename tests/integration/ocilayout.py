"""Writes OCI image layouts (image spec, image-layout.md) blob by blob, so that each
layer's tar is exactly the one the test wants."""

import gzip
import hashlib
import json
import os
import subprocess
from pathlib import Path

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
CREATED = "2024-01-02T03:04:05Z"


def compress(tar, compression):
    """(blob, media type); the same tar gives the same blob."""
    if compression == "gzip":
        return gzip.compress(tar, 1, mtime=0), LAYER + "+gzip"
    if compression == "zstd":
        done = subprocess.run(
            ["zstd", "-q", "-1", "-c"], input=tar, stdout=subprocess.PIPE, check=True
        )
        return done.stdout, LAYER + "+zstd"
    assert compression == "plain", compression
    return tar, LAYER


def sha256(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Layout:
    """One layout directory; tag() makes its images visible."""

    def __init__(self, path):
        self.path = Path(path)
        (self.path / "blobs" / "sha256").mkdir(parents=True, exist_ok=True)
        self.tags = {}

    def blob(self, data, media_type, **extra):
        """Stores the bytes and returns their descriptor."""
        digest = sha256(data)
        if not self.blob_path(digest).exists():  # a registry may be reading it
            self.blob_path(digest).write_bytes(data)
        return {"mediaType": media_type, "digest": digest, "size": len(data), **extra}

    def blob_path(self, digest):
        return self.path / "blobs" / "sha256" / digest.removeprefix("sha256:")

    def read_document(self, digest):
        return json.loads(self.blob_path(digest).read_bytes())

    def document(self, value, media_type, **extra):
        return self.blob(json.dumps(value, indent=1).encode(), media_type, **extra)

    def image(self, tars, compressions="gzip", config=None, architecture="amd64", variant=None):
        """The manifest's descriptor, with its platform. `compressions`: one for all, or a list."""
        if isinstance(compressions, str):
            compressions = [compressions] * len(tars)
        layers = [
            self.blob(*compress(tar, compression)) for tar, compression in zip(tars, compressions)
        ]
        platform = {"architecture": architecture, "os": "linux"}
        if variant:
            platform["variant"] = variant
        described = {
            "created": CREATED,
            **platform,
            "config": config or {},
            "rootfs": {"type": "layers", "diff_ids": [sha256(tar) for tar in tars]},
            "history": [{"created": CREATED, "created_by": "tests"} for _ in tars],
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self.document(described, CONFIG),
            "layers": layers,
        }
        return self.document(manifest, MANIFEST, platform=platform)

    def index(self, manifests):
        """The descriptor of an index over the manifests' descriptors."""
        return self.document(
            {"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}, INDEX
        )

    def tag(self, name, descriptor):
        self.tags[name] = {
            **descriptor,
            "annotations": {"org.opencontainers.image.ref.name": name},
        }
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": list(self.tags.values())}
        (self.path / "index.json").write_text(json.dumps(index, indent=1))
        (self.path / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')


def umoci_unpack(layout, tag, bundle):
    """The root directory that umoci makes of the image; as root."""
    command = ["umoci", "unpack", "--image", f"{layout}:{tag}", str(bundle)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    assert done.returncode == 0, f"umoci unpack {tag}: {done.stderr.strip()}"
    return os.path.join(str(bundle), "rootfs")
