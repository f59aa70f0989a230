"""The end of a whole run: openapi.yaml promises nothing that no test has ever seen.

Hooks of pytest, for conftest.py. Where pytest runs the tests in several processes (pytest-xdist),
each sends what it saw to the one that started them, and that one judges.
"""

from pathlib import Path

import contract
import pytest

# Promised all the same, and why no test waits for it.
NEVER_SEEN = {}

_of_workers = []  # (was it given all tests?, {(operationId, status)})


def _given_all_tests(session):
    """All files, none of them filtered, and not only to list them."""
    options = session.config.option
    files = {item.path for item in session.items}
    every_file = set(Path(__file__).parent.glob("test_*.py"))
    return files == every_file and not options.keyword and not options.collectonly


def _never_seen(seen):
    promised = {
        (operation.id, status)
        for methods in contract.operations().values()
        for operation in methods.values()
        for status in operation.answers
        if status != "default"
    }
    return sorted((promised - seen) ^ set(NEVER_SEEN))


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    output = getattr(node, "workeroutput", None)  # none of one that crashed
    if output and "seen" in output:
        _of_workers.append((output["given_all_tests"], {tuple(pair) for pair in output["seen"]}))


def pytest_sessionfinish(session, exitstatus):
    config = session.config
    if hasattr(config, "workeroutput"):  # this is a worker
        config.workeroutput["given_all_tests"] = _given_all_tests(session)
        config.workeroutput["seen"] = sorted(contract.SEEN)
        return
    if exitstatus != pytest.ExitCode.OK:
        return
    seen = _of_workers or [(_given_all_tests(session), contract.SEEN)]
    if not all(given_all for given_all, _ in seen):
        return
    problems = _never_seen(set().union(*(pairs for _, pairs in seen)))
    for operation, status in problems:
        reporter = config.pluginmanager.get_plugin("terminalreporter")
        reporter.write_line(f"never seen: {operation} {status}, or NEVER_SEEN is wrong about it")
    if problems:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
