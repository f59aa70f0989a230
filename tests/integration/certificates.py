"""Certificates of the tests, made by openssl: authorities, servers, clients.

    authority = Authority(directory, "ca")
    server = authority.issue("server", alternatives="IP:127.0.0.1", purpose="serverAuth")
    client = authority.issue("h7")        # client.cert, client.key
"""

import subprocess
from pathlib import Path

KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]


def openssl(directory, *words):
    subprocess.run(["openssl", *map(str, words)], cwd=directory, check=True, capture_output=True)


class Pair:
    def __init__(self, directory, name):
        self.cert, self.key = Path(directory) / f"{name}.pem", Path(directory) / f"{name}.key"

    @property
    def both(self):
        return str(self.cert), str(self.key)


class Authority(Pair):
    def __init__(self, directory, name):
        super().__init__(directory, name)
        self.directory = Path(directory)
        # keyUsage: without it Python 3.13 trusts no authority (RFC 5280, 4.2.1.3).
        openssl(directory, "req", "-x509", *KEY, "-days", 2, "-subj", f"/CN={name}",
                "-addext", "keyUsage=critical,keyCertSign,cRLSign",
                "-keyout", self.key, "-out", self.cert)  # fmt: skip

    def issue(self, name, subject=None, alternatives=None, purpose="clientAuth", expired=False):
        pair = Pair(self.directory, f"{self.cert.stem}-{name}")
        extensions = self.directory / "extensions"
        lines = [f"extendedKeyUsage={purpose}"]
        lines += [f"subjectAltName={alternatives}"] if alternatives else []
        extensions.write_text("\n".join(lines))
        request = self.directory / "request"
        openssl(self.directory, "req", *KEY, "-subj", subject or f"/CN={name}",
                "-keyout", pair.key, "-out", request)  # fmt: skip
        if not expired:
            openssl(self.directory, "x509", "-req", "-in", request, "-CA", self.cert,
                    "-CAkey", self.key, "-CAcreateserial", "-days", 2, "-extfile", extensions,
                    "-out", pair.cert)  # fmt: skip
        else:
            (self.directory / "index").write_text("")
            (self.directory / "serial").write_text("01\n")
            (self.directory / "ca.cnf").write_text(
                f"[ca]\ndefault_ca=d\n[d]\ndatabase=index\nserial=serial\nnew_certs_dir=.\n"
                f"certificate={self.cert}\nprivate_key={self.key}\ndefault_md=sha256\npolicy=p\n"
                f"[p]\ncommonName=supplied\n"
            )
            dates = ["-startdate", "20200101000000Z", "-enddate", "20200102000000Z"]
            openssl(self.directory, "ca", "-batch", "-config", "ca.cnf", *dates, "-extfile",
                    extensions, "-in", request, "-out", pair.cert, "-notext")  # fmt: skip
        return pair
