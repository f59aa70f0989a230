"""Runs build/<preset>/registry_probe: the registry client without the rest of Larder."""

import base64
import json
import os
import random
import subprocess
import time
from pathlib import Path

from ocilayout import Layout, sha256

REPOSITORY = Path(__file__).resolve().parents[2]
MIB = 1 << 20


def program():
    path = REPOSITORY / os.environ.get("LARDER_BUILD_DIR", "build/dev") / "registry_probe"
    assert path.exists(), f"{path} is missing: cmake --build it, or set LARDER_BUILD_DIR"
    return str(path)


class Answer:
    """What the probe printed: words by name, or the error."""

    def __init__(self, done, seconds):
        lines = done.stdout.splitlines()
        self.text = done.stdout + done.stderr
        self.good = done.returncode == 0
        self.seconds = seconds
        self.values = dict(line.split(" ", 1) for line in lines if " " in line)
        self.layers = [line.split()[1] for line in lines if line.startswith("layer ")]
        self.code = self.status = self.retry_after = self.message = None
        if not self.good:
            error = next(line for line in lines if line.startswith("error "))
            _, self.code, status, retry_after, self.message = error.split(" ", 4)
            self.status, self.retry_after = int(status), int(retry_after)


def probe(command, reference, *options, environment=None):
    start = time.monotonic()
    done = subprocess.run(
        [program(), *map(str, options), command, reference],
        capture_output=True,
        text=True,
        timeout=100,
        env={**os.environ, "DOCKER_CONFIG": "/nonexistent", **(environment or {})},
    )
    assert done.returncode in (0, 1), f"the probe ends in order: {done.stderr}"
    return Answer(done, time.monotonic() - start)


class Images:
    """A layout with the tags `one` (two layers) and `index` (amd64 and arm64)."""

    def __init__(self, path):
        self.layout = Layout(path)
        self.tars = [random.Random(seed).randbytes(3 * MIB + seed) for seed in range(2)]
        self.manifest = self.layout.image(self.tars, "plain")
        self.layout.tag("one", self.manifest)
        arm = self.layout.image(self.tars[:1], "plain", architecture="arm64", variant="v8")
        self.index = self.layout.index([self.manifest, arm])
        self.layout.tag("index", self.index)
        self.layers = [sha256(tar) for tar in self.tars]


def login_file(directory, registry, user="user", password="s3cret", **more):
    """A Docker config file with that login for the registry."""
    auth = base64.b64encode(f"{user}:{password}".encode()).decode()
    path = directory / "config.json"
    path.write_text(json.dumps({"auths": {registry.host: {"auth": auth, **more}}}))
    return path
