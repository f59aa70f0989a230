"""An image whose config is as large as one may be: what lists and batches answer stays bounded, and
so does what clients do not read."""

import socket

import pytest
import requests
from fault_registry import FaultRegistry
from ocilayout import Layout
from pulling import pull

SANDBOXES = 64
LABEL_BYTES = 3_500_000
ANSWER_BYTES = 8 << 20
UNREAD_BYTES = 256 << 20


@pytest.fixture
def reference(tmp_path):
    layout = Layout(tmp_path / "layout")
    config = {"Labels": {"large": "y" * LABEL_BYTES}}
    layout.tag("one", layout.image([b"\0" * 10240], "plain", config=config))
    with FaultRegistry(layout) as registry:
        yield f"{registry.host}/a/b:one"


@pytest.fixture
def node(make_larder, reference):
    node = make_larder()
    pull(node, reference)
    return node


def register(node, reference):
    rootfs = {"type": "oci", "reference": reference}
    wanted = [{"id": f"s{i:02}", "host": "h", "rootfs": rootfs} for i in range(SANDBOXES)]
    return node.post("/sandboxes:batch", json={"sandboxes": wanted})


def is_bounded(answer):
    return len(answer.content) < ANSWER_BYTES + LABEL_BYTES + 100_000


def test_a_batch_registers_all_and_tells_the_images_of_some(node, reference):
    answer = register(node, reference)
    assert answer.status_code == 200 and is_bounded(answer)
    outcomes = answer.json()["sandboxes"]
    assert [one["status"] for one in outcomes] == [201] * SANDBOXES
    told = [one["sandbox"]["image"] is not None for one in outcomes]
    assert told == [True] * 3 + [False] * (SANDBOXES - 3)
    whole = node.get("/sandboxes/s63").json()
    assert len(whole["image"]["config"]["labels"]["large"]) == LABEL_BYTES


def test_pages_end_early_and_reach_every_sandbox_once(node, reference):
    register(node, reference)
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


def test_answers_that_nobody_reads_are_bounded(node, reference):
    register(node, reference)
    host, port = node.url.removeprefix("http://").split(":")
    fit = UNREAD_BYTES // len(node.get("/sandboxes").content)
    clients = []
    try:
        for _ in range(2 * fit):
            client = socket.create_connection((host, int(port)), timeout=60)
            client.sendall(b"GET /sandboxes HTTP/1.1\r\nHost: localhost\r\n\r\n")
            clients.append(client)
            client.recv(12, socket.MSG_PEEK | socket.MSG_WAITALL)  # it is answered
        statuses = [client.recv(12)[9:].decode() for client in clients]
        assert statuses == ["200"] * fit + ["503"] * fit
        assert node.get("/sandboxes?host=nobody").status_code == 200, "small ones are answered"
        refused = node.get("/sandboxes", headers={"Accept-Encoding": "identity"})
        assert refused.status_code == 503 and refused.headers["Retry-After"] == "1"
    finally:
        for client in clients:
            client.close()
    assert requests.get(f"{node.url}/sandboxes", timeout=60).status_code in (200, 503)
