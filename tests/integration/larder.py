"""One node under test: the real binary, over HTTP.

    with Larder(directory) as larder:              # its own private PostgreSQL
        assert larder.get("/healthz").status_code == 200

stop() fails the test unless the node drained, exited with 0, left no process behind
and no sanitizer said anything; kill9() is the crash. start() after either goes on with
the same data.
"""

import os
import re
import shutil
import signal
import threading
import time
from pathlib import Path

import contract
import requests
from daemons import Daemon, processes_below, wait_until
from postgres import sql

REPOSITORY = Path(__file__).resolve().parents[2]
READY = re.compile(r"^larder (\S+) ready at (.+)$", re.MULTILINE)
REQUEST_SECONDS = 60
IDLE_SECONDS = 15  # less than a node waits for the next request on a connection
SANITIZER_WORDS = ("AddressSanitizer", "LeakSanitizer", "ThreadSanitizer", "runtime error:")


def program():
    build = REPOSITORY / os.environ.get("LARDER_BUILD_DIR", "build/dev")
    path = build / "larder"
    assert path.exists(), f"{path} is missing: cmake --build it, or set LARDER_BUILD_DIR"
    return str(path)


def build_setting(name):
    """What CMake was told when the program was built."""
    cache = (Path(program()).parent / "CMakeCache.txt").read_text()
    return re.search(rf"^{name}:\w+=(.*)$", cache, flags=re.MULTILINE)[1]


def sanitizer_environment(log_prefix):
    """Findings end the process with a code of their own and are written to files."""
    common = f"log_path={log_prefix}:exitcode=99"
    return {
        "ASAN_OPTIONS": f"{common}:detect_leaks=1:detect_stack_use_after_return=1",
        "UBSAN_OPTIONS": f"{common}:print_stacktrace=1:halt_on_error=1",
        "LSAN_OPTIONS": f"{common}:report_objects=1",
        "TSAN_OPTIONS": f"{common}:halt_on_error=0:second_deadlock_stack=1",
    }


IDENTITY = """
    SELECT system_identifier || '-' || (SELECT oid FROM pg_database WHERE datname = current_database())
      FROM pg_control_system()"""


def blob_dir_of(database, workspace):
    """The one blob directory of a catalogue: nodes that share it are refused with any other."""
    return Path(workspace) / f"blobs-{sql(database, IDENTITY)[0][0]}"


class Larder:
    """A node with everything below `data_dir`, whose parents everybody may pass (0711):
    its private PostgreSQL is not root. `blob_dir` and `database` (a libpq URI) are for
    nodes that share; `flags` are more words for the command line."""

    def __init__(self, data_dir, database=None, flags=(), blob_dir=None, environment=None):
        self.data_dir = Path(data_dir)
        if database and not blob_dir:
            blob_dir = blob_dir_of(database, self.data_dir.parent)
        self.blob_dir = Path(blob_dir) if blob_dir else self.data_dir / "blobs"
        self.database = database
        self.flags = list(flags)
        self.environment = environment or {}
        self.url = None
        self.authority = True  # of its certificate: a file, or True: one of those that all trust
        self.version = None
        self.data_dir.mkdir(mode=0o711, exist_ok=True)
        self.log_dir = Path(f"{self.data_dir}.log")
        self.log_dir.mkdir(exist_ok=True)
        self.log_dir.chmod(0o1777)  # a sanitizer of any of the node's users writes here
        self.daemon = Daemon("larder", self.log_dir / "larder")
        self._local = threading.local()

    def __enter__(self):
        return self.start()

    def __exit__(self, kind, value, trace):
        if kind is None:
            self.close()
        else:
            self.daemon.kill()
            self._clear_processes()
            print(self.daemon.output())

    @property
    def pid(self):
        return self.daemon.pid

    @property
    def running(self):
        return self.daemon.process is not None

    def command(self):
        words = [program(), "serve", "--data-dir", self.data_dir, "--listen", "127.0.0.1:0"]
        words += ["--blob-dir", self.blob_dir] if self.blob_dir.parent != self.data_dir else []
        words += ["--database", self.database] if self.database else []
        return words + self.flags

    def start(self):
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("LARDER_", "DOCKER_"))}
        said_before = self._said()
        environment = kept | sanitizer_environment(self.log_dir / "sanitizer") | self.environment
        self.daemon.launch(self.command(), env=environment)
        self.daemon.wait_ready(lambda: READY.search(self._said(), len(said_before)), "is ready")
        self.version, addresses = READY.search(self._said(), len(said_before)).groups()
        self.url = addresses.split()[0]
        return self

    def _said(self):
        try:
            return Path(self.daemon.stdout_path).read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def log(self):
        """What the node has logged so far, over all its starts."""
        return Path(self.daemon.stderr_path).read_text(errors="replace")

    def stop(self):
        code = self.daemon.end(signal.SIGTERM)
        self.assert_sane()
        assert code == 0, f"larder ended with {code} on SIGTERM\n{self.daemon.output()}"
        left = processes_below(self.data_dir)
        assert not left, f"larder left processes behind: {left}"

    def kill9(self):
        """The node dies without a word; its children follow it by themselves."""
        self.daemon.kill()
        gone = f"the children of a killed node end: {self.data_dir}"
        wait_until(lambda: not processes_below(self.data_dir), gone)

    def close(self):
        """Stops it if it runs, and removes what it kept."""
        try:
            if self.running:
                self.stop()
            self.assert_sane()
        finally:
            self.daemon.kill()
            self._clear_processes()
            for directory in (self.data_dir, self.log_dir):
                shutil.rmtree(directory, ignore_errors=True)

    def _clear_processes(self):
        for pid in processes_below(self.data_dir):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def assert_sane(self):
        reports = [path.read_text(errors="replace") for path in self.log_dir.glob("sanitizer*")]
        reports = [report for report in reports if report.strip()]
        assert not reports, "a sanitizer complains:\n" + "\n".join(reports)
        if Path(self.daemon.stderr_path).exists():
            said = [word for word in SANITIZER_WORDS if word in self.log()]
            assert not said, f"a sanitizer complains: {said}\n{self.daemon.output()}"

    def session(self):
        """This thread's connections to the node; never one that the node may be about to close."""
        rested = time.monotonic() - getattr(self._local, "used_at", 0)
        self._local.used_at = time.monotonic()
        if not hasattr(self._local, "session") or rested > IDLE_SECONDS:
            self._local.session = requests.Session()
            self._local.session.trust_env = False  # no proxies, no netrc
            self._local.session.verify = self.authority
            self._local.session.hooks["response"].append(contract.on_response)
        return self._local.session

    def request(self, method, path, **options):
        options.setdefault("timeout", REQUEST_SECONDS)
        return self.session().request(method, self.url + path, **options)

    def get(self, path, **options):
        return self.request("GET", path, **options)

    def head(self, path, **options):
        return self.request("HEAD", path, **options)

    def post(self, path, **options):
        return self.request("POST", path, **options)

    def put(self, path, **options):
        return self.request("PUT", path, **options)

    def delete(self, path, **options):
        return self.request("DELETE", path, **options)
