"""GET /nodes, and nodes that do not fit the catalogue's schema."""

import re
import socket
import subprocess
from pathlib import Path

import pytest
from daemons import wait_until
from larder import program
from postgres import sql


def nodes_of(node):
    answer = node.get("/nodes")
    assert answer.status_code == 200
    return answer.json()["nodes"]


@pytest.fixture
def own_database(postgres):
    yield postgres.create_database("nodes")
    postgres.drop_database("nodes")


def test_each_node_lists_all_that_live(make_larder, own_database, new_directory):
    shared = {"database": own_database, "blob_dir": new_directory("nodes")}
    first, second = make_larder(**shared), make_larder(**shared)
    urls = [first.url, second.url]
    assert [n["address"] for n in nodes_of(second)] == urls, "from the first moment"
    wait_until(lambda: all(n["load"] is not None for n in nodes_of(first)), "and what they do")
    for node in nodes_of(first):
        assert node["version"] == first.version and node["running_pulls"] == 0
        assert 0 <= node["heartbeat_age_ms"] < 10_000 and node["hostname"]
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections, and never answers
        held = f"127.0.0.1:{silent.getsockname()[1]}/held/image:1"
        assert first.post("/images:pull", json={"reference": held}).status_code == 202

        def pulls():
            return sorted(n["running_pulls"] for n in nodes_of(second))

        wait_until(lambda: pulls() == [0, 1], "one of them has a pull")
    first.stop()
    assert [n["address"] for n in nodes_of(second)] == [second.url], "one that left is gone at once"


def test_a_node_whose_heartbeat_stopped_is_not_listed(make_larder, own_database, new_directory):
    node = make_larder(database=own_database, blob_dir=new_directory("nodes"))
    sql(
        own_database,
        "INSERT INTO nodes (id, hostname, version, heartbeat_at)"
        " VALUES (gen_random_uuid(), 'dead', '0', now() - interval '11 seconds')",
    )
    assert "dead" not in [n["hostname"] for n in nodes_of(node)]


def test_a_migration_takes_nothing_away_that_the_version_before_needs():
    """Nodes of that version work on while they are replaced; what goes says who cannot bear it. No
    statement names an index."""
    takes_away = re.compile(r"\b(DROP (?!INDEX)|RENAME|TRUNCATE|SET NOT NULL|ALTER COLUMN|ADD CONSTRAINT)\b", re.I)
    migrations = sorted((Path(__file__).resolve().parents[2] / "migrations").glob("*.sql"))
    added = "0011_nodes.sql"  # needs_version: no version before it was released
    for migration in migrations:
        text = re.sub(r"--.*", "", migration.read_text())
        if migration.name >= added and "needs_version =" not in text:
            assert not takes_away.search(text), migration.name
            for column in re.findall(r"ADD COLUMN [^,;]*NOT NULL[^,;]*", text):
                assert "DEFAULT" in column, f"{migration.name}: {column}"


def test_a_node_that_is_too_old_for_a_new_migration_says_so_and_stops(
    make_larder, own_database, new_directory
):
    node = make_larder(database=own_database, blob_dir=new_directory("nodes"))
    sql(own_database, "UPDATE catalogue SET needs_version = 9999")
    wait_until(lambda: node.daemon.process.poll() is not None, "it ends by itself")
    assert node.daemon.process.returncode == 1
    node.daemon.kill()
    assert '"event":"this node is too old"' in node.log() and "start a newer larder" in node.log()


def test_a_node_that_knows_less_than_the_catalogue_does_not_start(
    make_larder, own_database, new_directory
):
    blob_dir = new_directory("nodes")
    make_larder(database=own_database, blob_dir=blob_dir).stop()
    sql(own_database, "INSERT INTO schema_migrations VALUES (9999, '9999_future.sql')")
    words = [program(), "serve", "--database", own_database, "--blob-dir", blob_dir]
    done = subprocess.run(
        [*words, "--listen", "127.0.0.1:0"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    assert "schema version 9999" in done.stderr and "start a newer larder" in done.stderr
