"""GET /metrics: what it says follows what happens, in a form that Prometheus takes."""

import re
import time

import images
import pytest
from cataloguerows import Psql
from daemons import wait_until
from larder import REPOSITORY
from postgres import sql

LINE = re.compile(r'^([a-z_]+)(?:\{(.*)\})? (-?[0-9.]+)$')
TEXT_FORMAT = "text/plain; version=0.0.4; charset=utf-8"
WAITERS = """
    SELECT 1 FROM pg_stat_activity
     WHERE datname = current_database() AND wait_event_type = 'Lock'"""


def read(larder):
    """{'name{labels}': value} of one scrape."""
    answer = larder.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == TEXT_FORMAT
    values = {}
    for line in answer.text.splitlines():
        if line.startswith("#"):
            continue
        assert LINE.match(line), f"a sample is name{{labels}} value: {line!r}"
        series, value = line.rsplit(" ", 1)
        assert series not in values, f"{series} comes twice"
        values[series] = float(value)
    return values


def grown(before, after, series):
    return after.get(series, 0) - before.get(series, 0)


@pytest.fixture(scope="module")
def image(larder, registry, built_images):
    reference = f"{registry}/metrics/busybox:1"
    images.push_to(registry, built_images["busybox"], "metrics/busybox:1")
    answer = larder.post(
        "/images:pull", json={"reference": reference}, headers={"Prefer": "wait=60"}
    )
    assert answer.json()["state"] == "done", answer.text
    return larder.get(f"/images/{reference}/inspect").json()


def test_requests_are_counted_by_template_and_status(larder):
    before = read(larder)
    for name in ("one", "two", "three"):
        assert larder.get(f"/images/{name}").status_code == 404
    assert larder.get("/nowhere/at/all").status_code == 404
    after = read(larder)
    route = 'method="GET",route="/images/{reference}"'
    assert grown(before, after, f'larder_http_requests_total{{{route},code="404"}}') == 3
    assert grown(before, after, f"larder_http_request_duration_seconds_count{{{route}}}") == 3
    none = 'larder_http_requests_total{method="none",route="none",code="404"}'
    assert grown(before, after, none) == 1
    assert grown(before, after, 'larder_http_problems_total{problem="ImageNotFound"}') == 3


def test_no_reference_ever_becomes_a_label(larder, image):
    assert read(larder), "there is something to look at"
    text = larder.get("/metrics").text
    assert image["handle"]["reference"] not in text
    assert "metrics/busybox" not in text


def test_a_pull_is_counted_in_all_its_stages(larder, image):
    values = read(larder)
    assert values['larder_pulls_ended_total{end="done"}'] == 1
    for stage in ("resolve", "fetch", "compose", "all"):
        assert values[f'larder_pull_stage_seconds_count{{stage="{stage}"}}'] == 1, stage
    received = sum(layer["compressed_size_bytes"] for layer in image["layers"])
    assert values["larder_pull_received_bytes_total"] == received
    written = sum(layer["erofs_size_bytes"] for layer in image["layers"])
    assert values['larder_published_bytes_total{kind="layer"}'] == written
    assert values['larder_registry_requests_total{outcome="ok"}'] >= 3


def test_what_the_catalogue_holds_is_counted_in_the_background(larder, image):
    rootfs = {"type": "oci", "reference": image["handle"]["reference"]}
    sandbox = {"host": "h", "ttl_seconds": 60, "rootfs": rootfs}
    assert larder.put("/sandboxes/counted", json=sandbox).status_code == 201
    assert larder.put("/pins/counted").status_code == 201

    def counted():
        values = read(larder)
        return values if values["larder_pins"] == 1 else None

    values = wait_until(counted, "the pin is counted")
    assert values["larder_images"] == 1
    assert values['larder_files{kind="layer"}'] == len(image["layers"])
    assert values['larder_file_size_bytes{kind="fsmeta"}'] == image["files"]["fsmeta"]["size_bytes"]
    assert values['larder_sandboxes{type="oci"}'] == 1
    assert values["larder_sandbox_leases"] == 1
    assert values["larder_nodes"] == 1
    assert values["larder_inventory_timestamp_seconds"] > values["process_start_time_seconds"] > 0


def test_one_count_that_took_long_does_not_put_off_the_next(make_larder, database):
    """Long ones are followed by 200 times their time without any."""
    node = make_larder(database=database)
    with Psql(database) as other:
        other.run("BEGIN")
        other.run("LOCK TABLE pins IN ACCESS EXCLUSIVE MODE")
        wait_until(lambda: sql(database, WAITERS), "a count waits")
        time.sleep(1)
        other.run("ROLLBACK")
    wait_until(lambda: not sql(database, WAITERS), "it is over")
    assert node.put("/pins/counted-soon").status_code == 201
    wait_until(lambda: read(node)["larder_pins"] == 1, "the pin is counted")


def test_every_family_says_what_it_is(larder):
    text = larder.get("/metrics").text
    heads = re.findall(r"^# (HELP|TYPE|UNIT) (\S+) (.+)$", text, flags=re.MULTILINE)
    named = {kind: {name for k, name, _ in heads if k == kind} for kind in ("HELP", "TYPE", "UNIT")}
    assert named["HELP"] == named["TYPE"]
    assert "larder_http_request_duration_seconds" in named["UNIT"]
    for line in text.splitlines():
        if not line.startswith("#"):
            name = re.sub(r"(_bucket|_sum|_count)?[{ ].*", "", line)
            assert name in named["TYPE"], line


def test_open_metrics_is_given_to_who_asks_for_it(larder):
    wanted = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"
    answer = larder.get("/metrics", headers={"Accept": wanted})
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    assert answer.text.endswith("# EOF\n")
    assert "# TYPE larder_http_requests counter" in answer.text
    assert "# EOF" not in larder.get("/metrics").text


def test_each_metric_of_the_table_is_bumped_somewhere():
    table = (REPOSITORY / "store/metrics_table.h").read_text()
    names = set(re.findall(r"^METRIC\((\w+),", table, flags=re.MULTILINE))
    assert len(names) > 30
    sources = [*REPOSITORY.glob("store/**/*.c"), *REPOSITORY.glob("server/*.c")]
    bumped = {name for path in sources for name in re.findall(r"METRIC_(\w+)", path.read_text())}
    assert not names - bumped, "a row without a bump says 0 for ever"
