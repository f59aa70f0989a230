"""A registry that serves an OCI layout and misbehaves on demand, on a free loopback port.

    with FaultRegistry(layout) as registry:
        registry.fault("blobs", digest, Fault(drop_after=1000), Fault(status=503))
        …pull f"{registry.host}/any/name:tag"…
        assert registry.count("GET", "/blobs/") == 3

Every repository name serves the layout's tags and blobs. Faults of a document or blob
are used up one a request, in order; `always=True` keeps one for good. `requests` has
what was asked, with its headers. Logins: require_basic() and require_bearer().
"""

import base64
import json
import re
import secrets
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Optional
from urllib.parse import parse_qs, urlsplit

from ocilayout import sha256

PATH = re.compile(r"^/v2/(?P<name>.+)/(?P<kind>manifests|blobs)/(?P<what>[^/]+)$")
CHUNK = 64 * 1024


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one answer; several may be combined."""

    status: Optional[int] = None  # instead of the content, with `message` in its body
    message: str = "a fault was asked for"
    body: Optional[bytes] = None  # the error's body as it is, or the redirect's
    headers: dict = field(default_factory=dict)
    content: Optional[bytes] = None  # other content than the digest promises
    content_type: Optional[str] = None
    content_length: Optional[int] = None  # announced instead of the true one
    no_length: bool = False  # ends the body by closing the connection
    ignore_range: bool = False
    wrong_range: bool = False  # answers 206 from another start than asked
    drop_after: Optional[int] = None  # closes after that many bytes of the body
    stall_after: Optional[int] = None  # sends nothing more after that many bytes
    stall_seconds: float = 60
    pause_seconds: float = 0  # between chunks of `chunk` bytes
    chunk: int = CHUNK
    redirect: Optional[str] = None  # an URL, or a prefix ending in "/" that gets the digest
    method: Optional[str] = None  # only to requests of this method
    always: bool = False


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: dict
    form: dict


class Bearer:
    """A token realm of its own, on the same server."""

    def __init__(self, registry, user, password, identity_token, uses, lifetime, realm):
        self.login = base64.b64encode(f"{user}:{password}".encode()).decode() if user else None
        self.identity_token = identity_token
        self.uses, self.lifetime = uses, lifetime
        self.realm = realm or f"{registry.url}/token"
        self.tokens = {}
        self.issued = 0

    def challenge(self, name):
        return (
            f'Bearer realm="{self.realm}",service="fault \\"registry\\"",'
            f'scope="repository:{name}:pull,push"'
        )

    def accepts(self, header):
        token = (header or "").removeprefix("Bearer ")
        if not self.tokens.get(token):
            return False
        self.tokens[token] -= 1
        return True

    def issue(self):
        token = secrets.token_urlsafe(24)
        self.tokens[token] = self.uses
        self.issued += 1
        answer = {"token": token, "access_token": token}
        if self.lifetime is not None:
            answer["expires_in"] = self.lifetime
        return answer


class FaultRegistry:
    handler = None  # a class of RegistryHandler's; None: that one itself

    def __init__(self, layout=None, address="127.0.0.1", tls=None, name=None):
        """`tls` is an ssl.SSLContext, `name` the host name that clients know it by."""
        self.layout = layout
        self.bearer = None
        self.basic = None
        self.digest_header = True
        self.requests = []
        self.times = []  # when each of them came
        self.faults = {}
        self.lock = threading.Lock()
        self.stopping = threading.Event()
        self.server = ThreadingHTTPServer((address, 0), self.make_handler())
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        self.address = (address, self.port)
        self.host = name or f"{address}:{self.port}"
        self.url = f"{'https' if tls else 'http'}://{self.host}"
        if tls:
            self.server.socket = tls.wrap_socket(
                self.server.socket, server_side=True, do_handshake_on_connect=False
            )

    def make_handler(self):
        registry = self

        class Handler(self.handler or RegistryHandler):
            pass

        Handler.registry = registry
        return Handler

    def __enter__(self):
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def fault(self, kind, what, *faults):
        """The next answers for manifests or blobs `what` (tag, digest or "*")."""
        with self.lock:
            self.faults.setdefault((kind, what), []).extend(faults)

    def next_fault(self, kind, what, method="GET"):
        with self.lock:
            for key in ((kind, what), (kind, "*")):
                waiting = self.faults.get(key)
                if waiting and waiting[0].method in (None, method):
                    return waiting[0] if waiting[0].always else waiting.pop(0)
        return Fault()

    def require_basic(self, user, password):
        self.basic = base64.b64encode(f"{user}:{password}".encode()).decode()

    def require_bearer(
        self,
        user=None,
        password=None,
        identity_token=None,
        uses=1000,
        lifetime=None,
        realm=None,
    ):
        """A token is good for `uses` requests; with a user, only who logs in gets one."""
        self.bearer = Bearer(self, user, password, identity_token, uses, lifetime, realm)

    def count(self, method, part):
        with self.lock:
            return sum(r.method == method and part in r.path for r in self.requests)

    def seen(self, part):
        with self.lock:
            return [r for r in self.requests if part in r.path]

    def content(self, kind, what):
        """(bytes, media type), or None."""
        digest, media_type = what, "application/octet-stream"
        if kind == "manifests" and not what.startswith("sha256:"):
            if what not in self.layout.tags:
                return None
            digest = self.layout.tags[what]["digest"]
        path = self.layout.blob_path(digest)
        if not path.exists():
            return None
        data = path.read_bytes()
        if kind == "manifests":
            media_type = json.loads(data).get("mediaType", media_type)
        return data, media_type


class RegistryHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    registry = None
    timeout = 60

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.note()
        url = urlsplit(self.path)
        if url.path == "/token":
            return self.answer_token(parse_qs(url.query))
        if url.path.startswith("/elsewhere/"):
            return self.answer_content("blobs", url.path.rsplit("/", 1)[1])
        return self.answer_registry(url.path)

    do_HEAD = do_GET

    def do_POST(self):
        length = int(self.headers.get("Content-Length", 0))
        form = parse_qs(self.rfile.read(length).decode())
        self.note(form)
        self.answer_token(form)

    def note(self, form=None):
        with self.registry.lock:
            self.registry.times.append(time.monotonic())
            self.registry.requests.append(
                Request(self.command, self.path, dict(self.headers), form or {})
            )

    def answer_json(self, status, value, **headers):
        body = json.dumps(value).encode()
        self.send_response(status)
        for name, text in headers.items():
            self.send_header(name.replace("_", "-"), text)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def answer_error(self, status, code, message, **headers):
        self.answer_json(status, {"errors": [{"code": code, "message": message}]}, **headers)

    def answer_token(self, query):
        bearer = self.registry.bearer
        given = self.headers.get("Authorization", "").removeprefix("Basic ")
        fault = self.registry.next_fault("token", "*")
        if fault.status:
            return self.answer_error(fault.status, "FAULT", fault.message, **fault.headers)
        if self.command == "POST":
            if query.get("refresh_token") != [bearer.identity_token]:
                return self.answer_error(401, "UNAUTHORIZED", "unknown refresh token")
        elif bearer.login and given != bearer.login:
            return self.answer_error(401, "UNAUTHORIZED", "wrong user name or password")
        return self.answer_json(200, bearer.issue())

    def is_authorized(self):
        given = self.headers.get("Authorization")
        if self.registry.bearer:
            return self.registry.bearer.accepts(given)
        return not self.registry.basic or given == f"Basic {self.registry.basic}"

    def answer_registry(self, path):
        match = PATH.match(path)
        if not match:
            return self.answer_error(404, "NOT_FOUND", "no such path")
        if not self.is_authorized():
            bearer = self.registry.bearer
            challenge = bearer.challenge(match["name"]) if bearer else 'Basic realm="fault"'
            return self.answer_error(
                401, "UNAUTHORIZED", "authentication required", WWW_Authenticate=challenge
            )
        return self.answer_content(match["kind"], match["what"])

    def answer_content(self, kind, what):
        fault = self.registry.next_fault(kind, what, self.command)
        if fault.redirect:
            target = fault.redirect + what if fault.redirect.endswith("/") else fault.redirect
            self.send_response(307)
            self.send_header("Location", target)
            self.send_header("Content-Length", str(len(fault.body or b"")))
            self.end_headers()
            return self.send_body(fault, fault.body or b"")
        if fault.status:
            return self.answer_fault(fault)
        found = self.registry.content(kind, what)
        if not found:
            code = "MANIFEST_UNKNOWN" if kind == "manifests" else "BLOB_UNKNOWN"
            return self.answer_error(404, code, f"{kind[:-1]} unknown")
        return self.answer_bytes(fault, *found)

    def answer_fault(self, fault):
        if fault.body is None:
            return self.answer_error(fault.status, "FAULT", fault.message, **fault.headers)
        self.send_response(fault.status)
        for name, text in fault.headers.items():
            self.send_header(name.replace("_", "-"), text)
        self.send_header("Content-Length", str(len(fault.body)))
        self.end_headers()
        self.wfile.write(fault.body)

    def answer_bytes(self, fault, data, media_type):
        digest = sha256(data)
        data = data if fault.content is None else fault.content
        start = self.range_start(fault)
        total = len(data)
        if start and start >= total:
            return self.answer_error(416, "RANGE", "range not satisfiable")
        self.send_response(206 if start is not None else 200)
        if start is not None:
            start += 1 if fault.wrong_range else 0
            self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
        body = data[start or 0 :]
        self.send_header("Content-Type", fault.content_type or media_type)
        if self.registry.digest_header:
            self.send_header("Docker-Content-Digest", digest)
        if not fault.no_length:
            length = len(body) if fault.content_length is None else fault.content_length
            self.send_header("Content-Length", str(length))
        else:
            self.close_connection = True
        for name, text in fault.headers.items():
            self.send_header(name.replace("_", "-"), text)
        self.end_headers()
        if self.command != "HEAD":
            self.send_body(fault, body)

    def range_start(self, fault):
        match = re.match(r"bytes=(\d+)-$", self.headers.get("Range", ""))
        return int(match[1]) if match and not fault.ignore_range else None

    def send_body(self, fault, body):
        cut = min(x for x in (fault.drop_after, fault.stall_after, len(body)) if x is not None)
        for at in range(0, cut, fault.chunk):
            self.wfile.write(body[at : min(at + fault.chunk, cut)])
            if fault.pause_seconds:
                self.registry.stopping.wait(fault.pause_seconds)
        if fault.stall_after is not None:
            self.registry.stopping.wait(fault.stall_seconds)
        if fault.drop_after is not None or fault.stall_after is not None:
            self.close_connection = True
        if fault.content_length is not None:
            self.close_connection = True
