#!/usr/bin/env python3
"""leftovers.py COMMAND...: runs a command and fails if it leaves anything behind.

Processes: this one adopts every descendant whose parent ends (PR_SET_CHILD_SUBREAPER),
however it was started, so what is still its child afterwards was left behind. Mounts:
those of this mount namespace; script/test gives it one of its own. Loop devices: those
whose file is under $TMPDIR, which script/test makes for the run. What is found is
printed and removed. Exits with the command's status, or 99 if that was 0.
"""

import ctypes
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
NAMESPACES = "/run/netns"  # a mount that the first `ip netns add` of a machine makes, for all
GRACE_SECONDS = 5  # for children that were told to end and are about to
LEFT_BEHIND = 99


def children_of(parent):
    """[(pid, command line)] of the living children."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, ppid = stat.read_text(errors="replace").rpartition(")")[2].split()[:2]
            command = (stat.parent / "cmdline").read_bytes().replace(b"\0", b" ")
        except OSError:  # it has just ended
            continue
        if int(ppid) == parent and state != "Z":
            found.append((int(stat.parent.name), command.decode(errors="replace").strip()))
    return found


def reap():
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def processes_left():
    deadline = time.monotonic() + GRACE_SECONDS
    while True:
        reap()
        found = children_of(os.getpid())
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(0.05)


def mounts():
    lines = Path("/proc/self/mountinfo").read_text(errors="replace").splitlines()
    points = {line.split()[0]: line.split()[4] for line in lines}
    return {number: point for number, point in points.items() if point != NAMESPACES}


def loop_devices(directory):
    found = {}
    for backing in Path("/sys/block").glob("loop*/loop/backing_file"):
        try:
            path = backing.read_text(errors="replace").strip()
        except OSError:  # detached meanwhile
            continue
        if path.startswith(directory):
            found[backing.parts[3]] = path
    return found


def main():
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    mounted = mounts()
    status = subprocess.run(sys.argv[1:]).returncode
    left = []
    for pid, command in processes_left():
        left.append(f"process {pid}: {command}")
        os.kill(pid, signal.SIGKILL)
    for number, point in sorted(mounts().items(), reverse=True):
        if number not in mounted:
            left.append(f"mount {point}")
            subprocess.run(["umount", "--lazy", point])
    for name, path in loop_devices(tempfile.gettempdir()).items():
        left.append(f"loop device {name} of {path}")
        subprocess.run(["losetup", "--detach", f"/dev/{name}"])
    for line in left:
        print(f"left behind: {line}", flush=True)
    reap()
    return status if status or not left else LEFT_BEHIND


if __name__ == "__main__":
    sys.exit(main())
