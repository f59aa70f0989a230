"""The page at /ui/, in a real browser: what it shows, what it does, and that it loads nothing from
elsewhere."""

import os
import re
from pathlib import Path

import images
import pytest
from browser import Browser
from fault_registry import Fault, FaultRegistry
from tokens import Tokens, secret

TABLE_TEXT = "[...document.querySelectorAll(arguments[0])].map((e) => e.innerText).join('\\n')"


@pytest.fixture(scope="module")
def references(larder, registry, built_images):
    """Two images that share two layers, one of them held by a sandbox and a snapshot."""
    names = {}
    for name in ("shared-one", "shared-two"):
        names[name] = f"{registry}/ui/{name}:1"
        images.push_to(registry, built_images[name], f"ui/{name}:1")
        body = {"reference": names[name]}
        assert larder.post("/images:pull", json=body, headers={"Prefer": "wait=60"}).ok
    rootfs = {"type": "oci", "reference": names["shared-one"]}
    assert larder.put("/sandboxes/ui-1", json={"host": "h9", "rootfs": rootfs}).ok
    digest = larder.get(f"/images/{names['shared-one']}").json()["manifest_digest"]
    assert larder.put("/snapshots/ui-2", json={"manifest_digest": digest}).ok
    return names


@pytest.fixture(scope="module")
def browser(new_directory):
    with Browser(new_directory("browser")) as running:
        yield running


@pytest.fixture
def page(browser, larder, references, request):
    browser.open(f"{larder.url}/ui/")
    listed = f"{row_of(references['shared-one'])} !== undefined"
    browser.wait(listed, "the page lists the images")
    yield browser
    if os.environ.get("LARDER_SCREENSHOTS"):
        browser.screenshot(Path(os.environ["LARDER_SCREENSHOTS"]) / f"{request.node.name}.png")
    assert browser.complaints() == [], "the console is quiet"


def text(page, selector):
    return page.run(TABLE_TEXT, selector)


def row_of(reference):
    return (
        "[...document.querySelectorAll('#images tbody tr')]"
        f".find((row) => row.innerText.includes('{reference}'))"
    )


def test_the_page_lists_images_with_their_users(page, larder, references):
    image = larder.get(f"/images/{references['shared-one']}").json()
    row = page.run(f"{row_of(references['shared-one'])}.innerText")
    assert f"{image['os']}/{image['architecture']}" in row
    assert "ago" in row or "now" in row
    users = f"{row_of(references['shared-one'])}.cells[6].innerText"
    page.wait(f"{users} === '2'", "the sandbox and the snapshot are counted")
    titles = page.run(f"{row_of(references['shared-one'])}.cells[6].title")
    assert titles.splitlines() == ["ui-1 on h9", "snapshot ui-2"]


def test_an_image_shows_its_layers_and_who_shares_them(page, larder, references):
    page.run(f"{row_of(references['shared-one'])}.querySelector('button').click()")
    page.wait("document.querySelector('.detail table')", "the layers are shown")
    detail = text(page, ".detail")
    inspected = larder.get(f"/images/{references['shared-one']}/inspect").json()
    for layer in inspected["layers"]:
        assert layer["diff_id"] in detail
    assert inspected["files"]["vmdk"]["path"] in detail
    sharers = page.run(
        "[...document.querySelectorAll('.detail tbody td:last-child')].map((cell) => cell.title)"
    )
    assert sharers == [references["shared-two"]] * 2 + [""]


def test_a_pull_is_begun_and_seen_to_its_end(page, registry, built_images):
    images.push_to(registry, built_images["busybox"], "ui/pulled:1")
    page.type("#pull input", f"{registry}/ui/pulled:1")
    page.click("#pull button")
    done = (
        "[...document.querySelectorAll('#pulls tbody tr')].some((row) =>"
        " row.innerText.includes('ui/pulled:1') && row.innerText.includes('done'))"
    )
    page.wait(done, "the pull is done")
    page.wait(f"{row_of('ui/pulled:1')} !== undefined", "its image is listed")


def test_a_running_pull_shows_its_bytes_and_can_be_cancelled(page, built_images):
    row = (
        "[...document.querySelectorAll('#pulls tbody tr')]"
        ".find((row) => row.innerText.includes('ui/slow:'))"
    )
    layout = built_images["layers25"].layout
    layers = layout.read_document(layout.tags["layers25"]["digest"])["layers"]
    with FaultRegistry(layout) as registry:
        registry.fault("blobs", layers[3]["digest"], Fault(stall_after=100, always=True))
        page.type("#pull input", f"{registry.host}/ui/slow:layers25")
        page.click("#pull button")
        page.wait(f"{row}?.querySelector('progress')?.value > 0", "bytes are seen to come")
        progress = page.run(f"{row}.querySelector('progress').position")
        assert 0 < progress < 1
        page.run(f"{row}.querySelector('button').click()")
        page.wait(f"{row}.innerText.includes('cancelled')", "it is cancelled")


def test_what_goes_wrong_is_said(page):
    page.type("#pull input", "Not A Reference")
    page.click("#pull button")
    page.wait("!document.querySelector('#trouble').hidden", "the refusal is shown")
    assert "Not A Reference" in text(page, "#trouble")
    assert any("400" in line for line in page.complaints()), "the browser notes the refused request"


def test_a_prune_says_what_it_would_free_and_frees_it_when_confirmed(page, larder, references):
    assert page.run("document.querySelector('#prune [name=go]').disabled")
    page.click("#prune [name=look]")
    page.wait("!document.querySelector('#prune [name=go]').disabled", "there is something to free")
    would = text(page, "#prune-report")
    assert re.match(r"[1-9]\d* images?, .* would go: \d", would), would
    page.click("#prune [name=go]")
    page.click("#question [value=no]")
    assert larder.get(f"/images/{references['shared-two']}").status_code == 200, "No means no"
    page.click("#prune [name=go]")
    page.click("#question [value=yes]")
    page.wait(f"{TABLE_TEXT}.includes('went:')", "it is done", "#prune-report")
    assert larder.get(f"/images/{references['shared-two']}").status_code == 404
    assert larder.get(f"/images/{references['shared-one']}").status_code == 200, "it is in use"
    page.wait(f"{row_of(references['shared-two'])} === undefined", "the list follows")


def test_the_page_loads_nothing_from_elsewhere(page, larder):
    loaded = page.run("performance.getEntriesByType('resource').map((entry) => entry.name)")
    assert loaded, "it has loaded something"
    assert [url for url in loaded if not url.startswith(f"{larder.url}/")] == []
    policy = larder.get("/ui/").headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy and "*" not in policy


def test_a_node_with_tokens_is_used_with_one(browser, make_larder, tmp_path):
    tokens = Tokens(tmp_path, reader="reader")
    node = make_larder(flags=tokens.flags)
    browser.open(f"{node.url}/ui/")
    browser.wait("!document.querySelector('#login').hidden", "the page asks for a token")
    browser.type("#login input", secret("reader"))
    browser.click("#login button")
    browser.wait("document.querySelector('#trouble').hidden", "it is taken")
    browser.wait("document.querySelector('#node').textContent.includes('ready')", "it is used")
    assert browser.run("document.querySelector('#login').hidden")
    browser.run("sessionStorage.clear()")
    assert all("401" in line for line in browser.complaints())


@pytest.mark.parametrize("name", ["index.html", "larder.css", "larder.js"])
def test_the_files_of_the_page_name_no_other_host(larder, name):
    file = larder.get(f"/ui/{name}")
    assert file.status_code == 200
    assert re.findall(r"https?://|(?:src|href)=.//", file.text) == []


@pytest.mark.parametrize("path", ["/ui", "/ui/"])
def test_the_page_is_found_with_and_without_its_slash(larder, path):
    assert "<title>Larder</title>" in larder.get(path).text
