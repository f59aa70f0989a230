"""More than a node can do: it says so early, and harms nobody who was there before."""

import contextlib
import fcntl
import os
import resource
import threading
import time
from pathlib import Path

import rawhttp
from cataloguerows import Psql, add_image, metric, prepare
from daemons import wait_until
from larder import Larder
from problems import expect_problem

ASK = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


def ask(connection):
    """The status of an answer on a connection that stays open."""
    connection.sendall(ASK)
    data = connection.recv(1000)
    return int(data.split()[1]) if data else None


def connect_many(node, count, source="127.0.0.1"):
    return [rawhttp.connect(node.url, source=source) for _ in range(count)]


def connect_first(node, count, source="127.0.0.1"):
    """So many that the node has taken before anyone else comes: its loops take them in no order."""
    connections = connect_many(node, count, source)
    assert [ask(connection) for connection in connections] == [200] * count
    return connections


def close_all(connections):
    for connection in connections:
        connection.close()


def is_sent_away(node, source="127.0.0.1"):
    with rawhttp.connect(node.url, source=source) as connection:
        connection.sendall(ASK.replace(b"x", b"x\r\nConnection: close"))
        answer = rawhttp.RawAnswer(rawhttp.read_all(connection))
    if answer.status == 503:
        assert int(answer.headers["retry-after"]) > 0 and answer.headers["connection"] == "close"
    return answer.status == 503


def test_beyond_the_limit_of_connections_one_is_told_to_come_again(make_larder, database):
    node = make_larder(database=database, flags=["--max-connections", "40"])
    connections = connect_first(node, 40)
    try:
        assert is_sent_away(node), "the next one"
        assert [ask(connection) for connection in connections] == [200] * 40, "the others stay"
        connections.pop().close()
        wait_until(lambda: not is_sent_away(node), "there is room again")
    finally:
        close_all(connections)


def test_far_beyond_the_limit_connections_are_closed_without_a_word(make_larder, database):
    node = make_larder(database=database, flags=["--max-connections", "20"])
    connections = connect_many(node, 200)
    try:
        statuses = []
        for connection in connections:
            try:
                statuses.append(ask(connection))
            except ConnectionError:
                statuses.append(None)
        assert statuses.count(200) == 20
        assert statuses.count(503) <= 40 and statuses.count(None) >= 100
    finally:
        close_all(connections)
    wait_until(lambda: not is_sent_away(node), "all is as before")


def test_one_address_does_not_take_the_place_of_others(make_larder, database):
    node = make_larder(database=database, flags=["--max-connections-per-address", "10"])
    greedy = connect_first(node, 10, "127.0.0.7")
    try:
        assert is_sent_away(node, "127.0.0.7"), "it has had its share"
        assert not is_sent_away(node, "127.0.0.8")
        assert node.get("/healthz").status_code == 200
    finally:
        close_all(greedy)
    wait_until(lambda: not is_sent_away(node, "127.0.0.7"), "it may come again")


def test_two_thousand_that_send_slowly_hurt_nobody(make_larder, database):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    slow = []
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
        node = make_larder(database=database)
        add_place = iter(range(2, 252))
        for _ in range(20):
            slow += connect_many(node, 100, f"127.0.1.{next(add_place)}")
        ended = threading.Event()

        def drip():
            for piece in ASK[:-1]:
                for connection in slow:
                    connection.send(bytes([piece]))
                if ended.wait(0.5):
                    return

        dripping = threading.Thread(target=drip)
        dripping.start()
        try:
            for _ in range(200):
                assert node.get("/images").status_code == 200
                assert node.get("/version").status_code == 200
        finally:
            ended.set()
            dripping.join()
        assert metric(node, "larder_http_connections") >= 2000
    finally:
        close_all(slow)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_writes_beyond_the_queue_are_told_at_once_and_reads_go_on(make_larder, database):
    node = make_larder(database=database)
    prepare(database)
    add_image(database, "docker.io/test/busy:1", "busy")
    path = "/images/test/busy:1"
    assert node.get(path).status_code == 200
    body = {"host": "h", "rootfs": {"type": "bind", "path": "/srv"}}
    answers = []

    def write(number):
        answers.append(node.put(f"/sandboxes/busy-{number}", json=body))

    with Psql(database) as other:
        other.run("BEGIN")
        other.run("LOCK TABLE sandboxes")
        threads = [threading.Thread(target=write, args=(number,)) for number in range(400)]
        for thread in threads:
            thread.start()
        wait_until(lambda: len(answers) >= 100, "those for whom there is no room are told")
        assert {answer.status_code for answer in answers} == {503}
        for answer in answers:
            expect_problem(answer, 503, "CatalogueUnavailable")
            assert int(answer.headers["Retry-After"]) > 0
        for _ in range(100):
            assert node.get(path).status_code == 200
        other.run("ROLLBACK")
    for thread in threads:
        thread.join()
    assert {answer.status_code for answer in answers} <= {201, 503}
    time.sleep(1)
    for number in range(20):
        assert node.put(f"/sandboxes/after-{number}", json=body).status_code == 201


def write_while_locked(node, database, count, name):
    """The statuses of that many writes at once, for whose table somebody else holds the lock until
    all are there and have waited a while."""
    body = {"host": "h", "rootfs": {"type": "bind", "path": "/srv"}}
    statuses = []

    def write(number):
        statuses.append(node.put(f"/sandboxes/{name}-{number}", json=body).status_code)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(count)]
    with Psql(database) as other:
        other.run("BEGIN")
        other.run("LOCK TABLE sandboxes")
        for thread in threads:
            thread.start()
        held = lambda: metric(node, "larder_http_requests_in_flight") + len(statuses)  # noqa: E731
        wait_until(lambda: held() >= count, "all have come")
        time.sleep(0.2)
        other.run("ROLLBACK")
    for thread in threads:
        thread.join()
    return statuses


def test_a_burst_waits_and_an_overload_is_told_to_come_again(make_larder, database):
    """Both queue for the same time: what fits in the queue is answered, of what does not even those
    that had found room are not kept waiting."""
    node = make_larder(database=database)
    assert set(write_while_locked(node, database, 60, "burst")) == {201}
    statuses = write_while_locked(node, database, 400, "overload")
    assert set(statuses) == {201, 503} and statuses.count(201) < 200, "most are told at once"


PIPE_BYTES = 4096


class StalledLog:
    """A node's stderr whose reader has stopped: a pipe that is full after a page."""

    def __init__(self, node):
        self.path = Path(node.daemon.stderr_path)
        os.mkfifo(self.path)
        self.fd = os.open(self.path, os.O_RDWR | os.O_NONBLOCK)
        fcntl.fcntl(self.fd, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self.said = b""

    def read_on(self):
        """What came since; for a moment or two."""
        try:
            self.said += os.read(self.fd, 1 << 20)
        except BlockingIOError:
            time.sleep(0.01)
        return self.said.decode()

    def close(self):
        """It is an ordinary file again, for those who look for complaints in it."""
        self.path.unlink()
        self.path.write_bytes(self.said)
        os.close(self.fd)


def test_a_log_that_nobody_reads_holds_up_no_request(new_directory, database):
    node = Larder(new_directory("stalled-log"), database=database)
    log = StalledLog(node)
    with node, contextlib.closing(log):
        for i in range(100):
            assert node.delete(f"/sandboxes/none-{i}", timeout=10).status_code == 404
        assert node.get("/healthz", timeout=10).status_code == 200
        wait_until(lambda: log.read_on().count('"event":"audit"') == 100, "each change is told")
        assert len(log.said) > PIPE_BYTES, "more than the pipe holds: the log stood still"
