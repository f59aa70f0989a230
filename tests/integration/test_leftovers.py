"""What script/test trusts to notice that a test left something behind."""

import os
import subprocess
import sys
from pathlib import Path

LEFTOVERS = Path(__file__).resolve().parents[1] / "leftovers.py"
LEAVES_ALL_KINDS = """
setsid --fork sleep 300
mkdir "$TMPDIR/point"
mount -t tmpfs left "$TMPDIR/point"
truncate --size 1M "$TMPDIR/image"
losetup --find --read-only "$TMPDIR/image"
"""


def watched(directory, script):
    # In a mount namespace of its own, where it is root's to make: not in a chroot.
    own = ["unshare", "--mount", "--propagation", "slave"]
    own = own if subprocess.run([*own, "true"], stderr=subprocess.DEVNULL).returncode == 0 else []
    return subprocess.run(
        [*own, sys.executable, LEFTOVERS, "bash", "-euc", script],
        env=os.environ | {"TMPDIR": str(directory)},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_a_process_a_mount_and_a_loop_device_are_noticed_and_removed(tmp_path):
    done = watched(tmp_path, LEAVES_ALL_KINDS)
    assert done.returncode == 99, done.stdout + done.stderr
    for left in ("sleep 300", f"mount {tmp_path}/point", f"of {tmp_path}/image"):
        assert left in done.stdout, f"{left!r} is told; it told:\n{done.stdout}"
    again = watched(tmp_path, "true")
    assert again.returncode == 0, f"nothing is left after that; it told:\n{again.stdout}"


def test_the_status_of_the_command_comes_through(tmp_path):
    assert watched(tmp_path, "exit 7").returncode == 7
    assert watched(tmp_path, "sleep 0.2 & exit 0").returncode == 0, "it may end a little later"
