"""Server processes of the tests: started, watched and stopped by their own pid.

A daemon dies with the test run (also when that is killed), writes its output to files,
and says what it wrote when something goes wrong. Start daemons from the main thread:
the kernel ends them when the thread that started them ends.
"""

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

START_SECONDS = 60  # sanitizers on a busy machine
STOP_SECONDS = 60
POLL_SECONDS = 0.02
PR_SET_PDEATHSIG = 1

_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent():
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def free_port():
    """A loopback port that nobody listens on at this moment."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def is_stopped(pid):
    """By a signal, until it gets SIGCONT (proc(5), /proc/pid/stat)."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def wait_until(condition, what, seconds=START_SECONDS):
    """Returns the first true value of condition(); fails with `what` after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"after {seconds} s still not: {what}"
        time.sleep(POLL_SECONDS)


def tail(path, lines=40):
    if Path(path).is_fifo():
        return ""  # of a test that stalls it: reading it would not end
    try:
        text = Path(path).read_text(errors="replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-lines:])


class Daemon:
    """One process; its output is in `<log_prefix>.out` and `<log_prefix>.err`, appended."""

    def __init__(self, name, log_prefix):
        self.name = name
        self.stdout_path = f"{log_prefix}.out"
        self.stderr_path = f"{log_prefix}.err"
        self.process = None

    @property
    def pid(self):
        return self.process.pid

    def launch(self, command, **options):
        assert self.process is None, f"{self.name} runs already"
        with open(self.stdout_path, "ab") as out, open(self.stderr_path, "ab") as err:
            self.process = subprocess.Popen(
                [os.fspath(word) for word in command],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                preexec_fn=die_with_parent,
                **options,
            )

    def wait_ready(self, condition, what):
        """Waits for condition(); a daemon that ends before that fails at once."""

        def ready_or_dead():
            return condition() or self.process.poll() is not None

        try:
            wait_until(ready_or_dead, f"{self.name} {what}")
            assert (
                self.process.poll() is None
            ), f"{self.name} ended with {self.process.returncode} at its start"
        except AssertionError as failed:
            self.kill()
            raise AssertionError(f"{failed}\n{self.output()}") from None

    def end(self, signal_number=signal.SIGTERM, seconds=STOP_SECONDS):
        """Sends the signal, waits, and returns the exit code (negative: the signal)."""
        process, self.process = self.process, None
        process.send_signal(signal_number)
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(
                f"{self.name} did not end within {seconds} s of signal {signal_number}\n"
                f"{self.output()}"
            ) from None

    def kill(self):
        """kill -9, if it runs at all."""
        if self.process is not None:
            process, self.process = self.process, None
            process.kill()
            process.wait()

    def output(self):
        return f"--- {self.name}\n{tail(self.stdout_path)}\n{tail(self.stderr_path)}"


def processes_below(directory):
    """{pid: command} of all processes that work in `directory` or name it."""
    prefix = os.path.realpath(directory).encode()
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").strip()
            cwd = os.readlink(bytes(entry / "cwd"))
        except OSError:
            continue  # ended meanwhile, or a kernel thread
        if cwd == prefix or cwd.startswith(prefix + b"/") or prefix + b"/" in command:
            found[int(entry.name)] = command.decode(errors="replace")
    return found


class Stopped:
    """Those processes do not run (SIGSTOP) while it lasts; one may end before or after."""

    def __init__(self, pids):
        self.pids = list(pids)

    def __enter__(self):
        self._signal(signal.SIGSTOP)
        return self

    def __exit__(self, *_):
        self._signal(signal.SIGCONT)

    def _signal(self, number):
        for pid in self.pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
