"""Every fixture, converted and mounted by the kernel, equals what its tars mean."""

import hashlib
import os
from pathlib import Path

import erofsmount
import layermodel
import pytest
from converter import Refused, convert
from layermodel import differences
from tarfixtures import GOOD, REFUSED
from treewalk import walk

# A change of these bytes is a decision: hosts that keep layers compare them. Each is
# the sha256 over fsmeta and then all layer files.
PINNED = {
    "dialect_pax": "f9d19f6bdf6e7d40ae4abb192167db2cee717ce280041602dd4a162d101a4e2e",
    "sparse_old_gnu": "69e277465abc45104cfeb1d285588540650a88784f35d923ca88b69a2154f508",
    "xattrs_pax": "bdfcc08e9015e3ebea1e41c5831dbbbb726eb105ded3618d1f81199807abc94b",
    "hard_links_of_every_kind": "a132744834a5a0d62db1350445fa7a9d121a9aafebdd0eb28e66557bb494086c",
    "whiteout_after_its_directory": "f48c1b7cd9feee7c39a7fce634c167c21120d5df9d8865a9ce8e5d170869e7c3",
    "empty_tar_of_no_bytes": "2ff7250025ed59c6df4334a2366382d9378340569ce0b238180b506dcf05ed66",
    "same_layer_twice": "0d1f732ac6c32ca7ca2f5afec06825fc083e851cc7437d3fd65b04322c7e79f9",
    "sixty_layers": "688b26605cf35c2fd8b4831fd2d805960dfe84385ebfd53e7fd450a6dc3a436c",
}

# What an overlay of other file systems cannot know: link counts and groups.
OVERLAY_IGNORES = ("nlink", "group")


@pytest.fixture(scope="module", params=GOOD)
def converted(request, tmp_path_factory):
    """(fixture, Stack); skipped over where the fixture may be refused and was."""
    made = GOOD[request.param]
    directory = tmp_path_factory.mktemp("stack")
    try:
        stack = convert(str(directory), made.tars())
    except Refused as refusal:
        stack = None
        assert made.may_refuse is not None, f"{made.name}: refused: {refusal}"
        assert refusal.code == "UnsupportedLayer" and made.may_refuse in refusal.message
    yield made, stack
    for path in directory.rglob("*"):
        if path.is_file():
            path.unlink()


def assert_same(made, fd, ignore=()):
    lines = differences(made.expected(), walk(fd), ignore=(*made.ignore, *ignore))
    assert not lines, f"{made.name}: " + "\n".join(lines[:40])


def test_devices_view_shows_what_the_layers_mean(converted):
    made, stack = converted
    if stack:
        with erofsmount.erofs_mounted(stack.fsmeta, stack.layers) as fd:
            assert_same(made, fd)


def test_flat_disk_shows_what_the_layers_mean(converted):
    made, stack = converted
    if stack:
        flat = os.path.join(os.path.dirname(stack.fsmeta), "flat.raw")
        erofsmount.flatten(stack.vmdk, flat)
        parts = [stack.fsmeta, *stack.layers]
        assert erofsmount.is_concatenation(flat, parts), f"{made.name}: vmdk is not {parts}"
        with erofsmount.erofs_mounted(flat) as fd:
            assert_same(made, fd)


def test_fsck_finds_nothing(converted):
    made, stack = converted
    if stack:
        for layer in sorted(set(stack.layers)):
            assert not erofsmount.fsck(layer), f"{made.name}: layer {layer}"
        assert not erofsmount.fsck(stack.fsmeta, stack.layers), f"{made.name}: fsmeta"


def test_layer_files_stack_with_overlayfs(converted):
    made, stack = converted
    if not stack or not made.overlay or reaches_down(made):
        return  # overlayfs has no hard link from one layer into another
    members = [layer.members for layer in made.layers]
    with erofsmount.layers_stacked(stack.layers[layermodel.visible_from(members) :]) as fd:
        found = walk(fd, whiteouts_listed=True)
    expected = dict(made.expected())
    for path in layermodel.implied_paths(members) & expected.keys() & found.keys():
        # Only fsmeta can give an implied directory the metadata from below.
        expected[path] = found[path]
    lines = differences(expected, found, ignore=(*made.ignore, *OVERLAY_IGNORES))
    assert not lines, f"{made.name}: " + "\n".join(lines[:40])


def test_a_layers_opaque_directories_hold_no_whiteouts(tmp_path):
    # overlayfs would list them, though there is nothing left to hide.
    for name in ("opaque_and_a_whiteout", "opaque_through_a_whiteout_holds_none"):
        (tmp_path / name).mkdir()
        stack = convert(str(tmp_path / name), GOOD[name].tars())
        with erofsmount.erofs_mounted(stack.layers[-1]) as fd:
            assert b"d/a" not in walk(fd), f"{name}: a whiteout is in the layer file"


def test_a_file_in_one_piece_takes_one_index(tmp_path):
    stack = convert(str(tmp_path), GOOD["large_file"].tars())
    # An index for each of its 2,344 blocks would take 18 KiB.
    assert os.path.getsize(stack.fsmeta) == 2 * 4096


def reaches_down(made):
    return any(layermodel.apply_layer(layer.members).lower_links for layer in made.layers)


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_the_name_of_the_member(name, tmp_path):
    made = REFUSED[name]
    with pytest.raises(Refused) as refusal:
        convert(str(tmp_path), made.tars())
    assert refusal.value.code == "UnsupportedLayer", f"{name}: {refusal.value}"
    assert made.refused in refusal.value.message, f"{name}: {refusal.value} names no member"


def digest_of(stack):
    total = hashlib.sha256()
    for path in (stack.fsmeta, *stack.layers):
        total.update(Path(path).read_bytes())
    return total.hexdigest()


@pytest.mark.parametrize("name", PINNED)
def test_bytes_are_pinned(name, tmp_path):
    assert digest_of(convert(str(tmp_path), GOOD[name].tars())) == PINNED[name]


def test_bytes_depend_on_the_tars_alone(tmp_path, monkeypatch):
    digests = set()
    tars = GOOD["xattrs_pax"].tars()
    for number, (umask, zone) in enumerate([(0o022, "UTC"), (0o777, "Asia/Tokyo"), (0, "")]):
        directory = tmp_path / str(number)
        directory.mkdir()
        monkeypatch.setenv("TZ", zone)
        monkeypatch.setenv("TMPDIR", str(directory))
        monkeypatch.setenv("LC_ALL", "C" if number else "C.UTF-8")
        monkeypatch.setenv("SOURCE_DATE_EPOCH", str(number))
        previous = os.umask(umask)
        try:
            digests.add(digest_of(convert(str(directory), tars)))
        finally:
            os.umask(previous)
    assert len(digests) == 1, "the same tars gave different bytes"


IN_PIECES = (
    "dialect_pax-all",
    "times",
    "odd_names_pax",
    "sparse_pax_1_0",
    "sparse_old_gnu",
    "xattrs_pax-both",
    "pax_names_of_which_the_header_has_nothing",
    "texts_of_acls_do_not_change_the_mode",
    "gnu_incremental_directory",
)


# Primes, a byte beside a block, and the size of a header: each moves what straddles.
@pytest.mark.parametrize("piece_bytes", (1, 511, 512, 4099))
def test_bytes_do_not_depend_on_how_the_tar_arrives(piece_bytes, tmp_path, monkeypatch):
    for name in IN_PIECES:
        whole, pieces = tmp_path / f"{name}-whole", tmp_path / f"{name}-pieces"
        whole.mkdir()
        pieces.mkdir()
        monkeypatch.delenv("LAYER_STACK_PIECE_BYTES", raising=False)
        expected = digest_of(convert(str(whole), GOOD[name].tars()))
        monkeypatch.setenv("LAYER_STACK_PIECE_BYTES", str(piece_bytes))
        found = digest_of(convert(str(pieces), GOOD[name].tars()))
        assert found == expected, f"{name} in pieces of {piece_bytes} bytes"


@pytest.mark.parametrize("name", REFUSED)
def test_refused_however_the_tar_arrives(name, tmp_path, monkeypatch):
    monkeypatch.setenv("LAYER_STACK_PIECE_BYTES", "97")
    with pytest.raises(Refused):
        convert(str(tmp_path), REFUSED[name].tars())
