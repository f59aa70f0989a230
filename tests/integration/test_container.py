"""The image of docker/Dockerfile: built, started, checked, used."""

import os
from pathlib import Path
from types import SimpleNamespace

import container
import images
import pytest
import requests
import test_http_torture
from daemons import free_port, wait_until
from test_readme import run_walk_through

# The first of them waits for a debootstrap and for the image, which installs what it needs.
pytestmark = pytest.mark.timeout(2000)


def root_is_a_mount():
    """Not so in a plain chroot, where buildah cannot unpack: it mounts / anew."""
    lines = Path("/proc/self/mountinfo").read_text(errors="replace").splitlines()
    return any(line.split()[4] == "/" for line in lines)


@pytest.fixture(scope="module")
def image(new_directory):
    if not root_is_a_mount():
        pytest.skip("buildah wants a / that is a mount: `mount --bind` the chroot on itself")
    built = container.Image(new_directory("container"))
    try:
        yield built
    finally:
        built.close()


def make_volume(directory):
    """What `docker run -v` mounts: a directory of the image's user."""
    directory.mkdir()
    os.chown(directory, 842, 842)
    return directory


@pytest.fixture
def volume(new_directory):
    return make_volume(new_directory("volume"))


@pytest.fixture
def database(postgres):
    """Each test's own: a catalogue belongs to the blob directory of the first node."""
    yield postgres.create_database("container")
    postgres.drop_database("container")


def is_healthy(url):
    try:
        return requests.get(f"{url}/healthz", timeout=5).status_code == 200
    except requests.ConnectionError:
        return False


def root_is_read_only(pid):
    lines = Path(f"/proc/{pid}/mountinfo").read_text(errors="replace").splitlines()
    return [line.split()[5].split(",")[0] for line in lines if line.split()[4] == "/"][-1] == "ro"


def capabilities(pid):
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    sets = dict(line.split(":\t") for line in lines if line.startswith("Cap"))
    return {name: int(sets[name], 16) for name in ("CapPrm", "CapEff", "CapBnd", "CapAmb")}


def test_a_container_without_a_database_says_what_it_needs(image, volume, tmp_path):
    environment = ["LARDER_LISTEN=127.0.0.1:0"]
    daemon = image.start(volume, tmp_path / "log", environment=environment)
    wait_until(lambda: daemon.process.poll() is not None, "it ends")
    assert daemon.process.returncode == 1
    assert "--database" in daemon.output()


@pytest.mark.parametrize("read_only", [False, True], ids=["as it is", "read-only, no capability"])
def test_a_container_is_healthy_and_does_what_the_readme_says(
    image, volume, database, registry, built_images, tmp_path, read_only
):
    port = free_port()
    url, environment = f"http://127.0.0.1:{port}", [f"LARDER_LISTEN=127.0.0.1:{port}"]
    assert image.healthcheck(volume, environment) != 0, "nothing listens there yet"
    daemon = image.start(
        volume, tmp_path / "log", "--database", database,
        environment=environment, read_only=read_only,
    )  # fmt: skip
    try:
        wait_until(lambda: is_healthy(url), "the node answers")
        assert image.healthcheck(volume, environment) == 0
        node = container.only_node(database)
        assert root_is_read_only(node) == read_only
        if read_only:
            assert capabilities(node) == {"CapPrm": 0, "CapEff": 0, "CapBnd": 0, "CapAmb": 0}
        images.push_to(registry, built_images["busybox"], "library/busybox:1.36")
        run_walk_through(url, volume / "blobs", f"{registry}/library/busybox:1.36", tmp_path)
        container.stop(daemon, database)
    finally:
        daemon.kill()
    assert {path.stat().st_uid for path in volume.rglob("*")} == {842}, "nothing there is root's"


# --- HTTP, as the container's libmicrohttpd reads it: 1.0, of Debian 13 ---


@pytest.fixture(scope="module")
def node(image, postgres, new_directory, tmp_path_factory):
    database, port = postgres.create_database("container_http"), free_port()
    node = SimpleNamespace(url=f"http://127.0.0.1:{port}")
    daemon = image.start(
        make_volume(new_directory("http")), tmp_path_factory.mktemp("http") / "log",
        "--database", database, environment=[f"LARDER_LISTEN=127.0.0.1:{port}"],
    )  # fmt: skip
    try:
        wait_until(lambda: is_healthy(node.url), "the node answers")
        yield node
        assert is_healthy(node.url)
        container.stop(daemon, database)
    finally:
        daemon.kill()
        postgres.drop_database("container_http")


@pytest.mark.parametrize("name", test_http_torture.SMUGGLED)
def test_what_could_be_read_in_two_ways_is_refused_there_too(node, name):
    test_http_torture.expect_refused(node, name)


@pytest.mark.parametrize("name", test_http_torture.ENDS)
def test_what_is_cut_by_others_elsewhere_ends_the_connection_there_too(node, name):
    test_http_torture.expect_an_end(node, name)


@pytest.mark.parametrize("name", test_http_torture.GOES_ON)
def test_what_is_only_odd_or_wrong_is_answered_there_too(node, name):
    test_http_torture.expect_an_answer(node, name)


def test_the_image_holds_what_a_node_needs_and_no_more(image):
    assert image.config["User"] == "larder"
    look = "for one in larder gcc cmake initdb git; do command -v $one; done; :"
    found = image.buildah("run", image.container, "--", "sh", "-c", look).split()
    assert [Path(one).name for one in found] == ["larder"], f"left over from the build: {found}"
