"""The catalogue's primary dies, and a streaming standby takes its place; connections that break at
the worst moment; PgBouncer in between."""

import os
import pwd
import re
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import images
import ownnetwork
import pytest
from archives import docker_save
from cataloguerows import add_image, backends, prepare, use
from cutting_proxy import CuttingProxy
from daemons import Daemon, Stopped, free_port, processes_below, wait_until
from fixture import file
from larder import program
from postgres import SUPERUSER, Postgres, Standby, sql
from pulling import push_and_pull
from sqlsession import SqlSession
from tarbytes import Layer, tar_of

SANDBOX = {"host": "h1", "rootfs": {"type": "bind", "path": "/srv"}}


@pytest.fixture
def pair(new_directory):
    """A primary that waits for its streaming standby with each commit."""
    primary = Postgres(new_directory("primary"), synchronous_standby_names="*")
    standby = None
    try:
        primary.start()
        standby = Standby(new_directory("standby"), primary).start()
        wait_until(
            lambda: sql(primary.uri("postgres"), "SELECT sync_state FROM pg_stat_replication")
            == [["sync"]],
            "the standby follows",
        )
        yield primary, standby
    finally:
        if standby:
            standby.close()
        primary.close()


def test_a_cut_leaves_no_lock_with_a_connection_that_is_gone():
    """Longer than a node keeps a silent connection, so that it ends it and PostgreSQL is not told; in
    a network of its own, which is ours to cut."""
    seen = ownnetwork.run("cut_off.py")
    assert seen["held"] == seen["before"] >= 1
    assert seen["left"] == 0


def node_of(pair, make_larder, new_directory):
    """One that knows both servers."""
    pair[0].create_database("fleet")
    hosts = ",".join(f"127.0.0.1:{server.port}" for server in pair)
    return make_larder(
        database=f"postgresql://{SUPERUSER}@{hosts}/fleet", blob_dir=new_directory("failover")
    )


def test_what_was_answered_survives_the_promotion_of_the_standby(pair, make_larder, new_directory):
    primary, standby = pair
    node = node_of(pair, make_larder, new_directory)
    acknowledged, stop = [], threading.Event()

    def register():
        number = 0
        while not stop.is_set():
            number += 1
            if node.put(f"/sandboxes/vm-{number}", json=SANDBOX).status_code in (200, 201):
                acknowledged.append(f"vm-{number}")

    client = threading.Thread(target=register)
    client.start()
    try:
        wait_until(lambda: len(acknowledged) > 20, "changes are acknowledged")
        primary.kill9()
        before = len(acknowledged)
        standby.promote()
        wait_until(lambda: len(acknowledged) > before + 20, "writes are back on the new primary")
    finally:
        stop.set()
        client.join()
    kept = {row[0] for row in sql(standby.uri("fleet"), "SELECT id FROM sandboxes")}
    assert set(acknowledged) <= kept, f"lost: {sorted(set(acknowledged) - kept)}"
    # Its loops look for a server some times a second: writes may be back before them.
    wait_until(lambda: node.get("/readyz").status_code == 200, "it is ready")


def test_a_primary_that_became_read_only_is_left(pair, make_larder, new_directory):
    """As behind an address that moved: the connection stays, and cannot write any more."""
    primary, standby = pair
    node = node_of(pair, make_larder, new_directory)
    assert node.put("/sandboxes/a", json=SANDBOX).status_code == 201
    standby.promote()
    primary.sql("postgres", "ALTER SYSTEM SET default_transaction_read_only = on")
    primary.sql("postgres", "SELECT pg_reload_conf()")
    wait_until(
        lambda: node.put("/sandboxes/b", json=SANDBOX).status_code in (200, 201), "it writes again"
    )
    assert sql(standby.uri("fleet"), "SELECT id FROM sandboxes ORDER BY id") == [["a"], ["b"]]


def test_a_loop_that_is_still_at_the_server_before_is_not_believed(
    pair, make_larder, new_directory
):
    """Behind an address that moved while both live: the heartbeat is there, the loops are not."""
    primary, standby = pair
    database = primary.create_database("fleet")
    path = "/images/docker.io/test/moved:1"
    with CuttingProxy(primary.port) as proxy:
        node = make_larder(
            database=f"postgresql://{SUPERUSER}@127.0.0.1:{proxy.port}/fleet",
            blob_dir=new_directory("moved"),
        )
        prepare(database)
        add_image(database, "docker.io/test/moved:1", "moved")
        assert node.get(path).status_code == 200
        standby.promote()
        proxy.upstream = standby.port
        use(standby.uri("fleet"), "docker.io/test/moved:1", 5000)
        for pid in backends(database, "larder heartbeat"):
            sql(database, f"SELECT pg_terminate_backend({pid})")
        wait_until(lambda: backends(standby.uri("fleet"), "larder heartbeat"), "the poll moved")
        time.sleep(1)
        for _ in range(20):
            answer = wait_until(lambda: answer_of(node, path), "it is read")
            assert answer.json()["last_used_at"] == 5000


def answer_of(node, path):
    answer = node.get(path)
    return answer if answer.status_code == 200 and "Warning" not in answer.headers else None


def hanging(postgres):
    """While it lasts: its kernel still takes connections, and holds those that are there."""
    return Stopped([postgres.daemon.pid, *processes_below(postgres.data)])


def test_a_primary_that_hangs_is_left_with_all_its_connections(pair, make_larder, new_directory):
    primary, standby = pair
    node = node_of(pair, make_larder, new_directory)

    def register_many(_=None):
        with ThreadPoolExecutor(8) as clients:
            answers = clients.map(lambda n: node.put(f"/sandboxes/{n}", json=SANDBOX), range(40))
            return [answer.text for answer in answers]

    idle = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'larder starts'"
    wait_until(
        lambda: register_many() and int(primary.sql("postgres", idle)[0][0]) > 3,
        "the node has some connections that may hang",
    )
    with hanging(primary):
        standby.promote()
        gone = re.compile("did not answer in time|another one took its place")
        wait_until(
            lambda: gone.search(node.put("/sandboxes/first", json=SANDBOX).text), "one finds out"
        )
        assert not any(gone.search(text) for text in register_many()), "the others need not"
        wait_until(lambda: node.put("/sandboxes/last", json=SANDBOX).ok, "writes are back")


@pytest.fixture
def cut(postgres, database, make_larder, new_directory, registry, built_images):
    """A node behind a proxy that cuts, and an image in it."""
    with CuttingProxy(postgres.port) as proxy:
        through = database.replace(f":{postgres.port}/", f":{proxy.port}/")
        node = make_larder(database=through)
        reference = f"{registry}/failover/cut:1"
        push_and_pull(node, registry, built_images["busybox"], "failover/cut:1")
        yield proxy, node, reference


def test_a_commit_whose_answer_was_lost_is_found_done(cut):
    proxy, node, reference = cut
    proxy.cut_next = "after"
    assert node.delete(f"/images/{reference}").status_code == 204
    assert proxy.cuts == 1
    assert node.get(f"/images/{reference}").status_code == 404


def test_a_commit_that_never_arrived_is_told_and_changes_nothing(cut):
    proxy, node, reference = cut
    proxy.cut_next = "before"
    answer = node.delete(f"/images/{reference}")
    assert answer.status_code == 503 and "nothing was done" in answer.json()["detail"]
    assert answer.headers["Retry-After"] and proxy.cuts == 1
    assert node.get(f"/images/{reference}").status_code == 200
    assert node.delete(f"/images/{reference}").status_code == 204


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_start_whose_answer_was_lost_may_be_asked_for_again(cut, database, when):
    """One statement: nobody asks whether it was done, for to do it again does no harm."""
    proxy, node, _ = cut
    id, warm = f"cut-{when}", f"warm-{when}"
    assert node.put(f"/sandboxes/{warm}", json=SANDBOX).status_code == 201
    proxy.at, proxy.cut_next = b"sandboxes_register\0", when
    answer = node.put(f"/sandboxes/{id}", json=SANDBOX)
    assert proxy.cuts == 1 and answer.status_code == 503 and answer.headers["Retry-After"]
    done = sql(database, f"SELECT count(*) FROM sandboxes WHERE id = '{id}'")
    assert done == [["0" if when == "before" else "1"]]
    again = node.put(f"/sandboxes/{id}", json=SANDBOX)
    assert again.status_code == (201 if when == "before" else 200)
    assert sql(database, f"SELECT count(*) FROM sandboxes WHERE id = '{id}'") == [["1"]]


class QueuesAtAClaim(CuttingProxy):
    """Cuts the answer to the first claim that there is something for: the pull of `reference`, which
    is queued at that moment."""

    def __init__(self, port, database):
        super().__init__(port)
        self.at = b"\0pull_claim\0"
        self.database = database
        self.reference = self.id = None

    def see(self, data):
        if self.at in data and self.reference:
            reference, self.reference = self.reference, None
            [[self.id]] = sql(
                self.database,
                "INSERT INTO pulls (reference, platform, policy, force)"
                f" VALUES ('{reference}', 'linux/amd64', 'if_missing', false) RETURNING id",
            )
            self.cut_next = "after"


def test_a_claim_whose_answer_was_lost_is_given_back(
    postgres, database, make_larder, registry, built_images
):
    """Its row names a node that lives, and does not know that it has it."""
    images.push_to(registry, built_images["busybox"], "failover/claimed:1")
    with QueuesAtAClaim(postgres.port, database) as proxy:
        through = database.replace(f":{postgres.port}/", f":{proxy.port}/")
        node = make_larder(database=through, flags=["--pull-jobs", "1"])
        proxy.reference = f"{registry}/failover/claimed:1"
        wait_until(lambda: proxy.cuts == 1, "a claim is cut")
        path = f"/pulls/{proxy.id}"
        pull = wait_until(lambda: finished(node, path), "the pull ends", 30)
    assert pull["state"] == "done"
    attempts = sql(database, f"SELECT attempts FROM pulls WHERE id = '{proxy.id}'")
    assert attempts == [["1"]], "the one that nobody knew of does not count"


def test_a_load_whose_row_was_made_without_an_answer_fails(cut, built_images):
    """Who sent it is told; who watches its row is told, too."""
    proxy, node, _ = cut
    proxy.at, proxy.cut_next = b"\0load_begin\0", "after"
    body = docker_save([(["q.io/failover/load:1"], [tar_of(Layer((file(b"a", b"b"),)))])]).data()
    answer = node.post("/images:load", data=body)
    assert answer.status_code == 503 and proxy.cuts == 1
    loads = [pull for pull in node.get("/pulls").json()["pulls"] if pull["policy"] == "load"]
    pull = wait_until(lambda: finished(node, f"/pulls/{loads[0]['id']}"), "the load ends", 30)
    assert pull["state"] == "failed" and "send it again" in pull["error"]["detail"]


def finished(node, path):
    pull = node.get(path).json()
    return pull if pull["finished_at"] else None


class PgBouncer:
    def __init__(self, directory, postgres, pool_mode):
        self.port = free_port()
        self.daemon = Daemon("pgbouncer", directory / "pgbouncer")
        directory.mkdir(mode=0o755)
        self.configuration = directory / "pgbouncer.ini"
        (directory / "users").write_text(f'"{SUPERUSER}" ""\n')
        self.configuration.write_text(
            f"""[databases]
* = host=127.0.0.1 port={postgres.port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {self.port}
unix_socket_dir =
auth_type = trust
auth_file = {directory}/users
pool_mode = {pool_mode}
default_pool_size = 60
"""
        )

    def __enter__(self):
        command = ["/usr/sbin/pgbouncer", self.configuration]
        user = {"user": pwd.getpwnam("postgres").pw_uid} if os.geteuid() == 0 else {}
        self.daemon.launch(command, **user)
        address = ["-h", "127.0.0.1", "-p", str(self.port)]
        self.daemon.wait_ready(
            lambda: subprocess.run(["pg_isready", "-q", *address]).returncode == 0, "answers"
        )
        return self

    def __exit__(self, *_):
        self.daemon.kill()

    def uri(self, database, postgres):
        return database.replace(f":{postgres.port}/", f":{self.port}/")


def test_a_node_works_through_pgbouncer_in_session_mode(
    postgres, database, make_larder, new_directory, registry, built_images
):
    with PgBouncer(new_directory("pgbouncer"), postgres, "session") as bouncer:
        node = make_larder(database=bouncer.uri(database, postgres))
        push_and_pull(node, registry, built_images["shared-two"], "failover/bouncer:1")
        reference = f"{registry}/failover/bouncer:1"
        assert node.put("/sandboxes/bounced", json=SANDBOX).status_code == 201
        assert node.delete("/sandboxes/bounced").status_code == 204
        assert node.delete(f"/images/{reference}").status_code == 204
        node.stop()


def test_pgbouncer_in_transaction_mode_is_refused_with_what_is_needed(
    postgres, database, new_directory
):
    with PgBouncer(new_directory("pgbouncer"), postgres, "transaction") as bouncer:
        words = ["serve", "--database", bouncer.uri(database, postgres), "--listen", "127.0.0.1:0"]
        words += ["--blob-dir", new_directory("bounced")]
        done = subprocess.run([program(), *words], capture_output=True, text=True, timeout=60)
        assert done.returncode == 1 and "pool_mode = session" in done.stderr, done.stderr


class Borrower(CuttingProxy):
    """Before PgBouncer. Another client has the connection that was used last from the moment that
    the one behind the proxy begins a transaction until it asks for the third backend, once."""

    def __init__(self, bouncer, database):
        super().__init__(bouncer.port)
        self.asked = 0
        self.other = SqlSession(database)

    def see(self, data):
        if b"BEGIN\0" in data and self.asked == 1:
            self.other.ask("BEGIN; SELECT 1")
        if b"pg_backend_pid" in data:
            self.asked += 1
            if self.asked == 3:
                self.other.ask("COMMIT")

    def __exit__(self, *what):
        super().__exit__(*what)
        self.other.close()


def test_pgbouncer_in_transaction_mode_is_refused_also_when_another_client_comes_between(
    postgres, database, new_directory
):
    with PgBouncer(new_directory("pgbouncer"), postgres, "transaction") as bouncer:
        with Borrower(bouncer, bouncer.uri(database, postgres)) as proxy:
            address = database.replace(f":{postgres.port}/", f":{proxy.port}/")
            words = [program(), "migrate", "--database", address]
            done = subprocess.run(words, capture_output=True, text=True, timeout=60)
            assert proxy.asked > 3, "it was let through once"
        assert done.returncode == 1 and "pool_mode = session" in done.stderr, done.stderr
