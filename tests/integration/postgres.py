"""A real PostgreSQL for the tests: its own cluster, on a unix socket and a loopback port."""

import os
import pwd
import shutil
import signal
import subprocess
from pathlib import Path

from daemons import Daemon, free_port, processes_below, wait_until

SUPERUSER = "postgres"
# No fsync: these clusters need not survive a power cut, only kill -9.
SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "on",
    "max_connections": "100",
    "shared_buffers": "32MB",
    "listen_addresses": "127.0.0.1",
    "log_min_messages": "warning",
}
READY = "database system is ready to accept connections"


def binary(name):
    """The newest installed server's program; Debian keeps them out of PATH."""
    versions = Path("/usr/lib/postgresql").glob("*/bin")
    for directory in sorted(versions, key=lambda path: float(path.parent.name), reverse=True):
        if (directory / name).exists():
            return str(directory / name)
    path = shutil.which(name)
    assert path, f"PostgreSQL's {name} is missing: script/bootstrap test installs it"
    return path


def _run_as():
    """PostgreSQL refuses to run as root: what Popen needs to run it as someone else."""
    if os.geteuid() != 0:
        return {}
    user = pwd.getpwnam("postgres")
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


class Postgres:
    """A cluster below `directory`, whose parents everybody may pass (mode 0711); `settings` are
    those of postgresql.conf that shall differ from SETTINGS."""

    def __init__(self, directory, **settings):
        self.settings = SETTINGS | settings
        self.directory = Path(directory)
        self.data = self.directory / "data"
        self.port = free_port()
        self.daemon = Daemon("postgres", self.directory / "postgres")
        self.directory.mkdir(mode=0o711, exist_ok=True)
        self._run_as = _run_as()
        if self._run_as:
            os.chown(self.directory, self._run_as["user"], self._run_as["group"])
        self._init()

    def _init(self):
        command = [binary("initdb"), "--pgdata", self.data, "--username", SUPERUSER]
        command += ["--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C"]
        done = subprocess.run(
            command, capture_output=True, text=True, cwd="/", timeout=300, **self._run_as
        )
        assert done.returncode == 0, f"initdb failed:\n{done.stdout}{done.stderr}"

    def start(self):
        settings = self.settings | {"port": self.port, "unix_socket_directories": self.directory}
        command = [binary("postgres"), "-D", self.data]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        self.daemon.launch(command, cwd="/", **self._run_as)
        self.daemon.wait_ready(self._answers, "answers")
        return self

    def _answers(self):
        command = [binary("pg_isready"), "-q", "-t", "2", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(command, timeout=30).returncode == 0

    def stop(self):
        """Fast shutdown: connections are closed."""
        code = self.daemon.end(signal.SIGINT)
        assert code == 0, f"postgres ended with {code}\n{self.daemon.output()}"

    def kill9(self):
        """As a crash: the postmaster dies, and its children with it."""
        self.daemon.kill()
        wait_until(lambda: not self._answers(), "postgres is gone")
        # Its backends work in the data directory, and keep the next one from starting.
        wait_until(lambda: not processes_below(self.data), "its children are gone, too")

    def crash(self, backend):
        """Kills that one, for which the postmaster ends all others and recovers."""
        log = Path(self.daemon.stderr_path)
        before = log.read_text().count(READY)
        os.kill(backend, signal.SIGKILL)
        wait_until(lambda: log.read_text().count(READY) > before, "PostgreSQL is back")

    def restart(self):
        self.stop()
        return self.start()

    def close(self):
        try:
            if self.daemon.process is not None:
                self.stop()
        finally:
            shutil.rmtree(self.directory, ignore_errors=True)

    def uri(self, database):
        return f"postgresql://{SUPERUSER}@127.0.0.1:{self.port}/{database}"

    def create_database(self, name):
        """A new empty database; its libpq URI."""
        self.sql("postgres", f'CREATE DATABASE "{name}" TEMPLATE template0')
        return self.uri(name)

    def drop_database(self, name):
        self.sql("postgres", f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def sql(self, database, statement):
        """Runs statements; rows as lists of strings, NULL as the empty string."""
        return sql(self.uri(database), statement)


class Standby(Postgres):
    """A copy of `primary`, which runs, that follows it by streaming replication."""

    def __init__(self, directory, primary, **settings):
        self.primary = primary
        settings = {"synchronous_standby_names": ""} | settings  # once promoted, it is alone
        super().__init__(directory, **primary.settings | settings)

    def _init(self):
        command = [binary("pg_basebackup"), "--pgdata", self.data, "--write-recovery-conf"]
        command += ["--dbname", self.primary.uri("postgres"), "--checkpoint=fast", "--no-sync"]
        done = subprocess.run(
            command, capture_output=True, text=True, cwd="/", timeout=300, **self._run_as
        )
        assert done.returncode == 0, f"pg_basebackup failed:\n{done.stdout}{done.stderr}"

    def promote(self):
        assert self.sql("postgres", "SELECT pg_promote()") == [["t"]]


def sql(conninfo, statement):
    """As Postgres.sql, on any conninfo or URI, or a SqlSession."""
    if hasattr(conninfo, "ask"):
        return conninfo.ask(statement)
    command = ["psql", "-X", "-q", "-A", "-t", "-F", "\x1f", "-v", "ON_ERROR_STOP=1"]
    command += ["-d", conninfo, "-c", statement]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"{statement}\n{done.stderr}"
    return [line.split("\x1f") for line in done.stdout.splitlines()]
