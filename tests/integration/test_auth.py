"""Who may do what: tokens, roles, unix sockets, and what is said and logged about it."""

import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import subprocess

import pytest
from archives import Archive, in_pieces, unpacker_of
from daemons import wait_until
from doorbell import Doorbell
from larder import Larder, program
from rawhttp import RawAnswer, ask, connect, read_all
from tokens import Tokens, secret

ROLES = {"reader": "reader", "h7": "host", "h8": "host", "root": "admin"}
DIGEST = "sha256:" + "0" * 64
RANK = {None: 0, "reader": 1, "host": 2, "admin": 3}

# Every route, and the least role that may use it.
ROUTES = [
    ("GET", "/healthz", None),
    ("GET", "/readyz", None),
    ("GET", "/version", "reader"),
    ("GET", "/ui/", None),
    ("GET", "/ui/larder.js", None),
    ("GET", "/metrics", "reader"),
    ("GET", "/openapi.yaml", "reader"),
    ("GET", "/openapi.json", "reader"),
    ("GET", "/images", "reader"),
    ("HEAD", "/images", "reader"),
    ("GET", "/images/a/b", "reader"),
    ("GET", "/images/a/b/inspect", "reader"),
    ("DELETE", "/images/a/b", "admin"),
    ("POST", "/images:load", "admin"),
    ("POST", "/images:prune", "admin"),
    ("POST", "/images:pull", "host"),
    ("GET", "/pulls", "reader"),
    ("GET", "/pulls/x", "reader"),
    ("GET", "/pulls/x/events", "reader"),
    ("DELETE", "/pulls/x", "admin"),
    ("GET", "/sandboxes", "reader"),
    ("GET", "/sandboxes/x", "reader"),
    ("PUT", "/sandboxes/x", "host"),
    ("POST", "/sandboxes:batch", "host"),
    ("DELETE", "/sandboxes/x", "host"),
    ("DELETE", "/sandboxes?host=h7", "host"),
    ("GET", "/snapshots", "reader"),
    ("GET", "/snapshots/x", "reader"),
    ("PUT", "/snapshots/x", "admin"),
    ("DELETE", "/snapshots/x", "admin"),
    ("GET", "/pins", "reader"),
    ("PUT", "/pins/a/b", "admin"),
    ("DELETE", "/pins/a/b", "admin"),
    ("GET", "/nodes", "reader"),
    ("GET", f"/layers/{DIGEST}", "reader"),
    ("HEAD", f"/layers/{DIGEST}", "reader"),
    ("GET", f"/manifests/{DIGEST}/fsmeta", "reader"),
    ("GET", f"/manifests/{DIGEST}/vmdk", "reader"),
]


@pytest.fixture(scope="module")
def tokens(tmp_path_factory):
    return Tokens(tmp_path_factory.mktemp("tokens"), **ROLES)


@pytest.fixture(scope="module")
def node(new_directory, tokens):
    with Larder(new_directory("larder"), flags=tokens.flags) as running:
        yield running


@pytest.mark.parametrize("method, path, least", ROUTES)
def test_a_route_takes_its_role_and_no_less(node, tokens, method, path, least):
    for name in (None, "reader", "h7", "root"):
        headers = tokens.of(name) if name else {}
        status = node.request(method, path, headers=headers).status_code
        if RANK[ROLES.get(name)] >= RANK[least]:
            assert status not in (401, 403), f"{name} may {method} {path}: {status}"
        else:
            assert status == (403 if name else 401), f"{name} may not {method} {path}: {status}"


CLOSE = {"Connection": "close"}
MIB = 1 << 20
OFFERED_BYTES = 64 * MIB
ARCHIVE = Archive().add("zeros", bytes(OFFERED_BYTES)).data()


def offer_archive(node, chunked, headers):
    """The answer's status (None: none), how much of an archive went out, and whether a process
    was started that reads it."""
    framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(ARCHIVE)}"
    lines = ["POST /images:load HTTP/1.1", "Host: x", framing]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    sent, was_read = 0, False
    with connect(node.url) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        with contextlib.suppress(ConnectionError):
            for piece in in_pieces(ARCHIVE):
                connection.sendall(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece)
                sent += len(piece)
                was_read = was_read or unpacker_of(node) is not None
        return RawAnswer(read_all(connection)).status, sent, was_read


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("name, status", [(None, 401), ("reader", 403), ("h7", 403)])
def test_an_archive_of_one_who_may_not_load_is_not_read(node, tokens, name, status, chunked):
    """He is told at once, and not left to send it all."""
    answered, sent, was_read = offer_archive(node, chunked, tokens.of(name) if name else {})
    assert answered == status
    assert sent < 16 * MIB, "no more than what is on its way"
    assert not was_read


def test_an_archive_of_one_who_may_load_is_read(node, tokens):
    answered, sent, was_read = offer_archive(node, False, tokens.of("root") | CLOSE)
    assert (answered, sent, was_read) == (400, len(ARCHIVE), True), "it holds no image"


def refusals(node, tokens, why):
    metrics = node.get("/metrics", headers=tokens.of("root")).text
    return int(re.search(rf'larder_auth_refused_total{{why="{why}"}} (\d+)', metrics)[1])


def test_who_shows_nothing_is_told_what_to_show_and_counted(node, tokens):
    before = refusals(node, tokens, "missing")
    answer = node.get("/images")
    assert refusals(node, tokens, "missing") == before + 1
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="larder"'
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["code"] == "Unauthorized" and "Bearer" in answer.json()["detail"]


def test_who_may_not_is_told_what_was_missing_and_counted(node, tokens):
    before = refusals(node, tokens, "forbidden")
    problem = node.delete("/images/a/b", headers=tokens.of("h7")).json()
    assert refusals(node, tokens, "forbidden") == before + 1
    assert (problem["status"], problem["code"]) == (403, "Forbidden")
    for word in ("DELETE /images/{reference}", "role admin", "h7", "role host"):
        assert word in problem["detail"], problem


@pytest.mark.parametrize(
    "value, status",
    [
        (f"bearer {secret('root')}", 200),
        (f"BEARER   {secret('root')}", 200),
        (f"Basic {secret('root')}", 401),
        (secret("root"), 401),
        (f"Bearer{secret('root')}", 401),
        (f"Bearer {secret('root')}x", 401),
        (f"Bearer {secret('root')[:-1]}", 401),
        ("Bearer", 401),
        ("Bearer ", 401),
        ("", 401),
    ],
)
def test_only_a_whole_bearer_token_counts(node, value, status):
    answer = call(node, "GET", "/images", {"Authorization": value}, source="127.0.0.3")
    assert answer.status == status, answer.body
    if status == 401:
        assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]


def test_two_tokens_are_ambiguous(node):
    line = f"Authorization: Bearer {secret('root')}\r\n".encode()
    answer = ask(node.url, b"GET /images HTTP/1.1\r\nHost: x\r\n" + line + line + b"\r\n")
    assert answer.status == 400 and b"Authorization is given twice" in answer.body


def test_wrong_tokens_are_slowed_and_good_ones_of_the_same_address_are_not(node, tokens):
    wrong = {"Authorization": "Bearer wrong"}
    answers = [call(node, "GET", "/images", wrong, source="127.0.0.4") for _ in range(60)]
    slowed = [answer for answer in answers if answer.status == 429]
    assert {answer.status for answer in answers[:5]} == {401}
    assert len(slowed) > 10 and {answer.status for answer in answers} == {401, 429}
    assert slowed[0].headers["Retry-After"] == "1" and slowed[0].headers["Connection"] == "close"
    assert json.loads(slowed[0].body)["code"] == "TooManyRequests"
    good = call(node, "GET", "/images", tokens.of("reader"), source="127.0.0.4")
    assert good.status == 200, "nobody else is held up"
    other = call(node, "GET", "/images", wrong, source="127.0.0.5")
    assert other.status == 401, "another address has its own count"
    metrics = node.get("/metrics", headers=tokens.of("reader")).text
    assert re.search(r'larder_auth_refused_total{why="slowed"} [1-9]', metrics)
    assert re.search(r'larder_auth_refused_total{why="wrong"} [1-9]', metrics)


def disk(host):
    return {"host": host, "rootfs": {"type": "disk", "path": "/x.raw"}}


@pytest.fixture
def sandbox_of_h8(node, tokens):
    assert node.put("/sandboxes/s8", json=disk("h8"), headers=tokens.of("h8")).ok
    yield "/sandboxes/s8"
    node.delete("/sandboxes/s8", headers=tokens.of("root"))


def test_a_host_has_its_own_sandboxes(node, tokens):
    h7 = tokens.of("h7")
    assert node.put("/sandboxes/s7", json=disk("h7"), headers=h7).status_code == 201
    assert node.put("/sandboxes/s7", json=disk("h7"), headers=h7).status_code == 200
    assert node.delete("/sandboxes/s7", headers=h7).status_code == 204
    assert node.put("/sandboxes/s7", json=disk("h7"), headers=h7).status_code == 201
    assert node.delete("/sandboxes?host=h7", headers=h7).status_code == 204


def test_a_host_registers_none_for_another(node, tokens):
    answer = node.put("/sandboxes/s7", json=disk("h8"), headers=tokens.of("h7"))
    assert answer.status_code == 403 and "not its own" in answer.json()["detail"]
    assert node.get("/sandboxes/s7", headers=tokens.of("h7")).status_code == 404


def test_a_host_takes_no_sandbox_over(node, tokens, sandbox_of_h8):
    answer = node.put(sandbox_of_h8, json=disk("h7"), headers=tokens.of("h7"))
    assert (answer.status_code, answer.json()["code"]) == (403, "Forbidden")
    found = node.get(sandbox_of_h8, headers=tokens.of("h7")).json()
    assert found["host"] == "h8", "and it stays as it was"


def test_a_batch_is_bound_to_its_host_as_each_of_it_would_be(node, tokens, sandbox_of_h8):
    def batch(*sandboxes):
        return node.post(
            "/sandboxes:batch", json={"sandboxes": sandboxes}, headers=tokens.of("h7")
        )

    own = {"id": "s7"} | disk("h7")
    refused = batch(own, {"id": "s6"} | disk("h8"))
    assert (refused.status_code, refused.json()["code"]) == (403, "Forbidden")
    assert node.get("/sandboxes/s7", headers=tokens.of("h7")).status_code == 404
    outcomes = batch(own, {"id": "s8"} | disk("h7")).json()["sandboxes"]
    assert [outcome["status"] for outcome in outcomes] == [201, 403]
    assert node.get(sandbox_of_h8, headers=tokens.of("h8")).json()["host"] == "h8"
    node.delete("/sandboxes/s7", headers=tokens.of("h7"))


def test_nor_does_a_host_in_a_batch(node, tokens, sandbox_of_h8):
    own = {"id": "s7", **disk("h7")}
    for other in ({"id": "s9", **disk("h8")}, {"id": "s8", **disk("h7")}):
        body = {"sandboxes": [own, other]}
        answer = node.post("/sandboxes:batch", json=body, headers=tokens.of("h7"))
        outcomes = answer.json().get("sandboxes")
        if answer.status_code == 200:
            assert [outcome["status"] for outcome in outcomes][1] == 403, outcomes
        else:
            assert answer.status_code == 403, answer.text
    assert node.get("/sandboxes/s9", headers=tokens.of("h7")).status_code == 404
    assert node.get(sandbox_of_h8, headers=tokens.of("h7")).json()["host"] == "h8"
    node.delete("/sandboxes?host=h7", headers=tokens.of("h7"))


def test_a_host_releases_no_sandbox_of_another(node, tokens, sandbox_of_h8):
    assert node.delete(sandbox_of_h8, headers=tokens.of("h7")).status_code == 403
    assert node.delete("/sandboxes?host=h8", headers=tokens.of("h7")).status_code == 403
    assert node.get(sandbox_of_h8, headers=tokens.of("h7")).status_code == 200
    assert node.delete("/sandboxes/none", headers=tokens.of("h7")).status_code == 404


def test_an_id_whose_lease_ran_out_is_free_for_another_host(node, tokens):
    body = disk("h8") | {"ttl_seconds": 1}
    assert node.put("/sandboxes/s9", json=body, headers=tokens.of("h8")).status_code == 201
    wait_until(
        lambda: node.put("/sandboxes/s9", json=disk("h7"), headers=tokens.of("h7")).ok,
        "the lease runs out",
    )
    assert node.delete("/sandboxes/s9", headers=tokens.of("h7")).status_code == 204


def test_an_admin_may_touch_the_sandboxes_of_all(node, tokens, sandbox_of_h8):
    root = tokens.of("root")
    assert node.put(sandbox_of_h8, json=disk("h7"), headers=root).status_code == 200
    assert node.put("/sandboxes/s7", json=disk("h7"), headers=root).status_code == 201
    assert node.delete("/sandboxes?host=h7", headers=root).status_code == 204


def test_each_change_leaves_a_line_that_says_who_did_what(node, tokens):
    node.delete("/images/a/audited?force=true", headers=tokens.of("root"))
    node.delete("/images/a/audited", headers=tokens.of("h7"))
    node.delete("/images/a/audited")
    node.put("/sandboxes/audited", json=disk("h7"), headers=tokens.of("h7"))
    node.delete("/sandboxes?host=h7", headers=tokens.of("h7"))
    node.get("/images/a/audited", headers=tokens.of("h7"))
    image = "/images/a/audited"
    wanted = [
        ("root", "DELETE", image, "force=true", "failed", 404),
        ("h7", "DELETE", image, None, "refused", 403),
        (None, "DELETE", image, None, "refused", 401),
        ("h7", "PUT", "/sandboxes/audited", None, "done", 201),
        ("h7", "DELETE", "/sandboxes", "host=h7", "done", 204),
    ]
    keys = ("who", "method", "object", "query", "result", "status")

    def missing():
        """A line is written when its answer is out already."""
        found = {tuple(line[key] for key in keys) for line in audit_lines(node)}
        return [line for line in wanted if line not in found]

    wait_until(lambda: not missing(), "each change has its line", seconds=20)
    lines = audit_lines(node)
    assert not [line for line in lines if line["method"] == "GET"]
    assert {line["by"] for line in lines} >= {"token", "nobody"}


def test_each_of_a_batch_leaves_its_line_and_counts(node, tokens, sandbox_of_h8):
    before = refusals(node, tokens, "forbidden")
    # Its own, and one whose id is another's.
    batch = [{"id": "audited-1"} | disk("h7"), {"id": sandbox_of_h8.split("/")[-1]} | disk("h7")]
    node.post("/sandboxes:batch", json={"sandboxes": batch}, headers=tokens.of("h7"))
    wanted = {
        ("h7", "POST", "/sandboxes/audited-1", "host=h7", "done", 201),
        ("h7", "POST", sandbox_of_h8, "host=h7", "refused", 403),
        ("h7", "POST", "/sandboxes:batch", None, "done", 200),
    }
    keys = ("who", "method", "object", "detail", "result", "status")
    wait_until(
        lambda: wanted <= {tuple(line[key] for key in keys) for line in audit_lines(node)},
        "each has its line",
        seconds=20,
    )
    assert refusals(node, tokens, "forbidden") == before + 1
    node.delete("/sandboxes?host=h7", headers=tokens.of("h7"))


def test_a_prune_is_told_with_what_it_was_to_take(node, tokens):
    body = {"dry_run": True, "unused_for_seconds": 7, "reference": "a/*"}
    node.post("/images:prune", json=body, headers=tokens.of("root"))
    wanted = "dry_run=true unused_for_seconds=7 reference=a/*"
    wait_until(
        lambda: wanted in [line["detail"] for line in audit_lines(node)],
        "the prune has its line",
        seconds=20,
    )


def test_a_registry_on_loopback_is_not_pulled_from_for_others_unless_it_is_named(
    make_larder, tokens
):
    def pull(node, port):
        body = {"reference": f"localhost:{port}/a/b:one"}
        headers = tokens.of("h7") | {"Prefer": "wait=5"}
        return node.post("/images:pull", json=body, headers=headers)

    with Doorbell() as door:
        node = make_larder(flags=tokens.flags)
        assert "RegistryNotAllowed" in pull(node, door.port).text and door.rings == 0
        named = f"localhost:{door.port}"
        node = make_larder(flags=[*tokens.flags, "--insecure-registry", named])
        assert "RegistryNotAllowed" not in pull(node, door.port).text and door.rings > 0


def test_a_pull_is_told_with_its_reference(node, tokens):
    body = {"reference": "127.0.0.1:1/a/b:audited"}
    node.post("/images:pull", json=body, headers=tokens.of("h7"))
    pulled = ("h7", "127.0.0.1:1/a/b:audited")
    wait_until(
        lambda: pulled in [(line["who"], line["reference"]) for line in audit_lines(node)],
        "the pull has its line",
        seconds=20,
    )


def test_no_secret_is_ever_logged_or_counted(node, tokens):
    call(node, "GET", "/images", {"Authorization": "Bearer wr0ng-secret"}, source="127.0.0.6")
    node.get(f"/images?token={secret('root')}")
    metrics = node.get("/metrics", headers=tokens.of("reader")).text
    for text in (node.log(), metrics):
        assert "secret-of-" not in text and "wr0ng-secret" not in text


def test_a_reload_changes_who_may_come_in(make_larder, tmp_path):
    tokens = Tokens(tmp_path, old="reader", kept="reader")
    node = make_larder(flags=tokens.flags)
    assert node.get("/images", headers=tokens.of("old")).status_code == 200
    tokens.write(new="reader", kept="admin")
    os.kill(node.pid, signal.SIGHUP)
    wait_until(lambda: node.get("/images", headers=tokens.of("new")).ok, "the new token counts")
    assert node.get("/images", headers=tokens.of("old")).status_code == 401
    assert node.delete("/pins/a/b", headers=tokens.of("kept")).status_code == 204
    tokens.path.write_text("new reader secret-in-the-wrong-place\n")
    os.kill(node.pid, signal.SIGHUP)
    wait_until(lambda: "not reloaded" in node.log(), "the broken file is told of")
    assert node.get("/images", headers=tokens.of("new")).status_code == 200, "and changes nothing"
    assert "third word" in node.log() and "secret-in-the-wrong-place" not in node.log()


def test_metrics_may_be_open(make_larder, tokens):
    node = make_larder(flags=[*tokens.flags, "--open-metrics"])
    assert node.get("/metrics").status_code == 200
    assert node.get("/images").status_code == 401


def test_a_node_without_tokens_is_open_on_loopback(larder):
    assert larder.get("/images").status_code == 200
    assert larder.delete("/pins/a/b").status_code == 204
    wait_until(lambda: audit_lines(larder), "the change has its line", seconds=20)
    assert audit_lines(larder)[-1]["by"] == "open" and audit_lines(larder)[-1]["who"] is None


def test_a_new_token_is_one_that_the_node_takes(make_larder, tmp_path):
    command = [program(), "token", "new", "--role", "host", "--name", "h7"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    fresh = done.stderr.strip()
    assert done.stdout.startswith("h7 host ") and fresh not in done.stdout
    (tmp_path / "tokens").write_text(done.stdout)
    node = make_larder(flags=["--tokens", str(tmp_path / "tokens")])
    headers = {"Authorization": f"Bearer {fresh}"}
    assert node.put("/sandboxes/s7", json=disk("h7"), headers=headers).status_code == 201


@pytest.mark.parametrize(
    "words, said",
    [
        ([], "token new"),
        (["old"], "token new"),
        (["new"], "--role and --name"),
        (["new", "--role", "root", "--name", "x"], "reader, host and admin"),
        (["new", "--role", "host", "--name", "a b"], "--name"),
    ],
)
def test_a_token_that_cannot_be_made_is_refused(words, said):
    done = subprocess.run([program(), "token", *words], capture_output=True, text=True)
    assert done.returncode == 2 and said in done.stderr and not done.stdout, done


class Answer:
    def __init__(self, answer):
        self.status, self.headers, self.body = answer.status, answer.headers, answer.read()


def call(node, method, path, headers, source):
    """From another address of loopback, which has its own count of wrong tokens."""
    address = node.url.removeprefix("http://")
    connection = http.client.HTTPConnection(address, source_address=(source, 0), timeout=20)
    try:
        connection.request(method, path, headers=headers)
        return Answer(connection.getresponse())
    finally:
        connection.close()


def audit_lines(node):
    whole = node.log().rpartition("\n")[0].splitlines()
    lines = [json.loads(line) for line in whole if line.startswith("{")]
    return [line for line in lines if line["event"] == "audit"]


# --- unix sockets ---

NOBODY = 65534


def ask_unix(path, method, target, uid=None, headers=()):
    """The status, asked as that user."""
    command = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--unix-socket", str(path)]
    command += ["-X", method, f"http://larder{target}"]
    for name, value in dict(headers).items():
        command += ["-H", f"{name}: {value}"]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, user=uid, group=uid, check=True
    )
    return int(done.stdout)


@pytest.fixture
def socket_path(new_directory):
    directory = new_directory("socket")
    directory.mkdir(mode=0o711)
    yield directory / "larder.sock"
    shutil.rmtree(directory)


def start_on(make_larder, path, *flags):
    return make_larder(flags=["--listen", f"unix:{path}", *flags])


def test_root_and_the_nodes_own_user_are_admins_on_a_unix_socket(make_larder, socket_path, tokens):
    start_on(make_larder, socket_path, *tokens.flags)
    assert ask_unix(socket_path, "DELETE", "/pins/a/b") == 204


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: asks as other users")
def test_other_users_on_a_unix_socket_need_a_flag_or_a_token(make_larder, socket_path, tokens):
    node = start_on(make_larder, socket_path)
    with pytest.raises(subprocess.CalledProcessError):
        ask_unix(socket_path, "GET", "/healthz", NOBODY)  # by the kernel: there is no role to have
    node.close()
    node = start_on(make_larder, socket_path, "--unix-user", "daemon=reader")
    assert ask_unix(socket_path, "GET", "/healthz", NOBODY) == 200
    assert ask_unix(socket_path, "GET", "/images", NOBODY) == 401
    node.close()
    start_on(make_larder, socket_path, *tokens.flags, "--unix-user", "nobody=reader")
    assert ask_unix(socket_path, "GET", "/images", NOBODY) == 200
    assert ask_unix(socket_path, "DELETE", "/pins/a/b", NOBODY) == 403
    assert ask_unix(socket_path, "DELETE", "/pins/a/b", NOBODY, tokens.of("root")) == 204
    assert ask_unix(socket_path, "GET", "/images", NOBODY, {"Authorization": "Bearer x"}) == 401
    assert ask_unix(socket_path, "GET", "/images", 12345) == 401


CROWD = """
import socket, sys, time
crowd = [socket.socket(socket.AF_UNIX) for _ in range(300)]
for one in crowd:
    one.connect(sys.argv[1])
print("open", flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: asks as other users")
def test_a_user_of_a_unix_socket_takes_only_a_users_connections(make_larder, socket_path, tokens):
    limits = ["--max-connections", "60", "--max-connections-per-address", "5"]
    node = start_on(make_larder, socket_path, *tokens.flags, *limits, "--listen", "127.0.0.1:0")
    crowd = subprocess.Popen(
        ["/usr/bin/python3", "-c", CROWD, str(socket_path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, user=NOBODY, group=NOBODY, text=True,
    )  # fmt: skip
    try:
        assert crowd.stdout.readline() == "open\n"
        # Those beyond the limit are there until the node has seen and ended each.
        images = lambda: node.get("/images", headers=tokens.of("root")).status_code
        wait_until(lambda: images() == 200, "the crowd is cut to its share")
        for _ in range(5):
            assert images() == 200
            assert ask_unix(socket_path, "GET", "/images", 12345, tokens.of("root")) == 200
            assert ask_unix(socket_path, "GET", "/images") == 200
    finally:
        crowd.communicate(timeout=60)


@pytest.mark.parametrize("value", ["nobody", "nobody=root", "no-such-user=host", "nobody=host:a b"])
def test_a_unix_user_that_cannot_be_meant_is_refused(tmp_path, value):
    command = [program(), "serve", "--data-dir", str(tmp_path), "--unix-user", value]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and "--unix-user" in done.stderr, done
