"""openapi/openapi.yaml against the server, from the other side: all that the server has is in the
file, and all that the file promises of any operation can be had. (The requests and answers of all
other tests are held against the file by contract.py.)"""

import functools
import json
import re
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import archives
import contract
import images
import jsonschema
import pytest
import yaml
from daemons import wait_until
from larder import Larder, program
from problems import expect_problem

DOCUMENT = contract.document()
OPERATIONS = [op for methods in contract.operations().values() for op in methods.values()]
BUILT_IN_METHODS = {"head"}  # GET's route answers it


def name_of(operation):
    return operation.id


def having(status):
    return [operation for operation in OPERATIONS if status in operation.answers]


@functools.cache
def interface():
    """What the binary itself says of its routes and problems."""
    done = subprocess.run([program(), "interface"], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def example_of(parameter):
    if "example" in parameter:
        return parameter["example"]
    if "examples" in parameter:
        return next(iter(parameter["examples"].values()))["value"]
    schema = contract.resolve(parameter["schema"])
    return schema.get("example", schema.get("default"))


def takes_json(operation):
    return "application/json" in operation.bodies.get("content", {})


def sample(operation):
    """(path, options of a request) as the file's own examples have it."""
    path = operation.path
    query = {}
    for parameter in operation.parameters:
        if parameter["in"] == "path":
            value = quote(str(example_of(parameter)), safe="")
            path = path.replace("{%s}" % parameter["name"], value)
        elif parameter.get("required"):
            query[parameter["name"]] = example_of(parameter)
    options = {"params": query}
    json_body = operation.bodies.get("content", {}).get("application/json")
    if json_body:
        options["json"] = body_examples(json_body)[0]
    elif operation.bodies:
        layer = archives.Archive().data()
        options["data"] = archives.docker_save([(["contract.io/sample:1"], [layer])]).data()
    return path, options


def body_examples(media):
    if "example" in media:
        return [media["example"]]
    examples = media.get("examples", {}).values()
    return [contract.resolve(example)["value"] for example in examples]


# --- what the server has is in the file ---


def test_every_route_is_in_the_file_and_every_operation_has_its_route():
    routes = {(route["method"].lower(), route["pattern"]) for route in interface()["routes"]}
    operations = {(op.method, op.path) for op in OPERATIONS if op.method not in BUILT_IN_METHODS}
    assert operations == routes


@pytest.mark.parametrize("route", interface()["routes"], ids=lambda r: r["method"] + r["pattern"])
def test_the_file_knows_each_query_parameter_and_body_of_a_route(route):
    operation = contract.operations()[route["pattern"]][route["method"].lower()]
    documented = {p["name"] for p in operation.parameters if p["in"] == "query"}
    assert documented == set(route["query"])
    required = {True: "required", False: "optional", None: "none"}
    assert required[operation.bodies.get("required")] == route["body"]


@pytest.mark.parametrize("operation", OPERATIONS, ids=name_of)
def test_the_file_says_who_may_use_each_route(operation):
    method = "GET" if operation.method in BUILT_IN_METHODS else operation.method.upper()
    routes = {(r["method"], r["pattern"]): r["role"] for r in interface()["routes"]}
    role = routes[(method, operation.path)]
    is_open = operation.spec.get("security", DOCUMENT["security"]) == []
    assert is_open == (role == "anybody")
    assert operation.spec.get("x-larder-role", "anybody") == role


def test_every_problem_code_is_in_the_file_with_its_title_and_status():
    codes = DOCUMENT["components"]["schemas"]["ProblemCode"]["enum"]
    assert set(codes) == {problem["code"] for problem in interface()["problems"]}
    examples = [example["value"] for example in DOCUMENT["components"]["examples"].values()]
    by_code = {example["code"]: example for example in examples if "code" in example}
    for problem in interface()["problems"]:
        code = problem["code"]
        assert code in by_code, f"{code} has an example"
        kebab = re.sub(r"(?<!^)(?=[A-Z])", "-", code).lower()
        expected = problem | {"type": f"urn:larder:problem:{kebab}"}
        assert {key: by_code[code][key] for key in expected} == expected


def test_every_example_is_shown_with_an_answer_of_its_status():
    shown = {}
    for operation in OPERATIONS:
        for status, answer in operation.answers.items():
            for media in answer.get("content", {}).values():
                for reference in media.get("examples", {}).values():
                    shown.setdefault(reference.get("$ref"), set()).add(status)
    for name, example in DOCUMENT["components"]["examples"].items():
        statuses = shown.get(f"#/components/examples/{name}")
        assert statuses, f"the example {name} is shown somewhere"
        if "code" in example["value"]:
            assert statuses <= {str(example["value"]["status"]), "default"}, name


def test_every_example_has_its_schema():
    for operation in OPERATIONS:
        bodies = [("request", operation.bodies), *operation.answers.items()]
        for status, body in bodies:
            for media_type, media in body.get("content", {}).items():
                for value in body_examples(media):
                    what = f"{operation.id} {status}"
                    contract.validate(what, operation.validator(status, media_type), value)


def test_the_server_gives_the_file_as_yaml_and_as_json(larder):
    assert larder.get("/openapi.yaml").content == contract.FILE.read_bytes()
    assert larder.get("/openapi.json").json() == yaml.safe_load(contract.FILE.read_text())


# --- what the file promises can be had ---


@pytest.mark.parametrize("operation", having("400"), ids=name_of)
def test_a_parameter_that_is_not_in_the_file_is_refused(larder, operation):
    path, options = sample(operation)
    options["params"] = options["params"] | {"frob": "1"}
    answer = larder.request(operation.method.upper(), path, **options)
    if operation.method == "head":
        assert answer.status_code == 400
    else:
        expect_problem(answer, 400, "InvalidArgument")


@pytest.mark.parametrize("operation", having("404"), ids=name_of)
def test_what_is_not_there_is_not_found(larder, operation):
    path, options = sample(operation)
    if operation.id == "pullImage":
        options["json"] |= {"policy": "never"}
        options["headers"] = {"Prefer": "wait=10"}
    answer = larder.request(operation.method.upper(), path, **options)
    assert answer.status_code == 404, answer.text


@pytest.mark.parametrize("operation", filter(takes_json, having("413")), ids=name_of)
def test_a_body_that_is_too_long_is_refused(larder, operation):
    path, _ = sample(operation)
    headers = {"Content-Type": "application/json"}
    answer = larder.request(operation.method.upper(), path, data=b" " * (1 << 21), headers=headers)
    expect_problem(answer, 413, "PayloadTooLarge")


@pytest.mark.parametrize("operation", having("415"), ids=name_of)
def test_a_body_of_another_type_is_refused(larder, operation):
    path, _ = sample(operation)
    headers = {"Content-Type": "text/plain"}
    answer = larder.request(operation.method.upper(), path, data=b"x", headers=headers)
    expect_problem(answer, 415, "UnsupportedMediaType")
    assert set(answer.headers["Accept"].split(", ")) == set(operation.bodies["content"])


@pytest.fixture(scope="module")
def lost_larder(new_directory, postgres):
    """A node whose catalogue does not let it in any more."""
    name = "contract_lost"
    with Larder(new_directory("lost"), database=postgres.create_database(name)) as node:
        postgres.sql("postgres", f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        postgres.sql(
            "postgres",
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'",
        )
        wait_until(lambda: node.get("/readyz").status_code == 503, "the catalogue is lost")
        yield node
        postgres.sql("postgres", f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")


@pytest.mark.parametrize("operation", having("503"), ids=name_of)
def test_without_its_catalogue_a_node_says_so(lost_larder, operation):
    path, options = sample(operation)
    answer = lost_larder.request(operation.method.upper(), path, **options)
    assert answer.status_code == 503, answer.text
    assert int(answer.headers["Retry-After"]) >= 1
    if operation.id != "getReadiness":
        problem = expect_problem(answer, 503, "CatalogueUnavailable")
        assert int(answer.headers["Retry-After"]) == problem["retry_after"]


# --- and of an image that is here ---


@pytest.fixture(scope="module")
def image(larder, registry, built_images):
    images.push_to(registry, built_images["shared-one"], "contract/one:1")
    body = {"reference": f"{registry}/contract/one:1"}
    answer = larder.post("/images:pull", json=body, headers={"Prefer": "wait=60"})
    assert answer.status_code == 200, answer.text
    return larder.get(f"/images/{body['reference']}/inspect").json()


@pytest.mark.parametrize("kind", ["layers", "fsmeta", "vmdk"])
def test_a_file_comes_whole_in_part_or_not_at_all(larder, image, kind):
    file = image["files"][kind]
    url = file[0]["url"] if kind == "layers" else file["url"]
    whole = larder.get(url)
    assert whole.status_code == 200
    known = {"If-None-Match": whole.headers["ETag"]}
    part = larder.get(url, headers={"Range": "bytes=2-5"})
    assert (part.status_code, part.content) == (206, whole.content[2:6])
    assert larder.get(url, headers={"Range": "bytes=99999999999-"}).status_code == 416
    for ask in (larder.get, larder.head):
        assert ask(url, headers=known).status_code == 304
        assert ask(url, headers={"If-Match": '"other"'}).status_code == 412
    assert larder.head(url).headers["Content-Length"] == str(len(whole.content))


@pytest.mark.parametrize("path", ["", "/inspect"])
def test_an_image_comes_once_and_for_its_own_platform(larder, image, path):
    url = f"/images/{image['handle']['reference']}{path}"
    tag = larder.get(url).headers["ETag"]
    assert larder.get(url, headers={"If-None-Match": tag}).status_code == 304
    other = larder.get(url, params={"platform": "linux/s390x"})
    expect_problem(other, 422, "PlatformNotFound")


def test_a_list_that_has_not_changed_is_not_sent_again(larder, image):
    tag = larder.get("/images").headers["ETag"]
    assert larder.get("/images", headers={"If-None-Match": tag}).status_code == 304


def test_a_sandbox_on_another_platform_is_refused(larder, image):
    rootfs = {"type": "oci", "reference": image["handle"]["reference"]}
    sandbox = {"host": "h", "rootfs": rootfs}
    answer = larder.put("/sandboxes/s1", json=sandbox, params={"platform": "linux/s390x"})
    expect_problem(answer, 422, "PlatformNotFound")


def test_the_events_of_a_pull_are_pulls(larder, image):
    body = {"reference": image["handle"]["reference"], "force": True}
    pull = larder.post("/images:pull", json=body).json()
    with larder.get(f"/pulls/{pull['id']}/events", stream=True) as stream:
        lines = [line for line in stream.iter_lines(decode_unicode=True) if line]
    data = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
    assert data and lines[-2] == "event: done"
    for text in data:
        contract.check_event(text)


def running_pull(larder, reference):
    pulls = larder.get("/pulls").json()["pulls"]
    running = (p for p in pulls if p["reference"] == reference and p["state"] == "resolving")
    return next(running, None)


def test_who_waits_for_a_pull_hears_that_it_was_cancelled(larder):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        body = {"reference": f"127.0.0.1:{silent.getsockname()[1]}/silent/image:1"}
        wait = {"Prefer": "wait=50"}
        with ThreadPoolExecutor() as pool:
            waiting = pool.submit(larder.post, "/images:pull", json=body, headers=wait)
            pull = wait_until(lambda: running_pull(larder, body["reference"]), "it runs")
            assert larder.delete(f"/pulls/{pull['id']}").status_code == 204
            answer = waiting.result()
    expect_problem(answer, 409, "PullCancelled")


# --- and the checks themselves see what is wrong ---


@pytest.mark.parametrize(
    "shape, value",
    [
        ("ImageHandle", {}),
        ("Problem", {"type": "x", "title": "x", "status": 400, "detail": "x", "code": "Unheard"}),
        ("Pin", {"reference": "a", "created_at": 1, "more": True}),
        ("Pin", {"reference": "a", "created_at": "yesterday"}),
        ("PinList", {"pins": [{"reference": None, "created_at": 1}]}),
    ],
)
def test_a_shape_that_is_not_the_files_is_seen(shape, value):
    schema = contract.json_schema({"$ref": f"#/components/schemas/{shape}"}, closed=True)
    with pytest.raises(contract.ContractBroken):
        contract.validate(shape, jsonschema.Draft7Validator(schema), value)


@pytest.mark.parametrize(
    "path, template",
    [
        ("/images/a/inspect", "/images/{reference}/inspect"),
        ("/images/a/b/c", "/images/{reference}"),
        ("/images/a%2Finspect", "/images/{reference}"),
        ("/sandboxes/a", "/sandboxes/{id}"),
        ("/sandboxes/a/b", None),
        ("/images:prune", "/images:prune"),
    ],
)
def test_a_path_is_matched_as_the_server_matches_it(path, template):
    assert contract.find(path)[0] == template
