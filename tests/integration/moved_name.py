"""Run in network and mount namespaces of its own by test_registry_reach.py: a registry whose
name first means a public address and then loopback.

    moved_name.py CERTIFICATE KEY -> [code of the first pull, of the second, rings inside]
"""

import json
import ssl
import subprocess
import sys
import tempfile
from pathlib import Path

from doorbell import Doorbell
from fault_registry import FaultRegistry
from registryprobe import Images, probe

PUBLIC = "9.9.9.9"  # nobody's here
NAME = "registry.example.test"


def main(certificate, key):
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    subprocess.run(["ip", "address", "add", f"{PUBLIC}/32", "dev", "lo"], check=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    environment = {"SSL_CERT_FILE": certificate, "https_proxy": "", "all_proxy": ""}
    with tempfile.TemporaryDirectory() as directory, tempfile.NamedTemporaryFile() as hosts:
        layout = Images(directory).layout
        subprocess.run(["mount", "--bind", hosts.name, "/etc/hosts"], check=True)
        with FaultRegistry(layout, address=PUBLIC, tls=context) as registry:
            with Doorbell(port=registry.port) as inside:
                codes = []
                for address in (PUBLIC, "127.0.0.1"):
                    Path(hosts.name).write_text(f"{address} {NAME}\n")
                    reference = f"{NAME}:{registry.port}/a/b:one"
                    codes.append(probe("pull", reference, environment=environment).code)
    print(json.dumps([*codes, inside.rings]))


if __name__ == "__main__":
    main(*sys.argv[1:])
