"""POST /images:load with what is no archive of images, or a damaged one: each is told
clearly, and nothing of it stays."""

import io
import json
import os
import re
import threading
import time
import zipfile
from pathlib import Path

import pytest

import archives
import pulling
import rawhttp
from archives import Archive, config_of, docker_save, replaced, unpacker_of
from daemons import wait_until
from larder import Larder, build_setting
from ocilayout import sha256
from problems import expect_problem
from tarbytes import Layer, tar_of
from fixture import file

TAR = tar_of(Layer((file(b"hello", b"world\n"),)))
OTHER = tar_of(Layer((file(b"hello", b"there\n"),)))
GOOD = docker_save([(["q.io/faults/good:1"], [TAR])]).data()


def entries(**more):
    entry = {"Config": "c.json", "RepoTags": ["q.io/faults/a:1"], "Layers": ["l.tar"]}
    return json.dumps([entry | more]).encode()


def docker(layer=TAR, config=None, listed=None):
    archive = Archive().add("l.tar", layer).add("c.json", config or config_of([TAR]))
    return archive.add("manifest.json", listed or entries()).data()


def zip_file():
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("manifest.json", "[]")
    return out.getvalue()


def bomb(size, count):
    """So many layers of zeros in an archive that is compressed well."""
    tars = [Archive().add(f"zeros{number}", bytes(size)).data() for number in range(count)]
    return archives.COMPRESSIONS["gzip"](docker_save([(["q.io/bomb:1"], tars)]).data())


FAULTS = {
    "an empty body": (b"", 400, "InvalidArgument", "empty"),
    "a zip file": (zip_file(), 400, "InvalidArgument", "zip"),
    "text": (b"hello\n" * 100, 400, "InvalidArgument", "no tar"),
    "a tar of something else": (TAR, 400, "InvalidArgument", "neither an index.json"),
    "a tar without members": (bytes(10240), 400, "InvalidArgument", "neither an index.json"),
    "cut in a member": (GOOD[:700], 400, "InvalidArgument", "damaged"),
    "cut between members": (GOOD[: GOOD.index(b"manifest.json\0")], 400, "InvalidArgument", "cut off"),
    "a cut gzip": (
        archives.COMPRESSIONS["gzip"](GOOD)[:-20],
        400,
        "InvalidArgument",
        "gzip blob is cut off",
    ),
    "a cut zstd": (
        archives.COMPRESSIONS["zstd"](GOOD)[:-20],
        400,
        "InvalidArgument",
        "zstd blob is cut off",
    ),
    "a layer that is missing": (
        docker(listed=entries(Layers=["m.tar"])),
        400,
        "InvalidArgument",
        '"m.tar"',
    ),
    "a config that is missing": (
        docker(listed=entries(Config="d.json")),
        400,
        "InvalidArgument",
        '"d.json"',
    ),
    "a layer with other content": (docker(layer=OTHER), 400, "InvalidArgument", sha256(OTHER)),
    "a layer that is no tar": (
        docker(layer=b"junk" * 999, config=config_of([b"junk" * 999])),
        422,
        "UnsupportedLayer",
        "no tar",
    ),
    "a layer that leads outside": (
        docker(
            layer=tar_of(Layer((file(b"../../etc/passwd"),))),
            config=config_of([tar_of(Layer((file(b"../../etc/passwd"),)))]),
        ),
        422,
        "UnsupportedLayer",
        "../../etc/passwd",
    ),
    "a config that is none": (docker(config=b"[]"), 422, "UnsupportedManifest", "config"),
    "no name": (docker(listed=entries(RepoTags=None)), 400, "InvalidArgument", "?reference="),
    "a name that is none": (
        docker(listed=entries(RepoTags=["UPPER/case"])),
        400,
        "InvalidReference",
        "UPPER/case",
    ),
    "a list that is no JSON": (docker(listed=b"[{"), 400, "InvalidArgument", "not valid JSON"),
    "a list that is too large": (
        docker(listed=entries().ljust((4 << 20) + 1)),
        400,
        "InvalidArgument",
        "4194304 bytes",
    ),
    "an archive that is too large": (bomb(10 << 20, 4), 413, "PayloadTooLarge", "33554432"),
    "a layer that is too large": (bomb(24 << 20, 1), 422, "LayerTooLarge", "16777216"),
}


@pytest.fixture(scope="module")
def node(new_directory):
    flags = ["--max-archive-bytes", "32MiB", "--max-layer-bytes", "16MiB"]
    with Larder(new_directory("larder"), flags=flags) as larder:
        yield larder


def assert_nothing_stays(larder):
    assert larder.get("/images").json()["images"] == []
    assert pulling.drafts(larder.blob_dir) == []
    wait_until(lambda: pulling.published_files(larder) == set(), "layers built in vain go")


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_wrong_is_told_and_leaves_nothing(node, fault):
    data, status, code, words = FAULTS[fault]
    problem = expect_problem(node.post("/images:load", data=data), status, code)
    assert words in problem["detail"], problem
    assert_nothing_stays(node)


def test_the_query_is_checked_before_the_body_is_asked_for(node):
    for query, code in (
        ("reference=UPPER", "InvalidReference"),
        ("platform=,", "InvalidArgument"),
        ("nonsense=1", "InvalidArgument"),
    ):
        head = (
            f"POST /images:load?{query} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n"
            "Expect: 100-continue\r\n\r\n"
        )
        answer = rawhttp.ask(node.url, head.encode())
        assert answer.status == 400, answer.status
        assert json.loads(answer.body)["code"] == code


def test_a_body_of_another_type_is_refused(node):
    headers = {"Content-Type": "application/json"}
    answer = node.post("/images:load", data=b"{}", headers=headers)
    expect_problem(answer, 415, "UnsupportedMediaType")
    assert "application/x-tar" in answer.headers["Accept"]


def test_a_length_over_the_limit_is_refused_before_it_is_sent(node):
    head = b"POST /images:load HTTP/1.1\r\nHost: x\r\nContent-Length: 33554433\r\n\r\n"
    answer = rawhttp.ask(node.url, head)
    assert answer.status == 413, answer.status


def test_a_large_body_that_is_wrong_from_the_start_is_still_answered(node):
    """The rest of it is thrown away: curl and others listen only when all is sent."""
    answer = node.post("/images:load", data=archives.in_pieces(b"PK\3\4" + bytes(20 << 20)))
    problem = expect_problem(answer, 400, "InvalidArgument")
    assert "zip" in problem["detail"]
    assert node.get("/healthz").status_code == 200


def test_one_bad_image_keeps_the_good_ones_out(node):
    archive = docker_save([(["q.io/faults/good:1"], [TAR]), (["q.io/faults/bad:1"], [OTHER])])
    data = archive.data()
    name = [name for name in archives.names(data) if name.endswith("layer.tar")][1]
    damaged = replaced(data, name, OTHER.replace(b"there", b"where"))
    problem = expect_problem(node.post("/images:load", data=damaged), 400, "InvalidArgument")
    assert "q.io/faults/bad:1" in problem["detail"]
    assert_nothing_stays(node)
    newest = node.get("/pulls", params={"limit": 2}).json()["pulls"]
    assert {pull["state"] for pull in newest} == {"failed"}


def begin_upload(larder, data, length=None):
    """A connection with a request whose body has begun."""
    connection = rawhttp.connect(larder.url)
    length = length or len(data) + 1000
    head = f"POST /images:load HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n"
    connection.sendall(head.encode() + data)
    return connection


def test_a_client_that_leaves_in_the_middle_leaves_nothing(node):
    with begin_upload(node, GOOD[:3000]):
        wait_until(lambda: pulling.drafts(node.blob_dir), "the upload has begun")
    wait_until(lambda: not pulling.drafts(node.blob_dir), "its draft is gone")
    assert_nothing_stays(node)
    assert node.get("/healthz").status_code == 200
    wait_until(lambda: '"request aborted"' in node.log(), "it is logged")


def audited_loads(larder):
    whole = larder.log().rpartition("\n")[0].splitlines()
    lines = [json.loads(line) for line in whole if line.startswith("{")]
    audits = [line for line in lines if line["event"] == "audit"]
    return [(a["method"], a["object"], a["query"], a["result"], a["status"], a["by"]) for a in audits]


def test_each_load_leaves_a_line_that_says_how_it_ended(make_larder):
    larder = make_larder()
    archives.load(larder, GOOD)
    larder.post("/images:load?reference=q.io/faults/b:1", data=b"PK\3\4")
    larder.post("/images:load", data=b"{}", headers={"Content-Type": "application/json"})
    with begin_upload(larder, GOOD[:3000]):
        wait_until(lambda: pulling.drafts(larder.blob_dir), "one whose sender leaves has begun")
    load = ("POST", "/images:load")
    wanted = [
        (*load, None, "done", 200, "open"),
        (*load, "reference=q.io/faults/b:1", "failed", 400, "open"),
        (*load, None, "failed", 415, "open"),
        (*load, None, "failed", 409, "open"),  # nothing was changed, and nobody heard of it
    ]
    wait_until(lambda: len(audited_loads(larder)) >= len(wanted), "each has its line")
    assert set(audited_loads(larder)) == set(wanted)


def test_more_uploads_than_the_node_takes_are_told_to_come_again(node):
    with begin_upload(node, GOOD[:3000]), begin_upload(node, GOOD[:3000]):
        wait_until(lambda: len(pulling.drafts(node.blob_dir)) == 2, "two uploads have begun")
        answer = node.post("/images:load", data=GOOD)
        expect_problem(answer, 503, "CatalogueUnavailable")
        assert int(answer.headers["Retry-After"]) > 0
        assert node.get("/images").status_code == 200, "others are served meanwhile"
    wait_until(lambda: not pulling.drafts(node.blob_dir), "both ended")
    assert archives.load(node, GOOD)
    node.delete("/images/q.io/faults/good:1")


def test_a_load_that_is_too_large_in_the_end_leaves_none_of_its_images_layers(make_larder):
    """The last image needs what the first two built, and is refused before it has taken it."""
    one, two = (tar_of(Layer((file(name, os.urandom(600_000)),))) for name in (b"one", b"two"))
    images = [(["q.io/a/one:1"], [one]), (["q.io/a/two:1"], [two]), (["q.io/a/both:1"], [one, two])]
    larder = make_larder(flags=["--max-image-bytes", "1MiB"])
    answer = larder.post("/images:load", data=docker_save(images).data())
    expect_problem(answer, 422, "LayerTooLarge")
    assert not pulling.published_files(larder)


def test_a_node_that_stops_does_not_wait_for_a_sender(make_larder):
    larder = make_larder()
    connection = begin_upload(larder, GOOD[:3000])
    wait_until(lambda: pulling.drafts(larder.blob_dir), "the upload has begun")
    begun = time.monotonic()
    larder.stop()
    assert time.monotonic() - begun < 40, "it waits about ten seconds, and not for ever"
    assert pulling.drafts(larder.blob_dir) == []
    connection.close()


def test_a_sender_is_held_back_while_nobody_reads(make_larder):
    """Back-pressure: what is not read yet is not taken from the socket either."""
    larder = make_larder()
    sent = [0]
    zeros = bytes(1 << 16)
    member = Archive().add("zeros", bytes(64 << 20)).data()
    stopped = None
    connection = begin_upload(larder, member[:512], len(member) + 1000)
    try:
        wait_until(lambda: unpacker_of(larder), "the unpacker runs")
        stopped = unpacker_of(larder)
        os.kill(stopped, 19)  # SIGSTOP
        connection.settimeout(1)

        def send():
            try:
                while sent[0] < 64 << 20:
                    sent[0] += connection.send(zeros)
            except OSError:
                pass

        thread = threading.Thread(target=send)
        thread.start()
        thread.join(30)
        assert not thread.is_alive(), "the sender has to wait"
        assert sent[0] < 32 << 20, "the rest of it is with the sender"
        assert larder.get("/healthz").status_code == 200
    finally:
        if stopped:
            os.kill(stopped, 18)  # SIGCONT
        connection.close()
    wait_until(lambda: not pulling.drafts(larder.blob_dir), "it is noticed soon that the sender left", 20)


def lines_of(path, separator):
    """{what stands before the separator: what stands behind it}."""
    lines = re.split("\n", Path(path).read_text())
    return dict(re.split(separator, line, maxsplit=1) for line in lines if re.search(separator, line))


def test_a_body_is_read_by_a_process_that_has_closed_its_box(node):
    ours = int(lines_of("/proc/self/status", ":\t")["Seccomp_filters"])  # of a container

    def status():
        return lines_of(f"/proc/{unpacker_of(node)}/status", ":\t")

    with begin_upload(node, GOOD[:3000]):
        wait_until(lambda: unpacker_of(node), "the unpacker runs")
        wait_until(lambda: int(status()["Seccomp_filters"]) > ours, "it closes its box")
        said, limits = status(), lines_of(f"/proc/{unpacker_of(node)}/limits", "  +")
        assert said["Seccomp"] == "2" and said["NoNewPrivs"] == "1"
        assert [int(said[name], 16) for name in ("CapPrm", "CapEff", "CapInh")] == [0, 0, 0]
        if os.geteuid() == 0:
            assert said["Uid"].split() == said["Gid"].split() == ["65534"] * 4
            assert said["Groups"].split() == []
        for name in ("Max core file size", "Max processes", "Max open files"):
            assert limits[name].split()[:2] == ["0", "0"], limits[name]
        assert int(limits["Max file size"].split()[0]) < 128 << 20, "of 32 MiB and a margin"
        seconds = 5 * (300 + 32 // 20)  # on each of as many cores as a converter may have
        assert limits["Max cpu time"].split()[:2] == [str(seconds), str(seconds + 1)]
        memory = "unlimited" if build_setting("LARDER_SANITIZE") else str(512 << 20)
        assert limits["Max address space"].split()[:2] == [memory, memory]
    wait_until(lambda: not pulling.drafts(node.blob_dir), "its draft is gone")


def test_an_unpacker_that_dies_is_one_failed_load(make_larder):
    larder = make_larder()
    connection = begin_upload(larder, GOOD[:3000], len(GOOD))
    wait_until(lambda: unpacker_of(larder), "the unpacker runs")
    os.kill(unpacker_of(larder), 9)
    connection.sendall(GOOD[3000:])
    head = connection.recv(65536)
    assert b" 502 " in head.split(b"\r\n")[0] and b"SIGKILL" in head, head
    connection.close()
    assert pulling.drafts(larder.blob_dir) == []
    assert archives.load(larder, GOOD)
