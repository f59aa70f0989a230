"""The commands, and a node's life: start, sockets, a catalogue that goes away, the end."""

import contextlib
import http.client
import os
import resource
import signal
import socket
import subprocess
import threading
import time
from urllib.parse import quote

import pulling
import pytest
import rawhttp
from certificates import Authority
from daemons import Stopped, free_port, processes_below, wait_until
from larder import Larder, blob_dir_of, program
from postgres import Postgres
from problems import expect_problem
from tokens import Tokens


def run(*words, **environment):
    kept = {k: v for k, v in os.environ.items() if not k.startswith("LARDER_")}
    return subprocess.run(
        [program(), *words], capture_output=True, text=True, timeout=60, env=kept | environment
    )


def test_version_is_said_in_one_line():
    for words in (["version"], ["--version"]):
        done = run(*words)
        assert done.returncode == 0 and done.stdout.startswith("larder ") and not done.stderr


def test_help_lists_every_flag_with_its_twin():
    assert "serve" in run("--help").stdout
    said = run("serve", "--help").stdout
    for flag in ("listen", "data-dir", "blob-dir", "database", "insecure-registry", "platform",
                 "allow-registry", "registry-auth", "pull-jobs", "layer-jobs", "max-layer-bytes",
                 "max-image-layers", "convert-timeout", "sweep-seconds", "grace-seconds", "log-format",
                 "cache-bytes", "drain-delay", "max-connections", "max-staleness", "max-stale-if-error",
                 "no-auth", "tokens", "unix-user", "open-metrics", "no-tls",
                 "tls-cert", "tls-key", "tls-client-ca"):  # fmt: skip
        assert f"--{flag}" in said
        assert "LARDER_" + flag.upper().replace("-", "_") in said


@pytest.mark.parametrize(
    "words, named",
    [
        ([], "Usage"), (["frob"], "frob"), (["version", "x"], "x"), (["serve", "--frob"], "--frob"),
        (["serve", "--pull-jobs", "0"], "--pull-jobs"), (["serve", "extra"], "extra"),
        (["serve", "--max-layer-bytes", "20GB"], "20GiB"), (["serve", "--max-staleness", "1"], "500ms"),
        (["serve", "--max-staleness", "2h"], "--max-staleness"), (["migrate", "--listen", "x"], "--listen"),
        (["serve", "--platform", "a/b/c/d"], "--platform"),
    ],
)  # fmt: skip
def test_arguments_that_cannot_be_meant_end_with_2_and_a_sentence(words, named):
    done = run(*words)
    assert done.returncode == 2, done
    assert named in done.stderr and not done.stdout


def of_one_fleet(database, workspace):
    return ["--database", database, "--blob-dir", blob_dir_of(database, workspace)]


@pytest.mark.parametrize("address", ["localhost", ":80", "127.0.0.1:x", "127.0.0.1:65536", "::1:80",
                                     "unix:relative", "unix:/" + "x" * 200])  # fmt: skip
def test_an_address_that_cannot_be_meant_is_refused(database, workspace, address):
    words = ["serve", *of_one_fleet(database, workspace), "--listen", address]
    done = run(*words)
    assert done.returncode == 2 and address in done.stderr, done


@pytest.mark.parametrize("address", ["0.0.0.0:0", "[::]:0", "[::ffff:0.0.0.0]:0"])
@pytest.mark.parametrize(
    "flags, named",
    [([], ["--tokens", "--no-auth"]), (["--tokens"], ["--tls-cert", "--tls-key", "--no-tls"])],
    ids=["nobody-asks", "in-the-clear"],
)
def test_an_address_that_others_can_reach_needs_a_word(
    database, workspace, tmp_path, address, flags, named
):
    words = ["serve", *of_one_fleet(database, workspace), "--listen", address]
    if flags:
        words += Tokens(tmp_path, root="admin").flags
    done = run(*words)
    assert done.returncode == 2, done
    assert all(flag in done.stderr for flag in named), done.stderr


def test_a_certificate_or_another_address_are_no_such_word(
    database, workspace, tmp_path
):
    """TLS says who answers, not who may ask; and each address is judged by itself."""
    authority = Authority(tmp_path, "authority")
    pair = authority.issue("server", alternatives="IP:127.0.0.1", purpose="serverAuth")
    tls = ["--tls-cert", str(pair.cert), "--tls-key", str(pair.key)]
    for flags in (
        ["--listen", "0.0.0.0:0", *tls],
        ["--listen", "127.0.0.1:0", "--listen", "0.0.0.0:0"],
        ["--listen", f"unix:{tmp_path}/socket", "--listen", "[::]:0"],
    ):
        done = run("serve", *of_one_fleet(database, workspace), *flags)
        assert done.returncode == 2, done
        assert "--tokens" in done.stderr and "--no-auth" in done.stderr, done.stderr


def test_the_words_that_open_such_an_address_are_taken(make_larder, database, tmp_path):
    tokens = Tokens(tmp_path, root="admin")
    flags = ["--listen", "0.0.0.0:0"]
    make_larder(database=database, flags=[*flags, "--no-auth"])
    make_larder(database=database, flags=[*flags, *tokens.flags, "--no-tls"])


def test_tokens_for_everybody_are_a_contradiction(tmp_path):
    done = run("serve", "--data-dir", tmp_path, "--no-auth", *Tokens(tmp_path, root="admin").flags)
    assert done.returncode == 2 and "exclude each other" in done.stderr, done


def test_migrate_may_be_run_again(postgres):
    database = postgres.create_database("migrate_twice")
    try:
        for _ in range(2):
            done = run("migrate", "--database", database)
            assert done.returncode == 0, done
        assert postgres.sql("migrate_twice", "SELECT count(*) > 0 FROM schema_migrations") == [["t"]]
    finally:
        postgres.drop_database("migrate_twice")


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost")
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(str(self.path))


def ask_unix(path, target):
    connection = UnixConnection(path)
    connection.request("GET", target)
    answer = connection.getresponse().read()
    connection.close()
    return answer


def test_a_node_serves_all_its_addresses(make_larder, database, workspace, tmp_path):
    path = tmp_path / "larder.sock"
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(path))
    stale.close()  # a socket file that nobody serves any more
    flags = ["--listen", f"unix:{path}", "--listen", "[::1]:0"]
    node = make_larder(database=database, flags=flags)
    assert b'"version"' in ask_unix(path, "/version")
    said = node._said().split()
    assert said[0] == "larder" and said[2:4] == ["ready", "at"]
    assert [url.rsplit(":", 1)[0] for url in said[4:]] == ["http://127.0.0.1", "unix", "http://[::1]"]
    second = run("serve", *of_one_fleet(database, workspace), "--listen", f"unix:{path}")
    assert second.returncode == 1 and "in use" in second.stderr
    node.stop()
    assert not path.exists(), "the socket file goes with the node"


def test_notify_is_told_when_all_is_ready_and_when_it_ends(make_larder, database, tmp_path):
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(path)
        notify.settimeout(20)
        node = make_larder(database=database, environment={"NOTIFY_SOCKET": path})
        assert notify.recv(100) == b"READY=1"
        node.stop()
        assert notify.recv(100) == b"STOPPING=1"


def test_more_connections_than_a_process_usually_may_have_are_served(make_larder, database):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    idle = []
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))
        node = make_larder(database=database)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
        idle = [rawhttp.connect(node.url) for _ in range(1500)]
        assert node.get("/readyz").status_code == 200
        for connection in idle[::100]:
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert connection.recv(100).startswith(b"HTTP/1.1 200 ")
    finally:
        for connection in idle:
            connection.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    node.stop()


def listening_sockets(node):
    """A loop has one each."""
    port = f":{int(node.url.rpartition(':')[2]):04X}"
    lines = [line.split() for line in open("/proc/net/tcp", encoding="ascii")]
    return sum(line[1].endswith(port) and line[3] == "0A" for line in lines)


def test_a_node_has_as_many_loops_as_processors_it_may_use(make_larder, database):
    allowed = os.sched_getaffinity(0)
    assert listening_sockets(make_larder(database=database)) == len(allowed)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        assert listening_sockets(make_larder(database=database)) == 1
    finally:
        os.sched_setaffinity(0, allowed)


def test_many_at_once_are_all_answered_and_nothing_is_left_open(make_larder, database):
    node = make_larder(database=database)
    statuses = []

    def work(number):
        for path in ("/images", f"/sandboxes/{number}", "/readyz", "/version", "/pulls") * 8:
            statuses.append(node.get(path).status_code)

    node.get("/images")
    threads = [threading.Thread(target=work, args=(number,)) for number in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(statuses) == 30 * 40 and set(statuses) == {200, 404}
    wait_until(
        lambda: len(os.listdir(f"/proc/{node.pid}/fd")) < 70, "connections are closed again"
    )
    node.stop()


def test_a_catalogue_that_goes_away_is_told_and_comes_back(make_larder, new_directory):
    server = Postgres(new_directory("away")).start()
    try:
        node = make_larder(database=server.create_database("larder"))
        assert node.get("/readyz").json()["status"] == "ready"
        server.stop()
        for path in ("/images", "/images/a", "/pulls", "/sandboxes/x"):
            answer = node.get(path)
            problem = expect_problem(answer, 503, "CatalogueUnavailable")
            assert int(answer.headers["Retry-After"]) == problem["retry_after"] > 0
        ready = node.get("/readyz")
        assert ready.status_code == 503
        checks = ready.json()["checks"]
        assert checks["catalogue"]["status"] == "not_ready" and checks["catalogue"]["detail"]
        assert checks["blob_directory"] == {"status": "ready", "detail": None}
        assert node.get("/healthz").status_code == 200
        server.start()
        wait_until(lambda: node.get("/readyz").status_code == 200, "ready again")
        assert node.get("/images").status_code == 200
        node.stop()
    finally:
        server.close()


DATABASE_PASSWORD = "s3cr:t @/p'w\\%"
CONNINFOS = {
    "a URI": "postgresql://postgres:{encoded}@127.0.0.1:{port}/larder",
    "a URI's parameter": "postgresql://127.0.0.1:{port}/larder?user=postgres&password={encoded}",
    "keywords": "host=127.0.0.1 port={port} dbname=larder user=postgres password='{quoted}'",
    "keywords of two servers": "host=127.0.0.1,127.0.0.1 port={port},{port} dbname=larder"
    " user=postgres password='{quoted}'",
}


@pytest.mark.parametrize("form", CONNINFOS)
def test_the_databases_password_is_never_told(make_larder, new_directory, form):
    server = Postgres(new_directory("secret")).start()
    conninfo = CONNINFOS[form].format(
        port=server.port,
        encoded=quote(DATABASE_PASSWORD, safe=""),
        quoted=DATABASE_PASSWORD.replace("\\", "\\\\").replace("'", "\\'"),
    )
    try:
        blob_dir = blob_dir_of(server.create_database("larder"), new_directory("blobs"))
        node = make_larder(database=conninfo, blob_dir=blob_dir)
        assert node.get("/readyz").status_code == 200
        server.stop()
        wait_until(lambda: node.get("/readyz").status_code == 503, "it notices")
        said = [node.get(path).text for path in ("/readyz", "/images", "/images/a", "/pulls", "/nodes")]
        said.append(node.post("/images:pull", json={"reference": "127.0.0.1:1/a/b"}).text)
        assert all("CatalogueUnavailable" in text for text in said[1:]), said
        said += [node.get("/metrics").text, run("migrate", "--database", conninfo).stderr]
        wait_until(lambda: "connect to PostgreSQL" in node.log(), "it is logged")
        assert all(said)
        for text in (*said, node.log()):
            assert "s3cr" not in text
        server.start()
        node.stop()
    finally:
        server.close()


def test_a_catalogue_that_hangs_holds_up_nobody_for_long(make_larder, new_directory):
    server = Postgres(new_directory("hangs")).start()
    try:
        node = make_larder(database=server.create_database("larder"))
        assert node.get("/images").status_code == 200
        answers = []

        def ask():
            answers.append(node.get("/images/a"))

        with Stopped(processes_below(server.directory)):
            started = time.monotonic()
            threads = [threading.Thread(target=ask) for _ in range(300)]
            for thread in threads:
                thread.start()
            assert node.get("/healthz").status_code == 200
            for thread in threads:
                thread.join()
            assert time.monotonic() - started < 40
            assert {answer.status_code for answer in answers} == {503}
            assert all(int(answer.headers["Retry-After"]) > 0 for answer in answers)
        wait_until(lambda: node.get("/images").status_code == 200, "images are read again")
        node.stop()
    finally:
        server.close()


def test_who_waits_for_a_pull_is_answered_when_the_node_ends(make_larder, database):
    node = make_larder(database=database)
    answers = []

    def wait():
        body = {"reference": "127.0.0.1:1/never/there:1"}
        answers.append(node.post("/images:pull", json=body, headers={"Prefer": "wait=60"}))

    thread = threading.Thread(target=wait)
    thread.start()
    wait_until(lambda: node.get("/pulls").json()["pulls"], "the pull is queued")
    node.stop()
    thread.join()
    assert answers[0].status_code == 202, answers[0].text
    assert answers[0].headers["Connection"] == "close"


def test_who_follows_a_pull_is_let_go_when_the_node_ends(make_larder, database):
    node = make_larder(database=database)
    pull = node.post("/images:pull", json={"reference": "127.0.0.1:1/never/there:3"}).json()
    with rawhttp.connect(node.url) as connection:
        request = f"GET /pulls/{pull['id']}/events HTTP/1.1\r\nHost: x\r\n\r\n"
        connection.sendall(request.encode())
        data = connection.recv(1000)
        node.stop()
        data += rawhttp.read_all(connection)
    assert b"event: progress" in data and data.endswith(b"0\r\n\r\n"), data


def test_a_download_is_finished_when_the_node_ends(make_larder, registry, built_images):
    node = make_larder()
    detail = pulling.push_and_pull(node, registry, built_images["busybox"], "serve/download:1")
    file = detail["files"]["layers"][0]
    with rawhttp.connect(node.url) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(f"GET {file['url']} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        first = connection.recv(1000)
        node.daemon.process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        data = first + rawhttp.read_all(connection)
    node.daemon.process.wait(30)
    assert len(data.split(b"\r\n\r\n", 1)[1]) == file["size_bytes"]
    node.stop()


def test_idle_connections_do_not_hold_up_the_end(make_larder, database):
    node = make_larder(database=database)
    idle = [rawhttp.connect(node.url) for _ in range(20)]
    idle[0].sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    assert idle[0].recv(1000)
    idle[1].sendall(b"GET /hea")
    started = time.monotonic()
    node.stop()
    assert time.monotonic() - started < 20
    for connection in idle:
        connection.close()


def test_a_node_that_ends_says_so_before_it_takes_no_more_requests(make_larder, database):
    node = make_larder(database=database, flags=["--drain-delay", "60s"])
    assert node.get("/readyz").status_code == 200
    node.daemon.process.send_signal(signal.SIGTERM)
    wait_until(lambda: node.get("/readyz").status_code == 503, "it says that it is not ready")
    assert "ends" in node.get("/readyz").json()["checks"]["catalogue"]["detail"]
    for _ in range(5):
        with rawhttp.connect(node.url) as connection:  # new connections are taken as well
            connection.sendall(b"GET /images HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert rawhttp.read_all(connection).startswith(b"HTTP/1.1 200 ")
    node.stop()  # a second signal does not wait any longer


@pytest.mark.parametrize("signals", [("SIGTERM", "SIGHUP"), ("SIGHUP", "SIGTERM")])
def test_who_reloads_does_not_cut_the_end_short(make_larder, database, signals):
    node = make_larder(database=database, flags=["--drain-delay", "60s"])
    with Stopped([node.pid]):  # so that both come at once
        for name in signals:
            node.daemon.process.send_signal(signal.Signals[name])
    wait_until(lambda: node.get("/readyz").status_code == 503, "it says that it is not ready")
    node.daemon.process.send_signal(signal.SIGHUP)
    time.sleep(1)
    with rawhttp.connect(node.url) as connection:
        connection.sendall(b"GET /images HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert rawhttp.read_all(connection).startswith(b"HTTP/1.1 200 ")
    started = time.monotonic()
    node.stop()
    assert time.monotonic() - started < 30, "one who asks for the end again is heard"


def test_two_nodes_start_at_once_on_one_empty_catalogue(make_larder, postgres, new_directory):
    database = postgres.create_database("two_nodes")
    blobs = new_directory("blobs")
    nodes = [Larder(new_directory("larder"), database=database, blob_dir=blobs) for _ in range(2)]
    try:
        for node in nodes:  # started from this thread: they die with the one that starts them
            node.daemon.launch(node.command())
        for node in nodes:
            node.daemon.wait_ready(lambda node=node: "ready at" in node._said(), "is ready")
            node.url = node._said().split()[4]
        for node in nodes:
            assert node.get("/readyz").status_code == 200
    finally:
        for node in nodes:
            node.close()
        postgres.drop_database("two_nodes")


def test_a_node_that_fails_ends_also_when_nobody_reads_its_log(database, workspace):
    port = free_port()
    reader, writer = os.pipe2(os.O_NONBLOCK)
    try:
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(writer, bytes(4096))
        os.set_blocking(writer, True)
        with socket.create_server(("127.0.0.1", port)):
            words = ["serve", *of_one_fleet(database, workspace), "--listen", f"127.0.0.1:{port}"]
            assert subprocess.run([program(), *words], stderr=writer, timeout=60).returncode == 1
    finally:
        os.close(reader)
        os.close(writer)


def test_a_port_that_is_taken_is_told(database, workspace):
    port = free_port()
    with socket.create_server(("127.0.0.1", port)):
        words = ["serve", *of_one_fleet(database, workspace)]
        done = run(*words, LARDER_LISTEN=f"127.0.0.1:{port}")
    assert done.returncode == 1 and str(port) in done.stderr and "in use" in done.stderr, done
