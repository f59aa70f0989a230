"""Run in network and mount namespaces of its own by test_registry_reach.py: a registry whose
name means a public address and loopback, one after the other or both at once.

    moved_name.py CERTIFICATE KEY -> {what: [its outcomes…, rings inside]}
"""

import json
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from doorbell import Doorbell
from fault_registry import FaultRegistry
from registryprobe import Images, probe

PUBLIC = "9.9.9.9"  # nobody's here
LOOPBACK = "127.0.0.1"
NAME = "registry.example.test"


class NameServer:
    """Gives the name the public address once, and loopback whenever it is asked again."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((LOOPBACK, 53))
        self.given = []
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            query, client = self.socket.recvfrom(512)
            self.socket.sendto(self.answer(query), client)

    def answer(self, query):
        end = query.index(0, 12) + 5  # of the one question
        record = b""
        if query[end - 4 : end - 2] == b"\0\1":  # of type A; there are no others
            self.given.append(LOOPBACK if self.given else PUBLIC)
            ttl = b"\0\0\0\0"
            record = b"\xc0\x0c\0\1\0\1" + ttl + b"\0\4" + socket.inet_aton(self.given[-1])
        counts = b"\0\1" + (b"\0\1" if record else b"\0\0") + b"\0\0\0\0"
        return query[:2] + b"\x85\x80" + counts + query[12:end] + record


class Replaced:
    """A file of /etc with other lines, for this namespace."""

    def __init__(self, path):
        self.file = tempfile.NamedTemporaryFile()
        subprocess.run(["mount", "--bind", self.file.name, path], check=True)

    def write(self, *lines):
        Path(self.file.name).write_text("".join(f"{line}\n" for line in lines))


def meanings():
    return {found[4][0] for found in socket.getaddrinfo(NAME, 443, socket.AF_INET)}


def main(certificate, key):
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    subprocess.run(["ip", "address", "add", f"{PUBLIC}/32", "dev", "lo"], check=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    environment = {"SSL_CERT_FILE": certificate, "https_proxy": "", "all_proxy": ""}
    hosts, switch = Replaced("/etc/hosts"), Replaced("/etc/nsswitch.conf")
    switch.write("hosts: files dns")
    outcomes = {}

    def pull(port):
        reference = f"{NAME}:{port}/a/b:one"
        return probe("pull", reference, "--attempts", 1, environment=environment).code

    with tempfile.TemporaryDirectory() as directory:
        layout = Images(directory).layout
        with FaultRegistry(layout, address=PUBLIC, tls=context) as registry:
            with Doorbell(port=registry.port) as inside:
                codes = []
                for address in (PUBLIC, LOOPBACK):
                    hosts.write(f"{address} {NAME}")
                    codes.append(pull(registry.port))
            outcomes["moved"] = [*codes, inside.rings]

            hosts.write()
            Replaced("/etc/resolv.conf").write(f"nameserver {LOOPBACK}")
            server = NameServer()
            with Doorbell(port=registry.port) as inside:
                outcomes["moves at once"] = [pull(registry.port), inside.rings]
            outcomes["names given"] = server.given
            assert meanings() == {LOOPBACK}, "who asks again is led inside"

    with Doorbell() as inside:  # nothing listens at the public address
        hosts.write(f"{PUBLIC} {NAME}", f"{LOOPBACK} {NAME}")
        assert meanings() == {PUBLIC, LOOPBACK}
        outcomes["both"] = [pull(inside.port), inside.rings]
    print(json.dumps(outcomes))


if __name__ == "__main__":
    main(*sys.argv[1:])
