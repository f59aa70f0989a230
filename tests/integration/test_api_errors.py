"""Everything that can be wrong with a request is told apart, and named."""

import json
import time

import pytest
import rawhttp
from daemons import wait_until
from problems import expect_problem

DIGEST = "sha256:" + "a" * 64
BIND = {"type": "bind", "path": "/x"}

ROUTES = {
    "/images": "GET, HEAD",
    "/images:prune": "POST",
    "/images:pull": "POST",
    "/images/a/b": "GET, HEAD, DELETE",
    "/images/a%2Fb": "GET, HEAD, DELETE",
    "/images/a/b/inspect": "GET, HEAD",
    "/pulls": "GET, HEAD",
    "/pulls/x": "GET, HEAD, DELETE",
    "/pulls/x/events": "GET, HEAD",
    "/sandboxes": "GET, HEAD, DELETE",
    "/sandboxes/x": "PUT, GET, HEAD, DELETE",
    "/snapshots": "GET, HEAD",
    "/snapshots/x": "PUT, GET, HEAD, DELETE",
    "/pins": "GET, HEAD",
    "/pins/a/b": "PUT, DELETE",
    f"/layers/{DIGEST}": "GET, HEAD",
    f"/manifests/{DIGEST}/fsmeta": "GET, HEAD",
    f"/manifests/{DIGEST}/vmdk": "GET, HEAD",
    "/healthz": "GET, HEAD",
    "/readyz": "GET, HEAD",
    "/version": "GET, HEAD",
    "/metrics": "GET, HEAD",
    "/openapi.json": "GET, HEAD",
    "/openapi.yaml": "GET, HEAD",
    "/ui": "GET, HEAD",
    "/ui/larder.js": "GET, HEAD",
}


@pytest.mark.parametrize("path", ROUTES)
def test_a_method_that_a_path_lacks_is_refused_with_those_it_has(larder, path):
    allowed = set(ROUTES[path].split(", "))
    for method in {"GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "FROB"} - allowed:
        answer = larder.request(method, path)
        expect_problem(answer, 405, "MethodNotAllowed")
        assert set(answer.headers["Allow"].split(", ")) == allowed, f"{method} {path}"


@pytest.mark.parametrize(
    "path",
    ["/", "/nothing", "/images:frob", "/pulls/a/b", "/sandboxes/a/b", "/manifests/x", "/healthz/x"],
)
def test_a_path_that_is_not_there_is_not_found(larder, path):
    expect_problem(larder.get(path), 404, "NotFound")


@pytest.mark.parametrize(
    "headers, status",
    [
        ({}, 200),
        ({"Origin": "{own}"}, 200),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "{own}.evil.example"}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site", "Origin": "{own}"}, 403),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "https://proxied.example"}, 200),
    ],
)
def test_a_page_of_another_site_changes_nothing(larder, headers, status):
    headers = {name: text.replace("{own}", larder.url) for name, text in headers.items()}
    assert larder.get("/images", headers=headers).status_code == 200, "it may ask"
    answer = larder.post("/images:prune", headers=headers)
    if status == 403:
        expect_problem(answer, 403, "Forbidden")
    assert answer.status_code == status, answer.text


@pytest.mark.parametrize(
    "host, status",
    [
        ("{own}", 200), ("localhost", 200), ("[::1]:1", 200), ("larder:8080", 200),
        ("node.localhost:1", 200), ("evil.example", 403), ("evil.example:{port}", 403),
        ("127.0.0.1.evil.example", 403), ("localhost.evil.example", 403), ("127.1", 403),
        ("evil-localhost.example:80", 403), ("a." * 200 + "localhost", 403),
    ],
)  # fmt: skip
@pytest.mark.parametrize("method, path", [("GET", "/images"), ("POST", "/images:prune")])
def test_a_page_whose_name_was_given_this_address_is_not_served(larder, method, path, host, status):
    """DNS rebinding: its browser takes the node for the page's own site."""
    own = larder.url.removeprefix("http://")
    host = host.replace("{own}", own).replace("{port}", own.rpartition(":")[2])
    headers = {"Host": host, "Origin": f"http://{host}", "Sec-Fetch-Site": "same-origin"}
    answer = larder.request(method, path, headers=headers)
    if status == 403:
        assert "name" in expect_problem(answer, 403, "Forbidden")["detail"]
    assert answer.status_code == status, answer.text
    assert larder.get("/healthz", headers=headers).status_code == 200


def raw_get(larder, target):
    request = f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    return rawhttp.ask(larder.url, request.encode("latin-1"))


@pytest.mark.parametrize(
    "target",
    [
        "/images/a//b", "/images/a/", "/images/./a", "/images/../healthz", "/images/%2e%2e/x",
        "/images/a%00b", "/images/%", "/images/%4", "/images/%zz", "/images/%252e%252e",
        "/images/%ff", "/images/a%0Ab", "/images/Upper%2Fcase", "/images/a:b:c", "/images/a@b",
        "/images/a%2F..%2Fb", "/images/" + "a" * 300, "/images/a/b:", "/pins/%00",
    ],
)  # fmt: skip
def test_a_hostile_reference_is_invalid(larder, target):
    answer = raw_get(larder, target) if not target.startswith("/pins") else None
    if answer is None:
        expect_problem(larder.put(target), 400, "InvalidReference")
        return
    assert answer.status == 400, f"{target}: {answer.status} {answer.body}"
    assert json.loads(answer.body)["code"] == "InvalidReference", target


@pytest.mark.parametrize("target", ["//", "/healthz/", "/healthz/..", "/%2e/healthz", "/a%00"])
def test_a_hostile_path_is_invalid(larder, target):
    answer = raw_get(larder, target)
    assert answer.status == 400, f"{target}: {answer.status} {answer.body}"
    assert json.loads(answer.body)["code"] == "InvalidArgument", target


@pytest.mark.parametrize(
    "path, named",
    [
        ("/images?frob=1", "frob"), ("/images?limit=0", "limit"), ("/images?limit=1001", "limit"),
        ("/images?limit=x", "limit"), ("/images?limit=", "limit"), ("/images?limit=-1", "limit"),
        ("/images?limit=1&limit=2", "limit"), ("/images?in_use=yes", "in_use"),
        ("/images?manifest_digest=sha256:x", "manifest_digest"), ("/images?page_token=!", "page"),
        ("/images?page_token=bm9uc2Vuc2U", "page"), ("/images/a?platform=a/b/c/d", "platform"),
        ("/pulls?page_token=x", "page"), ("/sandboxes?manifest_digest=x", "manifest_digest"),
        ("/snapshots?limit=1e3", "limit"), ("/healthz?x", "x"), ("/layers/sha256:abc", "digest"),
        (f"/layers/{DIGEST.upper()}", "digest"), ("/layers/..%2F..%2Fetc%2Fpasswd", "digest"),
    ],
)  # fmt: skip
def test_a_parameter_that_cannot_be_meant_is_named(larder, path, named):
    problem = expect_problem(larder.get(path), 400, "InvalidArgument")
    assert named in problem["detail"], problem


def test_a_reference_in_the_query_is_checked_too(larder):
    expect_problem(larder.get("/images?reference=A/B"), 400, "InvalidReference")
    expect_problem(larder.get("/sandboxes?reference=A/B"), 400, "InvalidReference")


BODIES = [
    ("POST", "/images:pull", {}, "reference"),
    ("POST", "/images:pull", {"reference": 1}, "reference"),
    ("POST", "/images:pull", {"reference": ""}, "reference"),
    ("POST", "/images:pull", {"reference": None}, "reference"),
    ("POST", "/images:pull", {"reference": "a", "polcy": "always"}, "polcy"),
    ("POST", "/images:pull", {"reference": "a", "policy": "sometimes"}, "policy"),
    ("POST", "/images:pull", {"reference": "a", "force": "true"}, "force"),
    ("POST", "/images:pull", {"reference": "a", "platform": "linux/"}, "platform"),
    ("POST", "/images:prune", {"dry_run": 0}, "dry_run"),
    ("POST", "/images:prune", {"unused_for_seconds": -1}, "unused_for_seconds"),
    ("POST", "/images:prune", {"unused_for_seconds": 2**31}, "unused_for_seconds"),
    ("POST", "/images:prune", {"keep_bytes": 1.5}, "keep_bytes"),
    ("POST", "/images:prune", {"keep_bytes": -1}, "keep_bytes"),
    ("POST", "/images:prune", {"all": True}, "all"),
    ("PUT", "/sandboxes/s", {"rootfs": BIND}, "host"),
    ("PUT", "/sandboxes/s", {"host": "", "rootfs": BIND}, "host"),
    ("PUT", "/sandboxes/s", {"host": "h" * 256, "rootfs": BIND}, "host"),
    ("PUT", "/sandboxes/s", {"host": "h"}, "rootfs"),
    ("PUT", "/sandboxes/s", {"host": "h", "rootfs": "/x"}, "rootfs"),
    ("PUT", "/sandboxes/s", {"host": "h", "rootfs": {"type": "nfs"}}, "rootfs.type"),
    ("PUT", "/sandboxes/s", {"host": "h", "rootfs": {"type": "bind", "path": "x"}}, "rootfs.path"),
    ("PUT", "/sandboxes/s", {"host": "h", "rootfs": {**BIND, "x": 1}}, "rootfs.x"),
    ("PUT", "/sandboxes/s", {"host": "h", "rootfs": {"type": "disk", "path": "/x"}}, "format"),
    ("PUT", "/sandboxes/s", {"host": "h", "rootfs": BIND, "ttl_seconds": 0}, "ttl_seconds"),
    ("PUT", "/sandboxes/s", {"host": "h", "rootfs": BIND, "ttl_seconds": "9"}, "ttl_seconds"),
    ("PUT", "/sandboxes/" + "s" * 256, {"host": "h", "rootfs": BIND}, "id"),
    ("PUT", "/snapshots/s", {"manifest_digest": "sha256:x"}, "manifest_digest"),
    ("PUT", "/snapshots/s", {}, "manifest_digest"),
]


@pytest.mark.parametrize("method, path, body, named", BODIES)
def test_a_field_that_cannot_be_meant_is_named(larder, method, path, body, named):
    problem = expect_problem(larder.request(method, path, json=body), 400, "InvalidArgument")
    assert named in problem["detail"], problem


@pytest.mark.parametrize(
    "body, where",
    [
        (b'{"reference": "a"', "line 1, column 17"), (b'{\n  "reference": }', "line 2, column 16"),
        (b"{'a': 1}", "column 2"), (b'{"a": 1, "a": 2}', "line 1"), (b'{"a": 1} {}', "line 1"),
        (b'{"reference": "\xff"}', "line 1"), (b'{"reference": "a\\u0000"}', "line 1"),
        (b"[1]", "object"), (b'"a"', "object"), (b"null", "object"), (b" ", "line 1"),
        (b"[" * 5000, "line 1"),
    ],
)  # fmt: skip
def test_what_is_not_a_json_object_is_told_with_its_place(larder, body, where):
    answer = larder.post("/images:pull", data=body, headers={"Content-Type": "application/json"})
    problem = expect_problem(answer, 400, "InvalidArgument")
    assert where in problem["detail"], problem


@pytest.mark.parametrize(
    "content_type",
    [None, "text/plain", "application/x-www-form-urlencoded", "application/jsonx", ""],
)
def test_another_media_type_is_refused_with_the_one_that_is_taken(larder, content_type):
    answer = larder.post("/images:prune", data=b"{}", headers={"Content-Type": content_type})
    problem = expect_problem(answer, 415, "UnsupportedMediaType")
    assert "application/json" in problem["detail"]
    assert answer.headers["Accept"] == "application/json"


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "Application/JSON"])
def test_the_media_type_may_be_spelled_differently(larder, content_type):
    headers = {"Content-Type": content_type}
    answer = larder.post("/images:prune", data=b'{"dry_run": true}', headers=headers)
    assert answer.status_code == 200, answer.text


def test_a_body_is_asked_for_where_there_must_be_one_and_refused_where_none_is_taken(larder):
    expect_problem(larder.post("/images:pull"), 400, "InvalidArgument")
    expect_problem(larder.put("/sandboxes/s"), 400, "InvalidArgument")
    expect_problem(larder.delete("/images/a", json={"force": True}), 400, "InvalidArgument")
    expect_problem(larder.get("/images", json={}), 400, "InvalidArgument")
    assert larder.post("/images:prune").status_code == 200


@pytest.mark.parametrize(
    "method, path, code",
    [
        ("GET", "/images/no/such", "ImageNotFound"),
        ("GET", "/images/no/such/inspect", "ImageNotFound"),
        ("DELETE", "/images/no/such", "ImageNotFound"),
        ("GET", "/pulls/00000000-0000-0000-0000-000000000000", "PullNotFound"),
        ("DELETE", "/pulls/x", "PullNotFound"),
        ("GET", "/pulls/x/events", "PullNotFound"),
        ("GET", "/sandboxes/x", "SandboxNotFound"),
        ("DELETE", "/sandboxes/x", "SandboxNotFound"),
        ("GET", "/snapshots/x", "SnapshotNotFound"),
        ("DELETE", "/snapshots/x", "SnapshotNotFound"),
        ("GET", f"/layers/{DIGEST}", "NotFound"),
        ("GET", f"/manifests/{DIGEST}/vmdk", "NotFound"),
    ],
)
def test_what_is_not_here_is_not_found(larder, method, path, code):
    expect_problem(larder.request(method, path), 404, code)


def test_a_missing_image_is_named(larder):
    answer = larder.get("/images/python:3.99")
    problem = expect_problem(answer, 404, "ImageNotFound")
    assert problem["reference"] == "docker.io/library/python:3.99"
    sandbox = {"host": "h", "rootfs": {"type": "oci", "reference": "python:3.99"}}
    problem = expect_problem(larder.put("/sandboxes/s", json=sandbox), 404, "ImageNotFound")
    assert problem["reference"] == "docker.io/library/python:3.99"
    answer = larder.put("/snapshots/s", json={"manifest_digest": DIGEST})
    assert DIGEST in expect_problem(answer, 404, "ImageNotFound")["detail"]


def test_all_sandboxes_are_never_released_by_forgetting_the_host(larder):
    assert "host" in expect_problem(larder.delete("/sandboxes"), 400, "InvalidArgument")["detail"]


# --- what no well-behaved client sends ---


@pytest.mark.parametrize(
    "headers",
    [
        "Content-Length: 2\r\nContent-Length: 2",
        "Content-Length: 2\r\nContent-Length: 3",
        "Content-Length: 2\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: gzip, chunked",
        "Content-Length: 2\r\nHost: y",
        "Content-Length : 2",
        "Content-Length: +2",
    ],
)
def test_a_request_that_two_readers_could_cut_differently_is_refused(larder, headers):
    request = (
        f"POST /images:prune HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"{headers}\r\n\r\n{{}}GET /version HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    answer = rawhttp.ask(larder.url, request.encode())
    assert answer.status == 400, f"{headers!r}: {answer.status}"
    assert b"version" not in answer.body, "what follows must not be read as a request"


def test_a_body_that_is_too_large_is_refused_before_it_is_sent(larder):
    request = (
        b"POST /images:pull HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Content-Length: 1048577\r\n\r\n"
    )
    answer = rawhttp.ask(larder.url, request)
    assert answer.status == 413
    assert json.loads(answer.body)["code"] == "PayloadTooLarge"


def test_a_chunked_body_that_is_too_large_is_refused(larder):
    def chunks():
        for _ in range(40):
            yield b" " * 65536

    headers = {"Content-Type": "application/json"}
    answer = larder.post("/images:pull", data=chunks(), headers=headers)
    expect_problem(answer, 413, "PayloadTooLarge")


def test_a_body_of_a_mebibyte_is_taken(larder):
    body = json.dumps({"dry_run": True}).ljust(1 << 20)
    headers = {"Content-Type": "application/json"}
    assert larder.post("/images:prune", data=body, headers=headers).status_code == 200


def test_a_connection_goes_on_after_a_refusal(larder):
    with rawhttp.connect(larder.url) as connection:
        for path in (b"/nothing", b"/images/%00", b"/version"):
            connection.sendall(b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n\r\n")
            head = connection.recv(4096)
            assert head.startswith(b"HTTP/1.1 "), f"{path}: {head!r}"
            assert b"Connection: close" not in head, path


def test_a_client_that_leaves_in_the_middle_harms_nobody(larder):
    for request in (
        b"GET /ver",
        b"POST /images:pull HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Content-Length: 100\r\n\r\n{",
        b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n",
    ):
        with rawhttp.connect(larder.url) as connection:
            connection.sendall(request)
    assert larder.get("/readyz").status_code == 200


def test_a_request_that_is_given_up_for_its_size_leaks_nothing(make_larder):
    larder = make_larder()
    query = b"&".join(b"p%d=1" % number for number in range(3000))
    with rawhttp.connect(larder.url) as connection:
        connection.sendall(b"GET /images?" + query + b" HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_until(lambda: "too big" in larder.log(), "the node says that it was too big")
    larder.stop()


def test_pipelined_requests_are_answered_in_order(larder):
    paths = [b"/version", b"/readyz", b"/images", b"/healthz"]
    request = b"".join(b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n\r\n" for path in paths[:-1])
    request += b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    with rawhttp.connect(larder.url) as connection:
        connection.sendall(request)
        said = rawhttp.read_all(connection)
    places = [said.find(mark) for mark in (b'"version"', b'"checks"', b'"images"', b'"ok"')]
    assert -1 not in places and places == sorted(places), said


# --- ids, logs, ends ---


def test_a_request_id_comes_back_and_is_in_the_log(larder):
    answer = larder.get("/version", headers={"X-Request-Id": "trace-17"})
    assert answer.headers["X-Request-Id"] == "trace-17"
    made = larder.get("/version").headers["X-Request-Id"]
    for bad in ("x" * 129, "a b", "caf\u00e9".encode("latin-1").decode("latin-1")):
        returned = larder.get("/version", headers={"X-Request-Id": bad}).headers["X-Request-Id"]
        assert returned != bad and len(returned) == len(made), f"{bad!r} must not come back"
    time.sleep(0.2)
    lines = [json.loads(line) for line in larder.log().splitlines() if line.startswith("{")]
    line = next(line for line in lines if line.get("request_id") == "trace-17")
    assert line["event"] == "request" and line["level"] == "info"
    assert (line["method"], line["route"], line["path"]) == ("GET", "/version", "/version")
    assert line["status"] == 200 and line["bytes"] > 0 and line["duration_us"] > 0
    assert line["remote"].startswith("127.0.0.1:")


def test_the_log_keeps_query_strings_to_itself(larder):
    larder.get("/images?reference=secret-name-9")
    time.sleep(0.2)
    assert "secret-name-9" not in larder.log()
