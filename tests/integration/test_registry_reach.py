"""Where a pull may connect to: nothing leads it to loopback, link-local or private
addresses but the operator, by name. libcurl takes every name below .localhost for
loopback, which stands here for a name whose records lead inside."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from doorbell import Doorbell
from fault_registry import Fault, FaultRegistry
from pulling import refused
from registryprobe import Images, login_file, probe
from test_registry_tls import World, certificate  # noqa: F401 (a fixture)


@pytest.fixture(scope="session")
def images(tmp_path_factory):
    return Images(tmp_path_factory.mktemp("registry-layout"))


@pytest.fixture
def registry(images):
    with FaultRegistry(images.layout) as running:
        yield running


@pytest.fixture
def world(images, certificate):  # noqa: F811
    world = World(images, certificate)
    with world.registry, world.auth, world.cdn, world.tunnel:
        yield world


@pytest.mark.parametrize(
    "host",
    [
        "10.255.255.1:5000",
        "169.254.169.254",
        "192.168.255.1:443",
        "100.64.0.1",
        "0.0.0.0:5000",
        "[fd00::1]:5000",
        "[fe80::1]:5000",
        "[::ffff:10.0.0.1]:5000",
    ],
)
def test_a_registry_at_a_private_address_is_not_pulled_from(host):
    answer = probe("manifest", f"{host}/a/b:one", "--attempts", 2)
    assert answer.code == "RegistryNotAllowed", answer.text
    assert answer.seconds < 30, "it is refused at once"


@pytest.mark.parametrize("allow", [None, "*", "*.localhost:*"])
def test_a_name_that_means_loopback_is_not_connected_to(allow):
    options = ["--allow", allow] if allow else []
    with Doorbell() as door:
        answer = probe("manifest", f"registry.localhost:{door.port}/a/b:one", *options)
    assert answer.code == "RegistryNotAllowed" and door.rings == 0, answer.text
    assert "--allow-registry" in answer.message and "127.0.0.1" not in answer.message


@pytest.mark.parametrize("spelling", ["127.1", "2130706433.", "0x7f.1", "localhost."])
def test_other_spellings_of_loopback_are_no_way_in(spelling):
    with Doorbell() as door:
        answer = probe("manifest", f"{spelling}:{door.port}/a/b:one", "--attempts", 1)
    assert answer.code in ("RegistryNotAllowed", "InvalidReference", "PullFailed"), answer.text
    assert door.rings == 0, answer.text


def test_a_registry_that_is_named_may_be_anywhere(registry):
    named = f"registry.localhost:{registry.port}"
    for name in (named, "registry.localhost"):
        assert probe("pull", f"{named}/a/b:one", "--insecure", name).good
    with Doorbell() as door:
        named = f"registry.localhost:{door.port}"
        probe("manifest", f"{named}/a/b:one", "--allow", named, "--attempts", 1)
    assert door.rings == 1, "over TLS, which it does not speak"


def test_a_name_with_a_port_allows_no_other_port(registry):
    with Doorbell() as door:
        answer = probe(
            "manifest",
            f"registry.localhost:{door.port}/a/b:one",
            "--insecure",
            f"registry.localhost:{registry.port}",
        )
    assert answer.code == "RegistryNotAllowed" and door.rings == 0, answer.text


@pytest.fixture(scope="module")
def moved_name(certificate):  # noqa: F811
    """In a network of its own, where a public address and the name are ours to give."""
    own = ["unshare", "--net", "--mount", "--propagation", "private"]
    if subprocess.run([*own, "true"], capture_output=True).returncode != 0:
        pytest.skip("needs root: a network namespace")
    script = Path(__file__).with_name("moved_name.py")
    command = [*own, sys.executable, "-B", script, *certificate]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_name_that_moves_inside_is_not_followed(moved_name):
    before, after, rings = moved_name["moved"]
    assert before is None, f"at its public address it is pulled from: {before}"
    assert (after, rings) == ("RegistryNotAllowed", 0)


def test_a_name_that_moves_inside_once_it_was_looked_up_is_not_followed(moved_name):
    """What is judged is the address that is connected to, and not what another look-up said."""
    code, rings = moved_name["moves at once"]
    assert moved_name["names given"][0] == "9.9.9.9"
    assert rings == 0 and code in (None, "RegistryNotAllowed"), code


def test_of_a_names_addresses_the_one_inside_is_not_tried(moved_name):
    code, rings = moved_name["both"]
    assert rings == 0 and code in ("PullFailed", "RegistryNotAllowed"), code


@pytest.mark.parametrize("host", ["127.0.0.1", "inside.localhost", "10.255.255.1", "[::1]"])
def test_a_redirect_leads_no_public_registry_inside(world, host):
    with Doorbell() as door:
        target = f"https://{host}:{door.port}/elsewhere/"
        world.registry.fault("blobs", "*", Fault(redirect=target, always=True))
        answer = world.probe("pull", no_proxy="localhost")
    assert answer.code == "RegistryNotAllowed" and door.rings == 0, answer.text


def test_a_redirect_leads_a_registry_on_loopback_no_further_inside(registry):
    for host in ("10.255.255.1", "169.254.169.254", "inside.localhost"):
        fault = Fault(redirect=f"http://{host}:{registry.port}/elsewhere/", always=True)
        registry.fault("manifests", host[:9], fault)
        answer = probe("manifest", f"{registry.host}/a/b:{host[:9]}")
        assert answer.code == "RegistryNotAllowed", answer.text


@pytest.mark.parametrize("host", ["127.0.0.1", "inside.localhost", "169.254.169.254"])
def test_a_token_realm_leads_no_public_registry_inside(world, tmp_path, host):
    config = login_file(tmp_path, world.registry)
    with Doorbell() as door:
        world.registry.require_bearer(realm=f"https://{host}:{door.port}/token")
        answer = world.probe("pull", "--docker-config", config, no_proxy="localhost")
    assert answer.code == "RegistryNotAllowed" and door.rings == 0, answer.text


def test_a_kept_connection_is_no_way_around(registry, images):
    """The mirror is named, but not what it redirects to, and to that a connection is open."""
    here = f"localhost:{registry.port}"
    with FaultRegistry(images.layout) as mirror:
        mirror.fault("manifests", "*", Fault(status=404, always=True))
        mirror.fault("blobs", "*", Fault(redirect=f"http://{here}/elsewhere/", always=True))
        named = f"{here}=http://mirror.localhost:{mirror.port}"
        answer = probe("pull", f"{here}/a/b:one", "--mirror", named)
    assert answer.good and answer.layers == images.layers, "the registry itself has them"
    assert mirror.count("GET", "/blobs/") == 3 and not registry.seen("/elsewhere/")


def test_what_a_proxy_resolves_is_the_proxys_to_judge_but_addresses_are_not(world):
    world.reference = "10.255.255.1:5000/a/b:one"
    world.tunnel.names["10.255.255.1"] = world.registry.address
    answer = world.probe("pull")
    assert answer.code == "RegistryNotAllowed" and world.tunnel.asked == [], answer.text


def test_the_interface_answers_403_and_names_the_flag(larder):
    problem = refused(larder, "192.168.255.1:5000/a/b:one")
    assert (problem["status"], problem["code"]) == (403, "RegistryNotAllowed")
    assert "--allow-registry" in problem["detail"]
