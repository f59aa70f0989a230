"""docker/Dockerfile built and run by buildah, which needs no container engine: its chroot
isolation has the machine's network, and nothing of an image but its files, user,
environment and commands. The base image is a debootstrapped Debian 13."""

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

from daemons import Daemon, wait_until
from debianroot import debian_root

REPOSITORY = Path(__file__).resolve().parents[2]
BUILD_SECONDS = 900
VOLUME = "/var/lib/larder"
# Less than any machine allows: Debian 13's buildah asks for a million of each, allowed or not.
LIMITS = ["--ulimit=nofile=4096", "--ulimit=nproc=4096"]
READ_ONLY = """
mount -o remount,bind,ro / && user=$1 && shift &&
exec setpriv --reuid="$user" --regid="$user" --clear-groups --bounding-set=-all \\
    --inh-caps=-all --no-new-privs "$@"
"""


class Image:
    """The built image. `directory` keeps buildah's storage, and goes with close()."""

    def __init__(self, directory):
        self.directory = Path(directory)
        self.directory.mkdir()
        self._environment = os.environ | {"BUILDAH_ISOLATION": "chroot", "STORAGE_DRIVER": "overlay"}
        self._import_base()
        self.buildah(
            *("bud", "--quiet", "--format", "docker", "--build-arg", "BASE=localhost/debian:13"),
            *("--tag", "larder", "--file", "docker/Dockerfile", *LIMITS, "."),
        )
        self.container = self.buildah("from", *LIMITS, "larder").strip()
        self.config = json.loads(self.buildah("inspect", self.container))["Docker"]["config"]

    def _import_base(self):
        base = self.buildah("from", "scratch").strip()
        self.buildah("copy", "--quiet", base, str(debian_root("trixie")), "/")
        self.buildah("commit", "--quiet", "--rm", base, "localhost/debian:13")

    def command(self, *words):
        storage = ["--root", self.directory / "storage", "--runroot", self.directory / "run"]
        return ["buildah", *map(str, storage), *words]

    def buildah(self, *words):
        done = subprocess.run(
            self.command(*words),
            cwd=REPOSITORY,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=BUILD_SECONDS,
        )
        assert done.returncode == 0, f"buildah {words[0]} failed:\n{done.stdout}{done.stderr}"
        return done.stdout

    def run_command(self, volume, *words, environment=(), options=()):
        options = [*options, f"--volume={volume}:{VOLUME}"]
        options += [f"--env={entry}" for entry in environment]
        return self.command("run", *options, self.container, "--", *words)

    def healthcheck(self, volume, environment):
        """The exit code of the image's own check, run in the container as an engine would."""
        kind, command = self.config["Healthcheck"]["Test"]
        assert kind == "CMD-SHELL"
        check = self.run_command(volume, "sh", "-c", command, environment=environment)
        return subprocess.run(check, env=self._environment, timeout=60).returncode

    def start(self, volume, log_prefix, *flags, environment=(), read_only=False):
        """A running container of the image's entry point with `flags`. `read_only` is what an
        engine's --read-only --cap-drop=ALL does, and buildah has no flag for."""
        words = [*self.config["Entrypoint"], *flags]
        options = []
        if read_only:
            words = ["sh", "-c", READ_ONLY, "sh", self.config["User"], *words]
            options = ["--user=root", "--cap-add=CAP_SYS_ADMIN"]
        command = self.run_command(volume, *words, environment=environment, options=options)
        daemon = Daemon("container", log_prefix)
        daemon.launch(command, env=self._environment)
        return daemon

    def close(self):
        shutil.rmtree(self.directory, ignore_errors=True)


def _nodes_with(word):
    for command in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = command.read_text(errors="replace").split("\0")
        except OSError:
            continue  # ended meanwhile
        if Path(words[0]).name == "larder" and words[1:2] == ["serve"] and word in words:
            yield int(command.parent.name)


def only_node(flag):
    """The process of the one node that has that flag, which is its own."""
    nodes = list(_nodes_with(flag))
    assert len(nodes) == 1, f"one node runs in the container, not {nodes}"
    return nodes[0]


def stop(daemon, flag):
    """As `docker stop`: SIGTERM to the node."""
    os.kill(only_node(flag), signal.SIGTERM)
    wait_until(lambda: daemon.process.poll() is not None, "the container ends")
    code, daemon.process = daemon.process.returncode, None
    assert code == 0, f"the container ended with {code}\n{daemon.output()}"
