"""The locks of files (store/file_lock.c), taken from outside as a pull takes them."""

import re
import subprocess
from contextlib import contextmanager

KINDS = {"layers": "layer", "fsmeta": "fsmeta", "vmdk": "vmdk", "manifests": "manifest"}


def lock_key(path):
    """The two numbers of the file's advisory lock, in SQL."""
    digest = "sha256:" + re.search(r"[0-9a-f]{64}", path.name).group()
    return f"file_lock_class('{KINDS[path.parent.name]}'), file_lock_key('{digest}')"


@contextmanager
def held(database, *paths):
    """Holds the locks of these files of the blob directory."""
    command = ["psql", "-X", "-q", "-A", "-t", "-d", database]
    holder = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )
    try:
        for path in paths:
            holder.stdin.write(f"SELECT 'locked' || pg_advisory_lock({lock_key(path)});\n")
            assert holder.stdout.readline().strip() == "locked"
        yield
    finally:
        holder.communicate("\\q\n")
