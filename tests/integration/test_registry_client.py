"""The registry client in front of a registry that misbehaves, through registry_probe."""

import base64
import json
import email.utils
import time
from urllib.parse import parse_qs, urlsplit

import pytest
from fault_registry import Fault, FaultRegistry
from registryprobe import MIB, Images, login_file, probe


@pytest.fixture(scope="session")
def images(tmp_path_factory):
    return Images(tmp_path_factory.mktemp("registry-layout"))


@pytest.fixture
def registry(images):
    with FaultRegistry(images.layout) as running:
        yield running


def test_an_index_leads_to_the_manifest_config_and_layers(registry, images):
    answer = probe("pull", f"{registry.host}/a/b:index")
    assert answer.good, answer.text
    assert answer.values["index"] == images.index["digest"]
    assert answer.values["manifest"] == images.manifest["digest"]
    assert answer.layers == images.layers


def test_a_digest_is_fetched_and_checked(registry, images):
    digest = images.manifest["digest"]
    assert probe("pull", f"{registry.host}/a/b@{digest}").good
    registry.fault("manifests", digest, Fault(content=b'{"schemaVersion": 2}'))
    answer = probe("pull", f"{registry.host}/a/b@{digest}")
    assert (answer.good, answer.code) == (False, "DigestMismatch"), answer.text


def test_a_tag_whose_content_is_not_what_the_registry_announces_fails(registry):
    registry.fault("manifests", "one", Fault(content=b'{"schemaVersion": 2}'))
    answer = probe("manifest", f"{registry.host}/a/b:one")
    assert answer.code == "DigestMismatch", answer.text


def test_resolve_asks_with_head_and_falls_back_to_get(registry, images):
    answer = probe("resolve", f"{registry.host}/a/b:one")
    assert answer.values["digest"] == images.manifest["digest"]
    assert (registry.count("HEAD", "/manifests/"), registry.count("GET", "/manifests/")) == (1, 0)
    registry.digest_header = False
    answer = probe("resolve", f"{registry.host}/a/b:one")
    assert answer.values["digest"] == images.manifest["digest"]
    assert registry.count("GET", "/manifests/") == 1


def test_a_platform_that_is_not_there_is_told_with_those_that_are(registry):
    answer = probe("pull", f"{registry.host}/a/b:index", "--platform", "linux/s390x")
    assert answer.code == "PlatformNotFound"
    assert "linux/amd64, linux/arm64" in answer.message


@pytest.mark.parametrize(
    "status, code",
    [
        (400, "PullFailed"),
        (401, "RegistryUnauthorized"),
        (403, "RegistryUnauthorized"),
        (404, "ImageNotFound"),
        (418, "PullFailed"),
        (204, "PullFailed"),
    ],
)
@pytest.mark.parametrize("command", ["manifest", "resolve"])
def test_a_final_status_is_told_at_once(registry, status, code, command):
    registry.fault("manifests", "*", Fault(status=status, message="no, thanks", always=True))
    answer = probe(command, f"{registry.host}/a/b:one")
    assert (answer.code, answer.status) == (code, status), answer.text
    assert len(registry.requests) == 1, "such a status is not tried again"
    if command == "manifest" and status != 204:
        assert "no, thanks" in answer.message


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_status_that_may_pass_is_tried_again(registry, images, status):
    registry.fault("manifests", "one", Fault(status=status), Fault(status=status))
    registry.fault("blobs", images.layers[0], Fault(status=status))
    answer = probe("pull", f"{registry.host}/a/b:one")
    assert answer.good, answer.text
    assert registry.count("GET", "/manifests/") == 3


def test_a_registry_that_stays_broken_is_given_up_on(registry):
    registry.fault("manifests", "*", Fault(status=503, always=True))
    answer = probe("manifest", f"{registry.host}/a/b:one", "--attempts", 3)
    assert (answer.code, answer.status) == ("PullFailed", 503)
    assert len(registry.requests) == 3


def test_retry_after_is_waited_for(registry):
    registry.fault("manifests", "one", Fault(status=429, headers={"Retry_After": "2"}))
    answer = probe("manifest", f"{registry.host}/a/b:one")
    assert answer.good and answer.seconds >= 2, answer.text


def test_a_retry_after_that_is_a_date_is_waited_for(registry):
    date = email.utils.formatdate(time.time() + 4, usegmt=True)
    registry.fault("manifests", "one", Fault(status=503, headers={"Retry_After": date}))
    answer = probe("manifest", f"{registry.host}/a/b:one")
    assert answer.good and answer.seconds >= 2, answer.text


def test_pauses_grow_and_are_never_the_same(registry):
    registry.fault("manifests", "*", Fault(status=503, always=True))
    pauses = []
    for _ in range(3):
        registry.times.clear()
        probe("manifest", f"{registry.host}/a/b:one", "--attempts", 4)
        pauses.append([b - a for a, b in zip(registry.times, registry.times[1:])])
    for first, second, third in pauses:
        assert first >= 0.1 and second >= 0.2 and third >= 0.4, "each at least half of its step"
    assert len({round(pause[2], 2) for pause in pauses}) > 1, f"chance has a part: {pauses}"


def test_a_rate_limit_is_told_with_what_is_left_of_it(registry):
    limits = {"RateLimit_Limit": "100;w=21600", "RateLimit_Remaining": "0;w=21600"}
    fault = Fault(status=429, headers={"Retry_After": "300", **limits})
    registry.fault("manifests", "one", fault)
    answer = probe("manifest", f"{registry.host}/a/b:one")
    assert answer.code == "TooManyRequests"
    assert answer.message.endswith("it allows 100 requests in 6 h, and 0 are left"), answer.text


def test_a_long_retry_after_is_handed_on_instead(registry):
    registry.fault("manifests", "one", Fault(status=429, headers={"Retry_After": "300"}))
    answer = probe("manifest", f"{registry.host}/a/b:one")
    assert (answer.code, answer.status, answer.retry_after) == ("TooManyRequests", 429, 300)
    assert answer.seconds < 60


def test_an_error_message_is_bounded_and_printable(registry):
    body = b"\x1b[31m" + b"x" * 5 * MIB
    registry.fault("manifests", "one", Fault(status=400, body=body))
    answer = probe("manifest", f"{registry.host}/a/b:one")
    assert answer.code == "PullFailed" and answer.message.isprintable()
    assert len(answer.message) < 400


def test_a_document_that_is_too_large_is_refused(registry):
    registry.fault("manifests", "one", Fault(content=b" " * (4 * MIB + 1)))
    answer = probe("manifest", f"{registry.host}/a/b:one")
    assert answer.code == "PullFailed" and "larger than" in answer.message


def test_a_registry_that_is_down_is_told_as_such():
    with FaultRegistry() as registry:
        host = registry.host
    answer = probe("manifest", f"{host}/a/b:one", "--attempts", 2)
    assert (answer.code, answer.status) == ("PullFailed", 0)
    assert host in answer.message


def test_a_registry_that_is_not_allowed_is_never_asked(registry):
    answer = probe("pull", f"{registry.host}/a/b:one", "--allow", "*.example.com")
    assert answer.code == "RegistryNotAllowed" and registry.requests == []
    assert probe("resolve", f"{registry.host}/a/b:one", "--allow", "127.0.0.1:*").good


@pytest.mark.parametrize("ignore_range", [False, True])
def test_a_dropped_download_goes_on_where_it_stopped(registry, images, ignore_range):
    layer = images.layers[0]
    drops = [Fault(drop_after=n, ignore_range=ignore_range) for n in (1, 100_000, 2 * MIB + 7)]
    registry.fault("blobs", layer, *drops, Fault(ignore_range=ignore_range))
    answer = probe("pull", f"{registry.host}/a/b:one")
    assert answer.good and answer.layers == images.layers, answer.text
    ranges = [request.headers.get("Range") for request in registry.seen(layer)]
    assert ranges[0] is None and ranges[1] == "bytes=1-" and len(ranges) == 4
    assert ranges[2] == ("bytes=100000-" if ignore_range else "bytes=100001-")


def test_a_download_that_makes_no_progress_is_given_up_on(registry, images):
    registry.fault("blobs", images.layers[0], Fault(drop_after=0, always=True))
    answer = probe("pull", f"{registry.host}/a/b:one", "--attempts", 3)
    assert answer.code == "PullFailed", answer.text
    assert len(registry.seen(images.layers[0])) == 3


def test_a_stalled_download_is_broken_off_and_resumed(registry, images):
    registry.fault("blobs", images.layers[0], Fault(stall_after=MIB, stall_seconds=30))
    answer = probe("pull", f"{registry.host}/a/b:one", "--stall-seconds", 2)
    assert answer.good and answer.seconds < 28, answer.text


def test_a_body_without_length_that_ends_early_is_resumed(registry, images):
    registry.fault("blobs", images.layers[0], Fault(drop_after=1000, no_length=True))
    assert probe("pull", f"{registry.host}/a/b:one").layers == images.layers


@pytest.mark.parametrize(
    "wrong",
    [
        Fault(wrong_range=True),
        Fault(status=416),
        Fault(wrong_range=True, drop_after=5000),
    ],
    ids=["another-start", "416", "another-start-and-dropped"],
)
def test_ranges_that_cannot_be_trusted_are_done_without(registry, images, wrong):
    layer = images.layers[0]
    registry.fault("blobs", layer, Fault(drop_after=100_000), wrong, Fault(drop_after=200_000))
    answer = probe("pull", f"{registry.host}/a/b:one")
    assert answer.good and answer.layers == images.layers, answer.text
    ranges = [request.headers.get("Range") for request in registry.seen(layer)]
    assert ranges == [None, "bytes=100000-", None, None]


def test_a_registry_that_refuses_everything_as_a_range_is_given_up_on(registry, images):
    layer = images.layers[0]
    registry.fault("blobs", layer, Fault(drop_after=1000), Fault(status=416, always=True))
    answer = probe("pull", f"{registry.host}/a/b:one")
    assert (answer.code, answer.status) == ("PullFailed", 416), answer.text
    assert len(registry.seen(layer)) == 3


@pytest.mark.parametrize(
    "fault",
    [
        Fault(content=b"x" * 1000, always=True),
        Fault(content=b"x" * 4 * MIB, always=True),
        Fault(content=b"x" * 4 * MIB, no_length=True, always=True),
        Fault(content=b"x" * 1000, no_length=True, always=True),
        Fault(content_length=1000, always=True),
        Fault(content_length=4 * MIB, always=True),
        Fault(content=b"x" * 3 * MIB, always=True),
    ],
    ids=[
        "shorter",
        "longer",
        "longer-unannounced",
        "shorter-unannounced",
        "announced-shorter",
        "announced-longer",
        "other-content",
    ],
)
def test_other_content_than_the_manifest_says_is_a_mismatch(registry, images, fault):
    registry.fault("blobs", images.layers[0], fault)
    answer = probe("pull", f"{registry.host}/a/b:one", "--attempts", 2)
    assert answer.code == "DigestMismatch", answer.text


def test_a_config_with_other_content_is_a_mismatch(registry, images):
    config = images.layout.read_document(images.manifest["digest"])["config"]
    registry.fault("blobs", config["digest"], Fault(content=b"{" + b" " * (config["size"] - 1)))
    assert probe("pull", f"{registry.host}/a/b:one").code == "DigestMismatch"
    registry.fault("blobs", config["digest"], Fault(content=b"{}"))
    assert probe("pull", f"{registry.host}/a/b:one").code == "DigestMismatch"


def test_a_missing_blob_fails_the_pull(registry, images):
    registry.fault("blobs", images.layers[1], Fault(status=404, message="blob unknown"))
    answer = probe("pull", f"{registry.host}/a/b:one")
    assert (answer.code, answer.status) == ("PullFailed", 404)


@pytest.mark.parametrize("where", ["connection", "stall", "pause"])
def test_a_cancel_is_obeyed_before_the_fault_ends(registry, images, where):
    layer = images.layers[0]
    if where == "connection":
        registry.fault("blobs", layer, Fault(pause_seconds=0.05, chunk=1000))
    elif where == "stall":
        registry.fault("blobs", layer, Fault(stall_after=1000))
    else:
        registry.fault("blobs", layer, Fault(status=503, headers={"Retry_After": "20"}))
    answer = probe("pull", f"{registry.host}/a/b:one", "--cancel-after-ms", 1000)
    assert answer.code == "PullCancelled", answer.text
    assert answer.seconds < 15, "the fault takes longer"


def test_basic_credentials_come_from_dockers_config(registry, images, tmp_path):
    registry.require_basic("user", "s3cret")
    answer = probe("pull", f"{registry.host}/a/b:one")
    assert (answer.code, answer.status) == ("RegistryUnauthorized", 401)
    good = login_file(tmp_path, registry)
    assert probe("pull", f"{registry.host}/a/b:one", "--docker-config", good).good
    bad = login_file(tmp_path, registry, password="wr0ng")
    answer = probe("pull", f"{registry.host}/a/b:one", "--docker-config", bad)
    assert answer.code == "RegistryUnauthorized"
    assert "wr0ng" not in answer.text


def test_an_anonymous_token_is_got_once_for_a_whole_pull(registry, images):
    registry.require_bearer()
    answer = probe("pull", f"{registry.host}/a/b:one")
    assert answer.good, answer.text
    assert registry.bearer.issued == 1
    query = parse_qs(urlsplit(registry.seen("/token")[0].path).query)
    assert query["scope"] == ["repository:a/b:pull"], "no more than pull is asked for"
    assert query["service"] == ['fault "registry"']


def test_a_login_gets_a_token_without_sending_the_password_elsewhere(registry, images, tmp_path):
    registry.require_bearer(user="user", password="s3cret")
    assert probe("pull", f"{registry.host}/a/b:one").code == "RegistryUnauthorized"
    registry.requests.clear()
    config = login_file(tmp_path, registry)
    assert probe("pull", f"{registry.host}/a/b:one", "--docker-config", config).good
    for request in registry.seen("/v2/"):
        assert not request.headers.get("Authorization", "").startswith("Basic ")


def test_an_identity_token_is_exchanged_with_post(registry, images, tmp_path):
    registry.require_bearer(identity_token="refresh me")
    config = login_file(tmp_path, registry, identitytoken="refresh me")
    answer = probe("pull", f"{registry.host}/a/b:one", "--docker-config", config)
    assert answer.good, answer.text
    form = registry.seen("/token")[0].form
    assert form["grant_type"] == ["refresh_token"] and form["scope"] == ["repository:a/b:pull"]


def test_a_token_that_runs_out_in_mid_pull_is_renewed(registry, images):
    registry.require_bearer(uses=2)
    registry.fault("blobs", images.layers[0], Fault(drop_after=1000), Fault(drop_after=1000))
    answer = probe("pull", f"{registry.host}/a/b:one")
    assert answer.good and answer.layers == images.layers, answer.text
    assert registry.bearer.issued == 3


def test_many_threads_share_one_client_whose_tokens_run_out(registry, images):
    registry.require_bearer(uses=20)
    registry.fault("blobs", "*", *[Fault(drop_after=MIB), Fault(status=503)] * 5)
    answer = probe("pull", f"{registry.host}/a/b:one", "--jobs", 6, "--repeat", 2)
    assert answer.good, answer.text
    assert sorted(answer.layers) == sorted(images.layers * 12)
    assert registry.bearer.issued >= 3


def test_a_token_is_not_used_after_its_lifetime(registry, images):
    registry.require_bearer(lifetime=1)
    registry.fault("blobs", images.layers[0], Fault(pause_seconds=0.5, chunk=MIB))
    assert probe("pull", f"{registry.host}/a/b:one").good
    assert registry.bearer.issued >= 2


def test_a_token_realm_that_fails_for_a_moment_is_asked_again(registry, images):
    registry.require_bearer()
    registry.fault("token", "*", Fault(status=503), Fault(status=429))
    assert probe("resolve", f"{registry.host}/a/b:one").good


def answer_with(registry, token="good-token", **more):
    """The realm answers that; the registry takes only `good-token`."""
    registry.require_bearer()
    registry.bearer.issue = lambda: {"token": token, **more}
    registry.bearer.accepts = lambda header: header == "Bearer good-token"


NO_TOKENS = {
    "with a header behind it": "good-token\r\nX-Injected: yes",
    "with a line feed": "good-token\n",
    "with a carriage return": "\rgood-token",
    "with a NUL": "good-token\0",
    "with a control character": "good\x01token",
    "with a delete": "good\x7ftoken",
    "with a blank": "good-token more",
    "with a letter that is not of ASCII": "g\u00f6od-token",
    "empty": "",
    "missing": None,
    "a number": 7,
    "a list": ["good-token"],
    "too long": "x" * ((64 << 10) + 1),
}


@pytest.mark.parametrize("what", NO_TOKENS)
@pytest.mark.parametrize("name", ["token", "access_token"])
def test_what_is_no_token_is_never_sent_to_the_registry(registry, what, name):
    answer_with(registry, **({"token": None} | {name: NO_TOKENS[what]}))
    answer = probe("pull", f"{registry.host}/a/b:one")
    assert (answer.code, answer.status) == ("RegistryUnauthorized", 401), answer.text
    assert "did not answer with a token" in answer.message
    assert len(registry.seen("/token")) == 1, "it would say the same again"
    for request in registry.seen("/v2/"):
        assert "Authorization" not in request.headers and "X-Injected" not in request.headers


def test_a_long_token_is_as_good_as_a_short_one(registry):
    answer_with(registry, "x" * 60000)
    registry.bearer.accepts = lambda header: header == "Bearer " + "x" * 60000
    assert probe("pull", f"{registry.host}/a/b:one").good


@pytest.mark.parametrize("kib, good", [(127, True), (128, False), (20 << 10, False)])
def test_no_more_is_read_of_a_realms_answer_than_a_token_takes(registry, kib, good):
    answer_with(registry, more="x" * (kib << 10))
    answer = probe("pull", f"{registry.host}/a/b:one")
    assert answer.good == good, answer.text
    if not good:
        assert answer.code == "PullFailed" and "131072" in answer.message, answer.text


@pytest.mark.parametrize("lifetime", [0, -1, -100, -(1 << 63), (1 << 63) - 1, 1.5, "soon", None, [60]])
def test_a_lifetime_that_cannot_be_meant_is_not_believed(registry, lifetime):
    answer_with(registry, expires_in=lifetime)
    answer = probe("pull", f"{registry.host}/a/b:one")
    assert answer.good, answer.text
    assert len(registry.seen("/token")) == 1, "the token counts for a moment, and for the whole pull"


def test_a_redirect_elsewhere_carries_no_credentials(registry, images, tmp_path):
    registry.require_bearer(user="user", password="s3cret")
    config = login_file(tmp_path, registry)
    with FaultRegistry(images.layout) as other:
        fault = Fault(redirect=f"{other.url}/elsewhere/", always=True)
        registry.fault("blobs", images.layers[0], fault)
        other.fault("blobs", images.layers[0], Fault(drop_after=MIB))
        answer = probe("pull", f"{registry.host}/a/b:one", "--docker-config", config)
        assert answer.good and answer.layers == images.layers, answer.text
        assert [request.headers.get("Range") for request in other.requests] == [
            None,
            f"bytes={MIB}-",
        ]
        for request in other.requests:
            assert "Authorization" not in request.headers


def test_nor_does_the_next_redirect_within_that_host(registry, images, tmp_path):
    registry.require_bearer(user="user", password="s3cret")
    config = login_file(tmp_path, registry)
    layer = images.layers[0]
    with FaultRegistry(images.layout) as other:
        registry.fault("blobs", layer, Fault(redirect=f"{other.url}/elsewhere/", always=True))
        other.fault("blobs", layer, Fault(redirect=f"{other.url}/elsewhere/"))
        answer = probe("pull", f"{registry.host}/a/b:one", "--docker-config", config)
        assert answer.good and answer.layers == images.layers, answer.text
        assert len(other.requests) == 2
        assert all("Authorization" not in request.headers for request in other.requests)


def test_nor_does_the_redirect_back(registry, images, tmp_path):
    """Whoever it was that sent us there chose what is asked, and asks with no login of ours."""
    registry.require_bearer(user="user", password="s3cret")
    config = login_file(tmp_path, registry)
    layer = images.layers[0]
    with FaultRegistry(images.layout) as other:
        registry.fault("blobs", layer, Fault(redirect=f"{other.url}/elsewhere/", always=True))
        other.fault("blobs", "*", Fault(redirect=f"{registry.url}/v2/back/b/blobs/", always=True))
        probe("pull", f"{registry.host}/a/b:one", "--docker-config", config, "--attempts", 1)
        back = registry.seen("/v2/back/")
        assert back and all("Authorization" not in request.headers for request in back)


@pytest.mark.parametrize("status", [301, 307, 308])
def test_an_identity_token_follows_no_redirect(registry, images, tmp_path, status):
    registry.require_bearer(identity_token="refresh me")
    config = login_file(tmp_path, registry, identitytoken="refresh me")
    with FaultRegistry(images.layout) as other:
        elsewhere = {"Location": f"{other.url}/token"}
        registry.fault("token", "*", Fault(status=status, headers=elsewhere, always=True))
        answer = probe("manifest", f"{registry.host}/a/b:one", "--docker-config", config)
        assert not answer.good and registry.seen("/token") and not other.requests, answer.text


def test_a_401_from_elsewhere_starts_no_login(registry, images, tmp_path):
    registry.require_basic("user", "s3cret")
    config = login_file(tmp_path, registry)
    with FaultRegistry(images.layout) as other:
        other.require_basic("user", "s3cret")
        fault = Fault(redirect=f"{other.url}/v2/a/b/blobs/", always=True)
        registry.fault("blobs", images.layers[0], fault)
        answer = probe("pull", f"{registry.host}/a/b:one", "--docker-config", config)
        assert answer.code == "RegistryUnauthorized", answer.text
        assert len(other.requests) == 1 and "Authorization" not in other.requests[0].headers


def test_a_realm_of_another_host_never_sees_the_password(registry, images, tmp_path):
    config = login_file(tmp_path, registry)
    with FaultRegistry(images.layout, address="127.0.0.2") as other:
        other.require_bearer()
        registry.require_bearer(realm=f"{other.url}/token")
        probe("pull", f"{registry.host}/a/b:one", "--docker-config", config)
        assert other.seen("/token"), "a token is asked for, anonymously"
        for request in other.requests:
            assert "Authorization" not in request.headers


def test_a_plain_realm_is_asked_only_where_plain_http_is_allowed(registry, images, tmp_path):
    """registry.sub.localhost and its sibling are this machine, to libcurl."""
    here = f"registry.sub.localhost:{registry.port}"
    realm = f"realm.sub.localhost:{registry.port}"
    registry.require_bearer(user="user", password="s3cret", realm=f"http://{realm}/token")
    registry.host = here  # what the login is for
    options = ["--insecure", here, "--docker-config", login_file(tmp_path, registry)]
    answer = probe("pull", f"{here}/a/b:one", *options)
    assert answer.code == "RegistryUnauthorized" and "plain http" in answer.message, answer.text
    assert not registry.seen("/token")
    answer = probe("pull", f"{here}/a/b:one", *options, "--mirror", f"ghcr.io=http://{realm}")
    assert answer.code == "RegistryUnauthorized" and "without credentials" in answer.message
    assert "Authorization" not in registry.seen("/token")[0].headers, "not in the clear"


@pytest.mark.parametrize("as_json", [True, False])
@pytest.mark.parametrize("form", ["raw", "encoded"])
def test_a_registry_that_repeats_a_password_is_not_quoted(registry, tmp_path, as_json, form):
    config = login_file(tmp_path, registry, password="s3cr\"t")
    encoded = base64.b64encode(b'user:s3cr"t').decode()
    words = "you sent " + {"raw": 's3cr"t', "encoded": encoded}[form]
    body = json.dumps({"errors": [{"message": words}]}) if as_json else words
    registry.require_basic("user", 's3cr"t')
    registry.fault("manifests", "*", Fault(status=403, body=body.encode()))
    answer = probe("manifest", f"{registry.host}/a/b:one", "--docker-config", config)
    assert (answer.code, answer.status) == ("RegistryUnauthorized", 403), answer.text
    assert "you sent" not in answer.text and "s3cr" not in answer.text


@pytest.mark.parametrize("secret", ["refresh me", "refresh%20me"])
def test_a_realm_that_repeats_a_token_is_not_quoted(registry, tmp_path, secret):
    registry.require_bearer(identity_token="refresh me")
    config = login_file(tmp_path, registry, identitytoken="refresh me")
    registry.fault("token", "*", Fault(status=403, message=f"you sent {secret}"))
    answer = probe("manifest", f"{registry.host}/a/b:one", "--docker-config", config)
    assert answer.status == 403 and "you sent" not in answer.text, answer.text


def test_a_registry_that_repeats_its_token_is_not_quoted(registry):
    registry.require_bearer()
    token = "tok-0123456789"
    registry.bearer.issue = lambda: {"token": token}
    registry.bearer.accepts = lambda header: header == f"Bearer {token}"
    registry.fault("manifests", "*", Fault(status=403, message=f"no more with {token}"))
    answer = probe("manifest", f"{registry.host}/a/b:one")
    assert answer.status == 403 and token not in answer.text, answer.text


def test_where_a_redirect_led_is_not_quoted(registry, images):
    """It may repeat the redirect's URL, which may be signed."""
    with FaultRegistry(images.layout) as other:
        url = f"{other.url}/v2/a/b/blobs/signed"
        other.fault("blobs", "*", Fault(status=403, message=f"no {url}?signature=s3cret"))
        registry.fault("manifests", "*", Fault(redirect=f"{url}?signature=s3cret"))
        answer = probe("manifest", f"{registry.host}/a/b:one")
    assert answer.status == 403 and "s3cret" not in answer.text, answer.text


@pytest.mark.parametrize(
    "target", ["ftp://127.0.0.1/x", "file:///etc/passwd", "http://user:pw@127.0.0.1/x", "http://"]
)
def test_a_redirect_to_something_odd_is_refused(registry, images, target):
    registry.fault("blobs", images.layers[0], Fault(redirect=target, always=True))
    answer = probe("pull", f"{registry.host}/a/b:one")
    assert answer.code == "PullFailed", answer.text


@pytest.mark.parametrize("kib", [4, 100, 1000])
def test_a_redirect_may_come_with_a_page(registry, images, kib):
    layer = images.layers[0]
    page = b" " * kib * 1024
    registry.fault("blobs", layer, Fault(redirect=f"{registry.url}/elsewhere/", body=page))
    answer = probe("pull", f"{registry.host}/a/b:one")
    assert answer.good and answer.layers == images.layers, answer.text


def test_a_redirect_that_breaks_off_is_asked_for_again(registry, images):
    page = Fault(redirect=f"{registry.url}/elsewhere/", body=b" " * 100, drop_after=20)
    registry.fault("blobs", images.layers[0], Fault(drop_after=MIB), page)
    answer = probe("pull", f"{registry.host}/a/b:one")
    assert answer.good and answer.layers == images.layers, answer.text


def test_but_not_with_one_that_is_large(registry, images):
    page = Fault(redirect=f"{registry.url}/elsewhere/", body=b" " * 2 * MIB, always=True)
    registry.fault("blobs", images.layers[0], page)
    answer = probe("pull", f"{registry.host}/a/b:one")
    assert answer.code == "PullFailed" and "too many words" in answer.message, answer.text


def test_redirects_in_a_circle_end(registry, images):
    target = f"{registry.url}/v2/a/b/blobs/{images.layers[0]}"
    registry.fault("blobs", images.layers[0], Fault(redirect=target, always=True))
    answer = probe("pull", f"{registry.host}/a/b:one")
    assert answer.code == "PullFailed" and "more than 5" in answer.message


def test_the_client_names_itself_and_what_it_accepts(registry):
    probe("manifest", f"{registry.host}/a/b:one")
    headers = registry.requests[0].headers
    assert headers["User-Agent"].startswith("larder/")
    assert "application/vnd.oci.image.index.v1+json" in headers["Accept"]


@pytest.fixture
def mirrored(images):
    """(mirror, registry, option that says so)."""
    with FaultRegistry(images.layout) as mirror, FaultRegistry(images.layout) as registry:
        yield mirror, registry, f"{registry.host}={mirror.url}"


def test_a_mirror_is_asked_instead_of_the_registry(mirrored, images):
    mirror, registry, option = mirrored
    for command in ("resolve", "pull"):
        answer = probe(command, f"{registry.host}/a/b:one", "--mirror", option)
        assert answer.good, answer.text
    assert answer.layers == images.layers
    assert registry.requests == [] and mirror.seen("/v2/a/b/")


def test_a_mirror_without_the_image_leads_to_the_registry(mirrored, images):
    mirror, registry, option = mirrored
    mirror.fault("manifests", "*", Fault(status=404, always=True))
    mirror.fault("blobs", "*", Fault(status=500, always=True))
    answer = probe("pull", f"{registry.host}/a/b:one", "--mirror", option)
    assert answer.good and answer.layers == images.layers, answer.text


def test_a_mirror_that_asks_for_a_pause_is_passed_over(mirrored, images):
    mirror, registry, option = mirrored
    pause = Fault(status=503, headers={"Retry_After": "1"}, always=True)
    mirror.fault("manifests", "*", pause)
    mirror.fault("blobs", "*", pause)
    answer = probe("pull", f"{registry.host}/a/b:one", "--mirror", option)
    assert answer.good and answer.layers == images.layers, answer.text
    asked = [request.path for request in mirror.requests]
    assert len(asked) == len(set(asked)), f"asked again: {asked}"


def test_what_a_mirror_began_the_registry_goes_on_with(mirrored, images):
    mirror, registry, option = mirrored
    mirror.fault("blobs", images.layers[0], Fault(drop_after=MIB), Fault(status=404))
    answer = probe("pull", f"{registry.host}/a/b:one", "--mirror", option)
    assert answer.good and answer.layers == images.layers, answer.text
    assert [request.headers.get("Range") for request in registry.requests] == [f"bytes={MIB}-"]


def test_a_mirror_never_sees_the_registrys_login(mirrored, images, tmp_path):
    mirror, registry, option = mirrored
    mirror.require_basic("user", "s3cret")
    registry.require_basic("user", "s3cret")
    config = login_file(tmp_path, registry)
    options = ("--mirror", option, "--docker-config", config)
    answer = probe("pull", f"{registry.host}/a/b:one", *options)
    assert answer.good, answer.text
    assert all("Authorization" not in request.headers for request in mirror.requests)


def test_the_registrys_error_counts_when_the_mirror_fails_too(mirrored):
    mirror, registry, option = mirrored
    mirror.fault("manifests", "*", Fault(status=403, always=True))
    answer = probe("pull", f"{registry.host}/a/b:missing", "--mirror", option)
    assert (answer.code, answer.status) == ("ImageNotFound", 404)


def test_a_mirror_with_other_content_is_passed_over(mirrored, images):
    mirror, registry, option = mirrored
    digest = images.manifest["digest"]
    mirror.fault("manifests", digest, Fault(content=b"{}", always=True))
    answer = probe("pull", f"{registry.host}/a/b@{digest}", "--mirror", option)
    assert answer.good and answer.layers == images.layers, answer.text
