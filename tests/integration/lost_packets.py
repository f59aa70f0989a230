"""Run in a network namespace of its own by test_staleness.py: what a read shows, a second after the
bound, when nothing that the node's poll sends reaches PostgreSQL.

    lost_packets.py -> {"lost": connections whose packets were lost, "written": […], "shown": […]}
"""

import json
import subprocess
import tempfile
import time
from pathlib import Path

from cataloguerows import add_image, prepare, use
from larder import Larder
from postgres import Postgres, sql
from sqlsession import SqlSession

REFERENCE = "docker.io/test/stale:1"
BOUND_SECONDS = 1.0
ROUNDS = 3


def run(*command):
    subprocess.run(["ip", *command], check=True)


def lose_packets_of_polls(database, lost):
    """All that the connections of polls send, from now on."""
    ports = sql(database, "SELECT client_port FROM pg_stat_activity"
                          " WHERE application_name = 'larder heartbeat'")  # fmt: skip
    for (port,) in ports:
        if port not in lost:
            run("rule", "add", "pref", "5", "ipproto", "tcp", "sport", port, "blackhole")
            lost.add(port)


def wait_while_losing(session, lost, seconds):
    """The poll connects again when it hears nothing."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        lose_packets_of_polls(session, lost)
        time.sleep(0.01)


def main():
    run("link", "set", "lo", "up")
    # The rule for local addresses comes first; ours must come before it.
    run("rule", "add", "pref", "10", "lookup", "local")
    run("rule", "delete", "pref", "0")
    lost, written, shown = set(), [], []
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o711)
        server = Postgres(Path(directory) / "postgres").start()
        database = server.create_database("larder")
        with Larder(Path(directory) / "larder", database=database) as node:
            prepare(database)
            add_image(database, REFERENCE, "stale")
            session = SqlSession(database)
            for number in range(1, ROUNDS + 1):
                node.get(f"/images/{REFERENCE}")
                lose_packets_of_polls(session, lost)
                use(database, REFERENCE, number)
                written.append(number)
                wait_while_losing(session, lost, BOUND_SECONDS + 1)
                shown.append(node.get(f"/images/{REFERENCE}").json()["last_used_at"])
            session.close()
        server.close()
    print(json.dumps({"lost": len(lost), "written": written, "shown": shown}))


main()
