"""How the binary is built, what the node gives up at its start, and the unit of systemd.

What only a release has (_FORTIFY_SOURCE) is looked at where LARDER_BUILD_DIR is one."""

import json
import os
import platform
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from larder import REPOSITORY, Larder, build_setting, program
from pulling import pull

UNIT = REPOSITORY / "systemd/larder.service"
NOBODY = 65534
X86 = platform.machine() == "x86_64"


def build():
    return Path(program()).parent


def readelf(*flags):
    done = subprocess.run(
        ["readelf", "--wide", *flags, program()], capture_output=True, text=True, check=True
    )
    return done.stdout


IS_RELEASE = "Rel" in build_setting("CMAKE_BUILD_TYPE") and not build_setting("LARDER_SANITIZE")


def test_the_program_may_lie_anywhere_and_its_tables_are_fixed_before_it_runs():
    assert "Position-Independent Executable" in readelf("--file-header")
    dynamic = readelf("--dynamic")
    assert "BIND_NOW" in dynamic and "PIE" in dynamic
    assert "GNU_RELRO" in readelf("--program-headers")
    for word in ("TEXTREL", "RPATH", "RUNPATH"):
        assert word not in dynamic


def test_no_memory_of_it_is_written_and_executed():
    for line in readelf("--program-headers").splitlines():
        if "GNU_STACK" in line or " LOAD " in line:
            assert "RWE" not in line, line
    assert re.search(r"GNU_STACK.* RW +0x", readelf("--program-headers"))


def commands():
    """{source: its compiler's words} of our own files."""
    database = json.loads((build() / "compile_commands.json").read_text())
    ours = (str(REPOSITORY / "server"), str(REPOSITORY / "store"))
    return {
        entry["file"]: entry["command"].split()
        for entry in database
        if entry["file"].startswith(ours)
    }


def test_every_file_is_built_with_the_stack_watched_and_branches_marked():
    assert len(commands()) > 100
    for source, words in commands().items():
        assert "-fstack-protector-strong" in words and "-fstack-clash-protection" in words, source
        assert not X86 or "-fcf-protection=full" in words, source
    assert "__stack_chk_fail" in readelf("--dyn-syms")


@pytest.mark.skipif(not IS_RELEASE, reason="of a release only")
def test_a_release_checks_the_sizes_of_its_buffers():
    for source, words in commands().items():
        levels = [word for word in words if "_FORTIFY_SOURCE" in word]
        assert levels[-1:] == ["-D_FORTIFY_SOURCE=3"], f"{source}: {levels}"
    checked = set(re.findall(r"__\w+_chk\b", readelf("--dyn-syms"))) - {"__stack_chk"}
    assert len(checked) >= 5, checked


@pytest.mark.skipif(not X86 or not shutil.which("objdump"), reason="of x86-64, with objdump")
@pytest.mark.skipif(not IS_RELEASE, reason="of a release only: sanitizers make it too large")
def test_functions_are_marked_as_targets_of_calls():
    """Debian's own start-up files are not, so that the loader does not enforce it (CET)."""
    command = ["objdump", "-d", "--no-show-raw-insn", program()]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    starts = re.findall(r"^[0-9a-f]+ <(\w+)>:\n +[0-9a-f]+:\t(\w+)", text, flags=re.MULTILINE)
    ours = {name: first for name, first in starts if name.startswith(("command_", "convert_", "pull_"))}
    marked = [name for name, first in ours.items() if first == "endbr64"]
    assert len(ours) > 20 and len(marked) > len(ours) // 2, ours


def status_of(pid):
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


KEPT_BY_ROOT = {"chown": 0, "dac_override": 1, "fowner": 3, "kill": 5, "setgid": 6, "setuid": 7,
                "net_bind_service": 10, "sys_admin": 21}  # fmt: skip


def test_a_node_gives_up_what_it_does_not_need(larder):
    for thread in Path(f"/proc/{larder.pid}/task").iterdir():
        status = status_of(f"{larder.pid}/task/{thread.name}")
        assert status["NoNewPrivs"] == "1"
        allowed = sum(1 << bit for bit in KEPT_BY_ROOT.values()) if os.geteuid() == 0 else 1 << 10
        for name in ("CapPrm", "CapEff", "CapInh"):
            assert int(status[name], 16) & ~allowed == 0, f"{thread.name}: {name} {status[name]}"
        if os.geteuid() == 0:
            assert int(status["CapBnd"], 16) & ~allowed == 0, status["CapBnd"]


class Unprivileged(Larder):
    """Started as nobody, in a directory of its own."""

    def command(self):
        os.chown(self.data_dir, NOBODY, NOBODY)
        user = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
        return user + super().command()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: becomes another user")
def test_a_node_that_is_not_root_pulls_and_has_no_privileges(
    new_directory, registry, built_images
):
    import images

    images.push_to(registry, built_images["busybox"], "library/busybox:1.36")
    with Unprivileged(new_directory("unprivileged")) as node:
        pull(node, f"{registry}/library/busybox:1.36")
        status = status_of(node.pid)
        assert status["Uid"].split() == [str(NOBODY)] * 4
        assert [int(status[name], 16) for name in ("CapPrm", "CapEff", "CapInh")] == [0, 0, 0]


# --- the unit ---


def test_the_unit_exposes_no_more_than_the_docs_say():
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", str(UNIT)]
    done = subprocess.run(command, capture_output=True, text=True)
    found = re.search(r"Overall exposure level for larder.service: ([0-9.]+)", done.stdout)
    assert found, done
    said = re.search(r"exposure\s+of\s+([0-9.]+)", (REPOSITORY / "docs/security.md").read_text())
    assert float(found[1]) <= float(said[1]), done.stdout


CONFINED = """
ProtectSystem=strict ProtectHome=yes PrivateTmp=yes PrivateDevices=yes DevicePolicy=closed
ProtectProc=invisible ProtectClock=yes ProtectHostname=yes ProtectKernelLogs=yes
ProtectKernelModules=yes ProtectKernelTunables=yes ProtectControlGroups=yes RemoveIPC=yes
NoNewPrivileges=yes CapabilityBoundingSet= AmbientCapabilities= KeyringMode=private
LockPersonality=yes MemoryDenyWriteExecute=yes RestrictRealtime=yes RestrictSUIDSGID=yes
SystemCallArchitectures=native LimitCORE=0 User=larder
""".split()


@pytest.mark.parametrize("line", CONFINED)
def test_the_unit_is_confined_line_by_line(line):
    """The score hardly moves when one of them goes."""
    assert line in UNIT.read_text().splitlines()


def test_the_unit_allows_only_some_calls_namespaces_and_sockets():
    lines = UNIT.read_text().splitlines()
    assert "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK" in lines
    assert "RestrictNamespaces=user net mnt ipc uts" in lines
    calls = [line for line in lines if line.startswith("SystemCallFilter=")]
    assert calls[0].startswith("SystemCallFilter=@system-service ")
    assert "SystemCallFilter=~@privileged" in calls


def test_the_unit_has_no_line_that_systemd_does_not_know():
    command = ["systemd-analyze", "verify", "--man=no", str(UNIT)]
    done = subprocess.run(command, capture_output=True, text=True)
    said = [line for line in done.stderr.splitlines() if "is not executable" not in line]
    assert not said, said
