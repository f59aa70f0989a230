"""Fixtures of all integration tests. Everything lives in temporary directories outside
the repository, and ends with the run, also on failure (tests/README.md)."""

import itertools
import re
import shutil
import tempfile
from pathlib import Path

import images
import pytest
from contract_seen import pytest_sessionfinish, pytest_testnodedown  # noqa: F401, hooks
from debianroot import debian_root
from dockerregistry import DockerRegistry
from larder import Larder
from postgres import Postgres


@pytest.fixture(scope="session")
def workspace():
    """A directory that every user may pass: PostgreSQL does not run as root."""
    directory = Path(tempfile.mkdtemp(prefix="larder-tests-"))
    directory.chmod(0o711)
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def new_directory(workspace):
    """Names a directory of the workspace that does not exist yet."""
    numbers = itertools.count(1)
    return lambda name: workspace / f"{next(numbers):03d}-{name}"


@pytest.fixture(scope="session")
def postgres(new_directory):
    """The run's PostgreSQL. A test that stops or breaks one makes its own Postgres."""
    server = Postgres(new_directory("postgres"))
    try:
        yield server.start()
    finally:
        server.close()


@pytest.fixture(scope="module")
def database(postgres, request):
    """The libpq URI of an empty database of this module's own."""
    name = re.sub(r"\W", "_", request.module.__name__)[-60:]
    uri = postgres.create_database(name)
    yield uri
    postgres.drop_database(name)


@pytest.fixture(scope="module")
def docker_registry(new_directory):
    server = DockerRegistry(new_directory("registry"))
    try:
        yield server.start()
    finally:
        server.close()


@pytest.fixture(scope="module")
def registry(docker_registry):
    """host:port of a docker-registry of this module's own."""
    return docker_registry.address


@pytest.fixture(scope="session")
def built_images(new_directory):
    """name -> images.Image: all images of the pull tests, in one layout."""
    return images.build(new_directory("images"))


@pytest.fixture(scope="session")
def debian_tree():
    return debian_root()


@pytest.fixture(scope="module")
def larder(new_directory):
    """A running node with a private PostgreSQL, shared by the module's tests."""
    with Larder(new_directory("larder")) as node:
        yield node


@pytest.fixture
def make_larder(new_directory):
    """make_larder(**as Larder) -> a started node, which ends with the test."""
    nodes = []

    def make(**options):
        node = Larder(options.pop("data_dir", None) or new_directory("larder"), **options)
        nodes.append(node)
        return node.start()

    yield make
    problems = []
    for node in nodes:
        try:
            node.close()
        except AssertionError as problem:
            problems.append(str(problem))
    assert not problems, "\n".join(problems)
