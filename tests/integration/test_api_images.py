"""The resources, over a node that has pulled a few images."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import images
import pulling
import pytest
from cataloguerows import Psql
from daemons import wait_until
from postgres import sql
from problems import expect_problem

WAITERS = """
    SELECT 1 FROM pg_stat_activity
     WHERE datname = current_database() AND wait_event_type = 'Lock'"""

HANDLE_FIELDS = {
    "reference", "manifest_digest", "architecture", "os", "layer_count", "size_bytes",
    "created_at", "last_used_at",
}  # fmt: skip
PULL_FIELDS = {
    "id", "reference", "platform", "policy", "force", "state", "manifest_digest", "node",
    "created_at", "started_at", "finished_at", "layers", "error", "image",
}  # fmt: skip


@pytest.fixture(scope="module")
def cached(larder, registry, built_images):
    """Three references, oldest first: api/one, api/two, api/two/inspect."""
    names = []
    for name, image in (("one:1", "busybox"), ("two:1", "mixed"), ("two/inspect:1", "shared-one")):
        pulling.push_and_pull(larder, registry, built_images[image], f"api/{name}")
        names.append(f"{registry}/api/{name}")
    return names


def encoded(reference):
    return reference.replace("/", "%2F").replace(":", "%3A").replace("@", "%40")


def test_both_spellings_of_a_reference_find_the_same_image(larder, cached):
    for reference in cached:
        answers = [
            larder.get(f"/images/{spelling}") for spelling in (reference, encoded(reference))
        ]
        assert [answer.status_code for answer in answers] == [200, 200], reference
        assert answers[0].json() == answers[1].json()
        assert answers[0].json()["reference"] == reference
        assert set(answers[0].json()) == HANDLE_FIELDS


def test_a_repository_called_inspect_is_reached_when_it_is_encoded(larder, registry, cached):
    tagless = f"{registry}/api/two/inspect"
    detail = larder.get(f"/images/{encoded(cached[2])}/inspect").json()
    assert detail["handle"]["reference"] == cached[2]
    raw = larder.get(f"/images/{cached[2]}/inspect").json()
    assert raw == detail
    answer = larder.get(f"/images/{encoded(tagless)}")
    assert expect_problem(answer, 404, "ImageNotFound")["reference"] == f"{tagless}:latest"
    answer = larder.get(f"/images/{tagless}")  # read as: inspect …/api/two
    assert expect_problem(answer, 404, "ImageNotFound")["reference"].endswith("/api/two:latest")


def test_the_list_is_newest_first_and_pages_reach_every_image_once(larder, cached):
    everything = larder.get("/images").json()
    assert set(everything) == {"images", "next_page_token"}
    assert everything["next_page_token"] is None
    rows = [image["reference"] for image in everything["images"]]
    assert rows == list(reversed(cached))

    found, token = [], None
    while True:
        query = {"limit": 1} | ({"page_token": token} if token else {})
        page = larder.get("/images", params=query).json()
        assert len(page["images"]) <= 1
        found += [image["reference"] for image in page["images"]]
        token = page["next_page_token"]
        if not token:
            break
    assert found == rows


def test_the_list_is_filtered(larder, registry, cached):
    def listed(**query):
        answer = larder.get("/images", params=query)
        assert answer.status_code == 200, answer.text
        return {image["reference"] for image in answer.json()["images"]}

    digest = larder.get(f"/images/{cached[0]}").json()["manifest_digest"]
    assert listed(reference=cached[0]) == {cached[0]}
    assert listed(reference=f"{registry}/api/two*") == {cached[1], cached[2]}
    assert listed(reference="*one:1") == {cached[0]}
    assert listed(reference="no/such") == set()
    assert listed(manifest_digest=digest) == {cached[0]}
    assert listed(architecture="amd64") == set(cached)
    assert listed(architecture="s390x") == set()
    assert listed(os="linux") == set(cached)
    assert listed(in_use="false") == set(cached)
    assert listed(in_use="true") == set()


def test_inspect_names_every_file_and_each_is_served_whole(larder, cached):
    detail = larder.get(f"/images/{cached[1]}/inspect").json()
    assert set(detail) == {"handle", "config", "layers", "files"}
    assert (
        len(detail["files"]["layers"]) == len(detail["layers"]) == detail["handle"]["layer_count"]
    )
    files = [detail["files"]["fsmeta"], detail["files"]["vmdk"], *detail["files"]["layers"]]
    for file in files:
        stored = (larder.blob_dir / file["path"]).read_bytes()
        answer = larder.get(file["url"])
        assert answer.status_code == 200, file
        assert answer.content == stored and len(stored) == file["size_bytes"], file
        assert "immutable" in answer.headers["Cache-Control"]
        head = larder.head(file["url"])
        assert head.status_code == 200 and not head.content
        assert int(head.headers["Content-Length"]) == len(stored)


def test_a_layer_file_is_served_in_parts(larder, cached):
    file = larder.get(f"/images/{cached[0]}/inspect").json()["files"]["layers"][0]
    stored = (larder.blob_dir / file["path"]).read_bytes()
    etag = larder.head(file["url"]).headers["ETag"]

    def part(**headers):
        return larder.get(file["url"], headers={k.replace("_", "-"): v for k, v in headers.items()})

    for spec, expected in (("0-9", stored[:10]), ("4096-", stored[4096:]), ("-7", stored[-7:])):
        answer = part(Range=f"bytes={spec}")
        assert (answer.status_code, answer.content) == (206, expected), spec
        assert answer.headers["Content-Range"].endswith(f"/{len(stored)}")
    assert part(Range=f"bytes={len(stored)}-").status_code == 416
    assert part(Range="bytes=0-1,5-6").content == stored[:7], "what lies between is no more"
    assert part(Range="bytes=0-9", If_Range=etag).status_code == 206
    assert part(Range="bytes=0-9", If_Range='"other"').status_code == 200
    assert larder.head(file["url"], headers={"Range": "bytes=0-9"}).status_code == 200
    assert part(If_None_Match=etag).status_code == 304
    assert part(If_None_Match='"other"').status_code == 200


def test_a_sandbox_gets_all_it_needs_in_one_answer_and_holds_its_image(larder, cached):
    body = {"host": "h1", "rootfs": {"type": "oci", "reference": cached[0]}, "ttl_seconds": 60}
    created = larder.put("/sandboxes/s1", json=body)
    assert created.status_code == 201, created.text
    sandbox = created.json()
    assert set(sandbox) == {"id", "host", "rootfs", "created_at", "expires_at", "image"}
    assert sandbox["rootfs"] == {"type": "oci", "reference": cached[0], "upper_size_mib": None}
    assert sandbox["expires_at"] - sandbox["created_at"] == 60_000
    detail = larder.get(f"/images/{cached[0]}/inspect").json()
    assert sandbox["image"]["files"] == detail["files"]

    renewed = larder.put("/sandboxes/s1", json=body)
    assert renewed.status_code == 200 and renewed.json()["created_at"] == sandbox["created_at"]
    assert renewed.json()["expires_at"] > sandbox["expires_at"]

    used = larder.get("/images", params={"in_use": "true"}).json()["images"]
    assert [image["reference"] for image in used] == [cached[0]]
    problem = expect_problem(larder.delete(f"/images/{cached[0]}"), 409, "ImageInUse")
    assert problem["sandboxes"] == ["s1"] and problem["reference"] == cached[0]
    assert larder.get("/sandboxes/s1").json()["id"] == "s1"
    assert larder.delete("/sandboxes/s1").status_code == 204
    expect_problem(larder.get("/sandboxes/s1"), 404, "SandboxNotFound")


def test_sandboxes_of_a_host_are_listed_and_released_together(larder, cached):
    for number in range(3):
        body = {"host": "h2", "rootfs": {"type": "disk", "path": f"/disk{number}.qcow2"}}
        assert larder.put(f"/sandboxes/d{number}", json=body).status_code == 201
    body = {"host": "h3", "rootfs": {"type": "oci", "reference": cached[1]}}
    assert larder.put("/sandboxes/h3 %C3%A9", json=body).status_code == 201

    def ids(**query):
        return [s["id"] for s in larder.get("/sandboxes", params=query).json()["sandboxes"]]

    assert ids(host="h2") == ["d0", "d1", "d2"]
    assert ids(reference=cached[1]) == ["h3 é"]
    first = larder.get("/sandboxes", params={"host": "h2", "limit": 2}).json()
    query = {"host": "h2", "limit": 2, "page_token": first["next_page_token"]}
    assert [s["id"] for s in larder.get("/sandboxes", params=query).json()["sandboxes"]] == ["d2"]
    assert larder.delete("/sandboxes?host=h2").status_code == 204
    assert ids(host="h2") == [] and ids(host="h3") == ["h3 é"]
    assert larder.delete("/sandboxes?host=h3").status_code == 204


def test_a_host_is_released_also_when_its_sandboxes_are_locked_in_another_order(
    make_larder, postgres
):
    """PostgreSQL ends one of two who wait for each other."""
    database = postgres.create_database("release_host")
    sql(database, "ALTER DATABASE release_host SET deadlock_timeout = '5s'")  # looked for once
    node = make_larder(database=database)
    for sandbox in ("a", "b"):
        body = {"host": "h1", "rootfs": {"type": "disk", "path": "/disk.qcow2"}}
        assert node.put(f"/sandboxes/{sandbox}", json=body).status_code == 201
    renew = "UPDATE sandboxes SET expires_at = now() + interval '1 hour' WHERE id = '{}'"
    with Psql(database) as other, ThreadPoolExecutor(1) as pool:
        other.run("SET deadlock_timeout = '30s'")  # it is the node that is ended
        other.run("BEGIN")
        other.run(renew.format("b"))
        released = pool.submit(node.delete, "/sandboxes?host=h1")
        wait_until(lambda: sql(database, WAITERS), "the release waits")
        other.run(renew.format("a"))
        other.run("COMMIT")
        assert released.result().status_code == 204
    assert node.get("/sandboxes").json()["sandboxes"] == []


def test_a_lease_that_ran_out_holds_nothing(larder, cached):
    body = {"host": "h", "rootfs": {"type": "oci", "reference": cached[0]}, "ttl_seconds": 1}
    assert larder.put("/sandboxes/short", json=body).status_code == 201
    time.sleep(1.2)
    expect_problem(larder.get("/sandboxes/short"), 404, "SandboxNotFound")
    assert larder.get("/images", params={"in_use": "true"}).json()["images"] == []


def test_snapshots_hold_a_manifest(larder, cached):
    digest = larder.get(f"/images/{cached[0]}").json()["manifest_digest"]
    created = larder.put("/snapshots/n1", json={"manifest_digest": digest})
    assert created.status_code == 201
    assert set(created.json()) == {"id", "manifest_digest", "created_at"}
    assert larder.put("/snapshots/n1", json={"manifest_digest": digest}).status_code == 200
    assert larder.get("/snapshots/n1").json() == created.json()
    assert larder.get("/snapshots").json()["snapshots"] == [created.json()]
    expect_problem(larder.delete(f"/images/{cached[0]}"), 409, "ImageInUse")
    assert larder.delete("/snapshots/n1").status_code == 204


def test_pins_protect_from_delete_and_prune(larder, registry, cached):
    assert larder.put(f"/pins/{cached[0]}").status_code == 201
    assert larder.put(f"/pins/{encoded(cached[0])}").status_code == 200
    assert larder.put(f"/pins/{registry}/api/two*").status_code == 201
    pins = larder.get("/pins").json()["pins"]
    assert {pin["reference"] for pin in pins} == {cached[0], f"{registry}/api/two*"}
    expect_problem(larder.delete(f"/images/{cached[0]}"), 409, "ImageInUse")
    assert larder.post("/images:prune").json()["image_refs_removed"] == 0
    assert larder.delete(f"/pins/{cached[0]}").status_code == 204
    assert larder.delete(f"/pins/{registry}/api/two*").status_code == 204
    assert larder.get("/pins").json() == {"pins": []}


def test_who_sets_a_pin_that_another_takes_away_is_told_of_it_all_the_same(larder):
    def take_away():
        while not is_over.is_set():
            assert larder.delete("/pins/registry.example/contended:1").status_code == 204

    is_over = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(take_away)
        try:
            answers = [larder.put("/pins/registry.example/contended:1") for _ in range(300)]
        finally:
            is_over.set()
        other.result()
    assert {answer.status_code for answer in answers} <= {200, 201}
    assert {answer.json()["reference"] for answer in answers} == {"registry.example/contended:1"}
    assert larder.delete("/pins/registry.example/contended:1").status_code == 204


def test_a_pull_is_accepted_found_and_listed(larder, registry, built_images):
    images.push_to(registry, built_images["bare"], "api/bare:1")
    body = {"reference": f"{registry}/api/bare:1", "policy": "always"}
    answer = larder.post("/images:pull", json=body)
    assert answer.status_code == 202
    pull = answer.json()
    assert set(pull) == PULL_FIELDS
    assert answer.headers["Location"] == f"/pulls/{pull['id']}"
    deadline = time.monotonic() + 60
    while (found := larder.get(f"/pulls/{pull['id']}").json())["state"] != "done":
        assert time.monotonic() < deadline and found["state"] != "failed", found
        time.sleep(0.05)
    assert found["image"]["reference"] == body["reference"]
    assert found["policy"] == "always" and found["error"] is None
    assert larder.get("/pulls", params={"limit": 1}).json()["pulls"][0]["id"] == pull["id"]
    assert larder.delete(f"/images/{body['reference']}").status_code == 204


def test_many_who_wait_for_one_pull_get_the_same_one(larder, registry, built_images):
    images.push_to(registry, built_images["layers25"], "api/many:1")
    body = {"reference": f"{registry}/api/many:1"}
    answers = []

    def pull():
        answers.append(larder.post("/images:pull", json=body, headers={"Prefer": "wait=60"}))

    threads = [threading.Thread(target=pull) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [answer.status_code for answer in answers] == [200] * 20
    assert all(answer.headers["Preference-Applied"] == "wait=60" for answer in answers)
    digests = {answer.json()["manifest_digest"] for answer in answers}
    assert len(digests) == 1
    assert larder.delete(f"/images/{body['reference']}").status_code == 204


def test_a_failed_pull_is_answered_with_its_own_problem(larder, registry):
    body = {"reference": f"{registry}/api/nothing:1"}
    answer = larder.post("/images:pull", json=body, headers={"Prefer": "wait=30"})
    problem = expect_problem(answer, 404, "ImageNotFound")
    assert problem["reference"] == body["reference"] and problem["registry_status"] == 404
    listed = larder.get(answer.headers["Location"]).json()
    assert listed["state"] == "failed" and listed["error"] == problem


def test_a_wait_that_is_too_short_is_answered_with_the_running_pull(larder):
    body = {"reference": "127.0.0.1:1/never/there:1"}
    started = time.monotonic()
    answer = larder.post("/images:pull", json=body, headers={"Prefer": "wait=1"})
    assert answer.status_code == 202, answer.text
    assert 0.9 < time.monotonic() - started < 20
    assert larder.delete(answer.headers["Location"]).status_code == 204


def events_of(larder, pull_id):
    """(event, data) of each, until the stream ends."""
    answer = larder.get(f"/pulls/{pull_id}/events", stream=True, timeout=60)
    assert answer.status_code == 200 and answer.headers["Content-Type"] == "text/event-stream"
    blocks = answer.content.decode().split("\n\n")
    assert blocks.pop() == "", "the last event is whole"
    events = []
    for block in blocks:
        if not block.startswith(":"):
            name, data = block.split("\n")
            assert name.startswith("event: ") and data.startswith("data: "), block
            events.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return events


def test_a_pull_is_followed_to_its_end(larder, registry, built_images):
    images.push_to(registry, built_images["layers25"], "api/followed:1")
    body = {"reference": f"{registry}/api/followed:1"}
    pull = larder.post("/images:pull", json=body).json()
    followed = []
    threads = [
        threading.Thread(target=lambda: followed.append(events_of(larder, pull["id"])))
        for _ in range(5)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(followed) == 5
    for events in followed:
        names = [name for name, _ in events]
        assert names[-1] == "done" and set(names[:-1]) <= {"progress"}, names
        assert all(set(data) == PULL_FIELDS for _, data in events)
        assert len({json.dumps(data) for _, data in events}) == len(events), "each is a change"
        assert events[-1][1]["image"]["reference"] == body["reference"]
    assert [name for name, _ in events_of(larder, pull["id"])] == ["done"]
    assert larder.delete(f"/images/{body['reference']}").status_code == 204


def test_who_follows_a_pull_sees_it_cancelled(larder):
    pull = larder.post("/images:pull", json={"reference": "127.0.0.1:1/never/there:2"}).json()
    followed = []
    thread = threading.Thread(target=lambda: followed.append(events_of(larder, pull["id"])))
    thread.start()
    time.sleep(0.3)
    assert larder.delete(f"/pulls/{pull['id']}").status_code == 204
    thread.join()
    assert followed[0][-1][0] == "cancelled"


def test_delete_takes_the_files_away_that_no_other_image_shares(larder, cached):
    def files_of(reference):
        files = larder.get(f"/images/{reference}/inspect").json()["files"]
        every = [files["fsmeta"], files["vmdk"], *files["layers"]]
        return {file["path"]: file["url"] for file in every}

    shared = files_of(cached[0]).keys() | files_of(cached[1]).keys()
    files = files_of(cached[2])
    assert files.keys() & shared and files.keys() - shared, "the images share some layers only"
    assert larder.delete(f"/images/{cached[2]}").status_code == 204
    expect_problem(larder.get(f"/images/{cached[2]}"), 404, "ImageNotFound")
    for path, url in files.items():
        assert (larder.blob_dir / path).exists() == (path in shared), path
        assert larder.get(url).status_code == (200 if path in shared else 404), url
