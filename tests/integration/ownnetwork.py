"""Scripts that run in a network namespace of their own, which is theirs to cut."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

UNSHARE = ["unshare", "--net"]


def run(script):
    """What the script beside this file prints last, as JSON; skips where no namespace can be made."""
    if subprocess.run([*UNSHARE, "true"], capture_output=True).returncode != 0:
        pytest.skip("needs root: a network namespace")
    command = [*UNSHARE, sys.executable, "-B", Path(__file__).with_name(script)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])
