"""Bytes that no well-behaved client sends. Each case is refused or understood in one way only:
what stands behind a refused request is never read as another one (request smuggling), and
nothing of it comes back in a header or breaks a line of the log."""

import json
import re
import socket
import threading
import time

import pytest
import rawhttp

MARK = b"GET /version HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
JSON_TYPE = b"Content-Type: application/json\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
PRUNE = b'"image_refs_removed"'
REFUSED = (400, 413, 414, 431, 501, 505, None)  # None: closed without a word


def get(head, target=b"/healthz", version=b"HTTP/1.1"):
    return b"GET " + target + b" " + version + b"\r\n" + head + b"\r\n"


def post(head, body=b"{}"):
    line = b"POST /images:prune HTTP/1.1\r\nHost: x\r\n"
    return line + JSON_TYPE + head + b"\r\n" + body


def exchange(larder, data, seconds=30):
    """All that comes back for the bytes and a request behind them."""
    with rawhttp.connect(larder.url, seconds) as connection:
        try:
            connection.sendall(data + MARK)
        except (ConnectionResetError, BrokenPipeError):
            pass
        return rawhttp.read_all(connection)


def status_of(answer):
    return int(answer.split(b" ", 2)[1]) if answer else None


HOST = b"Host: x\r\n"
TWO = b"2\r\n{}\r\n0\r\n\r\n"

SMUGGLED = {
    "folded length": post(b"Content-Length:\r\n 2\r\n"),
    "folded length, tab": post(b"Content-Length:\r\n\t2\r\n"),
    "folded chunked": post(b"Transfer-Encoding:\r\n chunked\r\n", TWO),
    "length and folded chunked": post(b"Content-Length: 2\r\nTransfer-Encoding:\r\n chunked\r\n", TWO),
    "folded value": get(HOST + b"X-A: a\r\n b\r\n"),
    "folded twice": get(HOST + b"X-A: a\r\n b\r\n c\r\nX-B: d\r\n"),
    "folded first header": get(b" Host: x\r\n"),
    "bare LF": b"GET /healthz HTTP/1.1\nHost: x\n\n",
    "bare LF of the request line": b"GET /healthz HTTP/1.1\nHost: x\r\n\r\n",
    "bare LF of a header": get(b"Host: x\nX-A: b\r\n"),
    "bare CR": get(b"Host: x\rX-A: b\r\n"),
    "NUL in a value": get(HOST + b"X-A: a\0b\r\n"),
    "NUL in a length": get(HOST + b"Content-Length: 0\0 5\r\n"),
    "NUL in a name": get(HOST + b"X-\0A: b\r\n"),
    "NUL in the target": get(HOST, b"/heal\0thz"),
    "NUL behind the target": get(HOST, b"/healthz\0"),
    "control in a value": get(HOST + b"X-A: a\x01b\r\n"),
    "delete in a value": get(HOST + b"X-A: a\x7fb\r\n"),
    "space before the colon": post(b"Content-Length : 2\r\n"),
    "chunked, space before the colon": post(b"Transfer-Encoding : chunked\r\n", TWO),
    "odd character in a name": get(HOST + b"X(A): b\r\n"),
    "no colon": get(HOST + b"nothing\r\n"),
    "no host": get(b""),
    "two hosts": get(HOST + HOST),
    "two lengths": post(b"Content-Length: 2\r\nContent-Length: 2\r\n"),
    "two lengths that differ": post(b"Content-Length: 2\r\nContent-Length: 50\r\n"),
    "a list of lengths": post(b"Content-Length: 2, 2\r\n"),
    "hex length": post(b"Content-Length: 0x2\r\n"),
    "negative length": post(b"Content-Length: -2\r\n"),
    "signed length": post(b"Content-Length: +2\r\n"),
    "length with a space": post(b"Content-Length: 2 2\r\n"),
    "empty length": post(b"Content-Length: \r\n"),
    "length beyond 64 bits": post(b"Content-Length: 18446744073709551618\r\n"),
    "length and chunked": post(b"Content-Length: 2\r\n" + CHUNKED, TWO),
    "chunked and length": post(CHUNKED + b"Content-Length: 2\r\n", TWO),
    "chunked twice": post(CHUNKED + CHUNKED, TWO),
    "chunked and identity": post(CHUNKED + b"Transfer-Encoding: identity\r\n", TWO),
    "identity": post(b"Transfer-Encoding: identity\r\n"),
    "unknown encoding": post(b"Transfer-Encoding: xchunked\r\n", TWO),
    "gzip, chunked": post(b"Transfer-Encoding: gzip, chunked\r\n", TWO),
    "chunked with a tail": post(b"Transfer-Encoding: chunked,\r\n", TWO),
    "vertical tab": post(b"Transfer-Encoding: \x0bchunked\r\n", TWO),
    "chunk size in 0x": post(CHUNKED, b"0x2\r\n{}\r\n0\r\n\r\n"),
    "negative chunk": post(CHUNKED, b"-2\r\n{}\r\n0\r\n\r\n"),
    "signed chunk": post(CHUNKED, b"+2\r\n{}\r\n0\r\n\r\n"),
    "chunk after a space": post(CHUNKED, b" 2\r\n{}\r\n0\r\n\r\n"),
    "chunk before a space": post(CHUNKED, b"2 \r\n{}\r\n0\r\n\r\n"),
    "chunk beyond 64 bits": post(CHUNKED, b"10000000000000002\r\n{}\r\n0\r\n\r\n"),
    "chunk longer than said": post(CHUNKED, b"1\r\n{}\r\n0\r\n\r\n"),
    "chunk without its end": post(CHUNKED, b"2\r\n{}0\r\n\r\n"),
    "two tokens": b"GET /healthz HTTP/1.1\r\n" + b"Host: x\r\n"
    b"Authorization: Bearer a\r\nAuthorization: Bearer b\r\n\r\n",
    "HTTP/0.9": b"GET /healthz\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/1.1x": get(HOST, version=b"HTTP/1.1x"),
    "blanks around the target": b"GET  /healthz  HTTP/1.1\r\nHost: x\r\n\r\n",
    "blank in the target": get(HOST, b"/heal thz"),
    "70,000 bytes of target": get(HOST, b"/images/" + b"a" * 70_000),
    "70,000 bytes of query": get(HOST, b"/images?" + b"a" * 70_000),
    "13 KiB of a header": get(HOST + b"X-A: " + b"a" * (13 << 10) + b"\r\n"),
    "13 KiB of headers": get(HOST + b"".join(b"X-%d: %s\r\n" % (n, b"a" * 1000) for n in range(13))),
    "70,000 bytes of a header": get(HOST + b"X-A: " + b"a" * 70_000 + b"\r\n"),
    "100,000 headers": get(HOST + b"".join(b"X-%d: y\r\n" % n for n in range(100_000))),
    "100,000 empty headers": get(HOST + b"a:\r\n" * 100_000),
    "a megabyte of cookies": get(HOST + b"Cookie: " + b"a=b;" * 250_000 + b"\r\n"),
    "100,000 empty lines": b"\r\n" * 100_000,
}


def expect_refused(larder, name):
    answer = exchange(larder, SMUGGLED[name])
    assert status_of(answer) in REFUSED, answer[:400]
    assert b'"version"' not in answer, "the request behind it is not read"
    assert PRUNE not in answer and b'"ok"' not in answer, "and it did nothing"


@pytest.mark.parametrize("name", SMUGGLED)
def test_what_could_be_read_in_two_ways_is_refused_with_all_behind_it(larder, name):
    expect_refused(larder, name)


ENDS = {
    "chunked": (post(CHUNKED, TWO), 200),
    "chunked in capitals": (post(b"transfer-encoding: CHUNKED\r\n", TWO), 200),
    "chunk extension": (post(CHUNKED, b"2;a=b\r\n{}\r\n0\r\n\r\n"), 200),
    "chunks in bare LF": (post(CHUNKED, b"2\n{}\n0\n\n"), 200),
    "trailers": (
        post(
            CHUNKED + b"Trailer: X-A\r\n",
            b"2\r\n{}\r\n0\r\nX-A: 1\r\nContent-Length: 50\r\nHost: y\r\n\r\n",
        ),
        200,
    ),
    "chunked in HTTP/1.0": (
        b"POST /images:prune HTTP/1.0\r\nHost: x\r\n" + JSON_TYPE + CHUNKED + b"\r\n" + TWO,
        200,
    ),
    "HTTP/1.0": (b"GET /healthz HTTP/1.0\r\n\r\n", 200),
}


def expect_an_end(larder, name):
    data, status = ENDS[name]
    answer = exchange(larder, data)
    assert status_of(answer) in (status, 400), answer[:400]
    assert b'"version"' not in answer, "the request behind it is not read"


@pytest.mark.parametrize("name", ENDS)
def test_what_is_understood_but_cut_by_others_elsewhere_ends_the_connection(larder, name):
    expect_an_end(larder, name)


def test_trailers_are_no_headers(larder):
    trailers = b"X-Request-Id: from-a-trailer\r\nAuthorization: Bearer x\r\n"
    body = b"2\r\n{}\r\n0\r\n" + trailers + b"\r\n"
    answer = exchange(larder, post(CHUNKED, body))
    assert status_of(answer) in (200, 400) and b"from-a-trailer" not in answer


GOES_ON = {
    "an empty value": (get(HOST + b"X-A:\r\nX-B: \r\n"), 200),
    "blanks around a value": (get(HOST + b"X-A: \t a \t\r\n"), 200),
    "no blank": (get(b"Host:x\r\nX-A:a\r\n"), 200),
    "bytes above ASCII": (get(HOST + b"X-A: caf\xc3\xa9 \xff\r\n"), 200),
    "all characters of names": (get(HOST + b"!#$%&'*+-.^_`|~09azAZ: a\r\n"), 200),
    "one empty line before": (b"\r\n" + get(HOST), 200),
    "leading zeros": (post(b"Content-Length: 0002\r\n"), 200),
    "8 KiB of a header": (get(HOST + b"X-A: " + b"a" * (8 << 10) + b"\r\n"), 200),
    "absolute form": (get(HOST, b"http://other/healthz"), 200),
    "query": (get(HOST, b"/images?limit=1&os=linux"), 200),
    # The body is here already, so that a server need not ask for it (RFC 9110, 10.1.1).
    "Expect: 100-continue": (post(b"Expect: 100-continue\r\nContent-Length: 2\r\n"), (100, 200)),
    "an upgrade nobody has": (get(HOST + b"Connection: Upgrade\r\nUpgrade: h2c\r\n"), 200),
    "a body where none is taken": (get(HOST + b"Content-Length: 5\r\n") + b"hello", 400),
    "CONNECT": (b"CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "TRACE": (b"TRACE /healthz HTTP/1.1\r\nHost: x\r\nX-Secret: s3cret\r\n\r\n", 405),
    "OPTIONS *": (b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "small letters": (b"get /healthz HTTP/1.1\r\nHost: x\r\n\r\n", 405),
    "%00": (get(HOST, b"/images/a%00b"), 400),
    "%2e%2e": (get(HOST, b"/images/%2e%2e/%2e%2e/etc/passwd"), 400),
    "..": (get(HOST, b"/images/../../etc/passwd"), 400),
    "double encoding": (get(HOST, b"/images/%252e%252e%252f"), 400),
    "overlong UTF-8": (get(HOST, b"/images/%c0%ae%c0%ae"), 400),
    "half an escape": (get(HOST, b"/images/a%2"), 400),
    "%0d%0a": (get(HOST, b"/images/a%0d%0aSet-Cookie:%20x=y"), 400),
    "a path in a digest": (get(HOST, b"/layers/sha256:%2e%2e%2f%2e%2e%2fetc%2fpasswd"), 400),
    "a path behind a digest": (get(HOST, b"/layers/sha256:" + b"0" * 64 + b"%2f.."), 400),
    "capitals in a digest": (get(HOST, b"/layers/sha256:" + b"A" * 64), 400),
    "2,000 segments": (get(HOST, b"/images" + b"/a" * 2000), 400),
    "150 parameters": (get(HOST, b"/images?" + b"&".join(b"p%d=1" % n for n in range(150))), 400),
}


def expect_an_answer(larder, name):
    data, status = GOES_ON[name]
    answer = exchange(larder, data)
    assert status_of(answer) in (status if isinstance(status, tuple) else (status,)), answer[:400]
    assert b'"version"' in answer, "the connection goes on"
    head = answer.split(b"\r\n\r\n", 1)[0]
    assert b"Set-Cookie" not in head and b"s3cret" not in answer and b"root:" not in answer


@pytest.mark.parametrize("name", GOES_ON)
def test_what_is_only_odd_or_wrong_is_answered_and_the_next_request_too(larder, name):
    expect_an_answer(larder, name)


def test_a_request_that_comes_byte_by_byte_is_the_same_request(larder):
    with rawhttp.connect(larder.url) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in get(HOST + b"X-A: b\r\n", b"/images?limit=1") + MARK:
            connection.sendall(bytes([byte]))
        answer = rawhttp.read_all(connection)
    assert answer.count(b"HTTP/1.1 200") == 2, answer


def test_a_thousand_pipelined_requests_are_answered_in_order(larder):
    paths = [b"/images/x%d" % number for number in range(1000)]
    with rawhttp.connect(larder.url, 60) as connection:
        connection.sendall(b"".join(get(HOST, path) for path in paths) + MARK)
        answer = rawhttp.read_all(connection)
    found = re.findall(rb'"reference":"docker.io/library/(x\d+):latest"', answer)
    assert found == [path.rsplit(b"/", 1)[1] for path in paths]


def test_a_refusal_in_a_pipeline_ends_it(larder):
    answer = exchange(larder, get(HOST) + SMUGGLED["two lengths"] + get(HOST))
    assert answer.count(b"HTTP/1.1 200") == 1 and answer.count(b"HTTP/1.1 400") == 1, answer


# --- headers that come back ---


@pytest.mark.parametrize(
    "value", [b"a\rSet-Cookie: x=y", b"a\0b", b"a\tb", b"\x1b[31m", b"x" * 200, b"caf\xc3\xa9", b'"']
)
def test_a_request_id_brings_nothing_into_the_answers_headers(larder, value):
    answer = rawhttp.ask(larder.url, get(HOST + b"X-Request-Id: " + value + b"\r\n") + MARK)
    assert "set-cookie" not in answer.headers
    assert answer.status == 400 or re.fullmatch(r"[!-~]{1,128}", answer.headers["x-request-id"])


@pytest.mark.parametrize("reference", ["a\r\nSet-Cookie: x=y", "a\nb", "a\0b", "\x1b[2J", "a" * 5000])
def test_a_reference_brings_nothing_into_the_answers_headers(larder, reference):
    answer = larder.post("/images:pull", json={"reference": reference})
    assert answer.status_code == 400 and "Set-Cookie" not in answer.headers


# --- documents ---


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"reference":"a","reference":"b"}',
        b'{"reference":"a\\u0000b"}',
        b'{"reference":"\\ud800"}',
        b'{"reference":"\xff"}',
        b'{"reference":1e400}',
        b'{"reference":"a"} {"reference":"b"}',
        b'{"reference":"a"}\0',
        b"\xef\xbb\xbf{}",
        b'{"reference":"a","force":1}',
        b'{"reference":["a"]}',
        b'{"__proto__":{}}',
        b'{"reference":"' + b"a" * 900_000 + b'"}',
    ],
    ids=lambda body: body[:24].decode("latin-1"),
)
def test_a_hostile_body_is_refused(larder, body):
    headers = {"Content-Type": "application/json"}
    answer = larder.post("/images:pull", data=body, headers=headers)
    assert answer.status_code == 400 and answer.json()["code"] in (
        "InvalidArgument",
        "InvalidReference",
    )


@pytest.mark.parametrize("path", ["/images", "/pulls", "/sandboxes", "/snapshots"])
@pytest.mark.parametrize("limit", ["0", "-1", "1001", "1000000000", "9" * 30, "1e3", "0x10", "", "+1"])
def test_no_page_is_larger_than_a_thousand(larder, path, limit):
    """CVE-2023-2253: a catalogue that reserves what `n` says."""
    answer = larder.get(path, params={"limit": limit})
    assert answer.status_code == 400 and "1 to 1000" in answer.json()["detail"], answer.text


@pytest.mark.parametrize("token", ["x", "AAAA", "=" * 100, "a" * 5000, "../../etc/passwd", "%00"])
@pytest.mark.parametrize("path", ["/images", "/pulls", "/sandboxes", "/snapshots"])
def test_a_page_token_that_nobody_gave_is_refused(larder, path, token):
    assert larder.get(path, params={"page_token": token}).status_code == 400


# --- one that never ends ---


class Trickle(threading.Thread):
    """A request of which one more byte comes each second; `seconds` is how long the node looked on."""

    def __init__(self, larder, begin):
        super().__init__()
        self.larder, self.begin = larder, begin
        self.seconds = None

    def run(self):
        begun = time.monotonic()
        with rawhttp.connect(self.larder.url, 1) as connection:
            connection.sendall(self.begin)
            while time.monotonic() < begun + 100 and self.goes_on(connection):
                pass
        self.seconds = time.monotonic() - begun

    @staticmethod
    def goes_on(connection):
        try:
            connection.sendall(b"a")
            return connection.recv(4096) != b""
        except TimeoutError:
            return True
        except OSError:
            return False


@pytest.fixture(scope="module", autouse=True)
def trickles(larder):
    """Begun with the first test, so that the others take part of the time."""
    begins = {
        "header": b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: ",
        "body": post(b"Content-Length: 1000\r\n", b'{"'),
    }
    threads = {name: Trickle(larder, begin) for name, begin in begins.items()}
    for thread in threads.values():
        thread.start()
    yield threads
    for thread in threads.values():
        thread.join()


@pytest.mark.parametrize("what", ["header", "body"])
def test_a_request_of_a_byte_a_second_is_cut_after_75_seconds(trickles, what):
    """No pause of it is long enough for the time-out of those who say nothing."""
    trickles[what].join()
    assert 74 < trickles[what].seconds < 90, trickles[what].seconds


# --- what is left of all that ---


def test_the_node_is_well_and_its_log_has_one_object_a_line(larder):
    assert larder.get("/readyz").status_code == 200
    time.sleep(0.2)
    for line in larder.log().splitlines():
        if line.startswith("{"):
            assert "event" in json.loads(line)
    assert not re.search(r"^Set-Cookie", larder.log(), flags=re.MULTILINE)
