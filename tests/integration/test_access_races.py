"""What lets callers in, and the node in at registries, changes while many threads use it."""

import contextlib
import http.client
import itertools
import json
import os
import shutil
import signal
import ssl
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
from certificates import Authority, Pair
from daemons import wait_until
from fault_registry import Fault, FaultRegistry
from images import Builder, file
from pulling import pull, refused
from registryprobe import login_file
from tokens import Tokens

RELOADS = 30
BROKEN_EVERY = 5  # reloads: all files are broken, and nothing changes
ROUND_SECONDS = 0.2
PAUSE_SECONDS = 0.01
ALWAYS, SOMETIMES, NEVER = "always", "sometimes", "never"
GOOD, UNKNOWN, FORBIDDEN = 200, 401, 403


@dataclass(frozen=True)
class Caller:
    """A thread that asks for the same again and again."""

    due: set  # the statuses that it gets: each of them, and no other
    token: str = None
    certificate: str = None
    method: str = "GET"
    requests: int = 1  # on a connection

    @property
    def path(self):
        return "/images" if self.method == "GET" else "/pins/a/b"


CALLERS = [
    Caller({GOOD}, token=ALWAYS),
    Caller({GOOD}, token=ALWAYS, requests=20),
    Caller({FORBIDDEN}, token=ALWAYS, method="DELETE", requests=20),
    Caller({GOOD, UNKNOWN}, token=SOMETIMES, requests=2),
    Caller({UNKNOWN}, token=NEVER, requests=2),
    Caller({UNKNOWN}, requests=20),
    Caller({GOOD}, certificate=ALWAYS),
    Caller({GOOD}, certificate=ALWAYS, requests=20),
    Caller({FORBIDDEN}, certificate=ALWAYS, method="DELETE", requests=20),
    Caller({GOOD, UNKNOWN}, certificate=SOMETIMES),
    Caller({GOOD, UNKNOWN}, certificate=SOMETIMES, requests=20),
    Caller({UNKNOWN}, certificate=NEVER, requests=20),
]


class Access:
    """The files that the node reads, in one of two states, and what callers show. What is there
    sometimes is there in state 1 alone; the node's own certificate is another in each."""

    def __init__(self, directory):
        self.authority = Authority(directory, "authority")
        self.servers = [self._server("first"), self._server("second")]
        self.clients = {name: Authority(directory, name) for name in (ALWAYS, SOMETIMES, NEVER)}
        self.pairs = {name: clients.issue(name) for name, clients in self.clients.items()}
        self.served = Pair(directory, "served")
        self.trusted = directory / "trusted.pem"
        self.tokens = Tokens(directory)
        self.write(0)

    def _server(self, name):
        return self.authority.issue(name, alternatives="IP:127.0.0.1", purpose="serverAuth")

    @property
    def flags(self):
        served = ["--tls-cert", str(self.served.cert), "--tls-key", str(self.served.key)]
        return [*served, "--tls-client-ca", str(self.trusted), *self.tokens.flags]

    def write(self, state):
        there = (ALWAYS, SOMETIMES) if state else (ALWAYS,)
        self.tokens.write(**dict.fromkeys(there, "reader"))
        with self.tokens.path.open("a") as lines:
            lines.writelines(f"{name} reader certificate\n" for name in self.clients)
        self.trusted.write_text("".join(self.clients[name].cert.read_text() for name in there))
        shutil.copy(self.servers[state].cert, self.served.cert)
        shutil.copy(self.servers[state].key, self.served.key)

    def write_broken(self, state):
        """A line of two words, the key of the other certificate, no certificate."""
        self.tokens.path.write_text(f"{ALWAYS} reader\n")
        self.trusted.write_text("")
        shutil.copy(self.servers[1 - state].key, self.served.key)

    def served_in(self, state):
        return ssl.PEM_cert_to_DER_cert(self.servers[state].cert.read_text())

    def context(self, certificate, version):
        context = ssl.create_default_context(cafile=str(self.authority.cert))
        context.minimum_version = context.maximum_version = version
        if certificate:
            context.load_cert_chain(*self.pairs[certificate].both)
        return context


@pytest.fixture(scope="module")
def access(tmp_path_factory):
    return Access(tmp_path_factory.mktemp("access"))


@pytest.fixture
def node(make_larder, access):
    return make_larder(flags=access.flags)


# Each connection comes from an address of its own: none sends so many wrong tokens that it is
# slowed down (429).
sources = (f"127.0.{high}.{low}" for high, low in itertools.product(range(1, 250), repeat=2))
sources_lock = threading.Lock()


@contextlib.contextmanager
def connected(node, context):
    with sources_lock:
        source = next(sources)
    address = node.url.removeprefix("https://")
    connection = http.client.HTTPSConnection(
        address, context=context, source_address=(source, 0), timeout=60
    )
    with contextlib.closing(connection):
        connection.connect()
        yield connection


def status_of(connection, access, caller):
    headers = access.tokens.of(caller.token) if caller.token else {}
    connection.request(caller.method, caller.path, headers=headers)
    answer = connection.getresponse()
    answer.read()
    return answer.status


def call(node, access, caller, end):
    """All statuses that it got until the end."""
    versions = ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2
    contexts = itertools.cycle([access.context(caller.certificate, one) for one in versions])
    seen = set()
    while not end.is_set():
        with connected(node, next(contexts)) as connection:
            for _ in range(caller.requests):
                seen.add(status_of(connection, access, caller))
                time.sleep(PAUSE_SECONDS)
    return seen


def reloads_told(node):
    lines = [json.loads(line) for line in node.log().splitlines() if 'reloaded"' in line]
    return [(line["event"], line["what"]) for line in lines]


def check_state(node, access, state):
    """What a new connection meets, once the log has told of the reload."""
    status = GOOD if state else UNKNOWN
    context = access.context(SOMETIMES, ssl.TLSVersion.TLSv1_3)
    with connected(node, context) as connection:
        assert connection.sock.getpeercert(binary_form=True) == access.served_in(state)
        assert status_of(connection, access, Caller({status}, certificate=SOMETIMES)) == status
        assert status_of(connection, access, Caller({status}, token=SOMETIMES)) == status


def reload_again_and_again(node, access):
    """What the log must have told in the end."""
    state, told = 0, []
    for number in range(1, RELOADS + 1):
        is_broken = number % BROKEN_EVERY == 0
        if is_broken:
            access.write_broken(state)
        else:
            state = 1 - state
            access.write(state)
        os.kill(node.pid, signal.SIGHUP)
        event = "not reloaded" if is_broken else "reloaded"
        told += [(event, "tokens"), (event, "certificates")]
        wait_until(lambda: len(reloads_told(node)) >= len(told), f"reload {number} is told of")
        check_state(node, access, state)
        time.sleep(ROUND_SECONDS)
    return told


def test_reloads_beside_handshakes_and_requests_let_in_who_may_and_nobody_else(node, access):
    """Each gets an answer that is due before the reload or after it; from the line in the log on,
    the one that is due after it."""
    end = threading.Event()
    with ThreadPoolExecutor(len(CALLERS)) as threads:
        calls = [threads.submit(call, node, access, caller, end) for caller in CALLERS]
        try:
            told = reload_again_and_again(node, access)
        finally:
            end.set()
        for caller, done in zip(CALLERS, calls):
            assert done.result() == caller.due, caller
    assert reloads_told(node) == told


# --- at registries ---

PULLERS = 8
PULLS = 4  # of each
PASSWORD = "s3cret-of-the-registry"


@pytest.fixture
def registry(tmp_path):
    """Its tokens are good for six requests: pulls go on with one another's until they run out. It
    refuses the tag `refused` with the password in its words."""
    builder = Builder(tmp_path / "layout")
    for name in ("one", "refused"):
        builder.add(name, [[file(b"file%d" % i)] for i in range(4)])
    with FaultRegistry(builder.layout) as running:
        running.require_bearer("user", PASSWORD, uses=6)
        running.fault("manifests", "refused", Fault(status=403, message=PASSWORD, always=True))
        yield running


def test_pulls_beside_each_other_log_in_and_tell_nobody_how(make_larder, registry, tmp_path):
    login = login_file(tmp_path, registry, password=PASSWORD)
    node = make_larder(flags=["--registry-auth", str(login), "--pull-jobs", str(PULLERS)])

    def pull_and_be_refused(number):
        for repository in (f"{registry.host}/shared", f"{registry.host}/of/{number}"):
            for _ in range(PULLS // 2):
                pull(node, f"{repository}:one", policy="always")
                yield refused(node, f"{repository}:refused")["detail"]

    with ThreadPoolExecutor(PULLERS) as threads:
        details = threads.map(lambda number: list(pull_and_be_refused(number)), range(PULLERS))
        details = list(itertools.chain(*details))
    assert all("status 403" in detail for detail in details), details
    for text in (*details, node.log(), node.get("/pulls").text):
        assert PASSWORD not in text
    assert registry.bearer.issued > PULLERS
