"""Registries that change their mind in the middle of a pull, and documents that could be
read in two ways, against a whole node."""

import io
import json
import tarfile

import pytest
from fault_registry import Fault, FaultRegistry
from ocilayout import INDEX, MANIFEST, Layout
from pulling import inspect, published_files, pull, refused
from tokens import Tokens


class MovingRegistry(FaultRegistry):
    """Moves the tag `moving` to another image as soon as somebody asked what it is."""

    moves_to = None

    def content(self, kind, what):
        found = super().content(kind, what)
        if kind == "manifests" and what == "moving" and self.moves_to:
            self.layout.tags["moving"], self.moves_to = self.moves_to, None
        return found


@pytest.fixture
def layout(tmp_path):
    return Layout(tmp_path / "layout")


def image(layout, name):
    """With one layer of one file, both called that."""
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(name)
        archive.addfile(member, io.BytesIO(name.encode()))
    return layout.image([tar.getvalue()], "plain")


@pytest.mark.parametrize("through_index", [False, True])
def test_a_tag_that_moves_during_a_pull_gives_one_image_whole(larder, layout, through_index):
    before, after = image(layout, "before"), image(layout, "after")
    first = layout.index([before]) if through_index else before
    layout.tag("moving", first)
    with MovingRegistry(layout) as registry:
        registry.moves_to = layout.index([after]) if through_index else after
        reference = f"{registry.host}/a/{'index' if through_index else 'manifest'}:moving"
        pull(larder, reference)
        detail = inspect(larder, reference)
        assert detail["handle"]["manifest_digest"] == before["digest"]
        assert detail["layers"][0]["blob_digest"] == layers_of(layout, before)[0]
        pull(larder, reference, policy="always")
        detail = inspect(larder, reference)
        assert detail["handle"]["manifest_digest"] == after["digest"]
        assert detail["layers"][0]["blob_digest"] == layers_of(layout, after)[0]


def test_a_tag_that_moves_between_head_and_get_is_what_get_says(larder, layout):
    before, after = image(layout, "one"), image(layout, "two")
    layout.tag("moving", before)
    with MovingRegistry(layout) as registry:
        reference = f"{registry.host}/a/head:moving"
        pull(larder, reference)
        layout.tag("moving", image(layout, "between"))
        registry.moves_to = after  # after the HEAD of `always`
        pull(larder, reference, policy="always")
        detail = inspect(larder, reference)
        assert detail["handle"]["manifest_digest"] == after["digest"]
        assert detail["layers"][0]["blob_digest"] == layers_of(layout, after)[0]


def layers_of(layout, manifest):
    return [layer["digest"] for layer in layout.read_document(manifest["digest"])["layers"]]


def both(layout):
    """An honest image's manifest, and what an index would have."""
    manifest = image(layout, "honest")
    document = layout.read_document(manifest["digest"])
    return document, {"manifests": [dict(manifest)]}


@pytest.mark.parametrize("key", ["manifests", "Manifests", "MANIFESTS", "manife\u017ft\u017f"])
@pytest.mark.parametrize("said", [MANIFEST, INDEX, None])
def test_a_document_that_is_a_manifest_and_an_index_is_neither(larder, layout, key, said):
    """GHSA-5j5w-g665-5m35, and its forms for readers that fold the case of keys."""
    document, index = both(layout)
    confused = {**document, key: index["manifests"]}
    confused.pop("mediaType", None)
    if said:
        confused["mediaType"] = said
    files = published_files(larder)
    layout.tag("confused", layout.document(confused, said or "application/json"))
    with FaultRegistry(layout) as registry:
        registry.fault("manifests", "confused", Fault(content_type=said or "application/json"))
        problem = refused(larder, f"{registry.host}/a/b:confused")
    assert problem["code"] == "UnsupportedManifest" and problem["status"] == 422
    assert published_files(larder) == files, "it leaves nothing"


@pytest.mark.parametrize("came_as", [INDEX, "application/vnd.docker.distribution.manifest.v2+json"])
def test_a_manifest_that_comes_as_something_else_is_refused(larder, layout, came_as):
    manifest = image(layout, "honest")
    layout.tag("one", manifest)
    with FaultRegistry(layout) as registry:
        registry.fault("manifests", "one", Fault(content_type=came_as, always=True))
        problem = refused(larder, f"{registry.host}/a/b:one")
    assert problem["code"] == "UnsupportedManifest"


@pytest.mark.parametrize(
    "digest",
    ["sha256:../../../../etc/passwd", "sha256:" + "0" * 63, "sha512:" + "0" * 128, "/etc/passwd", ""],
)
def test_a_digest_that_names_a_path_is_no_digest(larder, layout, digest):
    """CVE-2024-3727."""
    document, _ = both(layout)
    for place in ("config", "layer"):
        hostile = json.loads(json.dumps(document))
        target = hostile["config"] if place == "config" else hostile["layers"][0]
        target["digest"] = digest
        layout.tag("hostile", layout.document(hostile, MANIFEST))
        with FaultRegistry(layout) as registry:
            problem = refused(larder, f"{registry.host}/a/b:hostile")
            assert problem["code"] == "UnsupportedManifest", problem
            assert not registry.seen("/blobs/"), "nothing is asked for by that name"


def test_a_document_of_very_many_values_is_refused(larder, layout):
    document, _ = both(layout)
    layout.tag("many", layout.document({**document, "annotations": {"a": [0] * 300_000}}, MANIFEST))
    with FaultRegistry(layout) as registry:
        problem = refused(larder, f"{registry.host}/a/b:many")
    assert problem["code"] == "UnsupportedManifest" and "values" in problem["detail"]


def test_a_pull_asks_who_it_is_for(make_larder, tmp_path):
    """CVE-2026-24124: an interface of jobs without authentication."""
    node = make_larder(flags=Tokens(tmp_path, h7="host").flags)
    for method, path in (("POST", "/images:pull"), ("GET", "/pulls"), ("DELETE", "/pulls/x")):
        assert node.request(method, path).status_code == 401
