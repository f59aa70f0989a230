"""A small Debian tree as an image's source: debootstrapped once per machine, then kept."""

import fcntl
import os
import shutil
import subprocess
from pathlib import Path

DEBOOTSTRAP_SECONDS = 900
COMPLETE = ".larder-complete"


def cache_dir():
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(base) / "larder-tests"


def _codename():
    with open("/etc/os-release", encoding="utf-8") as release:
        fields = dict(line.rstrip().split("=", 1) for line in release if "=" in line)
    return fields["VERSION_CODENAME"].strip('"')


def _mirror(codename):
    """Where this machine's apt gets the release from."""
    command = ["apt-get", "indextargets", "--format", "$(CODENAME) $(REPO_URI)"]
    done = subprocess.run(
        [*command, "Identifier: Packages"], capture_output=True, text=True, check=True
    )
    for line in done.stdout.splitlines():
        found, _, uri = line.partition(" ")
        if found == codename and uri.startswith("http"):
            return [uri]
    return []  # debootstrap's own default: another release than the machine's


def debian_root(codename=None):
    """The tree's path, of the machine's own release or of the one that is named; made under
    a lock, so that two test runs share one."""
    codename = codename or _codename()
    directory = cache_dir()
    directory.mkdir(parents=True, exist_ok=True)
    tree = directory / f"{codename}-minbase"
    with open(directory / f"{codename}.lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (directory / f"{codename}{COMPLETE}").exists():
            _make(tree, codename)
            (directory / f"{codename}{COMPLETE}").touch()
    return tree


def _make(tree, codename):
    shutil.rmtree(tree, ignore_errors=True)
    command = ["debootstrap", "--variant=minbase", codename, str(tree), *_mirror(codename)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEBOOTSTRAP_SECONDS)
    assert done.returncode == 0, f"debootstrap failed:\n{done.stdout[-4000:]}{done.stderr}"
    for name in ("var/cache/apt", "var/lib/apt/lists"):
        shutil.rmtree(tree / name, ignore_errors=True)
