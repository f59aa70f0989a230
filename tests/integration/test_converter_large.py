"""Files and layers beyond 2 and 4 GiB, where 32 bits end and a vmdk extent does; and more
links than 16 bits count.

Three dense layers take 20 GiB of disk and minutes: LARDER_LARGE_TESTS=1 runs them.
"""

import os
import shutil

import erofsmount
import pytest
import sparsetar
from converter import convert, convert_files
from fixture import file, hardlink
from tarbytes import END, encode, header

GIB = 1 << 30
SIZE = 5 * GIB + 12_345
PIECES = [
    (0, b"first"),
    (2 * GIB - 3, b"around two gibibytes"),
    (4 * GIB - 3, b"around four gibibytes"),
    (SIZE - 4, b"last"),
]


def read_at(root_fd, name, offset, size):
    fd = os.open(name, os.O_RDONLY, dir_fd=root_fd)
    try:
        return os.pread(fd, size, offset)
    finally:
        os.close(fd)


def assert_pieces(root_fd):
    assert os.stat("big", dir_fd=root_fd).st_size == SIZE
    for offset, data in PIECES:
        start = max(offset - 10, 0)
        expected = bytes(offset - start) + data
        assert read_at(root_fd, "big", start, len(expected)) == expected, f"at {offset}"
        after = read_at(root_fd, "big", offset + len(data), 4096)
        assert not any(after), f"after the piece at {offset}: no zeros"
    assert read_at(root_fd, "after", 0, 100) == b"content\n"


def assert_both_views(stack, directory, check):
    with erofsmount.erofs_mounted(stack.fsmeta, stack.layers) as fd:
        check(fd)
    flat = os.path.join(directory, "flat.raw")
    erofsmount.flatten(stack.vmdk, flat)
    with erofsmount.erofs_mounted(flat) as fd:
        check(fd)


@pytest.mark.parametrize("kind", sparsetar.KINDS)
def test_sparse_file_of_five_gibibytes(kind, tmp_path):
    sparse = sparsetar.KINDS[kind](b"big", PIECES, SIZE)
    tar = encode(file(b"before")) + sparse + encode(file(b"after")) + END
    stack = convert(str(tmp_path), [tar])
    assert_both_views(stack, str(tmp_path), assert_pieces)


def test_files_that_are_one_hole(tmp_path):
    sizes = {b"page": 4096, b"gibibytes": SIZE, b"tebibytes": 8 * 1024 * GIB + 1, b"most": 2**63 - 2}
    tar = b"".join(sparsetar.old_gnu(name, [], size) for name, size in sizes.items()) + END

    def check(root_fd):
        for name, size in sizes.items():
            assert os.stat(name, dir_fd=root_fd).st_size == size
            for offset in (0, size // 2, size - 100):
                assert read_at(root_fd, name, offset, 100) == bytes(100), f"{name} at {offset}"

    assert_both_views(convert(str(tmp_path), [tar]), str(tmp_path), check)


def write_dense(path, size):
    """A tar with one file of `size` bytes in which each 1 MiB block begins with its number.

    The tar itself has holes, what is made of it has none.
    """
    with open(path, "wb") as tar:
        tar.write(header(b"dense", size=size))
        for block in range(size >> 20):
            tar.seek(512 + (block << 20))
            tar.write(b"block %d\n" % block)
        tar.seek(512 + size)
        tar.write(encode(file(b"after")) + END)


def check_dense(root_fd, blocks):
    for block in blocks:
        expected = (b"block %d\n" % block).ljust(100, b"\0")
        assert read_at(root_fd, "dense", block << 20, 100) == expected, f"block {block}"
    assert read_at(root_fd, "after", 0, 100) == b"content\n"


def test_dense_file_of_five_gibibytes(tmp_path):
    if shutil.disk_usage(tmp_path).free < 14 * GIB:
        pytest.skip("takes 11 GiB of disk")
    tar = str(tmp_path / "dense.tar")
    write_dense(tar, 5 * GIB)
    (tmp_path / "out").mkdir()
    stack = convert_files(str(tmp_path / "out"), [tar])
    assert_both_views(
        stack, str(tmp_path), lambda fd: check_dense(fd, (0, 2047, 2048, 4095, 4096, 5119))
    )
    shutil.rmtree(tmp_path / "out")
    os.unlink(tmp_path / "flat.raw")


def test_seventy_thousand_hard_links_to_one_file(tmp_path):
    links = [hardlink(b"l/%05d" % number, b"file") for number in range(69_999)]
    tar = b"".join(map(encode, [file(b"file"), *links])) + END

    def check(root_fd):
        for name in ("file", "l/00000", "l/69998"):
            assert os.stat(name, dir_fd=root_fd).st_nlink == 70_000

    assert_both_views(convert(str(tmp_path), [tar]), str(tmp_path), check)


@pytest.mark.skipif(
    not os.environ.get("LARDER_LARGE_TESTS"), reason="takes minutes; LARDER_LARGE_TESTS=1 runs it"
)
def test_dense_layers_beyond_two_and_four_gibibytes(tmp_path):
    names = []
    for gibibytes in (5, 1, 3):
        name = str(tmp_path / f"{gibibytes}.tar")
        write_dense(name, gibibytes * GIB)
        names.append(name)

    def check(root_fd):
        check_dense(root_fd, (0, 2047, 2048, 3 * 1024 - 1))

    (tmp_path / "out").mkdir()
    assert_both_views(convert_files(str(tmp_path / "out"), names), str(tmp_path), check)
