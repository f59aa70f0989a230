"""Generated TypeScript clients do all that microsandbox's users do, with nothing written by hand;
and docs/sdk.md, command by command and program by program (tests/sdk/README.md)."""

import os
import re
import shutil
import subprocess

import images
import pytest
from larder import REPOSITORY

SDK = REPOSITORY / "tests/sdk"
PAGE = REPOSITORY / "docs/sdk.md"


def run(command, cwd, environment=None):
    done = subprocess.run(
        [os.fspath(word) for word in command],
        cwd=cwd,
        env=os.environ | {"npm_config_offline": "true"} | (environment or {}),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, f"{command}:\n{done.stdout}{done.stderr}"
    return done.stdout


def programs():
    """{file name: text}: code blocks that begin with their name."""
    blocks = re.findall(r"```[jt]s\n// (\S+)\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    assert len(blocks) >= 5, "the page has its programs"
    return dict(blocks)


def commands():
    return "\n".join(re.findall(r"```sh\n(.*?)```", PAGE.read_text(), flags=re.DOTALL))


@pytest.fixture(scope="module")
def project(larder, tmp_path_factory):
    """The page's and the stories' programs with both clients, compiled."""
    subprocess.run([SDK / "install"], check=True, timeout=600)
    directory = tmp_path_factory.mktemp("sdk")
    shutil.copytree(SDK / "src", directory / "src")
    for name in ("package.json", "tsconfig.json"):
        shutil.copy(SDK / name, directory)
    (directory / "node_modules").symlink_to(REPOSITORY / "build/sdk/node_modules")
    for name, text in programs().items():
        (directory / "src" / name).write_text(text)
    script = f"set -euo pipefail\n{commands()}"
    run(["bash", "-c", script], directory / "src", {"LARDER": larder.url})
    run([directory / "node_modules/.bin/tsc", "--project", "."], directory)
    return directory


@pytest.fixture(scope="module")
def pushed(registry, built_images):
    images.push_to(registry, built_images["busybox"], "sdk/deep/app:1.0-rc.1")
    return f"{registry}/sdk/deep/app:1.0-rc.1"


@pytest.mark.parametrize("story", ["story-fetch", "story-hey"])
def test_a_generated_client_tells_the_whole_story(project, larder, pushed, story):
    printed = run(["node", project / f"out/{story}.js", larder.url, pushed], project)
    assert printed == "the story ends well\n"
    assert larder.get("/images", params={"reference": pushed}).json()["images"] == []


@pytest.fixture
def in_use(larder, pushed):
    """The page's own situation: sandbox s1 runs on the image."""
    wait = {"Prefer": "wait=60"}
    assert larder.post("/images:pull", json={"reference": pushed}, headers=wait).ok
    sandbox = {"host": "h1", "rootfs": {"type": "oci", "reference": pushed}}
    assert larder.put("/sandboxes/s1", json=sandbox).ok
    yield pushed
    assert larder.delete("/sandboxes/s1").ok


def test_the_pages_image_behaves_like_microsandboxs(project, larder, in_use):
    environment = {"LARDER": larder.url, "IMAGE": in_use}
    lines = run(["node", project / "out/use.js"], project, environment).splitlines()
    assert lines[0].startswith(f"{in_use} ")
    assert lines[1] == "true"
    assert lines[2].startswith("[ ") or lines[2].startswith("null ")
    assert "in use by s1" in lines
    assert "it is gone" in lines
    assert lines[-1].endswith(" bytes reclaimed")


@pytest.mark.parametrize("program", ["fetch", "hey"])
def test_the_pages_first_programs_run(project, larder, program):
    printed = run(["node", project / f"out/{program}.js"], project, {"LARDER": larder.url})
    assert printed == "ImageNotFound\n"
