"""A real docker-registry (distribution) on a loopback port, with its blobs in `directory`."""

import json
import shutil
import signal
import socket
from pathlib import Path

from daemons import Daemon, free_port


class DockerRegistry:
    """`address` is host:port. `settings` are merged over the configuration's top level."""

    def __init__(self, directory, settings=None):
        self.directory = Path(directory)
        self.directory.mkdir(exist_ok=True)
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.daemon = Daemon("docker-registry", self.directory / "registry")
        self._configuration = self.directory / "config.yml"
        content = {
            "version": 0.1,
            "log": {"level": "error"},
            "storage": {
                "filesystem": {"rootdirectory": str(self.directory / "blobs")},
                "delete": {"enabled": True},
            },
            "http": {"addr": self.address},
        }
        self._configuration.write_text(json.dumps(content | (settings or {})))

    def start(self):
        self.daemon.launch(["docker-registry", "serve", self._configuration])
        self.daemon.wait_ready(self._listens, f"listens on {self.address}")
        return self

    def _listens(self):
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True

    def stop(self):
        """What is stored stays: start() again serves it."""
        self.daemon.end(signal.SIGKILL)

    def close(self):
        self.daemon.kill()
        shutil.rmtree(self.directory, ignore_errors=True)
