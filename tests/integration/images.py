"""The images of the pull tests, as OCI layouts, and what each must look like mounted.

    images = build(directory)                       # name -> Image, all in one layout
    push_to("127.0.0.1:5000", images["busybox"], "library/busybox:1")
    expected_tree(images["busybox"])                # path -> layermodel.Record

What a mounted image cannot have as the tar says, because EROFS keeps no place for it:
access and change times (both read as the mtime), holes of sparse files (they read as
zeros and take their blocks), inode numbers, and the size of a directory (its own
on-disk size). Modes, owners, mtimes to the nanosecond, device numbers, link counts,
link targets, attributes and content come back exactly, within the limits that are
refused at conversion: 4,095 bytes for a symlink's target, 255 for a name, 65,535 for
an attribute's value.
"""

import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import layermodel
from fixture import NOON, directory, file, hardlink, opaque, root, symlink, whiteout
from ocilayout import Layout, umoci_unpack
from tarbytes import Layer, tar_of
from tarfixtures import GOOD
from treewalk import walk_path

BUSYBOX = "/bin/busybox"  # of the package busybox-static
COMMANDS = ("sh", "ls", "cat", "echo", "mount", "true", "sleep")
CONFIG = {
    "User": "1000:1000",
    "Env": ["PATH=/bin", "EMPTY=", "UNICODE=caf\u00e9"],
    "Entrypoint": ["/bin/sh", "-c"],
    "Cmd": ["echo hello"],
    "WorkingDir": "/home/user",
    "Labels": {"org.opencontainers.image.title": "busybox for tests", "empty": ""},
    "StopSignal": "SIGINT",
}
# Fixtures that are images as well: the kinds of content a pull must bring over.
CONTENT = {
    "whiteouts": "whiteout_and_an_implied_directory",
    "opaque": "opaque_hides_the_lower_subdirectory",
    "opaque-root": "opaque_root_and_its_metadata",
    "hardlinks": "hard_link_to_a_lower_file_two_down",
    "xattrs": "xattrs_pax",
    "devices": "devices",
    "long-names": "long_names_pax",
    "odd-names": "odd_names_pax-binary",
    "sparse": "sparse_pax_1_0",
    "empty-layer": "empty_layer_between",
    "same-layer-twice": "same_layer_twice_around_a_whiteout",
    "sixty-layers": "sixty_layers",
}


@dataclass(frozen=True)
class Image:
    """One tag of a layout. `layers` are None where the tars came from elsewhere."""

    layout: Layout
    tag: str
    descriptor: dict  # of the manifest, or of the index
    layers: tuple = None
    platforms: dict = field(default_factory=dict)  # "linux/arm64/v8" -> Image, of an index

    def manifest(self):
        return self.layout.read_document(self.descriptor["digest"])

    def config(self):
        """The image's config document (OCI image spec, config.md)."""
        return self.layout.read_document(self.manifest()["config"]["digest"])


class Builder:
    """Puts images into one layout, so that they share blobs as in a registry."""

    def __init__(self, path):
        self.layout = Layout(path)
        self.images = {}

    def add(self, name, layers, **options):
        """An image of layers (lists of Members, or Layers)."""
        layers = tuple(
            layer if isinstance(layer, Layer) else Layer(tuple(layer)) for layer in layers
        )
        return self.add_tars(name, [tar_of(layer) for layer in layers], layers, **options)

    def add_tars(self, name, tars, layers=None, **options):
        descriptor = self.layout.image(tars, **options)
        image = Image(self.layout, name, descriptor, layers)
        self.layout.tag(name, descriptor)
        self.images[name] = image
        return image

    def add_index(self, name, parts):
        """An index of images by platform."""
        descriptor = self.layout.index([part.descriptor for part in parts.values()])
        self.layout.tag(name, descriptor)
        self.images[name] = Image(self.layout, name, descriptor, platforms=parts)


def busybox_layer(note=b""):
    """A root file system that boots: one static program under several names."""
    assert Path(BUSYBOX).exists(), f"{BUSYBOX} is missing: install busybox-static"
    program = file(b"bin/busybox", Path(BUSYBOX).read_bytes(), mode=0o755)
    return [
        root(0o755, mtime_ns=NOON),
        *(directory(name) for name in (b"bin", b"dev", b"etc", b"home", b"proc", b"sys")),
        directory(b"tmp", 0o1777),
        directory(b"home/user", 0o700, uid=1000, gid=1000),
        program,
        *(hardlink(b"bin/" + name.encode(), b"bin/busybox", mode=0o755) for name in COMMANDS),
        symlink(b"bin/ash", b"busybox"),
        file(b"etc/passwd", b"root:x:0:0::/:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n"),
        file(b"etc/note", note),
    ]


def build(path):
    """All images below the directory `path`, but those of whole distributions (add_tree)."""
    builder = Builder(path)
    base = busybox_layer()
    builder.add("busybox", [base], config=CONFIG)
    for compression in ("gzip", "zstd", "plain"):
        builder.add(f"busybox-{compression}", [base], compressions=compression)
    _add_mixed(builder, base)
    _add_sharing(builder, base)
    _add_index(builder)
    builder.add("bare", [[file(b"f", b"no config, no root entry\n")]])
    builder.add("layers25", [[file(b"f%02d" % i, b"%d" % i * 3000)] for i in range(25)])
    for name, fixture_name in CONTENT.items():
        builder.add(name, GOOD[fixture_name].layers)
    return builder.images


def add_tree(builder, name, path, **options):
    """An image of one layer with all that is below the directory `path`."""
    return builder.add_tars(name, [tar_of_tree(path)], **options)


def _add_mixed(builder, base):
    layers = [base, [file(b"zstd", b"z" * 5000)], [file(b"plain", b"p" * 5000)]]
    builder.add("mixed", layers, compressions=["gzip", "zstd", "plain"])


def _add_sharing(builder, base):
    """Two images over one base, and a third that has the base alone in common."""
    middle = [directory(b"srv"), file(b"srv/shared", b"shared\n")]
    builder.add("shared-one", [base, middle, [file(b"one", b"1")]])
    builder.add("shared-two", [base, middle, [file(b"two", b"2"), whiteout(b"etc/note")]])
    builder.add("shared-base", [base, [opaque(b"home")]])


def _add_index(builder):
    parts = {
        "linux/amd64": builder.add("part-amd64", [busybox_layer(b"amd64")], config=CONFIG),
        "linux/arm64/v8": builder.add(
            "part-arm64", [busybox_layer(b"arm64")], architecture="arm64", variant="v8"
        ),
    }
    builder.add_index("multi", parts)


def tar_of_tree(path):
    """A directory as a tar, with its attributes, numeric owners and nanoseconds."""
    command = ["tar", "--create", "--format=pax", "--xattrs", "--xattrs-include=*", "--sort=name"]
    command += ["--pax-option=delete=atime,delete=ctime", "--numeric-owner", "-C", str(path), "."]
    return subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout


def push_to(registry, image, name, manifest_format=None):
    """Copies the image (with all its platforms) to http://registry/name.

    Digests stay as they are unless `manifest_format` ("v2s2") asks for another kind.
    """
    command = ["skopeo", "copy", "--insecure-policy", "--quiet", "--dest-tls-verify=false", "--all"]
    command += [f"--format={manifest_format}"] if manifest_format else ["--preserve-digests"]
    command += [f"oci:{image.layout.path}:{image.tag}", f"docker://{registry}/{name}"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, f"skopeo copy {image.tag} to {name}: {done.stderr.strip()}"


def expected_tree(image):
    """path -> Record: what the image must look like wherever it is mounted."""
    if image.layers is not None:
        root_node = layermodel.merge_layers([layer.members for layer in image.layers])
        return layermodel.records_of(root_node)
    with tempfile.TemporaryDirectory(prefix="larder-umoci-") as bundle:
        return walk_path(umoci_unpack(image.layout.path, image.tag, Path(bundle) / "bundle"))
