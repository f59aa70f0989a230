"""TLS: what is served, with which versions, how certificates are changed, and who shows one."""

import contextlib
import os
import shutil
import signal
import socket
import ssl
import subprocess
import threading

import images as image_layouts
import pulling
import pytest
import requests
from certificates import RSA_KEY, Authority
from daemons import wait_until
from larder import Larder, program
from tokens import Tokens
from tunnel import pump

ROLES = {"h7": "host", "root": "admin"}


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return tmp_path_factory.mktemp("certificates")


@pytest.fixture(scope="module")
def authority(directory):
    return Authority(directory, "authority")


@pytest.fixture(scope="module")
def server(authority):
    return authority.issue("server", alternatives="IP:127.0.0.1", purpose="serverAuth")


@pytest.fixture(scope="module")
def clients(directory):
    return Authority(directory, "clients")


def tls_flags(pair):
    return ["--tls-cert", str(pair.cert), "--tls-key", str(pair.key)]


@pytest.fixture(scope="module")
def tokens(directory):
    tokens = Tokens(directory, **ROLES)
    with tokens.path.open("a") as file:
        file.write("h8 host certificate\nreader reader certificate\n")
    return tokens


@pytest.fixture(scope="module")
def node(new_directory, server, clients, tokens):
    flags = [*tls_flags(server), *tokens.flags, "--tls-client-ca", str(clients.cert)]
    with Larder(new_directory("larder"), flags=flags) as running:
        yield running


@pytest.fixture(scope="module")
def ask(node, authority):
    """One request on a connection of its own, with that certificate and that token."""

    def ask_once(method, path, pair=None, headers=None, **options):
        return requests.request(
            method,
            node.url + path,
            verify=str(authority.cert),
            cert=pair.both if pair else None,
            headers=headers,
            timeout=30,
            **options,
        )

    return ask_once


def test_what_is_served_is_https(node, ask):
    assert node.url.startswith("https://127.0.0.1:")
    assert ask("GET", "/healthz").status_code == 200


def test_plain_http_gets_no_answer(node):
    host, port = node.url.removeprefix("https://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"HTTP/" not in connection.recv(4096)


def handshake(node, authority, low, high, ciphers="DEFAULT:@SECLEVEL=0"):
    context = ssl.create_default_context(cafile=str(authority.cert))
    context.set_ciphers(ciphers)
    context.minimum_version, context.maximum_version = low, high
    host, port = node.url.removeprefix("https://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        with context.wrap_socket(connection, server_hostname=host) as wrapped:
            return wrapped.version(), wrapped.getpeercert(binary_form=True)


class OldServer:
    """One that takes every version of TLS: whom it lets in, a node does not refuse for something
    else."""

    def __init__(self, pair):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.set_ciphers("DEFAULT:@SECLEVEL=0")
        self.context.minimum_version = ssl.TLSVersion.TLSv1
        self.context.load_cert_chain(*pair.both)
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://127.0.0.1:{self.socket.getsockname()[1]}"
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        with contextlib.suppress(OSError):  # closed
            while True:
                connection, _ = self.socket.accept()
                with contextlib.suppress(OSError):
                    self.context.wrap_socket(connection, server_side=True).close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tls_begins_at_1_2(node, authority, server):
    versions = ssl.TLSVersion
    for version, name in ((versions.TLSv1_2, "TLSv1.2"), (versions.TLSv1_3, "TLSv1.3")):
        assert handshake(node, authority, version, version)[0] == name
    for version, name in ((versions.TLSv1, "TLSv1"), (versions.TLSv1_1, "TLSv1.1")):
        with OldServer(server) as old:
            try:
                assert handshake(old, authority, version, version)[0] == name
            except ssl.SSLError as error:
                pytest.skip(f"this machine's OpenSSL speaks no {name}: {error}")
        # By an end of the connection: libmicrohttpd sends no alert that would say why.
        with pytest.raises((ssl.SSLError, ConnectionResetError)):
            handshake(node, authority, version, version)


def test_no_key_decrypts_what_was_recorded(make_larder, authority, tokens):
    pair = authority.issue(
        "rsa", alternatives="IP:127.0.0.1", purpose="serverAuth", key=RSA_KEY
    )
    node = make_larder(flags=[*tls_flags(pair), *tokens.flags])
    version = ssl.TLSVersion.TLSv1_2
    ephemeral = "ECDHE-RSA-AES128-GCM-SHA256"
    assert handshake(node, authority, version, version, ephemeral)[0] == "TLSv1.2"
    with pytest.raises((ssl.SSLError, ConnectionResetError)):
        handshake(node, authority, version, version, "AES128-GCM-SHA256:AES256-GCM-SHA384")


def test_bodies_larger_than_a_record_come_whole_in_both_directions(ask, tokens):
    whole = ask("GET", "/openapi.yaml", headers=tokens.of("root")).content
    assert len(whole) > 64 * 1024 and whole.endswith(b"\n")
    body = {"reference": "x" * 900_000}
    answer = ask("POST", "/images:pull", headers=tokens.of("root"), json=body)
    assert answer.status_code == 400, answer.text


def test_a_layer_comes_whole(make_larder, server, authority, registry, built_images):
    node = make_larder(flags=tls_flags(server))
    node.authority = str(authority.cert)
    image_layouts.push_to(registry, built_images["busybox"], "library/busybox:1.36")
    reference = f"{registry}/library/busybox:1.36"
    pulling.pull(node, reference)
    detail = pulling.inspect(node, reference)
    layer = detail["files"]["layers"][0]
    expected = (node.blob_dir / layer["path"]).read_bytes()
    assert node.get(layer["url"]).content == expected
    part = node.get(layer["url"], headers={"Range": "bytes=1000-70000"})
    assert part.content == expected[1000:70001]


def test_a_certificate_is_who_the_tokens_file_says(ask, clients):
    h8 = clients.issue("h8")
    body = {"host": "h8", "rootfs": {"type": "disk", "path": "/x.raw"}}
    assert ask("PUT", "/sandboxes/s8", h8, json=body).status_code == 201
    assert ask("PUT", "/sandboxes/s8", h8, json=body | {"host": "h7"}).status_code == 403
    assert ask("DELETE", "/sandboxes/s8", h8).status_code == 204
    reader = clients.issue("reader")
    assert ask("GET", "/images", reader).status_code == 200
    assert ask("DELETE", "/pins/a/b", reader).status_code == 403


def test_a_certificate_without_a_line_is_nobodys(ask, clients):
    answer = ask("GET", "/images", clients.issue("stranger"))
    assert answer.status_code == 401 and "has no line" in answer.json()["detail"]
    assert ask("GET", "/images", clients.issue("h7")).status_code == 401, "h7 must show its token"


def test_a_token_is_as_good_as_a_certificate(ask, clients, tokens):
    assert ask("DELETE", "/pins/a/b", headers=tokens.of("root")).status_code == 204
    stranger = clients.issue("stranger")
    assert ask("DELETE", "/pins/a/b", stranger, headers=tokens.of("root")).status_code == 204


@pytest.mark.parametrize(
    "how",
    [
        {"expired": True},
        {"purpose": "serverAuth"},
        {"subject": "/CN=h8/CN=root"},
        {"subject": "/O=h8"},
        {"subject": "/CN=h8 "},
    ],
    ids=lambda how: "-".join(map(str, how.values())),
)
def test_a_certificate_that_does_not_hold_is_no_certificate(ask, clients, how):
    answer = ask("GET", "/images", clients.issue("h8", **how))
    assert answer.status_code == 401, answer.text


def test_a_name_with_a_nul_is_not_the_name_before_it(ask, clients):
    pair = clients.issue("nul", subject="/CN=h8?root")
    clients.put_byte(pair, "h8?root", b"\0")
    assert ask("GET", "/images", pair).status_code == 401
    plain = clients.issue("plain", subject="/CN=reade?")
    clients.put_byte(plain, "reade?", b"r")
    assert ask("GET", "/images", plain).status_code == 200, "what was signed anew counts"


@pytest.mark.parametrize("name", ["others", "clients"])
def test_a_certificate_of_another_authority_is_no_certificate(ask, tmp_path, name):
    other = Authority(tmp_path, name)  # whatever it calls itself, it has another key
    assert ask("GET", "/images", other.issue("h8")).status_code == 401


def test_a_reload_changes_the_certificate_and_not_what_is_open(
    make_larder, directory, authority, tokens
):
    served = directory / "served.pem", directory / "served.key"
    first = authority.issue("first", alternatives="IP:127.0.0.1", purpose="serverAuth")
    second = authority.issue("second", alternatives="IP:127.0.0.1", purpose="serverAuth")
    install(first, served)
    flags = ["--tls-cert", str(served[0]), "--tls-key", str(served[1])]
    node = make_larder(flags=flags)
    node.authority = str(authority.cert)
    assert node.get("/healthz").status_code == 200

    any_version = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
    before = handshake(node, authority, *any_version)[1]
    install(second, served)
    os.kill(node.pid, signal.SIGHUP)
    wait_until(
        lambda: handshake(node, authority, *any_version)[1] != before, "the new one is served"
    )
    assert node.get("/healthz").status_code == 200, "on the connection from before"

    after = handshake(node, authority, *any_version)[1]
    shutil.copy(first.key, served[1])  # does not belong to the certificate
    os.kill(node.pid, signal.SIGHUP)
    wait_until(lambda: "not reloaded" in node.log(), "the wrong pair is told of")
    assert handshake(node, authority, *any_version)[1] == after, "and changes nothing"


def test_a_reload_changes_whose_certificates_count_also_on_open_connections(
    make_larder, directory, server, clients, authority, tokens
):
    trusted = directory / "trusted.pem"
    shutil.copy(clients.cert, trusted)
    flags = [*tls_flags(server), *tokens.flags, "--tls-client-ca", str(trusted)]
    node = make_larder(flags=flags)
    others = Authority(directory, "others")

    def session(of):
        kept = requests.Session()
        kept.trust_env = False  # whose bundle would count instead
        kept.verify, kept.cert = str(authority.cert), of.issue("h8").both
        return kept

    def status(kept):
        return kept.get(f"{node.url}/images", timeout=30).status_code

    before, after = session(clients), session(others)
    assert (status(before), status(after)) == (200, 401)
    shutil.copy(others.cert, trusted)
    tokens_text = tokens.path.read_text()
    try:
        tokens.path.write_text("broken\n")  # and does not hold up the certificates
        os.kill(node.pid, signal.SIGHUP)
        wait_until(lambda: status(after) == 200, "the other authority counts, on its connection")
    finally:
        tokens.path.write_text(tokens_text)
    assert status(before) == 401, "its connection is open, its authority is not"
    assert "not reloaded" in node.log()


def install(pair, served):
    shutil.copy(pair.cert, served[0])
    shutil.copy(pair.key, served[1])


def test_many_reloads_keep_handshakes_working(make_larder, server, authority):
    node = make_larder(flags=tls_flags(server))
    node.authority = str(authority.cert)
    for _ in range(30):
        os.kill(node.pid, signal.SIGHUP)
        answer = requests.get(f"{node.url}/healthz", verify=str(authority.cert), timeout=30)
        assert answer.status_code == 200


# A server hello that asks for another one of the client (RFC 8446, section 4.1.3).
ASK_AGAIN = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")


def test_a_handshake_that_pauses_outlives_many_reloads(make_larder, server, authority):
    """The node has chosen its certificate before it asks for another hello."""
    node = make_larder(flags=tls_flags(server))
    host, port = node.url.removeprefix("https://").split(":")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        between = f"127.0.0.1:{listener.getsockname()[1]}"
        command = ["openssl", "s_client", "-connect", between, "-tls1_3"]
        command += ["-groups", "ffdhe2048:X25519"]  # it offers a key of the first
        command += ["-CAfile", str(authority.cert), "-verify_return_error"]
        client = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        listener.settimeout(60)
        near = listener.accept()[0]
        near.settimeout(60)
    with near, socket.create_connection((host, int(port)), timeout=60) as far:
        far.sendall(near.recv(65536))
        answer = far.recv(65536)
        assert ASK_AGAIN in answer, "the node takes no such key"
        near.sendall(answer)
        hello = near.recv(65536)
        for count in range(1, 13):
            os.kill(node.pid, signal.SIGHUP)
            wait_until(lambda: node.log().count('"reloaded"') == count, "the reload is told of")
        far.sendall(hello)
        threading.Thread(target=pump, args=(far, near), daemon=True).start()
        said = client.communicate(timeout=60)
    assert client.returncode == 0, said


def refusal(tmp_path, *flags):
    command = [program(), "serve", "--data-dir", str(tmp_path / "data"), *map(str, flags)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2, done
    return done.stderr


def test_flags_that_do_not_go_together_are_refused(tmp_path, server, clients, authority, tokens):
    cert, key = server.cert, server.key
    assert "belong together" in refusal(tmp_path, "--tls-cert", cert)
    assert "belong together" in refusal(tmp_path, "--tls-key", key)
    said = refusal(tmp_path, *tls_flags(server), "--tls-client-ca", clients.cert)
    assert "--tokens" in said
    said = refusal(tmp_path, *tokens.flags, "--tls-client-ca", clients.cert)
    assert "--tls-cert" in said
    other = authority.issue("other", purpose="serverAuth")
    said = refusal(tmp_path, "--tls-cert", cert, "--tls-key", other.key)
    assert str(other.key) in said
    said = refusal(tmp_path, "--tls-cert", tmp_path / "none", "--tls-key", key)
    assert str(tmp_path / "none") in said
    said = refusal(tmp_path, "--tls-cert", key, "--tls-key", key)
    assert str(key) in said


def test_a_key_that_everybody_may_read_is_refused(tmp_path, server):
    key = tmp_path / "key"
    shutil.copy(server.key, key)
    key.chmod(0o644)
    said = refusal(tmp_path, "--tls-cert", server.cert, "--tls-key", key)
    assert "everybody may read it" in said and str(key) in said


@pytest.mark.parametrize("flag", ["--tls-cert", "--tls-client-ca"])
def test_certificates_that_everybody_may_write_are_refused(tmp_path, server, clients, tokens, flag):
    given = {"--tls-cert": server.cert, "--tls-key": server.key, "--tls-client-ca": clients.cert}
    loose = tmp_path / "loose.pem"
    shutil.copy(given[flag], loose)
    loose.chmod(0o666)
    words = [word for pair in (given | {flag: loose}).items() for word in pair]
    said = refusal(tmp_path, *tokens.flags, *words)
    assert "everybody may write it" in said and str(loose) in said


def test_tokens_with_tls_may_be_served_to_others(make_larder, database, server, tokens):
    flags = ["--listen", "0.0.0.0:0", *tls_flags(server), *tokens.flags]
    make_larder(database=database, flags=flags)
