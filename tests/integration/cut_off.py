"""Run in a network namespace of its own by test_failover.py: a node is cut off from PostgreSQL for
longer than it keeps a silent connection, and for less than makes it a dead node.

    cut_off.py -> {"before": backends of the node at the cut, "held": of these, as long as a reaper may
                   trust its locks, "left": some time after the cut, without the node having them}
"""

import json
import subprocess
import tempfile
import time
from pathlib import Path

from daemons import wait_until
from larder import Larder
from postgres import SUPERUSER, Postgres, sql

HELD_SECONDS = 6  # the reaper's 5, and some
CUT_SECONDS = 7
WHILE_SECONDS = 10  # after the cut: what is left by then stays

BACKENDS = "SELECT client_port FROM pg_stat_activity WHERE client_port > 0"


def run(*command):
    subprocess.run(["ip", *command], check=True)


def cut_off(port):
    for side in ("sport", "dport"):
        run("rule", "add", "pref", "5", "ipproto", "tcp", side, str(port), "blackhole")


def backends(socket):
    """The ports that PostgreSQL's connections come from."""
    return {int(row[0]) for row in sql(socket, BACKENDS)}


def kept(port):
    """Those of connections that the node has, too: one whose answer came late outlives the cut."""
    command = ["ss", "-tnH", "state", "established", f"dport = :{port}"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return {int(line.split()[2].rpartition(":")[2]) for line in lines}


def heal():
    for _ in range(2):
        run("rule", "delete", "pref", "5")


def main():
    run("link", "set", "lo", "up")
    # The rule for local addresses comes first; ours must come before it.
    run("rule", "add", "pref", "10", "lookup", "local")
    run("rule", "delete", "pref", "0")
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o711)
        server = Postgres(Path(directory) / "postgres").start()
        database = server.create_database("larder")
        socket = f"host={server.directory} port={server.port} user={SUPERUSER} dbname=larder"
        with Larder(Path(directory) / "larder", database=database) as node:
            wait_until(lambda: node.get("/readyz").ok, "the node is ready")
            before = backends(socket)
            cut_off(server.port)
            time.sleep(HELD_SECONDS)
            held = before & backends(socket)
            time.sleep(CUT_SECONDS - HELD_SECONDS)
            heal()
            wait_until(lambda: node.get("/readyz").ok, "the node is ready again")
            end = time.monotonic() + WHILE_SECONDS
            left = before
            while left and time.monotonic() < end:
                time.sleep(0.2)
                left = (before & backends(socket)) - kept(server.port)
        server.close()
    print(json.dumps({"before": len(before), "held": len(held), "left": len(left)}))


main()
