"""The servers of the fleet, each on a host of its own: two PostgreSQLs, three nodes, a registry."""

import os
import signal
import socket
from pathlib import Path

from daemons import wait_until
from dockerregistry import DockerRegistry
from larder import Larder
from postgres import SUPERUSER, Postgres, Standby, binary, sql

NODES = 3
DATABASE = "fleet"
TCP_ESTABLISHED = "01"  # in /proc/net/tcp
BACKENDS = """
    SELECT host(client_addr) || ':' || client_port,
           EXISTS (SELECT FROM pg_locks l WHERE l.pid = a.pid AND granted
                      AND locktype IN ('advisory', 'transactionid'))
      FROM pg_stat_activity a WHERE application_name LIKE 'larder %'"""


class OnHost:
    """A PostgreSQL that listens on its host's address."""

    def start(self):
        with open(self.data / "pg_hba.conf", "a", encoding="ascii") as rules:
            rules.write("host all all 0.0.0.0/0 trust\nhost replication all 0.0.0.0/0 trust\n")
        settings = self.settings | {
            "port": self.port,
            "listen_addresses": "*",
            "unix_socket_directories": self.directory,
            "wal_sender_timeout": "3s",
            "wal_receiver_timeout": "3s",
        }
        command = [*self.host.enter()]
        if self._run_as:
            command += ["setpriv", f"--reuid={self._run_as['user']}", "--pdeathsig=KILL"]
            command += [f"--regid={self._run_as['group']}", "--clear-groups"]
        command += [binary("postgres"), "-D", self.data]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        self.daemon.launch(command, cwd="/")
        self.daemon.wait_ready(self._answers, "answers")
        return self

    def _answers(self):
        try:
            return self.sql("postgres", "SELECT 1") == [["1"]]
        except AssertionError:
            return False

    def uri(self, database):
        return f"postgresql://{SUPERUSER}@{self.host.address}:{self.port}/{database}?connect_timeout=3"

    def make_commits_wait(self):
        """From here on none is acknowledged that no standby has."""
        self.sql("postgres", "ALTER SYSTEM SET synchronous_standby_names = '*'")
        self.sql("postgres", "SELECT pg_reload_conf()")
        shown = "SHOW synchronous_standby_names"
        wait_until(lambda: self.sql("postgres", shown) == [["*"]], "the postmaster has told all")
        # It is the checkpointer that tells those who commit, between two checkpoints. One may have
        # begun before it was told.
        for _ in range(2):
            self.sql("postgres", "CHECKPOINT")


class HostPostgres(OnHost, Postgres):
    def __init__(self, directory, host):
        self.host = host
        super().__init__(directory)


class HostStandby(OnHost, Standby):
    def __init__(self, directory, host, primary):
        self.host = host
        super().__init__(directory, primary)
        self.settings = dict(primary.settings)


class HostRegistry(DockerRegistry):
    def __init__(self, directory, host):
        self.host = host
        super().__init__(directory)
        self.address = f"{host.address}:{self.port}"
        text = self._configuration.read_text().replace("127.0.0.1:", f"{host.address}:")
        self._configuration.write_text(text)

    def start(self):
        self.daemon.launch([*self.host.enter(), "docker-registry", "serve", self._configuration])
        self.daemon.wait_ready(self._listens, "listens")
        return self

    def _listens(self):
        try:
            socket.create_connection((self.host.address, self.port), timeout=1).close()
        except OSError:
            return False
        return True


class HostNode(Larder):
    def __init__(self, directory, host, registry, **shared):
        self.host = host
        flags = ["--insecure-registry", registry.address, "--no-auth"]
        flags += ["--listen", f"{host.address}:8420", "--sweep-seconds", "20"]
        super().__init__(directory, flags=flags, **shared)
        self.address = f"http://{host.address}:8420"

    def command(self):
        words = [*self.host.enter(), *super().command()]
        at = words.index("127.0.0.1:0")
        return words[: at - 1] + words[at + 1 :]

    def connections(self):
        """address:port of its end of each TCP connection that it has."""
        lines = Path(f"/proc/{self.pid}/net/tcp").read_text().splitlines()[1:]
        standing = [line.split()[1] for line in lines if line.split()[3] == TCP_ESTABLISHED]
        return {f"{self.host.address}:{int(end.split(':')[1], 16)}" for end in standing}


class Cluster:
    def __init__(self, network, new_directory):
        self.network, self.new_directory = network, new_directory
        self.database_hosts = [network.host("d1"), network.host("d2")]
        self.primary = HostPostgres(new_directory("postgres"), self.database_hosts[0])
        self.standby = None
        self.registry = HostRegistry(new_directory("registry"), network.host("r"))
        self.blob_dir = new_directory("blobs")
        self.nodes = []

    def start(self):
        self.primary.start()
        self.primary.create_database(DATABASE)
        self.join_standby()
        self.registry.start()
        hosts = ",".join(f"{host.address}:{self.port_of(host)}" for host in self.database_hosts)
        database = f"postgresql://{SUPERUSER}@{hosts}/{DATABASE}"
        for number in range(NODES):
            host = self.network.host(f"n{number}")
            node = HostNode(
                self.new_directory("node"), host, self.registry, database=database,
                blob_dir=self.blob_dir,
            )  # fmt: skip
            self.nodes.append(node.start())

    def port_of(self, host):
        servers = [self.primary, self.standby]
        return next(server.port for server in servers if server.host is host)

    def join_standby(self):
        """A standby of the primary on the other host; from then on no commit without it."""
        host = next(h for h in self.database_hosts if h is not self.primary.host)
        port = self.standby.port if self.standby else None
        self.standby = HostStandby(self.new_directory("postgres"), host, self.primary)
        self.standby.port = port or self.standby.port
        self.standby.start()
        state = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'"
        wait_until(lambda: self.primary.sql("postgres", state) == [["1"]], "the standby follows")
        self.primary.make_commits_wait()

    def promote(self):
        """The standby takes over, and waits for nobody: it was copied before its primary did. What
        was the primary is dead from now on, and forgotten."""
        self.primary, self.standby = self.standby, self.primary
        self.primary.promote()

    def orphans(self):
        """Connection -> whether it has a lock, of each backend whose node has that one no more."""
        backends = self.rows(BACKENDS)
        alive = set().union(*(node.connections() for node in self.nodes))
        return {end: locks == "t" for end, locks in backends if end not in alive}

    def database(self):
        return self.primary.uri(DATABASE)

    def close(self):
        for node in self.nodes:
            if node.running:
                os.kill(node.pid, signal.SIGCONT)
            node.daemon.kill()
        self.registry.close()
        for server in (self.primary, self.standby):
            if server:
                server.daemon.kill()

    def rows(self, statement):
        return sql(self.database(), statement)
