"""Reads of images from memory: what is answered from where, and never wrong for long.

Changes are made in the catalogue behind the nodes' backs, as other nodes make them."""

import itertools
import re
import shutil
import subprocess
import threading
import time
from pathlib import Path

import pytest
import rawhttp
from cataloguerows import Psql, add_image, backends, digest_of, metric, prepare, use
from cutting_proxy import COMMIT, CuttingProxy
from daemons import Stopped, processes_below, wait_until
from larder import Larder
from postgres import Postgres, sql
from problems import expect_problem

REFERENCE = "docker.io/library/busybox:1.36"
HERD = 64
BOUND_SECONDS = 1.0  # the default of --max-staleness
FRESH = {"Cache-Control": "no-cache"}


@pytest.fixture(scope="module")
def node(new_directory, database):
    with Larder(new_directory("larder"), database=database) as started:
        prepare(database)
        yield started


@pytest.fixture
def image(database, request):
    """A reference of the test's own, in the catalogue."""
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")
    reference = f"docker.io/test/{name}:1"
    add_image(database, reference, name)
    return reference


def cache_status(answer):
    return answer.headers["Cache-Status"]


def warm(node, path):
    """Reads until it comes from memory, and stays: a change that was just made is heard of first."""

    def is_hit():
        return "hit" in cache_status(node.get(path))

    node.get(path, headers=FRESH)
    wait_until(is_hit, f"{path} is in memory")


@pytest.mark.parametrize("view", ["", "/inspect"])
def test_a_second_read_is_the_same_from_memory(node, image, view):
    path = f"/images/{image}{view}"
    first = node.get(path)
    # Not stored, when what was just added was being read from the log at that time.
    assert first.status_code == 200 and cache_status(first).startswith("larder; fwd=miss")
    warm(node, path)
    second = node.get(path)
    assert cache_status(second) == "larder; hit"
    assert (second.content, second.headers["ETag"]) == (first.content, first.headers["ETag"])


def test_every_spelling_of_a_reference_is_one_answer_in_memory(node, database):
    names = (f"spelt{number}" for number in itertools.count())

    def others_are_hits():
        """Their first reads, unless what was just added was evicted once more in between."""
        name = next(names)
        add_image(database, f"docker.io/library/{name}:latest", name)
        warm(node, f"/images/{name}")
        return all(
            cache_status(node.get(f"/images/{spelling}")) == "larder; hit"
            for spelling in (f"docker.io%2Flibrary%2F{name}%3Alatest", f"library/{name}:latest")
        )

    wait_until(others_are_hits, "what one spelling read is in memory for the others")


@pytest.mark.parametrize("path", ["/images/{}", "/images/{}/inspect", "/images?reference={}"])
def test_a_client_that_knows_the_answer_gets_304(node, image, path):
    path = path.format(image)
    etag = node.get(path).headers["ETag"]
    assert etag.startswith('"') and len(etag) > 20
    for known in (etag, f'"other", {etag}', f"W/{etag}", "*"):
        answer = node.get(path, headers={"If-None-Match": known})
        assert answer.status_code == 304 and not answer.content, known
        assert answer.headers["ETag"] == etag
    assert node.get(path, headers={"If-None-Match": '"other"'}).status_code == 200


def ask_with_lines(node, path, *lines):
    head = f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    return rawhttp.ask(node.url, (head + "".join(f"{line}\r\n" for line in lines) + "\r\n").encode())


def test_several_lines_of_a_header_are_one_list(node, image):
    path = f"/images/{image}"
    known = f"If-None-Match: {node.get(path).headers['ETag']}"
    other = 'If-None-Match: "other"'
    for lines in ([known, other], [other, known]):
        assert ask_with_lines(node, path, *lines).status == 304, lines
    assert ask_with_lines(node, path, other, other).status == 200
    coding = ("Accept-Encoding: zstd", "Accept-Encoding: br")
    for lines in (coding, coding[::-1]):
        answer = ask_with_lines(node, "/openapi.yaml", *lines)
        assert answer.headers["content-encoding"] == "zstd", lines
    assert ask_with_lines(node, path, *[other] * 50).status == 400


def test_two_nodes_give_the_same_answer_the_same_tag(node, make_larder, database, image):
    other = make_larder(database=database)
    paths = (f"/images/{image}", f"/images/{image}/inspect")
    for path in paths:
        assert node.get(path).headers["ETag"] == other.get(path).headers["ETag"]


def test_head_is_answered_from_memory_too(node, image):
    path = f"/images/{image}"
    warm(node, path)
    answer = node.head(path)
    assert cache_status(answer) == "larder; hit" and not answer.content
    assert int(answer.headers["Content-Length"]) == len(node.get(path).content)


def test_a_platform_is_an_answer_of_its_own(node, database, image):
    add_image(database, image, "for arm", "linux/arm64")
    for _ in range(2):
        assert node.get(f"/images/{image}?platform=arm64").json()["architecture"] == "arm64"
        assert node.get(f"/images/{image}?platform=amd64").json()["architecture"] == "amd64"


def test_an_image_that_is_missing_is_found_as_soon_as_it_comes(node, database):
    path = "/images/docker.io/test/later:1"
    expect_problem(node.get(path), 404, "ImageNotFound")
    add_image(database, "docker.io/test/later:1", "later")
    assert node.get(path).status_code == 200, "that it was missing is not remembered"


def seen_after_change(node, path, change, field, new):
    """Changes behind the node's back; reads until the new value is seen, and again one
    that began after the bound."""
    warm(node, path)
    change()
    changed_at = time.monotonic()
    wait_until(lambda: node.get(path).json()[field] == new, f"{field} is {new}")
    while time.monotonic() < changed_at + BOUND_SECONDS:
        time.sleep(0.05)
    assert node.get(path).json()[field] == new


def test_a_use_by_another_node_is_seen(node, database, image):
    path = f"/images/{image}"
    seen_after_change(node, path, lambda: use(database, image, 1234000), "last_used_at", 1234000)


def test_a_reference_that_moves_is_seen(node, database, image):
    new = digest_of(database, "moved to")
    path = f"/images/{image}"
    seen_after_change(
        node, path, lambda: add_image(database, image, "moved to"), "manifest_digest", new
    )


def test_a_removal_is_seen_by_its_reference_and_by_its_digest(node, database, image):
    name = image.rsplit(":", 1)[0]
    digest = node.get(f"/images/{image}").json()["manifest_digest"]
    paths = [f"/images/{image}", f"/images/{name}@{digest}", f"/images/{image}@{digest}/inspect"]
    for path in paths:
        warm(node, path)
    sql(database, f"DELETE FROM image_refs WHERE reference = '{image}'")
    for path in paths:
        wait_until(lambda path=path: node.get(path).status_code == 404, f"{path} is gone")


def test_a_file_that_changed_its_size_is_seen(node, database, image):
    path = f"/images/{image}/inspect"
    warm(node, path)
    sql(database, "UPDATE layers SET erofs_size_bytes = erofs_size_bytes + 4096")
    size = int(sql(database, "SELECT erofs_size_bytes FROM layers")[0][0])
    wait_until(
        lambda: node.get(path).json()["layers"][0]["erofs_size_bytes"] == size, "the new size"
    )


def test_lists_come_from_memory_until_any_image_changes(node, database, image):
    path = "/images?limit=3"
    warm(node, path)
    assert cache_status(node.get(path)) == "larder; hit"
    newest = "docker.io/test/newest:1"
    add_image(database, newest, "newest")
    wait_until(lambda: node.get(path).json()["images"][0]["reference"] == newest, "the new image")
    use(database, newest, 77000)
    wait_until(lambda: node.get(path).json()["images"][0]["last_used_at"] == 77000, "its use")


def test_memory_keeps_to_its_bound(make_larder, database, node):
    """Of 1,000 images a few hundred fit; whoever asks for the others has them all the same."""
    bound = 1 << 18
    small = make_larder(database=database, flags=["--cache-bytes", str(bound)])
    sql(database, "SELECT add_image('docker.io/test/many:' || n, 'many ' || n, 'linux/amd64')"
                  "  FROM generate_series(1, 1000) n")  # fmt: skip
    small.get("/images/docker.io/test/many:1", headers=FRESH)
    for number in range(1, 1001):
        reference = f"docker.io/test/many:{number}"
        assert small.get(f"/images/{reference}").json()["reference"] == reference
        if number % 100 == 0:
            assert 0 < metric(small, "larder_read_cache_size_bytes") <= bound
    assert metric(small, "larder_read_cache_size_bytes") > bound / 2
    assert 100 < metric(small, "larder_read_cache_answers") < 1000
    assert metric(small, "larder_read_cache_evictions_total", reason="room") > 0


def test_pages_and_filters_are_told_apart_in_memory(node, database):
    for number in range(4):
        add_image(database, f"docker.io/test/page:{number}", f"page {number}")
    for _ in range(2):
        page = node.get("/images?limit=2").json()
        after = node.get(f"/images?limit=2&page_token={page['next_page_token']}").json()
        assert not {i["reference"] for i in page["images"]} & {
            i["reference"] for i in after["images"]
        }
        exact = node.get("/images?reference=docker.io/test/page:1").json()["images"]
        assert [i["reference"] for i in exact] == ["docker.io/test/page:1"]


@pytest.mark.parametrize("query", ["reference=docker.io/test/*", "in_use=true", "os=linux"])
def test_a_search_is_not_kept_in_memory(node, query):
    for _ in range(2):
        assert cache_status(node.get(f"/images?{query}")) == "larder; fwd=bypass"


def test_a_wrong_page_token_harms_nobody_else(node, image):
    def ask():
        for _ in range(20):
            answer = node.get("/images?page_token=WyJpbWFnZXMiLCJ4IiwiYSIsImIiLCJjIiwiZCJd")
            expect_problem(answer, 400, "InvalidArgument")

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(100):
        assert node.get(f"/images?limit={number + 1}").status_code == 200
    for thread in threads:
        thread.join()


# --- writes through a node ---


def test_a_write_is_visible_at_once_on_its_node(node, database, image):
    path = f"/images/{image}"
    body = {"host": "h", "rootfs": {"type": "oci", "reference": image}}
    with Stopped(backends(database, "larder heartbeat")):
        for number in range(10):
            use(database, image, 1000)  # long ago, so that the next use is written
            node.get(path, headers=FRESH)
            answer = node.put(f"/sandboxes/own-{number}", json=body)
            used = answer.json()["image"]["handle"]["last_used_at"]
            assert used > 1000 and node.get(path).json()["last_used_at"] == used
            node.delete(f"/sandboxes/own-{number}")
        warm(node, path)
        assert node.delete(path).status_code == 204
        expect_problem(node.get(path), 404, "ImageNotFound")
        assert image not in node.get("/images").text


def test_a_use_is_visible_at_once_by_a_tag_and_another_digest(node, database):
    """Whatever digest the reference has: that its manifest has it, too, is the registry's word."""
    reference = f"docker.io/test/tagged:1@{digest_of(database, 'none of its')}"
    add_image(database, reference, "tagged")
    path = f"/images/{reference}"
    body = {"host": "h", "rootfs": {"type": "oci", "reference": reference}}
    with Stopped(backends(database, "larder heartbeat")):
        use(database, reference, 1000)  # long ago, so that the next use is written
        node.get(path, headers=FRESH)
        used = node.put("/sandboxes/tagged", json=body).json()["image"]["handle"]["last_used_at"]
        assert used > 1000 and node.get(path).json()["last_used_at"] == used


# --- races ---


@pytest.fixture
def slow_reads(database):
    """PostgreSQL takes its snapshot at once, and half a second for the answer."""
    original = sql(database, "SELECT pg_get_functiondef('epoch_ms'::regproc)")
    sql(database, "CREATE OR REPLACE FUNCTION epoch_ms(moment timestamptz) RETURNS bigint"
                  " LANGUAGE plpgsql STABLE STRICT AS $$ BEGIN PERFORM pg_sleep(0.25);"
                  " RETURN floor(extract(epoch FROM moment) * 1000)::bigint; END $$")  # fmt: skip
    yield
    sql(database, "\n".join(row[0] for row in original))


@pytest.fixture
def held_reads(database):
    """Reads take their snapshot, and then wait for who holds the lock 4711."""
    original = sql(database, "SELECT pg_get_functiondef('epoch_ms'::regproc)")
    sql(database, "CREATE OR REPLACE FUNCTION epoch_ms(moment timestamptz) RETURNS bigint"
                  " LANGUAGE plpgsql STABLE STRICT AS $$ BEGIN"
                  " PERFORM pg_advisory_xact_lock_shared(4711);"
                  " RETURN floor(extract(epoch FROM moment) * 1000)::bigint; END $$")  # fmt: skip
    yield
    sql(database, "\n".join(row[0] for row in original))


def test_an_answer_from_before_a_change_is_not_kept_after_it(node, database, image, held_reads):
    """The change comes, and is evicted, while the answer is on its way."""
    path = f"/images/{image}"
    times = itertools.count(5000)

    def evicted():
        return metric(node, "larder_read_cache_evictions_total", reason="change")

    def races():
        """False when PostgreSQL was slow and the read came after the change, or when an older
        change was evicted instead of this one."""
        time_ms = next(times)
        answers = []
        reader = threading.Thread(target=lambda: answers.append(node.get(path)))
        warm(node, "/images?limit=7")  # lists go with each image that changes: that is seen
        with Psql(database) as other:
            other.run("BEGIN")
            other.run("SELECT pg_advisory_xact_lock(4711)")
            reader.start()
            waits = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
            wait_until(lambda: sql(database, waits) or answers, "a read waits")
            before = evicted()
            use(database, image, time_ms)
            wait_until(lambda: evicted() > before or answers, "the change is evicted")
            other.run("ROLLBACK")
        reader.join()
        if answers[0].status_code != 200 or answers[0].json()["last_used_at"] == time_ms:
            return False
        changed_at = time.monotonic()
        while time.monotonic() < changed_at + BOUND_SECONDS:
            time.sleep(0.05)
        for _ in range(3):
            assert node.get(path).json()["last_used_at"] == time_ms
        return cache_status(answers[0]) == "larder; fwd=miss"

    wait_until(races, "a change comes while a read is on its way")


def test_many_who_want_the_same_are_one_question(node, image, slow_reads):
    before = metric(node, "larder_reads_total", **{"from": "collapsed"})
    threads = [threading.Thread(target=node.get, args=(f"/images/{image}",)) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert metric(node, "larder_reads_total", **{"from": "collapsed"}) - before >= 10


# --- when asking PostgreSQL fails ---


def read_after_bound(node, database, image, value):
    """What a read answers that begins later than the bound after a commit."""
    use(database, image, value)
    time.sleep(BOUND_SECONDS)
    return node.get(f"/images/{image}").json()["last_used_at"]


def test_a_heartbeat_that_stands_still_does_not_make_reads_stale(node, database, image):
    warm(node, f"/images/{image}")
    with Stopped(backends(database, "larder heartbeat")):
        assert read_after_bound(node, database, image, 7000) == 7000
        assert read_after_bound(node, database, image, 8000) == 8000


def test_connections_that_are_cut_do_not_make_reads_stale(node, database, image):
    warm(node, f"/images/{image}")
    for number, name in enumerate(("larder heartbeat", "larder loop", "larder")):
        for pid in backends(database, name):
            sql(database, f"SELECT pg_terminate_backend({pid})")
        assert read_after_bound(node, database, image, 9000 + number) == 9000 + number


def test_a_loop_whose_backend_stands_still_gets_another(node, database, image):
    path = f"/images/{image}"
    warm(node, path)
    with Stopped(backends(database, "larder loop")):
        for number in range(4):
            use(database, image, 6000 + number)
            assert node.get(path, headers=FRESH).json()["last_used_at"] == 6000 + number


@pytest.fixture
def own_postgres(new_directory):
    server = Postgres(new_directory("own")).start()
    try:
        yield server
    finally:
        server.close()


def test_a_restart_of_postgresql_leaves_no_stale_answer(make_larder, own_postgres):
    database = own_postgres.create_database("larder")
    node = make_larder(database=database)
    prepare(database)
    references = [f"docker.io/test/many:{number}" for number in range(50)]
    for reference in references:
        add_image(database, reference, reference)
        warm(node, f"/images/{reference}")
    for round_number in (1, 2):
        own_postgres.kill9() if round_number == 2 else own_postgres.stop()
        own_postgres.start()
        sql(database, f"UPDATE image_refs SET last_used_at = to_timestamp({round_number})")
        time.sleep(BOUND_SECONDS)
        for reference in references:
            seen = wait_until(lambda r=reference: last_used(node, r), "it is read again")
            assert seen == round_number * 1000, reference


def test_a_transaction_number_given_out_twice_hides_no_change(make_larder, own_postgres):
    """A backend that is killed restarts the others, with the numbers of transactions that left
    nothing in the log free once more: the node has seen them end."""
    database = own_postgres.create_database("larder")
    node = make_larder(database=database)
    prepare(database)
    add_image(database, REFERENCE, "first")
    path = f"/images/{REFERENCE}"
    warm(node, path)
    with Psql(database) as psql:
        for _ in range(100):
            psql.run("BEGIN; SELECT pg_current_xact_id(); ROLLBACK")
        assert node.get(path, headers=FRESH).ok, "it has seen them end"
        own_postgres.crash(int(psql.run("SELECT pg_backend_pid()")[0]))
    warm(node, path)
    use(database, REFERENCE, 1000)
    assert node.get(path, headers=FRESH).json()["last_used_at"] == 1000


def last_used(node, reference):
    answer = node.get(f"/images/{reference}")
    assert answer.status_code in (200, 503)
    return answer.json().get("last_used_at")


def test_a_catalogue_that_was_put_back_is_believed(make_larder, own_postgres, new_directory):
    """A standby that lacked the last commits, or a backup: what memory knows is not so."""
    database = own_postgres.create_database("larder")
    node = make_larder(database=database)
    prepare(database)
    add_image(database, REFERENCE, "old")
    old = digest_of(database, "old")
    own_postgres.stop()
    backup = new_directory("backup")
    subprocess.run(["cp", "-a", own_postgres.data, backup], check=True)
    own_postgres.start()
    add_image(database, REFERENCE, "new")
    path = f"/images/{REFERENCE}"
    wait_until(lambda: node.get(path).json().get("manifest_digest") not in (None, old), "it is new")
    warm(node, path)
    own_postgres.kill9()
    shutil.rmtree(own_postgres.data)
    subprocess.run(["cp", "-a", backup, own_postgres.data], check=True)
    own_postgres.start()
    time.sleep(BOUND_SECONDS)
    assert wait_until(lambda: node.get(path).json().get("manifest_digest"), "it is read") == old


def test_while_the_catalogue_is_away_memory_answers_and_says_so(make_larder, own_postgres):
    database = own_postgres.create_database("larder")
    node = make_larder(database=database, flags=["--max-stale-if-error", "6s"])
    prepare(database)
    add_image(database, REFERENCE, "one")
    path = f"/images/{REFERENCE}"
    kept = node.get(path)
    warm(node, path)
    own_postgres.stop()
    stale = wait_until(lambda: is_stale(node.get(path)), "it is marked stale")
    assert stale.content == kept.content and stale.headers["ETag"] == kept.headers["ETag"]
    assert int(stale.headers["Age"]) >= 1 and "stale" in stale.headers["Warning"].lower()
    for what, headers in ((path + "/inspect", {}), ("/images", {}), (path, FRESH)):
        answer = node.get(what, headers=headers)
        problem = expect_problem(answer, 503, "CatalogueUnavailable")
        assert int(answer.headers["Retry-After"]) == problem["retry_after"] > 0
    wait_until(lambda: node.get(path).status_code == 503, "it is too old")
    own_postgres.start()
    wait_until(lambda: node.get(path).status_code == 200, "it is read again")
    assert "stale" not in cache_status(node.get(path))


def test_who_can_do_with_a_stale_answer_does_not_wait_for_a_catalogue_that_hangs(
    make_larder, own_postgres
):
    """As long as one that cannot, on whichever loop; later ones do not wait at all."""
    database = own_postgres.create_database("larder")
    node = make_larder(database=database)
    prepare(database)
    add_image(database, REFERENCE, "one")
    path = f"/images/{REFERENCE}"
    warm(node, path)
    answered = []

    def read(name, headers):
        answered.append((name, node.get(path, headers=headers)))

    with Stopped([own_postgres.daemon.pid, *processes_below(own_postgres.data)]):
        time.sleep(BOUND_SECONDS + 0.2)  # the lease ran out
        threads = [
            threading.Thread(target=read, args=arguments)
            for arguments in [("fresh", FRESH)] + 8 * [("any", {})]
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [name for name, _ in answered] == 8 * ["any"] + ["fresh"]
        assert all(is_stale(answer) for _, answer in answered[:8])
        assert answered[8][1].status_code == 503
        assert is_stale(node.get(path))
    wait_until(lambda: cache_status(node.get(path)) == "larder; hit", "it is believed again")


def test_a_catalogue_that_is_back_is_asked_by_the_node_not_by_each_client(
    make_larder, new_directory
):
    """Connections are as many as the node keeps, and one answer is for all who want it."""
    server = Postgres(new_directory("back"), log_connections="on").start()
    stop = threading.Event()
    answers = []
    try:
        node = make_larder(database=server.create_database("larder"))
        prepare(node.database)
        add_image(node.database, REFERENCE, "one")
        log = Path(server.daemon.stderr_path)

        def read():
            while not stop.is_set():
                answers.append(node.get(f"/images/{REFERENCE}", headers=FRESH).status_code)

        threads = [threading.Thread(target=read) for _ in range(HERD)]
        for thread in threads:
            thread.start()
        wait_until(lambda: answers.count(200) > 10 * HERD, "all of them read")
        server.stop()
        wait_until(lambda: answers.count(503) > 3 * HERD, "all of them hear that it is away")
        before = log.read_text().count("connection received")
        misses = metric(node, "larder_reads_total", **{"from": "miss"})
        server.start()
        known = answers.count(200)
        wait_until(lambda: answers.count(200) > known + 10 * HERD, "all of them read again")
        assert log.read_text().count("connection received") - before < HERD / 2
        assert metric(node, "larder_reads_total", **{"from": "miss"}) - misses < HERD / 2
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        server.close()


def is_stale(answer):
    return answer if "stale" in cache_status(answer) else None


class GoingProxy(CuttingProxy):
    """Lets these statements through, in that order, with all others between them; then PostgreSQL
    hears nobody any more, until there are others. The answer to the last comes back."""

    statements = (b"none yet",)

    def see(self, data):
        if not self.statements:
            raise ConnectionAbortedError
        if self.statements[0] in data:
            self.statements = self.statements[1:]


@pytest.fixture
def going(own_postgres):
    with GoingProxy(own_postgres.port) as proxy:
        yield proxy


def reach_through(proxy, server, make_larder):
    database = server.create_database("larder")
    node = make_larder(database=database.replace(str(server.port), str(proxy.port)))
    prepare(database)
    return node, database


OTHER = "docker.io/library/other:1"


def test_what_was_removed_is_not_served_stale(make_larder, own_postgres, going):
    """The node is told that it went, and PostgreSQL goes before it can ask what changed."""
    node, database = reach_through(going, own_postgres, make_larder)
    for reference in (REFERENCE, OTHER):
        add_image(database, reference, reference)
    name = REFERENCE.rsplit(":", 1)[0]
    removed = [REFERENCE, f"{name}@{digest_of(database, REFERENCE)}"]
    for reference in (*removed, OTHER):
        warm(node, f"/images/{reference}")
    going.statements = (b"\0image_take\0", COMMIT)
    assert node.delete(f"/images/{REFERENCE}").status_code == 204
    assert not going.statements
    for reference in removed:
        expect_problem(node.get(f"/images/{reference}"), 503, "CatalogueUnavailable")
    assert wait_until(lambda: is_stale(node.get(f"/images/{OTHER}")), "the rest is served on").ok
    going.statements = GoingProxy.statements
    wait_until(lambda: node.get(f"/images/{REFERENCE}").status_code == 404, "it is read again")


def test_what_is_known_to_be_wrong_is_not_served_stale(make_larder, own_postgres, going):
    """A use that was written the long way, for an image that is there for another platform only."""
    node, database = reach_through(going, own_postgres, make_larder)
    add_image(database, REFERENCE, "one", "linux/riscv64")
    path = f"/images/{REFERENCE}"
    use(database, REFERENCE, 1000)  # long ago, so that the next use is written
    warm(node, path)
    going.statements = (b"\0sandbox_put\0",)
    answer = node.put(
        "/sandboxes/one", json={"host": "h", "rootfs": {"type": "oci", "reference": REFERENCE}}
    )
    assert answer.status_code == 201 and not going.statements
    used = answer.json()["image"]["handle"]["last_used_at"]
    expect_problem(node.get(path), 503, "CatalogueUnavailable")
    going.statements = GoingProxy.statements
    read = wait_until(lambda: node.get(path).json().get("last_used_at"), "it is read again")
    assert used > 1000 and read == used


@pytest.mark.parametrize("asked", ["for one that has ended", "for a new one", "and waits"])
def test_a_pull_is_not_told_of_when_nobody_can_say_what_it_changed(
    make_larder, own_postgres, going, asked
):
    """So memory is not known to be wrong, and is served on."""
    node, database = reach_through(going, own_postgres, make_larder)
    add_image(database, REFERENCE, "one")
    warm(node, f"/images/{REFERENCE}")
    if asked == "for one that has ended":
        ended = "('a.example/b:1', 'linux/amd64', 'always', false, 'cancelled', now())"
        columns = "(reference, platform, policy, force, state, finished_at)"
        [[pull]] = sql(database, f"INSERT INTO pulls {columns} VALUES {ended} RETURNING id")
        assert node.get(f"/pulls/{pull}").ok
        going.statements = (b"\0pull_find\0",)
        answer = node.get(f"/pulls/{pull}")
    else:
        going.statements = (b"\0pull_queue\0", b"\0pull_find\0")
        wait = {"Prefer": "wait=5"} if asked == "and waits" else {}
        answer = node.post("/images:pull", json={"reference": "a.example/b:1"}, headers=wait)
    expect_problem(answer, 503, "CatalogueUnavailable")
    assert not going.statements
    assert wait_until(lambda: is_stale(node.get(f"/images/{REFERENCE}")), "it is served on").ok


def test_a_node_that_ends_answers_who_waits_for_the_catalogue(make_larder, own_postgres):
    database = own_postgres.create_database("larder")
    node = make_larder(database=database)
    with Stopped(backends(database, "larder loop")):
        with rawhttp.connect(node.url) as connection:
            connection.sendall(b"GET /images/a HTTP/1.1\r\nHost: x\r\n\r\n")
            time.sleep(0.2)
            node.stop()
            # A 404 when the loop was connected anew in the meantime.
            assert rawhttp.read_all(connection).startswith((b"HTTP/1.1 503 ", b"HTTP/1.1 404 "))
