"""Proxies of the environment. The proxy is a fake: it writes down what it is asked and ends the
connection, for what counts is what it, and everybody else, is told."""

import base64
import socket
import threading

import pytest
from registryprobe import probe

REFERENCE = "registry.example.test/a/b:one"  # nobody resolves it
PASSWORD = "hunt/er 2@#?:x%41+"


class Proxy:
    """Says `answers` one after the other, each when something came; `heard` is what came."""

    def __init__(self, answers=()):
        self._answers = answers
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.heard = []

    def __enter__(self):
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._listener.close()

    def _serve(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return  # the test is over
            with connection:
                for answer in [*self._answers, b""]:
                    self.heard.append(connection.recv(65536))
                    connection.sendall(answer)


def ask(proxy):
    environment = {"https_proxy": proxy, "no_proxy": ""}
    return probe("resolve", REFERENCE, "--attempts", "1", environment=environment)


def percent_encoded(text):
    return "".join(f"%{byte:02x}" for byte in text.encode())


@pytest.mark.parametrize("scheme", ["http://", "HTTP://", ""])
def test_a_proxy_gets_its_login_and_the_name(scheme):
    with Proxy() as proxy:
        answer = ask(f"{scheme}user:{percent_encoded(PASSWORD)}@127.0.0.1:{proxy.port}")
    assert not answer.good
    heard = proxy.heard[0].decode()
    login = base64.b64encode(f"user:{PASSWORD}".encode()).decode()
    assert heard.startswith("CONNECT registry.example.test:443 ")
    assert f"Proxy-Authorization: Basic {login}\r\n" in heard
    assert PASSWORD not in answer.text and percent_encoded(PASSWORD) not in answer.text


@pytest.mark.parametrize("proxy", ["127.0.0.1:{}", "localhost:{}/", "http://127.0.0.1:{}/"])
def test_a_proxy_needs_neither_login_nor_scheme(proxy):
    with Proxy() as listener:
        ask(proxy.format(listener.port))
    heard = listener.heard[0].decode()
    assert heard.startswith("CONNECT registry.example.test:443 ")
    assert "Proxy-Authorization" not in heard


def test_a_user_of_a_proxy_may_have_no_password():
    with Proxy() as proxy:
        ask(f"http://user@127.0.0.1:{proxy.port}")
    login = base64.b64encode(b"user:").decode()
    assert f"Proxy-Authorization: Basic {login}\r\n" in proxy.heard[0].decode()


@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
def test_a_socks_proxy_resolves_the_name(scheme):
    with Proxy(answers=[b"\x05\x00"]) as proxy:
        ask(f"{scheme}://127.0.0.1:{proxy.port}")
    name = b"registry.example.test"
    assert proxy.heard[1] == b"\x05\x01\x00\x03" + bytes([len(name)]) + name + b"\x01\xbb"


@pytest.mark.parametrize(
    "proxy",
    [
        "http://user:hunt/er2@127.0.0.1:3128",
        "http://user:12/hunter2@127.0.0.1:3128",
        "http://user:hunt#er2@127.0.0.1:3128",
        "http://user:12#hunter2@127.0.0.1:3128",
        "http://user:hunt?er2@127.0.0.1:3128",
        "http://user:12?hunter2@127.0.0.1:3128",
        "http://user:hunt er2@127.0.0.1:3128",
        "http://user:hunter2@127.0.0.1:port",
        "http2://user:hunter2@127.0.0.1:3128",
        "socks6://user:hunter2@127.0.0.1:3128",
        "user:hunt/er2@127.0.0.1:3128",
        "http://user:hunter2%zz%00@127.0.0.1:3128",
    ],
)
def test_a_proxy_that_cannot_be_used_is_not_told(proxy):
    answer = ask(proxy)
    assert answer.code == "PullFailed" and "percent-encoded" in answer.message, answer.text
    assert "hunt" not in answer.text and "er2" not in answer.text


def test_a_proxy_that_is_away_is_told_without_its_login():
    answer = ask("http://user:hunt%40er2@127.0.0.1:1")
    assert answer.code == "PullFailed" and "127.0.0.1" in answer.message, answer.text
    assert "hunt" not in answer.text and "er2" not in answer.text
