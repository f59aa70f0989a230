"""POST /images:load: what is loaded is what a pull would have brought."""

import concurrent.futures
import subprocess

import pytest

import archives
import images
import pulling
from archives import load
from daemons import wait_until
from erofsmount import fsck
from fixture import file
from postgres import sql
from problems import expect_problem
from tarbytes import Layer, tar_of

KINDS = ["docker-archive", "oci-archive"]


def assert_is(larder, reference, image, directory, **query):
    detail = pulling.inspect(larder, reference, **query)
    expected = images.expected_tree(image)
    for view, found in pulling.trees(larder, detail, directory):
        assert found == expected, f"{view}:\n{pulling.differences(expected, found)}"
    return detail


@pytest.mark.parametrize("compression", archives.COMPRESSIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_an_archive_of_skopeo_in_any_compression(
    larder, built_images, tmp_path, kind, compression
):
    image = built_images["shared-two"]
    reference = f"docker.io/loaded/{kind}:{compression}"
    data = archives.skopeo(image, kind, tmp_path / "archive.tar", reference)
    loaded = load(larder, archives.COMPRESSIONS[compression](data))
    assert [handle["reference"] for handle in loaded] == [reference]
    assert loaded[0] == larder.get(f"/images/{reference}").json()
    assert_is(larder, reference, image, tmp_path)


@pytest.mark.parametrize("name", ["mixed", "xattrs", "sparse", "sixty-layers", "same-layer-twice"])
def test_every_kind_of_content_comes_over(larder, built_images, tmp_path, name):
    image = built_images[name]
    data = archives.skopeo(image, "oci-archive", tmp_path / "archive.tar", f"q.io/kinds/{name}:1")
    load(larder, data)
    assert_is(larder, f"q.io/kinds/{name}:1", image, tmp_path)


def test_a_loaded_image_is_the_pulled_one(make_larder, registry, built_images, tmp_path):
    image = built_images["mixed"]
    reference = f"{registry}/same/image:1"
    images.push_to(registry, image, "same/image:1")
    puller, loader = make_larder(), make_larder()
    pulling.pull(puller, reference)
    data = archives.skopeo(image, "oci-archive", tmp_path / "archive.tar", reference)
    load(loader, data)
    pulled, loaded = (pulling.inspect(node, reference) for node in (puller, loader))
    for detail in (pulled, loaded):
        del detail["handle"]["created_at"], detail["handle"]["last_used_at"]
    assert loaded == pulled
    assert pulling.published_files(loader) == pulling.published_files(puller)
    for name in pulling.published_files(puller):
        assert (loader.blob_dir / name).read_bytes() == (puller.blob_dir / name).read_bytes(), name


def test_dockers_old_layout_with_links_to_shared_layers(larder, built_images, tmp_path):
    one, two = built_images["shared-one"], built_images["shared-two"]
    saved = archives.docker_save(
        [
            (["q.io/old/one:1", "q.io/old/uno:1"], archives.tars_of(one)),
            (["q.io/old/two:1"], archives.tars_of(two)),
        ]
    )
    loaded = load(larder, saved.data())
    references = [handle["reference"] for handle in loaded]
    assert references == ["q.io/old/one:1", "q.io/old/uno:1", "q.io/old/two:1"]
    assert_is(larder, "q.io/old/one:1", one, tmp_path)
    detail = assert_is(larder, "q.io/old/two:1", two, tmp_path)
    assert loaded[0]["manifest_digest"] == loaded[1]["manifest_digest"]
    assert [layer["blob_digest"] for layer in detail["layers"]] == [
        layer["diff_id"] for layer in detail["layers"]
    ]
    # The same content makes the same image, however it is packed.
    again = archives.docker_save([(["q.io/old/again:1"], archives.tars_of(two))])
    digest = load(larder, again.data())[0]["manifest_digest"]
    assert digest == detail["handle"]["manifest_digest"]


ORDERS = {
    "sorted": lambda name: name,
    "backwards": lambda name: [-ord(letter) for letter in name],
    "contents first": lambda name: (not name.endswith(".json"), name),
    "contents last": lambda name: (name.endswith(".json"), name),
}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("kind", [*KINDS, "old layout"])
def test_the_order_of_members_does_not_matter(larder, built_images, tmp_path, kind, order):
    image = built_images["shared-two"]
    reference = f"q.io/order/{kind.replace(' ', '-')}:{order.replace(' ', '-')}"
    if kind == "old layout":
        data = archives.docker_save([([reference], archives.tars_of(image))]).data()
    else:
        data = archives.skopeo(image, kind, tmp_path / "archive.tar", reference)
    data = archives.reordered(data, ORDERS[order])
    assert [handle["reference"] for handle in load(larder, data)] == [reference]
    assert_is(larder, reference, image, tmp_path)


def test_each_platform_of_an_index_is_loaded_or_the_one_that_is_asked_for(
    larder, built_images, tmp_path
):
    image = built_images["multi"]
    data = archives.skopeo(image, "oci-archive", tmp_path / "archive.tar", "q.io/multi:1")
    handles = load(larder, data)
    assert {handle["architecture"] for handle in handles} == {"amd64", "arm64"}
    for platform, part in image.platforms.items():
        detail = pulling.inspect(larder, "q.io/multi:1", platform=platform)
        assert detail["handle"]["manifest_digest"] == part.descriptor["digest"]
    by_index = f"/images/q.io/multi@{image.descriptor['digest']}"
    assert larder.get(by_index).status_code == 200, "and the index is known"

    handles = load(larder, data, reference="q.io/only:arm", platform="linux/arm64")
    assert [handle["architecture"] for handle in handles] == ["arm64"]
    answer = larder.post("/images:load", data=data, params={"platform": "linux/riscv64"})
    assert (answer.status_code, answer.json()["code"]) == (422, "PlatformNotFound")
    assert "linux/amd64, linux/arm64" in answer.json()["detail"]


def test_the_query_names_an_image_without_a_name(larder, built_images, tmp_path):
    data = archives.skopeo(built_images["bare"], "oci-archive", tmp_path / "archive.tar", "latest")
    answer = larder.post("/images:load", data=data)
    assert (answer.status_code, answer.json()["code"]) == (400, "InvalidArgument")
    assert "?reference=" in answer.json()["detail"]
    assert [h["reference"] for h in load(larder, data, reference="bare")] == [
        "docker.io/library/bare:latest"
    ]


def test_a_reference_moves_to_what_is_loaded_under_it(larder, built_images, tmp_path):
    digests = []
    for name in ("shared-one", "shared-two"):
        path = tmp_path / f"{name}.tar"
        data = archives.skopeo(built_images[name], "oci-archive", path, "q.io/moves:1")
        digests.append(load(larder, data)[0]["manifest_digest"])
    assert digests[0] != digests[1]
    assert larder.get("/images/q.io/moves:1").json()["manifest_digest"] == digests[1]


def test_layers_that_are_here_are_not_built_again(larder, built_images, tmp_path):
    image = built_images["layers25"]
    data = archives.skopeo(image, "oci-archive", tmp_path / "archive.tar", "q.io/twice:1")
    load(larder, data)
    load(larder, data, reference="q.io/twice:2")
    newest = larder.get("/pulls", params={"limit": 1}).json()["pulls"][0]
    assert (newest["reference"], newest["policy"]) == ("q.io/twice:2", "load")
    assert newest["state"] == "done"
    assert {layer["state"] for layer in newest["layers"]} == {"reused"}


def test_curl_sends_a_file_as_it_is(larder, built_images, tmp_path):
    image = built_images["shared-base"]
    archives.skopeo(image, "docker-archive", tmp_path / "archive.tar", "q.io/curl/one:1")
    url = f"{larder.url}/images:load"
    file = ["-T", tmp_path / "archive.tar"]
    for more in (
        [],
        ["-H", "Transfer-Encoding: chunked"],
        ["-H", "Expect:"],
        ["-H", "Content-Type: application/x-tar"],
    ):
        command = ["curl", "-sf", "-X", "POST", *file, *more, url]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, f"{more}: {done}"
        assert '"reference":"q.io/curl/one:1"' in done.stdout.replace(" ", "")


def test_an_image_has_each_of_its_tags(larder, built_images, tmp_path):
    image = built_images["shared-two"]
    first = archives.skopeo(image, "docker-archive", tmp_path / "one.tar", "q.io/tags:1")
    listed = archives.read(first, "manifest.json").replace(
        b'"q.io/tags:1"', b'"q.io/tags:1","q.io/tags:2"'
    )
    loaded = load(larder, archives.replaced(first, "manifest.json", listed))
    assert [handle["reference"] for handle in loaded] == ["q.io/tags:1", "q.io/tags:2"]


def test_a_body_much_larger_than_memory_may_hold_goes_through(make_larder, tmp_path):
    """With chunks, and with a node that keeps little of it in memory."""
    larder = make_larder()
    noise = bytes(range(256)) * 4096
    tar = archives.Archive().add("noise", noise * 64).data()
    saved = archives.docker_save([(["q.io/large:1"], [tar])]).data()
    before = peak_kib(larder)
    load(larder, archives.in_pieces(saved))
    assert peak_kib(larder) - before < 32 << 10, "64 MiB went through 32 MiB"
    detail = pulling.inspect(larder, "q.io/large:1")
    with pulling.mounted(larder, detail) as fd:
        assert pulling.read_file(fd, "noise") == noise * 64
    assert fsck(pulling.path_of(larder, detail["files"]["layers"][0])) == ""


def peak_kib(larder):
    with open(f"/proc/{larder.pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))


SLOW = """
    CREATE FUNCTION hold_up() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN PERFORM pg_sleep(2); RETURN new; END $$;
    CREATE TRIGGER hold_up BEFORE INSERT OR UPDATE OF manifest_digest ON image_refs
        FOR EACH ROW WHEN (new.reference LIKE 'q.io/twice/first%') EXECUTE FUNCTION hold_up()"""
WAITS = """
    SELECT second.id FROM pulls first, pulls second
     WHERE first.reference = 'q.io/twice/first:1' AND first.state = 'composing'
       AND second.reference = 'q.io/twice/second:1' AND second.state = 'fetching'
       AND EXISTS (SELECT FROM pg_stat_activity
                    WHERE datname = current_database() AND wait_event = 'PgSleep')"""


def test_who_is_told_that_half_of_it_is_loaded_reads_that(make_larder, postgres):
    node = make_larder(database=postgres.create_database("half_loaded"))
    tars = [tar_of(Layer((file(b"number", b"%d" % number),))) for number in range(4)]

    def archive(number):
        images = [([f"q.io/twice/{name}:1"], [tars[number]]) for name in ("first", "second")]
        return archives.docker_save(images).data()

    load(node, archive(0))
    sql(node.database, SLOW)
    for number in (1, 2, 3):
        before = node.get("/images/q.io/twice/first:1").json()["manifest_digest"]
        with concurrent.futures.ThreadPoolExecutor() as others:
            answer = others.submit(node.post, "/images:load", data=archive(number))
            rows = wait_until(lambda: sql(node.database, WAITS), "the first is at it")
            assert node.delete(f"/pulls/{rows[0][0]}").status_code == 204
            problem = expect_problem(answer.result(), 409, "PullCancelled")
        assert "1 of the archive's 2 images are loaded" in problem["detail"]
        assert node.get("/images/q.io/twice/first:1").json()["manifest_digest"] != before
    assert not pulling.drafts(node.blob_dir)


def test_images_of_one_archive_that_share_a_damaged_layer(larder, new_directory):
    """The first finds the damage and has it mended, so that the second finds none."""
    builder = images.Builder(new_directory("damaged-layout"))
    base = [images.file(b"base", b"the damaged base" * 999)]
    for name in ("cached", "one", "two"):
        builder.add(name, [base, [images.file(b"own", name.encode())]])

    def saved(*names):
        tags = [([f"q.io/damaged/{name}:1"], builder.images[name]) for name in names]
        return archives.docker_save([(tag, archives.tars_of(image)) for tag, image in tags]).data()

    load(larder, saved("cached"))
    [layer, _] = pulling.inspect(larder, "q.io/damaged/cached:1")["files"]["layers"]
    path = larder.blob_dir / layer["path"]
    whole = path.read_bytes()
    path.write_bytes(whole[:1024] + bytes(128) + whole[1024 + 128 :])  # the superblock
    assert len(load(larder, saved("one", "two"))) == 2
    assert path.read_bytes() == whole
