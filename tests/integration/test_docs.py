"""The pages under docs/ are true: their commands run, their flags are the program's, their links
lead somewhere. (README.md has test_readme.py, docs/sdk.md has test_sdk.py.)"""

import re
import shlex
import subprocess

import images
import pytest
from larder import REPOSITORY, program
from postgres import binary
from test_readme import MARK, expectations, script_of

DOCS = REPOSITORY / "docs"
MAN_PAGE = DOCS / "larder.8"
COMMANDS = ["serve", "migrate"]
RUN_ELSEWHERE = {"README.md", "docs/sdk.md"}
RUN_HERE = {"docs/api.md", "docs/operations.md"}


def help_of(*command):
    done = subprocess.run([program(), *command, "--help"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def flags_of(command):
    """{flag: (variable, default or "")} as --help says."""
    pattern = r"^  (--[a-z-]+).*\n      (.*)\n      environment: (\w+)$"
    found = re.findall(pattern, help_of(command), flags=re.MULTILINE)
    assert found, f"{command} --help lists its flags"
    default = re.compile(r" \[([^]]*)\]$")
    return {
        flag: (variable, (default.search(text) or ["", ""])[1]) for flag, text, variable in found
    }


def all_flags():
    return {flag for command in COMMANDS for flag in flags_of(command)}


# --- the reference of the configuration ---


def test_the_configuration_page_has_every_flag_with_its_variable_and_default():
    page = (DOCS / "configuration.md").read_text()
    rows = re.findall(r"^\| `(--[a-z-]+)` \| `(\w+)` \| (.*?) ?\| .+\|$", page, flags=re.MULTILINE)
    documented = {flag: (variable, text.replace("`", "")) for flag, variable, text in rows}
    assert len(rows) == len(documented), "each flag has one row"
    assert documented == flags_of("serve")


def test_the_man_page_has_every_flag_and_command():
    text = MAN_PAGE.read_text().replace("\\-", "-")
    serve = text.split("The flags of\n", 1)[1].split(".El", 1)[0]
    assert set(re.findall(r"^\.It Fl (-[a-z-]+)", serve, flags=re.MULTILINE)) == {
        flag.removeprefix("-") for flag in flags_of("serve")
    }
    for flag, (_, default) in flags_of("serve").items():
        words = " ".join(serve.split(f".It Fl {flag[1:]}", 1)[1].split(".It", 1)[0].split())
        assert not default or f"Default: {default}." in words, flag
    commands = set(re.findall(r"^  (\w+) ", help_of(), flags=re.MULTILINE))
    described = text.split("The commands:", 1)[1].split(".El", 1)[0]
    assert set(re.findall(r"^\.It Cm (\w+)", described, flags=re.MULTILINE)) == commands


def test_the_man_page_is_well_formed():
    command = ["mandoc", "-T", "lint", "-W", "warning", MAN_PAGE]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


# --- what every page must keep ---


def pages():
    return [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *sorted(DOCS.glob("*.md"))]


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_the_links_of_a_page_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        if not target.startswith(("http://", "https://")):
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_a_page_names_only_flags_that_exist(page):
    for line in page.read_text().splitlines():
        if "larder serve" in line or "larder migrate" in line:
            named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", line))
            assert named <= all_flags() | {"--help"}, line


def test_the_commands_of_every_page_are_run_by_a_test():
    for page in pages():
        if "```sh\n" in page.read_text():
            assert str(page.relative_to(REPOSITORY)) in RUN_ELSEWHERE | RUN_HERE


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_a_command_that_is_only_shown_is_understood(page):
    text = page.read_text().replace("\\\n", " ")
    for command in re.findall(r"^    (larder (?:serve|migrate) .*)$", text, flags=re.MULTILINE):
        words = shlex.split(command, comments=True)[1:]
        done = subprocess.run([program(), *words, "--help"], capture_output=True, text=True)
        assert done.returncode == 0, f"{command}: {done.stderr}"


# --- pages that are run ---


def run_page(name, environment, directory):
    """Every sh block of the page in one shell that stops at the first failure."""
    blocks = re.findall(r"```sh\n(.*?)```", (DOCS / name).read_text(), flags=re.DOTALL)
    assert blocks
    path = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
    done = subprocess.run(
        ["bash", "-c", script_of(blocks)],
        cwd=directory,
        env=path | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    printed = re.split(rf"{MARK}\d+\n", done.stdout)[1:]
    assert done.returncode == 0, f"it stopped in block {len(printed)}:\n{done.stdout}{done.stderr}"
    for block, output in zip(blocks, printed, strict=True):
        assert "null" not in output.splitlines(), f"{block}\njq finds no such field"
        for text in expectations(block):
            assert text in output, f"{block}\nprints {text!r}; it printed:\n{output}"


@pytest.fixture(scope="module")
def pushed(registry, built_images):
    for name in ("app:1", "app:2"):
        images.push_to(registry, built_images["busybox"], f"docs/{name}")
    return f"{registry}/docs/app"


def test_the_api_guide_does_what_it_says(larder, pushed, tmp_path):
    run_page("api.md", {"LARDER": larder.url, "IMAGE": f"{pushed}:1"}, tmp_path)


def test_the_operations_page_does_what_it_says(make_larder, postgres, pushed, tmp_path):
    name = "docs_operations"
    node = make_larder(database=postgres.create_database(name))
    wait = {"Prefer": "wait=60"}
    assert node.post("/images:pull", json={"reference": f"{pushed}:2"}, headers=wait).ok
    environment = {
        "LARDER": node.url,
        "BLOBS": str(node.blob_dir),
        "DATABASE": node.database,
        "PG": str(binary("pg_dump")).rsplit("/", 1)[0],
        "BACKUP": str(tmp_path / "backup"),
    }
    run_page("operations.md", environment, tmp_path)
