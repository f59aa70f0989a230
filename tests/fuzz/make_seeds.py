"""make_seeds.py BUILD_DIR: writes seeds for the targets of the converter from its
fixtures, into BUILD_DIR/seeds/<target>/. Small ones only: a fuzzer is fast on those."""

import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "integration"))

import tarfixtures  # noqa: E402

TAR_BYTES_MAX = 32 << 10
IMAGE_BYTES_MAX = 64 << 10
LAYERS_MAX = 4
TAR_BLOCK_BYTES = 512
EROFS_BLOCK_BYTES = 4096


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


def main():
    build = Path(sys.argv[1])
    seeds = build / "seeds"
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
