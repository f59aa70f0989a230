"""Large JSON in gzip or zstd, as the client likes it (RFC 9110, 8.4 and 12.5.3)."""

import gzip
import subprocess

import pytest
from cataloguerows import add_image, metric, prepare
from larder import Larder

LIST = "/images?limit=30"
DETAIL = "/images/docker.io/test/coded:1/inspect"


@pytest.fixture(scope="module")
def node(new_directory, database):
    with Larder(new_directory("larder"), database=database) as started:
        prepare(database)
        for number in range(1, 31):
            add_image(database, f"docker.io/test/coded:{number}", f"coded {number}")
        yield started


def ask(node, path, accepted, method="GET", **headers):
    """The answer, and its body as it came over the wire."""
    headers["Accept-Encoding"] = accepted
    answer = node.request(method, path, headers=headers, stream=True)
    return answer, answer.raw.read(decode_content=False)


def decoded(coding, body):
    if coding == "zstd":
        return subprocess.run(["zstd", "-dc"], input=body, capture_output=True, check=True).stdout
    return gzip.decompress(body) if coding == "gzip" else body


@pytest.mark.parametrize("path", [LIST, DETAIL, "/images?reference=docker.io/test/*",
                                  "/openapi.json", "/openapi.yaml"])  # fmt: skip
@pytest.mark.parametrize("coding", ["gzip", "zstd"])
def test_a_large_answer_comes_in_the_coding_that_is_liked(node, path, coding):
    plain, body = ask(node, path, "identity")
    assert plain.headers["Vary"] == "Accept-Encoding" and "Content-Encoding" not in plain.headers
    for _ in range(2):  # made, then from memory where it is kept
        answer, coded = ask(node, path, f"br, {coding};q=0.8, identity;q=0.5")
        assert answer.headers["Content-Encoding"] == coding
        assert answer.headers["Vary"] == "Accept-Encoding"
        assert answer.headers["Content-Type"] == plain.headers["Content-Type"]
        assert len(coded) < len(body) and decoded(coding, coded) == body


@pytest.mark.parametrize("path", [LIST, DETAIL])
def test_each_coding_has_a_tag_of_its_own_that_gives_304(node, path):
    tags = {c: ask(node, path, c)[0].headers["ETag"] for c in ("identity", "gzip", "zstd")}
    assert len(set(tags.values())) == 3 and all(tag.startswith('"') for tag in tags.values())
    for coding, tag in tags.items():
        for known in (tag, ", ".join(tags.values())):
            answer, body = ask(node, path, coding, **{"If-None-Match": known})
            assert answer.status_code == 304 and not body
            assert answer.headers["ETag"] == tag and answer.headers["Vary"] == "Accept-Encoding"
            assert "Content-Encoding" not in answer.headers
    other, _ = ask(node, path, "gzip", **{"If-None-Match": tags["zstd"]})
    assert other.status_code == 200, "what the client has are other bytes"


@pytest.mark.parametrize("coding", ["identity", "gzip", "zstd"])
def test_head_says_what_get_would_send(node, coding):
    answer, body = ask(node, LIST, coding)
    head, nothing = ask(node, LIST, coding, method="HEAD")
    assert not nothing and int(head.headers["Content-Length"]) == len(body)
    for name in ("ETag", "Vary", "Content-Encoding", "Content-Type"):
        assert head.headers.get(name) == answer.headers.get(name), name


@pytest.mark.parametrize("path", ["/images/docker.io/test/coded:1", "/version", "/images?limit=1",
                                  "/images/no/such:image"])  # fmt: skip
def test_a_small_answer_is_not_coded(node, path):
    answer, body = ask(node, path, "gzip, zstd")
    assert "Content-Encoding" not in answer.headers and body.startswith(b"{")


def test_a_coding_that_is_refused_is_not_used(node):
    for accepted in ("", "gzip;q=0", "br", "*", "zstd;q=0, gzip;q=0, identity"):
        answer, body = ask(node, LIST, accepted)
        assert "Content-Encoding" not in answer.headers and body.startswith(b"{"), accepted


def test_a_change_is_seen_in_every_coding(node, database):
    path = "/images?limit=29"
    for round_number in range(3):
        wanted = f"docker.io/test/coded-newest:{round_number}"
        add_image(database, wanted, f"coded newest {round_number}")
        for coding in ("identity", "gzip", "zstd"):
            _, body = ask(node, path, coding, **{"Cache-Control": "no-cache"})
            assert wanted in decoded(coding, body).decode(), coding


def test_coded_answers_in_memory_are_counted(node):
    ask(node, "/images?limit=28", "identity")
    before = metric(node, "larder_read_cache_answers")
    size = metric(node, "larder_read_cache_size_bytes")
    _, coded = ask(node, "/images?limit=28", "gzip")
    assert metric(node, "larder_read_cache_answers") == before + 1
    assert len(coded) <= metric(node, "larder_read_cache_size_bytes") - size < len(coded) + 1024
