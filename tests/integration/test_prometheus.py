"""What an operator's Prometheus and Grafana make of a node: promtool finds nothing wrong with its
metrics, a real Prometheus scrapes them, each alert fires when it should, and every query of the
rules and of the dashboard names metrics that exist."""

import json
import re
import subprocess

import pytest
import requests
import yaml
from daemons import Daemon, free_port, wait_until
from larder import REPOSITORY

RULES = REPOSITORY / "docker/prometheus/larder.rules.yaml"
TESTS = REPOSITORY / "docker/prometheus/larder.rules.test.yaml"
CONFIG = REPOSITORY / "docker/prometheus/prometheus.yaml"
DASHBOARD = REPOSITORY / "docker/grafana/larder.json"


def promtool(*words, **options):
    command = ["promtool", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, **options)
    assert done.returncode == 0, f"{command}:\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def scraped(larder):
    """The text of a node that has had a request of each kind."""
    for path in ("/images", "/images/none", "/nowhere", "/readyz", "/openapi.yaml"):
        larder.get(path)
    wait_until(
        lambda: not re.search("^larder_inventory_timestamp_seconds 0", metrics(larder), re.M),
        "the catalogue is counted",
    )
    return metrics(larder)


def metrics(larder):
    return larder.get("/metrics").text


def test_sessions_are_those_of_the_pool_that_most_work_has(scraped):
    """Not of the small ones beside it, which are opened later. docs/operations.md reckons with it."""
    most = int(re.search(r"^larder_catalogue_sessions_max (\d+)$", scraped, re.M)[1])
    assert most >= 18
    in_use = int(re.search(r"^larder_catalogue_sessions_in_use (\d+)$", scraped, re.M)[1])
    assert in_use <= most


@pytest.fixture(scope="module")
def prometheus(larder, scraped, new_directory):
    """A Prometheus with docker/prometheus/'s own configuration, but for the address and the pace."""
    directory = new_directory("prometheus")
    directory.mkdir()
    config = yaml.safe_load(CONFIG.read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(RULES)]
    config["scrape_configs"][0]["static_configs"][0]["targets"] = [larder.url.split("//")[1]]
    (directory / "prometheus.yaml").write_text(yaml.safe_dump(config))
    url = f"127.0.0.1:{free_port()}"
    daemon = Daemon("prometheus", directory / "prometheus")
    command = ["prometheus", f"--config.file={directory / 'prometheus.yaml'}"]
    command += [f"--storage.tsdb.path={directory / 'data'}", f"--web.listen-address={url}"]
    daemon.launch(command, cwd=directory)
    daemon.wait_ready(lambda: answers(f"http://{url}/-/ready"), "is ready")
    yield lambda query: ask(f"http://{url}", query)
    daemon.end()


def answers(url):
    try:
        return requests.get(url, timeout=5).ok
    except requests.ConnectionError:
        return False


def ask(url, query):
    answer = requests.get(f"{url}/api/v1/query", params={"query": query}, timeout=10).json()
    assert answer["status"] == "success", answer
    return answer["data"]["result"]


def test_promtool_finds_nothing_wrong_with_the_metrics(scraped):
    assert promtool("check", "metrics", input=scraped) == ""


def test_the_rules_and_the_configuration_are_valid():
    assert "SUCCESS" in promtool("check", "rules", RULES)
    promtool("check", "config", CONFIG)


def test_each_alert_fires_when_it_should_and_not_before():
    promtool("test", "rules", TESTS)
    tested = set(re.findall(r"alertname: (\w+)", TESTS.read_text()))
    assert tested == set(re.findall(r"alert: (\w+)", RULES.read_text()))


def test_a_prometheus_scrapes_a_node_and_evaluates_the_rules(prometheus):
    wait_until(lambda: prometheus('up{job="larder"} == 1'), "the node is scraped")
    assert prometheus("larder_nodes")[0]["value"][1] == "1"
    assert prometheus('larder_http_requests_total{route="/images",code="200"}')
    wait_until(lambda: prometheus("larder:http_requests:rate5m"), "the rules are evaluated")
    assert prometheus('ALERTS{alertstate="firing"}') == []


def names_of(text):
    """The metrics that a query names, without what a histogram adds."""
    names = re.findall(r"\b(?:larder|process)_[a-z_]+", text)
    return {re.sub("_(bucket|sum|count)$", "", name) for name in names}


def queries():
    dashboard = json.loads(DASHBOARD.read_text())
    targets = [target for panel in dashboard["panels"] for target in panel.get("targets", [])]
    variables = [v["query"]["query"] for v in dashboard["templating"]["list"][1:]]
    rules = [r["expr"] for g in yaml.safe_load(RULES.read_text())["groups"] for r in g["rules"]]
    return [target["expr"] for target in targets] + variables + rules


def test_the_rules_and_the_dashboard_name_only_metrics_that_exist(scraped):
    families = set(re.findall(r"^# TYPE (\S+)", scraped, flags=re.MULTILINE))
    named = set().union(*(names_of(query) for query in queries()))
    assert len(named) > 30
    assert named - families == set()


def test_the_queries_of_the_dashboard_are_understood(prometheus):
    for query in queries():
        if not query.startswith("label_values"):
            filled = query.replace("$instance", ".*").replace("$__rate_interval", "1m")
            prometheus(filled)


def test_the_panels_of_the_dashboard_do_not_overlap():
    panels = json.loads(DASHBOARD.read_text())["panels"]
    taken = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24, panel["title"]
        taken |= cells
    assert len({panel["id"] for panel in panels}) == len(panels)
