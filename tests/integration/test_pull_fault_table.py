"""Every fault that a registry, its content or the network may have, through a whole node: each
ends in success or in the right problem, and the invariants hold after it."""

import gzip
import subprocess
import time
from dataclasses import dataclass, field, replace
from typing import Optional

import pytest

import images
import invariants
import pulling
from fault_registry import Fault, FaultRegistry
from larder import program
from tarbytes import Layer, tar_of

PLATFORM = "linux/amd64"
LARGE = 400_000  # of a layer, so that it can break in the middle


@dataclass(frozen=True)
class Case:
    """`faults` hit the lower layer, the manifest or the token realm; `code` None: it succeeds."""

    faults: tuple
    code: Optional[str] = None
    where: str = "layer"
    bearer: dict = field(default_factory=dict)
    platform: str = PLATFORM


def always(**what):
    return (Fault(always=True, **what),)


CASES = {
    "drops": Case((Fault(drop_after=1000), Fault(drop_after=100_000), Fault(drop_after=0))),
    "drops-without-ranges": Case((Fault(drop_after=1000), Fault(ignore_range=True))),
    "drops-from-another-start": Case((Fault(drop_after=1000), Fault(wrong_range=True))),
    "drops-and-416": Case((Fault(drop_after=1000), Fault(status=416))),
    "drops-for-ever": Case(always(drop_after=0), "PullFailed"),
    "429-then-well": Case((Fault(status=429, headers={"Retry_After": "1"}),)),
    "429-for-long": Case(always(status=429, headers={"Retry_After": "300"}), "TooManyRequests"),
    "500-then-well": Case((Fault(status=500),)),
    "500-for-ever": Case(always(status=500), "PullFailed"),
    "503-then-well": Case((Fault(status=503, headers={"Retry_After": "1"}),)),
    "503-for-ever": Case(always(status=503), "PullFailed"),
    "layer-401": Case(always(status=401), "RegistryUnauthorized"),
    "layer-403": Case(always(status=403), "RegistryUnauthorized"),
    "layer-404": Case(always(status=404), "PullFailed"),
    "manifest-401": Case(always(status=401), "RegistryUnauthorized", "manifest"),
    "manifest-403": Case(always(status=403), "RegistryUnauthorized", "manifest"),
    "manifest-404": Case(always(status=404), "ImageNotFound", "manifest"),
    "manifest-500": Case((Fault(status=500),), None, "manifest"),
    "manifest-dropped": Case((Fault(drop_after=20),), None, "manifest"),
    "manifest-of-other-content": Case(always(content=b"{}"), "DigestMismatch", "manifest"),
    "manifest-of-5-mib": Case(always(content=b" " * (5 << 20)), "PullFailed", "manifest"),
    "token-expires": Case((Fault(drop_after=1000), Fault(drop_after=1000)), bearer={"uses": 2}),
    "token-realm-503": Case((Fault(status=503),), None, "token", {"uses": 9}),
    "token-realm-403": Case(always(status=403), "RegistryUnauthorized", "token", {"uses": 9}),
    "other-content": Case(always(content=b"x" * LARGE), "DigestMismatch"),
    "flipped-bit": Case((), "DigestMismatch", "flip"),
    "truncated": Case(always(content=b""), "DigestMismatch"),
    "shorter-announced": Case(always(content_length=1000), "DigestMismatch"),
    "longer-announced": Case(always(content_length=1 << 30), "DigestMismatch"),
    "redirect-in-a-circle": Case(always(redirect="/v2/a/b/blobs/"), "PullFailed"),
    "redirect-to-a-file": Case(always(redirect="file:///etc/passwd"), "PullFailed"),
    "redirect-breaks-off": Case((Fault(redirect="/elsewhere/", body=b" " * 99, drop_after=9),)),
    "no-such-platform": Case((), "PlatformNotFound", platform="linux/s390x"),
    "stalls": Case((Fault(stall_after=1000, stall_seconds=100),)),
}


@pytest.fixture(scope="module")
def builder(new_directory):
    return images.Builder(new_directory("fault-table-layout"))


@pytest.fixture(scope="module")
def larder(new_directory, database):
    """A node whose catalogue the tests can look into."""
    from larder import Larder

    with Larder(new_directory("larder"), database=database) as node:
        yield node


@pytest.fixture
def faulty(builder):
    with FaultRegistry(builder.layout) as registry:
        yield registry


def check(larder):
    """The invariants, and what the node's own check says of them."""
    invariants.check(larder.database, larder.blob_dir)
    if "fsck" in subprocess.run([program(), "--help"], capture_output=True, text=True).stdout:
        flags = ["--database", larder.database, "--blob-dir", str(larder.blob_dir)]
        done = subprocess.run([program(), "fsck", *flags], capture_output=True, text=True)
        assert done.returncode == 0, f"larder fsck: {done.stdout}{done.stderr}"
    drafts = pulling.drafts(larder.blob_dir)
    assert not drafts, f"left under tmp/: {drafts}"


def image_of(builder, name):
    """Two layers that no other test has; the lower one is large enough to break."""
    noise = b"".join(b"%s %09d\n" % (name.encode(), i * i) for i in range(LARGE // 20))
    lower = [images.file(b"lower", noise)]
    return builder.add(name, [lower, [images.file(b"upper", name.encode())]])


def inject(registry, image, case):
    layer = image.manifest()["layers"][0]["digest"]
    faults = case.faults
    if case.where == "flip":
        data, _ = registry.content("blobs", layer)
        middle = len(data) // 2
        flipped = data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
        faults = (Fault(content=flipped, always=True),)
    if faults and (faults[0].redirect or "").startswith("/"):
        faults = (replace(faults[0], redirect=f"{registry.url}{faults[0].redirect}"),)
    kind, what = {
        "manifest": ("manifests", image.tag),
        "token": ("token", "*"),
    }.get(case.where, ("blobs", layer))
    registry.fault(kind, what, *faults)
    if case.bearer:
        registry.require_bearer(**case.bearer)


@pytest.mark.parametrize("name", CASES)
def test_a_fault_ends_well_or_is_told_and_the_invariants_hold(larder, builder, faulty, name):
    case = CASES[name]
    image = image_of(builder, name)
    builder.add_index(f"{name}-index", {PLATFORM: image})
    tag = f"{name}-index" if case.platform != PLATFORM else name
    reference = f"{faulty.host}/faults/{name}:{tag}"
    inject(faulty, image, case)
    if case.code is None:
        pulling.pull(larder, reference)
        assert larder.get(f"/images/{reference}").status_code == 200
    else:
        problem = pulling.refused(larder, reference, platform=case.platform)
        assert problem["code"] == case.code, problem
        assert larder.get(f"/images/{reference}").status_code == 404, "no image is listed"
    check(larder)
    faulty.faults.clear()
    faulty.bearer = None
    if case.platform == PLATFORM:
        pulling.pull(larder, reference)  # and when the registry is well again, it is there
        check(larder)


def refused_layers():
    """name -> (tars, code)."""
    evil = {
        "absolute-and-up": b"/../evil",
        "up-inside": b"a/../../evil",
        "many-ups": b"../" * 20 + b"etc/cron.d/evil",
    }
    layers = {name: tar_of(Layer((images.file(path, b"x"),))) for name, path in evil.items()}
    layers["no-tar"] = b"This is not a tar at all. " * 1000
    layers["cut-tar"] = tar_of(Layer((images.file(b"f", b"x" * 100_000),)))[:50_000]
    return layers


@pytest.mark.parametrize("name", refused_layers())
def test_a_layer_that_is_no_honest_tar_is_refused(larder, builder, faulty, name):
    builder.add_tars(name, [tar_of(Layer((images.file(b"good", b"1"),))), refused_layers()[name]])
    reference = f"{faulty.host}/faults/{name}:{name}"
    problem = pulling.refused(larder, reference)
    assert (problem["code"], problem["status"]) == ("UnsupportedLayer", 422), problem
    assert larder.get(f"/images/{reference}").status_code == 404
    check(larder)


def test_an_absolute_path_stays_within_the_image(larder, builder, faulty, tmp_path):
    member = images.file(b"etc/absolute", b"inside")
    absolute = Layer((replace(member, name=b"/etc/absolute"),))
    builder.add_tars("absolute", [tar_of(absolute)])
    reference = f"{faulty.host}/faults/absolute:absolute"
    pulling.pull(larder, reference)
    with pulling.mounted(larder, pulling.inspect(larder, reference)) as fd:
        assert pulling.read_file(fd, "etc/absolute") == b"inside"
    check(larder)


def test_a_gzip_bomb_is_refused_and_leaves_nothing(larder, builder, faulty):
    """A gibibyte of one letter in a mebibyte; it is stopped at a quarter of it."""
    letters = images.file(b"bomb", b"")
    head = tar_of(Layer((replace(letters, data=b"A" * (1 << 20)),)))[:512]
    size = 1 << 30
    header = bytearray(head)
    header[124:136] = b"%011o\0" % size
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    compressor = gzip.zlib.compressobj(9, gzip.zlib.DEFLATED, 31)
    hasher = invariants.hashlib.sha256()
    pieces = []
    for piece in (bytes(header), *[b"A" * (1 << 20)] * 1024, bytes(1024)):
        hasher.update(piece)
        pieces.append(compressor.compress(piece))
    blob = b"".join(pieces) + compressor.flush()
    layer = builder.layout.blob(blob, "application/vnd.oci.image.layer.v1.tar+gzip")
    config = builder.layout.document(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hasher.hexdigest()]},
        },
        "application/vnd.oci.image.config.v1+json",
    )
    manifest_type = "application/vnd.oci.image.manifest.v1+json"
    manifest = {"schemaVersion": 2, "mediaType": manifest_type, "config": config, "layers": [layer]}
    builder.layout.tag("bomb", builder.layout.document(manifest, manifest_type))
    reference = f"{faulty.host}/faults/bomb:bomb"
    before = time.monotonic()
    problem = pulling.refused(larder, reference)
    assert (problem["code"], problem["status"]) == ("LayerTooLarge", 422), problem
    assert "--max-inflate-ratio" in problem["detail"]
    print(f"refused after {time.monotonic() - before:.1f} s")
    check(larder)


def test_a_redirect_to_another_host_carries_no_credentials(larder, builder, faulty):
    image = image_of(builder, "redirected")
    with FaultRegistry(builder.layout, address="127.0.0.2") as other:
        faulty.require_bearer()
        for layer in image.manifest()["layers"]:
            fault = Fault(redirect=f"{other.url}/elsewhere/", always=True)
            faulty.fault("blobs", layer["digest"], fault)
        pulling.pull(larder, f"{faulty.host}/faults/redirected:redirected")
        assert len(other.requests) == 2
        assert all("Authorization" not in request.headers for request in other.requests)
        assert any("Authorization" in request.headers for request in faulty.requests)
    check(larder)
