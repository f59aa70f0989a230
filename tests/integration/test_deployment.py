"""docker/'s compose and Kubernetes files, as far as they can be held against the program
without an engine: every setting is one, and the proxy passes on what nodes understand."""

import os
import re
import signal
import subprocess
from pathlib import Path
from urllib.parse import quote

import images
import pulling
import pytest
import requests
import yaml
from certificates import Authority
from daemons import Daemon, free_port, wait_until
from larder import program
from postgres import Postgres
from tokens import Tokens

DOCKER = Path(__file__).resolve().parents[2] / "docker"
FILES = ["Dockerfile", "compose.yaml", "kubernetes/larder.yaml"]


def settings():
    """Every environment twin that `serve` knows."""
    done = subprocess.run([program(), "serve", "--help"], capture_output=True, text=True)
    flags = re.findall(r"^  --([a-z-]+)", done.stdout, flags=re.MULTILINE)
    return {"LARDER_" + flag.replace("-", "_").upper() for flag in flags}


@pytest.mark.parametrize("name", FILES)
def test_every_setting_is_one_that_larder_knows(name):
    used = set(re.findall(r"\bLARDER_[A-Z_]+", (DOCKER / name).read_text()))
    assert used, f"{name} configures a node"
    assert used <= settings(), f"{name} sets what larder does not know: {used - settings()}"


def test_a_nodes_container_writes_only_its_volumes_and_has_no_privileges():
    with open(DOCKER / "compose.yaml", encoding="utf-8") as file:
        services = yaml.safe_load(file)["services"]
    for name in ("larder-1", "larder-2"):
        assert services[name]["read_only"] is True and services[name]["cap_drop"] == ["ALL"]
        assert services[name]["security_opt"] == ["no-new-privileges:true"]
    with open(DOCKER / "kubernetes/larder.yaml", encoding="utf-8") as file:
        (deployment,) = [e for e in yaml.safe_load_all(file) if e["kind"] == "Deployment"]
    pod = deployment["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["containers"][0]["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_compose_watches_the_nodes_that_it_starts():
    with open(DOCKER / "compose.yaml", encoding="utf-8") as file:
        services = yaml.safe_load(file)["services"]
    nodes = {name for name in services if name.startswith("larder-")}
    path = DOCKER / "prometheus/fleet.yaml"
    done = subprocess.run(["promtool", "check", "config", path], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    with open(path, encoding="utf-8") as file:
        targets = yaml.safe_load(file)["scrape_configs"][0]["static_configs"][0]["targets"]
    assert {target.removesuffix(":8420") for target in targets} == nodes
    mounts = [mount.split(":")[0] for service in services.values() for mount in
              service.get("volumes", []) if mount.startswith("./")]
    assert len(mounts) >= 4
    for mount in mounts:
        assert (DOCKER / mount).exists(), f"compose.yaml mounts {mount}"


def test_kubernetes_asks_a_node_what_it_answers(larder):
    with open(DOCKER / "kubernetes/larder.yaml", encoding="utf-8") as file:
        objects = {entry["kind"]: entry for entry in yaml.safe_load_all(file)}
    assert {"Deployment", "Service", "PodDisruptionBudget", "ServiceMonitor"} == set(objects)
    container = objects["Deployment"]["spec"]["template"]["spec"]["containers"][0]
    probes = ("startupProbe", "livenessProbe", "readinessProbe")
    paths = [container[probe]["httpGet"]["path"] for probe in probes]
    paths += [endpoint["path"] for endpoint in objects["ServiceMonitor"]["spec"]["endpoints"]]
    for path in paths:
        assert larder.get(path).status_code == 200, path


def test_nothing_ends_a_node_that_waits_for_a_migration():
    """For up to 10 minutes, after which it says itself what is in the way."""
    with open(DOCKER / "kubernetes/larder.yaml", encoding="utf-8") as file:
        pod = next(yaml.safe_load_all(file))["spec"]["template"]["spec"]
    probe = pod["containers"][0]["startupProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] > 600
    unit = (DOCKER.parent / "systemd/larder.service").read_text()
    assert int(re.search(r"^TimeoutStartSec=(\d+)min$", unit, re.MULTILINE)[1]) > 10
    dockerfile = (DOCKER / "Dockerfile").read_text()
    assert int(re.search(r"--start-period=(\d+)m ", dockerfile)[1]) > 10


def test_nodes_without_postgresql_stay_in_their_service_while_they_can_answer(
    make_larder, new_directory
):
    with open(DOCKER / "kubernetes/larder.yaml", encoding="utf-8") as file:
        pod = next(yaml.safe_load_all(file))["spec"]["template"]["spec"]
    path = pod["containers"][0]["readinessProbe"]["httpGet"]["path"]
    postgres = Postgres(new_directory("away")).start()
    try:
        flags = ["--max-stale-if-error", "5s"]
        node = make_larder(flags=flags, database=postgres.create_database("away"))
        assert node.get(path).status_code == 200
        postgres.stop()
        wait_until(lambda: node.get("/readyz").status_code == 503, "it says that PostgreSQL is away")
        answer = node.get(path)
        assert answer.status_code == 200, answer.text
        wait_until(lambda: node.get(path).status_code == 503, "memory is too old")
        check = node.get(path).json()["checks"]["catalogue"]
        assert "PostgreSQL was not heard of for 5 s" in check["detail"]
        postgres.start()
        wait_until(lambda: node.get(path).status_code == 200, "PostgreSQL is back")
    finally:
        postgres.close()


def mounted_secret(directory, pod, values):
    """The volume as the kubelet makes it: links to files of one mode."""
    source = next(v["secret"] for v in pod["volumes"] if "secret" in v)
    (directory / "..data").mkdir(parents=True)
    for name, text in values.items():
        (directory / "..data" / name).write_text(text)
        (directory / "..data" / name).chmod(source.get("defaultMode", 0o644))
        (directory / name).symlink_to(f"..data/{name}")


def test_a_node_takes_its_secret_as_kubernetes_mounts_it(make_larder, tmp_path):
    with open(DOCKER / "kubernetes/larder.yaml", encoding="utf-8") as file:
        pod = next(yaml.safe_load_all(file))["spec"]["template"]["spec"]
    pair = Authority(tmp_path, "authority").issue(
        "server", alternatives="IP:127.0.0.1", purpose="serverAuth"
    )
    values = {"tls.crt": pair.cert.read_text(), "tls.key": pair.key.read_text()}
    values |= {"tokens": Tokens(tmp_path, root="admin").path.read_text()}
    mounted_secret(tmp_path / "secret", pod, values)
    given = [entry for entry in pod["containers"][0]["env"] if "/etc/larder/" in entry.get("value", "")]
    assert len(given) == 3
    paths = {e["name"]: e["value"].replace("/etc/larder", f"{tmp_path}/secret") for e in given}
    node = make_larder(environment=paths)
    assert node.url.startswith("https://")


def proxy_configuration(directory, ports, listen):
    """docker/nginx/larder.conf for nodes and a proxy on loopback."""
    text = (DOCKER / "nginx/larder.conf").read_text()
    for number, port in enumerate(ports, start=1):
        assert f"server larder-{number}:8420" in text
        text = text.replace(f"server larder-{number}:8420", f"server 127.0.0.1:{port}")
    text = re.sub(r"\blisten 8420\b", f"listen 127.0.0.1:{listen}", text)
    assert "proxy_read_timeout 60s;" in text
    text = text.replace("proxy_read_timeout 60s;", "proxy_read_timeout 5s;")
    temporary = "".join(
        f"{kind}_temp_path {directory}/{kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    path = directory / "nginx.conf"
    # One process: a worker would outlive a master that is killed.
    path.write_text(
        f"pid {directory}/nginx.pid;\nerror_log stderr;\ndaemon off;\nmaster_process off;\n"
        "events {}\n"
        f"http {{\naccess_log off;\n{temporary}{text}\n}}\n"
    )
    return path


@pytest.fixture
def proxy(make_larder, postgres, new_directory, tmp_path):
    """(url of an nginx, the two nodes behind it)."""
    database = postgres.create_database(re.sub(r"\W", "_", tmp_path.name))
    blob_dir = new_directory("proxied-blobs")
    nodes = [make_larder(database=database, blob_dir=blob_dir) for _ in range(2)]
    port = free_port()
    ports = [int(node.url.rsplit(":", 1)[1]) for node in nodes]
    nginx = Daemon("nginx", tmp_path / "nginx")
    nginx.launch(["nginx", "-p", tmp_path, "-c", proxy_configuration(tmp_path, ports, port)])
    url = f"http://127.0.0.1:{port}"

    def answers():
        try:
            return requests.get(f"{url}/healthz", timeout=5).status_code == 200
        except requests.ConnectionError:
            return False

    try:
        nginx.wait_ready(answers, "answers")
        yield url, nodes
    finally:
        nginx.kill()


def test_nodes_behind_the_proxy_are_one(proxy, registry, built_images):
    url, nodes = proxy
    images.push_to(registry, built_images["busybox"], "proxied/inspect:1")
    reference = f"{registry}/proxied/inspect:1"
    pulling.pull(nodes[0], reference)
    for path in (quote(reference, safe=""), reference):
        for _ in range(4):  # whichever node it is
            answer = requests.get(f"{url}/images/{path}", timeout=30)
            assert answer.status_code == 200, answer.text
            assert answer.json()["reference"] == reference
    nodes[1].stop()
    for _ in range(6):
        assert requests.get(f"{url}/images/{reference}", timeout=30).status_code == 200


def test_the_proxy_answers_to_no_name_that_a_web_page_may_have(proxy):
    url, _ = proxy
    host = url.removeprefix("http://")
    for name, status in ((host, 200), (f"localhost:{host.split(':')[1]}", 200), ("evil.example", 421)):
        answer = requests.get(f"{url}/images", headers={"Host": name}, timeout=30)
        assert answer.status_code == status, name


def test_the_proxy_leaves_out_a_node_that_hangs(proxy):
    url, nodes = proxy
    os.kill(nodes[1].pid, signal.SIGSTOP)
    try:
        took = []
        for _ in range(6):
            answer = requests.get(f"{url}/version", timeout=30)
            assert answer.status_code == 200, answer.text
            took.append(answer.elapsed.total_seconds())
        # One had to wait for it, perhaps a second one when it was tried again.
        assert 1 <= sum(seconds > 4 for seconds in took) <= 2, took
    finally:
        os.kill(nodes[1].pid, signal.SIGCONT)


def test_what_may_take_long_is_waited_for():
    """Of all that the interface has: what waits for a pull, an archive, a prune, or streams."""
    text = (DOCKER / "nginx/larder.conf").read_text()
    patient = re.compile(re.search(r"location ~ (\S+) \{", text)[1])
    interface = yaml.safe_load((DOCKER.parent / "openapi/openapi.yaml").read_text())
    long = [path for path in interface["paths"] if patient.search(path.replace("{id}", "some-id"))]
    assert long == ["/images:prune", "/images:pull", "/images:load", "/pulls/{id}/events"]
