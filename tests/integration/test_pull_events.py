"""Many who follow one pull: what it costs, and what becomes of those who leave."""

import json
import socket
import time

import pytest

import rawhttp
from daemons import wait_until

WATCHERS = 100


@pytest.fixture
def silent():
    """host:port of a registry that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=16) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def follow(node, pull_id, count):
    """Connections that have sent their request, and nothing more."""
    request = f"GET /pulls/{pull_id}/events HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    connections = [rawhttp.connect(node.url) for _ in range(count)]
    for connection in connections:
        connection.settimeout(30)
        connection.sendall(request.encode())
    return connections


def first_event(connection):
    data = b""
    while b"}\n\n" not in data:
        piece = connection.recv(65536)
        assert piece, f"the stream ended: {data}"
        data += piece
    return data


def transactions(postgres, name):
    query = f"SELECT xact_commit FROM pg_stat_database WHERE datname = '{name}'"
    return int(postgres.sql("postgres", query)[0][0])


def streams_that_ended(node):
    return sum("/events" in line for line in node.log().splitlines())


@pytest.fixture
def followed(make_larder, postgres, silent):
    """A node on a database of its own, a pull that does not move, and who follows it."""
    name = "pull_events"
    node = make_larder(database=postgres.create_database(name))
    pull = node.post("/images:pull", json={"reference": f"{silent}/silent/image:1"}).json()
    path = f"/pulls/{pull['id']}"
    wait_until(lambda: node.get(path).json()["state"] == "resolving", "the pull runs")
    connections = follow(node, pull["id"], WATCHERS)
    yield node, path, connections
    for connection in connections:
        connection.close()
    node.stop()
    postgres.drop_database(name)


def test_a_hundred_who_follow_a_pull_cost_one_look_and_all_see_its_end(followed, postgres):
    node, path, connections = followed
    for connection in connections:
        assert b"event: progress" in first_event(connection)
    time.sleep(2)  # PostgreSQL counts with a second's delay
    before = transactions(postgres, "pull_events")
    time.sleep(4)
    looks = transactions(postgres, "pull_events") - before
    assert looks < 4 * WATCHERS, f"{looks} transactions in 4 s: each asks on its own"
    assert node.delete(path).status_code == 204
    for connection in connections:
        end = rawhttp.read_all(connection)
        assert b"event: cancelled" in end and end.endswith(b"0\r\n\r\n"), end
        data = end.split(b"data: ")[-1].split(b"\n")[0]
        assert json.loads(data)["state"] == "cancelled"
    wait_until(lambda: streams_that_ended(node) == WATCHERS, "every stream ends once")


def test_who_leaves_is_noticed_and_the_others_go_on(followed):
    node, path, connections = followed
    for connection in connections:
        first_event(connection)
    leaving, staying = connections[: WATCHERS // 2], connections[WATCHERS // 2 :]
    for connection in leaving:
        connection.close()
    wait_until(lambda: streams_that_ended(node) == len(leaving), "those who left are let go")
    assert node.delete(path).status_code == 204
    for connection in staying:
        assert b"event: cancelled" in rawhttp.read_all(connection)
