"""A directory seen through FUSE, which stands in for NFS and CephFS. It remembers names and sizes,
but not that a name was missing, which is what docs/operations.md asks of NFS
(`lookupcache=positive`)."""

import os
import shutil
import subprocess

from daemons import Daemon, wait_until

# acregmax and acdirmax of NFS are a minute; longer than the tests take
OPTIONS = "attr_timeout=60,entry_timeout=60,negative_timeout=0"


class Mount:
    def __init__(self, source, point):
        self.point = point
        self.daemon = Daemon("bindfs", f"{point}.bindfs")
        point.mkdir()
        self.daemon.launch(["bindfs", "-f", "-o", OPTIONS, source, point])
        # Also true when it ended: `why_not` tells.
        wait_until(lambda: point.is_mount() or self.daemon.process.poll() is not None, "a mount")

    def close(self):
        subprocess.run(["umount", "--lazy", self.point], capture_output=True)
        self.daemon.kill()


def why_not():
    """Why there can be no such mounts here; None: there can."""
    if not shutil.which("bindfs"):
        return "bindfs is not installed"
    if os.geteuid() != 0:
        return "only root's mounts are for all users"
    return None if os.path.exists("/dev/fuse") else "there is no /dev/fuse"
