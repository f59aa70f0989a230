"""An image whose config is as large as one may be: what lists and batches answer stays bounded, and
so does what clients do not read."""

import socket
from contextlib import contextmanager
from pathlib import Path

import pytest
from daemons import wait_until
from fault_registry import FaultRegistry
from larder import Larder
from ocilayout import Layout
from pulling import pull

SANDBOXES = 64
LABEL_BYTES = 3_500_000
ANSWER_BYTES = 8 << 20
UNREAD_BYTES = 256 << 20
IMAGES = 16
STORED_BYTES = 1_000_000


@pytest.fixture(scope="module")
def references(tmp_path_factory):
    """Of different images."""
    layout = Layout(tmp_path_factory.mktemp("large") / "layout")
    for i in range(IMAGES):
        config = {"Labels": {"large": "y" * LABEL_BYTES, "image": str(i)}}
        layout.tag(f"v{i}", layout.image([b"\0" * 10240], "plain", config=config))
    config = {"Labels": {"smaller": "y" * STORED_BYTES}}
    layout.tag("stored", layout.image([b"\0" * 10240], "plain", config=config))
    with FaultRegistry(layout) as registry:
        yield [f"{registry.host}/a/b:v{i}" for i in range(IMAGES)]


@pytest.fixture(scope="module")
def node(new_directory, references):
    # Whose eighth is what an answer in memory has at most: the large ones come anew each time.
    with Larder(new_directory("larder"), flags=["--cache-bytes", "16MiB"]) as running:
        for reference in references:
            pull(running, reference)
        yield running


def sandbox(reference):
    return {"host": "h", "rootfs": {"type": "oci", "reference": reference}}


def register(node, references):
    wanted = [{"id": f"s{i:02}", **sandbox(references[i % IMAGES])} for i in range(SANDBOXES)]
    return node.post("/sandboxes:batch", json={"sandboxes": wanted})


def is_bounded(answer):
    return len(answer.content) < ANSWER_BYTES + LABEL_BYTES + 100_000


def test_a_batch_registers_all_and_tells_the_images_of_some(node, references):
    answer = register(node, references)
    assert answer.status_code == 200 and is_bounded(answer)
    outcomes = answer.json()["sandboxes"]
    assert {one["status"] for one in outcomes} == {201}
    told = [one["sandbox"]["image"] is not None for one in outcomes]
    assert told == [True] * 3 + [False] * (SANDBOXES - 3)
    whole = node.get("/sandboxes/s63").json()
    assert len(whole["image"]["config"]["labels"]["large"]) == LABEL_BYTES


def test_pages_end_early_and_reach_every_sandbox_once(node, references):
    register(node, references)
    seen, query = [], "limit=1000"
    while query:
        answer = node.get(f"/sandboxes?{query}")
        assert answer.status_code == 200 and is_bounded(answer)
        page = answer.json()
        assert 1 <= len(page["sandboxes"]) <= 2
        assert all(one["image"] for one in page["sandboxes"])
        seen += [one["id"] for one in page["sandboxes"]]
        token = page["next_page_token"]
        query = token and f"limit=1000&page_token={token}"
    assert seen == [f"s{i:02}" for i in range(SANDBOXES)]


def resident_mib(node):
    return int(Path(f"/proc/{node.pid}/statm").read_text().split()[1]) * 4096 >> 20


@contextmanager
def clients_that_do_not_read(node, targets):
    """Their statuses; each has asked for one of the targets and waits for the rest."""
    host, port = node.url.removeprefix("http://").split(":")
    clients = []
    try:
        for target in targets:
            client = socket.socket()
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.settimeout(60)
            client.connect((host, int(port)))
            client.sendall(f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            clients.append(client)
            client.recv(12, socket.MSG_PEEK | socket.MSG_WAITALL)  # it is answered
        yield [client.recv(12)[9:].decode() for client in clients]
    finally:
        for client in clients:
            client.close()


def refuses(node, target):
    answer = node.get(target, headers={"Accept-Encoding": "identity"})
    assert answer.status_code in (200, 503)
    assert answer.status_code == 200 or answer.headers["Retry-After"] == "1"
    return answer.status_code == 503


def test_answers_that_nobody_reads_are_bounded(node, references):
    register(node, references)
    fit = UNREAD_BYTES // len(node.get("/sandboxes").content)
    before = resident_mib(node)
    with clients_that_do_not_read(node, ["/sandboxes"] * (fit + 3)) as statuses:
        assert statuses == ["200"] * fit + ["503"] * 3
        assert refuses(node, "/sandboxes") and refuses(node, f"/images/{references[0]}/inspect")
        assert node.get("/sandboxes?host=nobody").status_code == 200, "small ones are answered"
        # A sanitizer keeps 256 MiB of what was freed.
        assert resident_mib(node) - before < (UNREAD_BYTES >> 20) + 512
    wait_until(lambda: not refuses(node, "/sandboxes"), "there is room again")


def test_one_answer_out_of_memory_is_counted_once_for_all_who_wait(node, references):
    stored = references[0].replace(":v0", ":stored")
    pull(node, stored)
    target = f"/images/{stored}/inspect"
    assert "hit" in [node.get(target).headers["Cache-Status"] for _ in range(2)][1]
    clients = UNREAD_BYTES // STORED_BYTES + 10
    with clients_that_do_not_read(node, [target] * clients) as statuses:
        assert statuses == ["200"] * clients
        assert not refuses(node, "/sandboxes")


def test_answers_of_different_images_are_all_counted(node, references):
    targets = [f"/images/{reference}/inspect" for reference in references] * 8
    fit = UNREAD_BYTES // len(node.get(targets[0]).content)
    with clients_that_do_not_read(node, targets[: fit + 3]) as statuses:
        assert statuses == ["200"] * fit + ["503"] * 3


def test_what_was_changed_is_told_without_its_image_when_there_is_no_room(node, references):
    register(node, references)
    with clients_that_do_not_read(node, ["/sandboxes"] * 40):
        assert refuses(node, "/sandboxes/s00")
        answer = node.put("/sandboxes/new", json=sandbox(references[0]))
        assert answer.status_code == 201 and answer.json()["image"] is None
        answer = register(node, references)
        outcomes = answer.json()["sandboxes"]
        assert [one["sandbox"]["image"] for one in outcomes] == [None] * SANDBOXES
    wait_until(lambda: not refuses(node, "/sandboxes/new"), "there is room again")
    assert node.get("/sandboxes/new").json()["image"]
