"""What a whole node tells of the credentials it pulls with: nothing, anywhere."""

import base64
import json

import pytest
from fault_registry import Fault, FaultRegistry
from pulling import refused
from registryprobe import Images, login_file

PASSWORD = "s3cret-of-the-registry"


@pytest.fixture
def registry(tmp_path):
    with FaultRegistry(Images(tmp_path / "layout").layout) as running:
        running.require_basic("user", PASSWORD)
        yield running


def test_a_password_is_in_no_answer_log_or_metric(make_larder, registry, tmp_path):
    config = login_file(tmp_path, registry, password=PASSWORD)
    encoded = base64.b64encode(f"user:{PASSWORD}".encode()).decode()
    node = make_larder(flags=["--registry-auth", str(config)])
    registry.fault("manifests", "*", Fault(status=403, message=f"{PASSWORD} is wrong"))
    refused(node, f"{registry.host}/a/b:one")
    registry.fault("manifests", "*", Fault(status=403, body=f"no {encoded}".encode()))
    refused(node, f"{registry.host}/a/b:one")
    for body in (encoded, f'{{"a": {encoded}}}', f'"{PASSWORD}"', f'{{"{PASSWORD}":1,"{PASSWORD}":2}}'):
        registry.fault("manifests", "*", Fault(status=200, body=body.encode()))
        assert encoded[:8] not in refused(node, f"{registry.host}/a/b:one")["detail"]
    headers = {"Content-Type": f"application/{PASSWORD}"}
    registry.fault("manifests", "*", Fault(status=200, body=b"{}", headers=headers))
    refused(node, f"{registry.host}/a/b:one")
    assert any(encoded in str(request.headers) for request in registry.requests), "it was sent"
    told = [node.get(path).text for path in ("/pulls", "/metrics", "/readyz")]
    for text in [*told, node.log()]:
        assert PASSWORD not in text and encoded not in text


def repeated_at_the_realm_only(registry):
    """What is asked for shows a token; the password went to the realm before."""
    registry.basic = None
    registry.require_bearer("user", PASSWORD)


def document(body, media_type):
    return Fault(status=200, body=body, headers={"Content-Type": media_type})


def answers_that_repeat(word):
    manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "layers": []}
    config = {"mediaType": "application/vnd.oci.image.config.v1+json", "size": 2, "digest": word}
    platform = {"os": "linux", "architecture": word}
    entry = {"mediaType": MANIFEST, "size": 2, "digest": f"sha256:{'0' * 64}", "platform": platform}
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]}
    yield "a refusal", Fault(status=403, message=f"{word} is wrong")
    yield "a body", Fault(status=403, body=f"it is {word}".encode())
    yield "a media type", document(b"{}", f"application/{word}")
    yield "a digest", document(json.dumps({**manifest, "config": config}).encode(), MANIFEST)
    yield "a platform", document(json.dumps(index).encode(), INDEX)
    yield "another host", Fault(redirect=f"http://{word}.invalid/", always=True)


MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
ANSWERS = [what for what, _ in answers_that_repeat("")]


@pytest.mark.parametrize("what", ANSWERS)
def test_nor_is_one_that_another_request_showed(make_larder, registry, tmp_path, what):
    repeated_at_the_realm_only(registry)
    config = login_file(tmp_path, registry, password=PASSWORD)
    node = make_larder(flags=["--registry-auth", str(config)])
    registry.fault("manifests", "*", dict(answers_that_repeat("harmless"))[what])
    harmless = refused(node, f"{registry.host}/a/b:one")["detail"]
    assert "harmless" in harmless, "such an answer is quoted"
    registry.faults.clear()
    registry.fault("manifests", "*", dict(answers_that_repeat(PASSWORD))[what])
    withheld = refused(node, f"{registry.host}/a/b:one")["detail"]
    assert withheld != harmless and PASSWORD not in withheld
    assert registry.count("GET", "/token") > 0
    assert PASSWORD not in node.get("/pulls").text and PASSWORD not in node.log()


def test_nor_one_that_was_shown_for_another_repository(make_larder, registry, tmp_path):
    config = login_file(tmp_path, registry, password=PASSWORD)
    node = make_larder(flags=["--registry-auth", str(config)])
    registry.fault("manifests", "*", Fault(status=404))
    refused(node, f"{registry.host}/a/b:one")
    assert registry.seen("/manifests/")[-1].headers["Authorization"], "it was shown"
    registry.basic = None
    for message in (PASSWORD, base64.b64encode(f"user:{PASSWORD}".encode()).decode()):
        registry.fault("manifests", "*", Fault(status=403, message=message))
        detail = refused(node, f"{registry.host}/c/d:one")["detail"]
        assert "Authorization" not in registry.seen("/manifests/")[-1].headers
        assert "status 403" in detail and message not in detail
    assert PASSWORD not in node.log()


def test_a_secret_that_is_not_ascii_is_withheld_as_it_is_quoted(make_larder, registry, tmp_path):
    password = "g\u00e4nsef\u00fc\u00dfchen"
    registry.basic = base64.b64encode(f"user:{password}".encode()).decode()
    config = login_file(tmp_path, registry, password=password)
    node = make_larder(flags=["--registry-auth", str(config)])
    registry.fault("manifests", "*", dict(answers_that_repeat(password))["a digest"])
    detail = refused(node, f"{registry.host}/a/b:one")["detail"]
    assert "***" in detail and "nsef" not in detail, detail


def test_what_one_registry_makes_a_token_of_is_no_secret_of_another(make_larder, registry, tmp_path):
    """Else it would choose the words that are left out of the errors of all."""
    word = "harmless-words"
    registry.basic = None
    node = make_larder()
    with FaultRegistry(registry.layout) as other:
        other.require_bearer()
        other.bearer.issue = lambda: {"token": word}
        other.bearer.accepts = lambda header: header == f"Bearer {word}"
        other.fault("manifests", "*", Fault(status=403, message=f"no {word}"))
        assert word not in refused(node, f"{other.host}/a/b:one")["detail"]
        registry.fault("manifests", "*", Fault(status=403, message=f"no {word}"))
        assert word in refused(node, f"{registry.host}/a/b:one")["detail"]
