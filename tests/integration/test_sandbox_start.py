"""Starting sandboxes: PUT in one round trip, and batches."""

import threading
import time

import pytest
from cataloguerows import Psql, add_image, digest_of, metric, prepare
from cutting_proxy import CuttingProxy
from daemons import wait_until
from larder import Larder
from postgres import sql
from problems import expect_problem


@pytest.fixture(scope="module")
def node(new_directory, database):
    with Larder(new_directory("larder"), database=database) as started:
        prepare(database)
        yield started


def oci(reference, **more):
    return {"host": "h1", "rootfs": {"type": "oci", "reference": reference}} | more


def start(node, id, reference, **more):
    answer = node.put(f"/sandboxes/{id}", json=oci(reference, **more))
    assert answer.status_code in (200, 201), answer.text
    return answer.json()


def test_the_answer_is_what_reading_it_gives(node, database):
    add_image(database, "docker.io/start/same:1", "same")
    put = start(node, "same", "start/same:1", ttl_seconds=600)
    got = node.get("/sandboxes/same").json()
    assert put == got
    assert put["image"] == node.get("/images/start/same:1/inspect").json()
    again = start(node, "same", "start/same:1", ttl_seconds=600)
    assert again["created_at"] == put["created_at"]


def test_an_image_is_found_by_its_digest(node, database):
    add_image(database, "docker.io/start/digest:1", "by digest")
    digest = digest_of(database, "by digest")
    put = start(node, "digest", f"start/digest@{digest}")
    assert put["image"]["handle"]["reference"] == "docker.io/start/digest:1"
    assert put["image"]["handle"]["manifest_digest"] == digest


def test_what_it_runs_on_is_not_read_again(node, database):
    """Nor when its use is written, as it is for each of these."""
    add_image(database, "docker.io/start/once:1", "once")
    first = start(node, "once", "start/once:1")["image"]
    with Psql(database) as other:
        other.run("BEGIN")
        other.run("LOCK TABLE manifest_layers, layers, configs")
        for number in range(10):
            sql(database, "UPDATE image_refs SET last_used_at = 'epoch' WHERE name LIKE '%/once'")
            image = start(node, f"once-{number}", "start/once:1")["image"]
            assert {**image, "handle": None} == {**first, "handle": None}
        other.run("ROLLBACK")


def round_trips(node):
    return metric(node, "larder_catalogue_round_trip_seconds_count")


def test_a_start_and_a_renewal_are_one_round_trip_each(node, database):
    add_image(database, "docker.io/start/trip:1", "trip")
    start(node, "trip", "start/trip:1")
    starts, before, began = 200, round_trips(node), time.monotonic()
    for number in range(starts):
        start(node, f"trip-{number // 2}", "start/trip:1")
    asked = round_trips(node) - before
    seconds, before = time.monotonic() - began, round_trips(node)
    time.sleep(seconds)  # what the node asks for itself meanwhile
    asked -= round_trips(node) - before
    assert 0.5 * starts < asked < 1.5 * starts


def test_a_renewal_keeps_what_it_runs_on(node, database):
    reference = "docker.io/start/renewed:1"
    add_image(database, reference, "first")
    first = start(node, "renewed", reference)["image"]["handle"]["manifest_digest"]
    add_image(database, reference, "second")
    second = digest_of(database, "second")
    assert first != second
    assert start(node, "renewed", reference)["image"]["handle"]["manifest_digest"] == first
    assert start(node, "other", reference)["image"]["handle"]["manifest_digest"] == second
    node.delete("/sandboxes/renewed")
    assert start(node, "renewed", reference)["image"]["handle"]["manifest_digest"] == second


def test_the_only_platform_will_do_when_nobody_asks_for_one(node, database):
    add_image(database, "docker.io/start/riscv:1", "riscv", "linux/riscv64")
    put = start(node, "riscv", "start/riscv:1")
    assert put["image"]["handle"]["architecture"] == "riscv64"
    answer = node.put("/sandboxes/riscv-2?platform=linux/s390x", json=oci("start/riscv:1"))
    expect_problem(answer, 422, "PlatformNotFound")


def test_an_image_that_is_not_here_is_told(node):
    problem = expect_problem(node.put("/sandboxes/x", json=oci("start/none:1")), 404, "ImageNotFound")
    assert problem["reference"] == "docker.io/start/none:1"
    expect_problem(node.get("/sandboxes/x"), 404, "SandboxNotFound")


def test_files_of_other_sizes_are_told_as_soon_as_they_are_catalogued(node, database):
    reference = "docker.io/start/sizes:1"
    add_image(database, reference, "sizes")
    digest = digest_of(database, "sizes")
    before = start(node, "sizes", reference)["image"]["files"]["fsmeta"]["size_bytes"]
    node.delete("/sandboxes/sizes")
    sql(database, f"DELETE FROM image_refs WHERE reference = '{reference}';"
                  f" DELETE FROM manifests WHERE digest = '{digest}'")  # fmt: skip
    add_image(database, reference, "sizes")
    sql(database, f"ALTER TABLE manifests DISABLE TRIGGER log_updated; UPDATE manifests"
                  f" SET fsmeta_size_bytes = {before + 4096} WHERE digest = '{digest}';"
                  " ALTER TABLE manifests ENABLE TRIGGER log_updated")  # fmt: skip

    def size():
        return start(node, "sizes", reference)["image"]["files"]["fsmeta"]["size_bytes"]

    wait_until(lambda: size() == before + 4096, "the new size")


# --- batches ---


def test_each_of_a_batch_has_its_own_outcome(node, database):
    add_image(database, "docker.io/start/batch:1", "batch")
    add_image(database, "docker.io/start/arm:1", "arm", "linux/arm64")
    start(node, "b-old", "start/batch:1")
    batch = [
        {"id": "b-1"} | oci("start/batch:1"),
        {"id": "b-none"} | oci("start/none:1"),
        {"id": "b-old"} | oci("start/batch:1", ttl_seconds=60),
        {"id": "b-arm"} | oci("start/arm:1"),
        {"id": "b-disk", "host": "h2", "rootfs": {"type": "disk", "path": "/srv/a.qcow2"}},
    ]
    answer = node.post("/sandboxes:batch", json={"sandboxes": batch})
    assert answer.status_code == 200, answer.text
    outcomes = {outcome["id"]: outcome for outcome in answer.json()["sandboxes"]}
    assert list(outcomes) == [item["id"] for item in batch]
    assert {id: outcome["status"] for id, outcome in outcomes.items()} == {
        "b-1": 201, "b-none": 404, "b-old": 200, "b-arm": 201, "b-disk": 201,
    }  # fmt: skip
    for id, outcome in outcomes.items():
        if id == "b-none":
            assert outcome["sandbox"] is None and outcome["error"]["code"] == "ImageNotFound"
            assert outcome["error"]["reference"] == "docker.io/start/none:1"
        else:
            assert outcome["error"] is None
            assert outcome["sandbox"] == node.get(f"/sandboxes/{id}").json(), id


@pytest.mark.parametrize(
    "sandboxes, named",
    [
        ([], "1 to 256"), ("x", "1 to 256"), ([1], "sandboxes[0]"),
        ([{"id": "a"} | oci("x"), {"host": "h"}], "sandboxes[1]"),
        ([{"id": "a"} | oci("x"), {"id": "a"} | oci("y")], "given twice"),
        ([{"id": "a"} | oci("x", extra=1)], "extra"),
        ([{"id": "a" * 256} | oci("x")], "id"),
    ],
)  # fmt: skip
def test_a_batch_that_cannot_be_meant_does_nothing(node, sandboxes, named):
    answer = node.post("/sandboxes:batch", json={"sandboxes": sandboxes})
    assert named in expect_problem(answer, 400, "InvalidArgument")["detail"]
    expect_problem(node.get("/sandboxes/a"), 404, "SandboxNotFound")


class Cutting(CuttingProxy):
    """Each time."""

    def see(self, data):
        self.cut_next = "before"


def node_behind(proxy, make_larder, database, postgres):
    return make_larder(database=database.replace(f":{postgres.port}/", f":{proxy.port}/"))


def test_a_batch_that_is_registered_but_not_answered_is_in_the_audit_log(
    make_larder, node, database, postgres
):
    """What its images are made of cannot be had."""
    add_image(database, "docker.io/start/unanswered:1", "unanswered")
    with Cutting(postgres.port) as proxy:
        proxy.at = b"image_details\0"
        cut = node_behind(proxy, make_larder, database, postgres)
        batch = [{"id": f"u-{number}"} | oci("start/unanswered:1") for number in range(3)]
        answer = cut.post("/sandboxes:batch", json={"sandboxes": batch})
        expect_problem(answer, 503, "CatalogueUnavailable")

        def audited():
            lines = [line for line in cut.log().splitlines() if '"event":"audit"' in line]
            return all(any(f'"/sandboxes/u-{n}"' in line for line in lines) for n in range(3))

        wait_until(audited, "each has its line")
    assert all(node.get(f"/sandboxes/u-{number}").ok for number in range(3))


def test_a_batch_asks_a_catalogue_that_is_away_once(make_larder, database, postgres):
    """Not for each that goes the long way, as those do whose image is missing."""
    with Cutting(postgres.port) as proxy:
        proxy.at = b"sandbox_find_held\0"
        node = node_behind(proxy, make_larder, database, postgres)
        batch = [{"id": f"away-{number}"} | oci(f"start/away:{number}") for number in range(5)]
        answer = node.post("/sandboxes:batch", json={"sandboxes": batch})
        outcomes = answer.json()["sandboxes"]
        assert [outcome["error"]["code"] for outcome in outcomes] == ["CatalogueUnavailable"] * 5
        assert proxy.cuts == 1


def test_batches_that_overlap_do_not_wait_for_each_other_for_ever(node, database):
    names = [f"docker.io/start/overlap:{number}" for number in range(8)]
    for name in names:
        add_image(database, name, name)
    failed = []

    def work(order):
        for round_number in range(15):
            if order == 1:
                sql(database, "UPDATE image_refs SET last_used_at = 'epoch'"
                              " WHERE reference LIKE 'docker.io/start/overlap%'")  # fmt: skip
            batch = [{"id": f"o-{i}"} | oci(name) for i, name in enumerate(names)][::order]
            outcomes = node.post("/sandboxes:batch", json={"sandboxes": batch}).json()["sandboxes"]
            failed.extend((round_number, o) for o in outcomes if o["status"] not in (200, 201))

    threads = [threading.Thread(target=work, args=(order,)) for order in (1, -1, 1, -1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed, failed[0]
