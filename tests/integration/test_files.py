"""Layer files over HTTP: whole, in parts, to slow readers, and while they are removed."""

import concurrent.futures
import contextlib
import hashlib
import os
import random
import re
import time

import pytest
import rawhttp
from cataloguerows import add_image, digest_of, metric, prepare
from certificates import Authority
from daemons import Stopped, wait_until
from fusemount import Mount, why_not
from larder import Larder

MIB = 1 << 20
SIZES = {"empty": 0, "small": 10_000, "large": 3 * MIB + 17}


def plant(node, seed, size):
    """A layer file of that size, of random bytes: its URL and them."""
    content = random.Random(seed).randbytes(size)
    hex_digest = hashlib.sha256(seed.encode()).hexdigest()
    (node.blob_dir / f"layers/sha256_{hex_digest}.erofs").write_bytes(content)
    return f"/layers/sha256:{hex_digest}", content


@pytest.fixture(scope="module", params=["http", "https"])
def scheme(request, tmp_path_factory):
    """The flags for it, and the authority to trust."""
    authority = Authority(tmp_path_factory.mktemp("certificates"), "authority")
    pair = authority.issue("server", alternatives="IP:127.0.0.1", purpose="serverAuth")
    flags = ["--tls-cert", str(pair.cert), "--tls-key", str(pair.key)]
    return (flags if request.param == "https" else []), str(authority.cert)


@pytest.fixture(scope="module")
def node(new_directory, database, scheme):
    flags, authority = scheme
    with Larder(new_directory("larder"), database=database, flags=flags) as started:
        started.authority = authority
        prepare(database)
        yield started


@pytest.fixture(scope="module", params=SIZES)
def layer(node, request):
    return plant(node, request.param, SIZES[request.param])


def multipart(answer):
    """(Content-Range, bytes) of each part."""
    kind, boundary = re.fullmatch(r"(\S+); boundary=(\S+)", answer.headers["Content-Type"]).groups()
    assert kind == "multipart/byteranges"
    pieces = answer.content.split(f"\r\n--{boundary}".encode())
    assert pieces[0] == b"" and pieces[-1] == b"--\r\n"
    parts = []
    for piece in pieces[1:-1]:
        head, _, body = piece.partition(b"\r\n\r\n")
        assert b"\r\nContent-Type: application/octet-stream" in head
        parts.append((re.search(rb"Content-Range: (.*)", head).group(1).decode().strip(), body))
    return parts


def test_a_file_comes_whole_and_its_head_says_so(node, layer):
    url, content = layer
    for _ in range(2):  # over one connection
        answer = node.get(url)
        assert answer.status_code == 200 and answer.content == content
        assert answer.headers["Content-Length"] == str(len(content))
        assert answer.headers["Content-Type"] == "application/octet-stream"
        assert answer.headers["Accept-Ranges"] == "bytes"
        for word in ("public", "immutable", "max-age="):
            assert word in answer.headers["Cache-Control"]
        head = node.head(url)
        assert head.status_code == 200 and not head.content
        for name in ("Content-Length", "ETag", "Accept-Ranges", "Content-Type", "Cache-Control"):
            assert head.headers[name] == answer.headers[name], name


def test_a_file_is_never_coded(node, layer):
    answer = node.get(layer[0], headers={"Accept-Encoding": "gzip, zstd"})
    assert "Content-Encoding" not in answer.headers and answer.content == layer[1]


def test_one_range_is_one_part(node, layer):
    url, content = layer
    size = len(content)
    for spec, first, last in (("0-9", 0, 9), ("4096-", 4096, size - 1), ("-7", size - 7, size - 1),
                              ("1-999999999", 1, size - 1), ("0-", 0, size - 1)):  # fmt: skip
        answer = node.get(url, headers={"Range": f"bytes={spec}"})
        if size == 0:
            assert answer.status_code == 416 and answer.headers["Content-Range"] == "bytes */0"
            assert "Cache-Control" not in answer.headers, "no cache keeps it for others"
            continue
        assert answer.status_code == 206 and answer.content == content[first : last + 1], spec
        assert answer.headers["Content-Range"] == f"bytes {first}-{last}/{size}"


@pytest.mark.parametrize("size", ["small", "large"])
def test_several_ranges_come_as_parts_in_their_order(node, size):
    url, content = plant(node, f"parts {size}", SIZES[size])
    total = len(content)
    middle = total // 2
    answer = node.get(url, headers={"Range": f"bytes={middle}-, 0-99 ,1000-1000,{total}-"})
    assert answer.status_code == 206 and "Content-Range" not in answer.headers
    assert multipart(answer) == [
        (f"bytes {middle}-{total - 1}/{total}", content[middle:]),
        (f"bytes 0-99/{total}", content[:100]),
        (f"bytes 1000-1000/{total}", content[1000:1001]),
    ]
    again = node.get(url, headers={"Range": "bytes=0-1"})
    assert again.content == content[:2], "the connection goes on"


@pytest.mark.parametrize("ranges", ["0-,0-,0-", "0-99,50-150,151-", "-1,0-"])
def test_ranges_that_overlap_are_sent_once(node, ranges):
    url, content = plant(node, "overlap", 10_000)
    answer = node.get(url, headers={"Range": f"bytes={ranges}"})
    assert answer.status_code == 206 and answer.content == content
    assert answer.headers["Content-Range"] == "bytes 0-9999/10000"


def test_too_many_ranges_are_not_heard(node):
    url, content = plant(node, "many", 10_000)
    spec = ",".join(f"{500 * i}-{500 * i}" for i in range(17))
    answer = node.get(url, headers={"Range": f"bytes={spec}"})
    assert answer.status_code == 200 and answer.content == content


def test_a_range_is_of_the_file_that_if_range_names(node, layer):
    url, content = layer
    tag = node.head(url).headers["ETag"]
    wanted = {"Range": "bytes=0-9,5000-5009"}
    for known in (f"W/{tag}", '"other"', "Tue, 24 Nov 2026 00:00:00 GMT"):
        answer = node.get(url, headers=wanted | {"If-Range": known})
        assert answer.status_code == 200 and answer.content == content, known
    answer = node.get(url, headers=wanted | {"If-Range": tag})
    assert answer.status_code == (206 if content else 416)
    assert node.get(url, headers=wanted | {"If-None-Match": tag}).status_code == 304


def test_a_file_that_if_match_does_not_name_is_not_sent(node, layer):
    url, content = layer
    tag = node.head(url).headers["ETag"]
    wanted = {"Range": "bytes=0-9"} if content else {}
    for known in ('"other"', f"W/{tag}", "other"):
        for conditions in ({"If-Match": known}, {"If-Match": known, "If-None-Match": tag}):
            answer = node.get(url, headers=wanted | conditions)
            assert answer.status_code == 412 and not answer.content, conditions
            assert answer.headers["ETag"] == tag and "Cache-Control" not in answer.headers
    for known in (tag, "*", f'"other", {tag}'):
        answer = node.get(url, headers=wanted | {"If-Match": known})
        assert answer.status_code == (206 if content else 200) and answer.content == content[:10]
        assert node.get(url, headers={"If-Match": known, "If-None-Match": tag}).status_code == 304
    gone = {"If-Match": "*"}
    assert node.get(f"/layers/sha256:{'e' * 64}", headers=gone).status_code == 404


@pytest.mark.parametrize("renamed", [True, False])
def test_a_file_that_was_built_anew_has_another_tag(node, renamed):
    url, content = plant(node, "anew", 10_000)
    tag = node.head(url).headers["ETag"]
    assert node.head(url).headers["ETag"] == tag
    path = node.blob_dir / f"layers/sha256_{hashlib.sha256(b'anew').hexdigest()}.erofs"
    other = path.with_suffix(".part") if renamed else path
    other.write_bytes(content[::-1])
    other.rename(path)
    assert node.head(url).headers["ETag"] != tag
    answer = node.get(url, headers={"Range": "bytes=5000-", "If-Range": tag})
    assert answer.status_code == 200 and answer.content == content[::-1]
    assert node.get(url, headers={"If-None-Match": tag}).status_code == 200


def begin(node, url, count=1):
    """Connections that asked for it and read nothing but the first bytes."""
    connections = []
    for number in range(count):
        one = rawhttp.connect(node.url, source=f"127.0.2.{number % 250 + 1}")
        one.sendall(f"GET {url} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        connections.append(one)
    first = [connection.recv(15) for connection in connections]
    assert set(first) == {b"HTTP/1.1 200 OK"}
    return connections


def finish(connection, came=b""):
    """The body, after what came of the answer since it was begun."""
    rest = rawhttp.read_all(connection)
    return rawhttp.RawAnswer(b"HTTP/1.1 200 OK" + came + rest).body


def test_many_slow_readers_hold_up_nobody(node):
    url, content = plant(node, "slow", 24 * MIB)
    before = metric(node, "process_open_fds")
    connections = begin(node, url, 100)
    try:
        for number in range(50):
            assert node.get("/version").status_code == 200
            assert node.get("/sandboxes").status_code == 200, "a worker is free"
            assert node.get(url, headers={"Range": f"bytes={number}-199999"}).status_code == 206
        assert hashlib.sha256(finish(connections[0])).digest() == hashlib.sha256(content).digest()
    finally:
        for connection in connections:
            connection.close()
    wait_until(lambda: metric(node, "process_open_fds") <= before, "who left lets go of the file")


def test_a_file_that_is_removed_while_it_is_sent_is_sent_to_its_end(node, database):
    add_image(database, "docker.io/test/going:1", "going")
    hex_digest = digest_of(database, "layer").removeprefix("sha256:")
    path = node.blob_dir / f"layers/sha256_{hex_digest}.erofs"
    content = random.Random(1).randbytes(24 * MIB)
    path.write_bytes(content)
    url = f"/layers/sha256:{hex_digest}"
    (connection,) = begin(node, url)
    assert node.delete("/images/docker.io/test/going:1").status_code == 204
    wait_until(lambda: not path.exists(), "the file is condemned and unlinked")
    assert node.get(url).status_code == 404
    assert hashlib.sha256(finish(connection)).digest() == hashlib.sha256(content).digest()


def test_a_file_that_shrinks_breaks_the_answer_off(node):
    url, _ = plant(node, "shrinks", 24 * MIB)
    (connection,) = begin(node, url)
    os.truncate(node.blob_dir / f"layers/{url[8:].replace(':', '_')}.erofs", 100)
    assert len(finish(connection)) < 24 * MIB, "it is not made longer, and ends"
    assert node.get("/version").status_code == 200


def test_a_node_ends_though_a_reader_stands_still(make_larder, database, scheme):
    flags, authority = scheme
    node = make_larder(database=database, flags=flags)
    node.authority = authority
    url, _ = plant(node, "still", 24 * MIB)
    connections = begin(node, url, 3)
    began = time.monotonic()
    node.stop()
    assert time.monotonic() - began < 25
    for connection in connections:
        connection.close()


@pytest.fixture
def mount(new_directory):
    if why_not():
        pytest.skip(why_not())
    source = new_directory("exported")
    source.mkdir(mode=0o755)
    mounted = Mount(source, new_directory("mount"))
    try:
        if not mounted.point.is_mount():
            pytest.skip(f"FUSE does not mount here: {mounted.daemon.output()}")
        yield mounted
    finally:
        mounted.close()


def drain(connection, seconds):
    """What comes until nothing does for so long."""
    connection.settimeout(seconds)
    data = bytearray()
    with contextlib.suppress(TimeoutError):
        while piece := connection.recv(MIB):
            data += piece
    return bytes(data)


def test_a_disk_that_hangs_holds_up_no_event_loop(mount, make_larder, scheme):
    flags, authority = scheme
    node = make_larder(flags=flags, blob_dir=mount.point)
    node.authority = authority
    url, content = plant(node, "hangs", 24 * MIB)
    connections = begin(node, url, 4)
    with Stopped([mount.daemon.pid]):
        before = [drain(connection, 0.5) for connection in connections]
        for _ in range(40):
            with rawhttp.connect(node.url, seconds=5) as other:
                other.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                assert rawhttp.RawAnswer(rawhttp.read_all(other)).status == 200
    for connection, came in zip(connections, before, strict=True):
        assert len(came) < len(content), "the disk hung before the end"
        connection.settimeout(20)
        body = finish(connection, came)
        assert hashlib.sha256(body).digest() == hashlib.sha256(content).digest()


def test_a_disk_that_hangs_holds_up_nothing_that_needs_the_catalogue_alone(mount, make_larder):
    node = make_larder(blob_dir=mount.point)
    body = {"host": "h1", "rootfs": {"type": "bind", "path": "/x"}}
    asked = 40
    with concurrent.futures.ThreadPoolExecutor(asked) as others:
        with Stopped([mount.daemon.pid]):
            waiting = [others.submit(node.get, "/readyz", timeout=60) for _ in range(asked)]
            over = lambda: [answer for answer in waiting if answer.done()]  # noqa: E731
            in_flight = lambda: metric(node, "larder_http_requests_in_flight")  # noqa: E731
            # On a slow machine the first are told to come again before the last are here.
            wait_until(lambda: len(over()) + in_flight() > asked, "all wait for the disk, or did")
            for i in range(20):
                assert node.put(f"/sandboxes/s{i}", json=body, timeout=5).status_code == 201
            assert len(node.get("/sandboxes", timeout=5).json()["sandboxes"]) == 20
            wait_until(lambda: len(over()) >= asked - 8, "who gets no worker is told so", 15)
            assert {answer.result().status_code for answer in over()} == {503}
        left = [answer.result().status_code for answer in waiting]
    assert left.count(200) == asked - left.count(503)
