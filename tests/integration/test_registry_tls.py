"""The registry client and registries with TLS, by name, through a proxy."""

import ssl
import subprocess

import pytest
from fault_registry import Fault, FaultRegistry
from registryprobe import Images, login_file, probe
from tunnel import Tunnel

NAMES = ("registry.example.test", "auth.example.test", "cdn.other.test")


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    """(certificate and authority in one, key) for all NAMES."""
    directory = tmp_path_factory.mktemp("certificate")
    alternatives = ",".join(f"DNS:{name}" for name in NAMES)
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-days", "2", "-subj", "/CN=larder tests", "-keyout", "key.pem"]
    command += ["-out", "certificate.pem", "-addext", f"subjectAltName={alternatives}"]
    subprocess.run(command, cwd=directory, check=True, capture_output=True)
    return directory / "certificate.pem", directory / "key.pem"


class World:
    """Three hosts with TLS and the way to them."""

    def __init__(self, images, certificate):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        self.images = images
        self.certificate = certificate[0]
        self.servers = [FaultRegistry(images.layout, tls=context, name=name) for name in NAMES]
        self.registry, self.auth, self.cdn = self.servers
        self.tunnel = Tunnel({server.host: server.address for server in self.servers})
        self.reference = f"{self.registry.host}/a/b:one"

    def probe(self, command, *options, trusted=True, no_proxy=""):
        environment = {"https_proxy": self.tunnel.url, "no_proxy": no_proxy}
        if trusted:
            environment["SSL_CERT_FILE"] = str(self.certificate)
        return probe(command, self.reference, *options, environment=environment)


@pytest.fixture(scope="session")
def images(tmp_path_factory):
    return Images(tmp_path_factory.mktemp("registry-layout"))


@pytest.fixture
def world(images, certificate):
    world = World(images, certificate)
    with world.registry, world.auth, world.cdn, world.tunnel:
        yield world


def test_a_registry_with_a_trusted_certificate_is_pulled_from(world):
    answer = world.probe("pull")
    assert answer.good and answer.layers == world.images.layers, answer.text
    assert world.registry.host in world.tunnel.asked


def test_a_certificate_of_ones_own_authority_is_trusted_when_named(world):
    answer = world.probe("pull", "--ca", world.certificate, trusted=False)
    assert answer.good and answer.layers == world.images.layers, answer.text


def test_a_certificate_that_nobody_vouches_for_is_refused_at_once(world):
    answer = world.probe("pull", trusted=False)
    assert answer.code == "PullFailed" and "certificate" in answer.message, answer.text
    assert world.registry.requests == [] and len(world.tunnel.asked) == 1


def test_a_certificate_for_another_name_is_refused(world):
    world.tunnel.names["stranger.example.test"] = world.registry.address
    world.reference = "stranger.example.test/a/b:one"
    answer = world.probe("pull")
    assert answer.code == "PullFailed" and world.registry.requests == []


def test_a_realm_of_the_same_domain_gets_the_login(world, tmp_path):
    world.auth.require_bearer(user="user", password="s3cret")
    world.registry.require_bearer(realm=f"{world.auth.url}/token")
    world.registry.bearer.accepts = world.auth.bearer.accepts
    config = login_file(tmp_path, world.registry)
    answer = world.probe("pull", "--docker-config", config)
    assert answer.good, answer.text


def test_a_realm_of_another_domain_is_asked_anonymously(world, tmp_path):
    world.cdn.require_bearer()
    world.registry.require_bearer(realm=f"{world.cdn.url}/token")
    config = login_file(tmp_path, world.registry)
    world.probe("pull", "--docker-config", config)
    assert world.cdn.seen("/token")
    assert all("Authorization" not in request.headers for request in world.cdn.requests)


def test_a_realm_that_the_operator_named_gets_the_login(world, tmp_path):
    world.cdn.require_bearer(user="user", password="s3cret")
    world.registry.require_bearer(realm=f"{world.cdn.url}/token")
    world.registry.bearer.accepts = world.cdn.bearer.accepts
    config = login_file(tmp_path, world.registry)
    allow = ["--allow", world.registry.host, "--allow"]
    answer = world.probe("pull", "--docker-config", config, *allow, "cdn.*")
    assert answer.code == "RegistryUnauthorized", answer.text
    answer = world.probe("pull", "--docker-config", config, *allow, world.cdn.host)
    assert answer.good, answer.text


def test_a_realm_in_plain_http_is_never_asked(world, tmp_path):
    config = login_file(tmp_path, world.registry)
    with FaultRegistry(world.images.layout) as plain:
        plain.require_bearer()
        world.registry.require_bearer(realm=f"{plain.url}/token")
        answer = world.probe("pull", "--docker-config", config)
        assert answer.code == "RegistryUnauthorized" and "plain http" in answer.message
        assert plain.requests == []


def test_a_redirect_to_plain_http_is_never_followed(world):
    with FaultRegistry(world.images.layout) as plain:
        fault = Fault(redirect=f"{plain.url}/elsewhere/", always=True)
        world.registry.fault("blobs", "*", fault)
        answer = world.probe("pull")
        assert answer.code == "PullFailed" and "plain http" in answer.message, answer.text
        assert plain.requests == []


def test_a_redirect_to_another_host_with_tls_carries_no_token(world):
    world.registry.require_bearer()
    world.registry.fault("blobs", "*", Fault(redirect=f"{world.cdn.url}/elsewhere/", always=True))
    answer = world.probe("pull")
    assert answer.good, answer.text
    assert len(world.cdn.requests) == 3, "the config and both layers"
    assert all("Authorization" not in request.headers for request in world.cdn.requests)


def test_an_insecure_registry_is_spoken_to_in_plain_http_only_when_named(world):
    world.reference = "plain.example.test/a/b:one"
    with FaultRegistry(world.images.layout) as plain:
        world.tunnel.names["plain.example.test"] = plain.address
        assert world.probe("pull", "--attempts", 1).code == "PullFailed"
        assert plain.requests == []
