"""What a whole node tells of the credentials it pulls with: nothing, anywhere."""

import base64

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
