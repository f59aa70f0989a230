"""What ends a whole run (contract_seen.py), seen from outside: runs of a directory of its own."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
HOOKS = "from contract_seen import pytest_sessionfinish, pytest_testnodedown  # noqa: F401\n"
TEST = "def test_that_asks_for_nothing():\n    assert {}\n"


@pytest.fixture
def run(tmp_path):
    shutil.copy(HERE / "contract_seen.py", tmp_path)
    (tmp_path / "conftest.py").write_text(HOOKS)
    for number in range(2):
        (tmp_path / f"test_{number}.py").write_text(TEST.format(True))

    def run(*options):
        command = [sys.executable, "-B", "-m", "pytest", "-q", "-p", "no:cacheprovider", *options]
        kept = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
        environment = kept | {"PYTHONPATH": str(HERE)}  # contract.py, which nothing has asked
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
        )
        return done.returncode, "never seen:" in done.stdout, done.stdout

    return run


@pytest.mark.parametrize("processes", [(), ("--numprocesses=2", "--dist=loadfile")])
def test_a_whole_run_that_saw_too_little_fails(run, processes):
    code, is_told, output = run(*processes)
    assert code == 1 and is_told, output
    assert "never seen: inspectImage 200," in output, output


@pytest.mark.parametrize("processes", [(), ("--numprocesses=2", "--dist=loadfile")])
@pytest.mark.parametrize("options", [("-k", "nothing"), ("test_0.py",), ("--collect-only",)])
def test_of_a_part_nothing_is_said(run, options, processes):
    code, is_told, output = run(*options, *processes)
    assert code == 0 and not is_told, output


@pytest.mark.parametrize("processes", [(), ("--numprocesses=2", "--dist=loadfile")])
def test_what_failed_is_told_alone(run, tmp_path, processes):
    (tmp_path / "test_0.py").write_text(TEST.format(False))
    code, is_told, output = run(*processes)
    assert code == 1 and not is_told and "1 failed" in output, output
