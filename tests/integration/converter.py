"""Runs build/<preset>/layer_stack: plain tars in, layer files, fsmeta and vmdk out."""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
TIMEOUT_SECONDS = 400  # of files of gibibytes on a slow disk


@dataclass(frozen=True)
class Stack:
    fsmeta: str
    vmdk: str
    layers: tuple


class Refused(Exception):
    """The converter's own refusal: a problem code and a sentence."""

    def __init__(self, code, message):
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


def program():
    build = REPOSITORY / os.environ.get("LARDER_BUILD_DIR", "build/dev")
    path = build / "layer_stack"
    assert path.exists(), f"{path} is missing: cmake --build it, or set LARDER_BUILD_DIR"
    return str(path)


def convert(directory, tars):
    """Writes the tars (bytes, bottom to top) below `directory` and converts them there."""
    names = []
    for number, tar in enumerate(tars):
        name = os.path.join(directory, f"{number:03d}.tar")
        Path(name).write_bytes(tar)
        names.append(name)
    output = os.path.join(directory, "out")
    os.makedirs(output, exist_ok=True)
    return convert_files(output, names)


def convert_files(output, tar_names):
    done = subprocess.run(
        [program(), output, *tar_names], capture_output=True, timeout=TIMEOUT_SECONDS
    )
    complaint = done.stderr.decode(errors="surrogateescape").strip()
    if done.returncode == 1 and "Sanitizer" not in complaint:
        code, _, message = complaint.partition(": ")
        raise Refused(code, message)
    assert done.returncode == 0, f"layer_stack ended with {done.returncode}: {complaint}"
    found = json.loads(done.stdout)
    return Stack(found["fsmeta"], found["vmdk"], tuple(found["layers"]))
