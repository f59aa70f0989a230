"""The test harness keeps its own promises."""

import os
import subprocess

import pytest
from daemons import Daemon, processes_below
from dockerregistry import DockerRegistry
from postgres import Postgres, sql


def test_every_module_has_an_empty_database(database):
    tables = sql(database, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
    assert tables == [["0"]]


def test_a_statement_that_fails_fails_the_test(database):
    with pytest.raises(AssertionError, match="nonsense"):
        sql(database, "SELECT nonsense")


def test_a_postgres_survives_its_own_crash(new_directory):
    server = Postgres(new_directory("crash")).start()
    try:
        server.sql("postgres", "CREATE TABLE kept (x int); INSERT INTO kept VALUES (1)")
        server.kill9()
        server.start()
        assert server.sql("postgres", "SELECT x FROM kept") == [["1"]]
    finally:
        server.close()
    assert not processes_below(server.directory)


def test_a_registry_keeps_its_images_over_a_restart(new_directory, built_images):
    import images

    server = DockerRegistry(new_directory("restart")).start()
    try:
        images.push_to(server.address, built_images["bare"], "kept:1")
        server.stop()
        server.start()
        command = ["skopeo", "inspect", "--tls-verify=false", f"docker://{server.address}/kept:1"]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
    finally:
        server.close()


def test_a_daemon_that_ends_at_its_start_shows_its_output(tmp_path):
    daemon = Daemon("short", tmp_path / "short")
    daemon.launch(["sh", "-c", "echo reason >&2; exit 3"])
    with pytest.raises(AssertionError, match="ended with 3.*(.|\n)*reason"):
        daemon.wait_ready(lambda: False, "is ready")


def test_a_daemon_whose_log_is_a_pipe_is_told_without_reading_that(tmp_path):
    daemon = Daemon("failing", tmp_path / "failing")
    os.mkfifo(daemon.stderr_path)
    held = os.open(daemon.stderr_path, os.O_RDWR)
    try:
        with pytest.raises(AssertionError, match="ended with 3"):
            daemon.launch(["sh", "-c", "echo oh no >&2; exit 3"])
            daemon.wait_ready(lambda: False, "is ready")
    finally:
        os.close(held)


def test_a_daemon_that_ignores_its_signal_is_killed(tmp_path):
    daemon = Daemon("stubborn", tmp_path / "stubborn")
    daemon.launch(["sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.1; done"])
    daemon.wait_ready(lambda: "up" in daemon.output(), "is up")
    with pytest.raises(AssertionError, match="did not end"):
        daemon.end(seconds=0.3)
