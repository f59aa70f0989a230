"""HTTP as bytes, for what no well-behaved client sends."""

import contextlib
import socket
import ssl
from urllib.parse import urlsplit


class RawAnswer:
    def __init__(self, data):
        head, _, self.body = data.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        self.status = int(lines[0].split()[1]) if lines[0] else None
        self.headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            self.headers[name.lower()] = value.strip()


def connect(url, seconds=20, source=None):
    """`source` is the address it comes from; all of 127.0.0.0/8 is this machine's. No certificate
    is checked."""
    parts = urlsplit(url)
    connection = socket.create_connection(
        (parts.hostname, parts.port), timeout=seconds, source_address=source and (source, 0)
    )
    if parts.scheme == "http":
        return connection
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context.wrap_socket(connection, suppress_ragged_eofs=True)


class KeptAlive:
    """One connection for many requests, one after another; for a selector, too."""

    def __init__(self, url):
        self.connection = connect(url)
        self.data = b""

    def fileno(self):
        return self.connection.fileno()

    def ask(self, request):
        self.connection.sendall(request)

    def take(self):
        """Waits for some bytes; the answer, once it is whole."""
        piece = self.connection.recv(65536)
        assert piece, "the node closed the connection"
        self.data += piece
        head, ended, body = self.data.partition(b"\r\n\r\n")
        if not ended:
            return None
        answer = RawAnswer(self.data)
        if len(body) < int(answer.headers["content-length"]):
            return None
        self.data = b""
        return answer

    def close(self):
        self.connection.close()


def read_all(connection):
    """What comes until the node closes the connection."""
    data = bytearray()
    with contextlib.suppress(ConnectionResetError):
        while piece := connection.recv(65536):
            data += piece
    return bytes(data)


def ask(url, request):
    """Sends the bytes, and what the node answers until it closes; ask for that."""
    with connect(url) as connection:
        connection.sendall(request)
        return RawAnswer(read_all(connection))
