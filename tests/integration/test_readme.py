"""README.md's walk-through, run word for word.

Every ```sh block of the section runs in one shell that stops at the first failure. A
line `#=> text` says that what was printed since the block began, or since the last
such line's command, contains the text.
"""

import re
import shutil
import subprocess
from pathlib import Path

import archives
import images
from daemons import free_port
from larder import program

README = Path(__file__).resolve().parents[2] / "README.md"
MARK = "@@@ block "


def walk_through():
    section = README.read_text().split("## Walk-through", 1)[1].split("\n## ", 1)[0]
    blocks = re.findall(r"```sh\n(.*?)```", section, flags=re.DOTALL)
    assert len(blocks) >= 8, "the walk-through has a block for each step"
    return blocks


def script_of(blocks):
    lines = ["set -euo pipefail"]
    for number, block in enumerate(blocks):
        lines += [f"echo; echo '{MARK}{number}'", block]
    return "\n".join(lines)


def expectations(block):
    return [line[len("#=> ") :] for line in block.splitlines() if line.startswith("#=> ")]


def run_walk_through(url, blob_dir, image, directory):
    """Runs it in `directory` against the node at `url`, with an image that can be pulled
    and an image.tar as of `docker save app:1`."""
    blocks = walk_through()
    saved = archives.docker_save([(["app:1"], [archives.Archive().add("f", b"f").data()])])
    (Path(directory) / "image.tar").write_bytes(saved.data())
    environment = {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LARDER": url,
        "BLOBS": str(blob_dir),
        "IMAGE": image,
    }
    done = subprocess.run(
        ["bash", "-c", script_of(blocks)],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    printed = re.split(rf"{MARK}\d+\n", done.stdout)[1:]
    assert done.returncode == 0, f"it stopped in block {len(printed)}:\n{done.stdout}{done.stderr}"
    for number, (block, output) in enumerate(zip(blocks, printed, strict=True)):
        for text in expectations(block):
            assert text in output, f"block {number} prints {text!r}; it printed:\n{output}"


def test_who_may_come_in_is_as_it_says(tmp_path, new_directory):
    data_dir = new_directory("readme")
    port = free_port()
    environment = {
        "PATH": f"{Path(program()).parent}:/usr/local/bin:/usr/bin:/bin",
        "LARDER": f"http://127.0.0.1:{port}",
        "LARDER_LISTEN": f"127.0.0.1:{port}",
        "LARDER_DATA_DIR": str(data_dir),
    }
    section = README.read_text().split("## Who may come in", 1)[1].split("\n## ", 1)[0]
    (block,) = re.findall(r"```sh\n(.*?)```", section, flags=re.DOTALL)
    script = f"set -euo pipefail\ntrap 'kill %1; wait' EXIT\n{block}"
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env=environment, capture_output=True, timeout=120
    )
    printed = done.stdout.decode()
    assert expectations(block) and all(text in printed for text in expectations(block)), done
    shutil.rmtree(data_dir)


def test_the_walk_through_does_what_it_says(larder, registry, built_images, tmp_path):
    images.push_to(registry, built_images["busybox"], "library/busybox:1.36")
    image = f"{registry}/library/busybox:1.36"
    run_walk_through(larder.url, larder.blob_dir, image, tmp_path)
