"""Certificates of the tests, made by openssl: authorities, servers, clients.

    authority = Authority(directory, "ca")
    server = authority.issue("server", alternatives="IP:127.0.0.1", purpose="serverAuth")
    client = authority.issue("h7")        # client.cert, client.key
"""

import subprocess
from pathlib import Path

RSA_KEY = ["-newkey", "rsa:2048", "-nodes"]
KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]


def openssl(directory, *words):
    subprocess.run(["openssl", *map(str, words)], cwd=directory, check=True, capture_output=True)


def der_split(der, whole=False):
    """The first value in `der`, with its header if it shall be whole; and what follows it."""
    size, start = der[1], 2
    if size >= 0x80:
        start += size & 0x7F
        size = int.from_bytes(der[2:start], "big")
    return der[0 if whole else start : start + size], der[start + size :]


def der_join(tag, content):
    size = len(content).to_bytes(2, "big")
    return bytes([tag, size[1]] if len(content) < 0x80 else [tag, 0x82, *size]) + content


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

    def issue(self, name, subject=None, alternatives=None, purpose="clientAuth", expired=False,
              key=KEY):
        pair = Pair(self.directory, f"{self.cert.stem}-{name}")
        extensions = self.directory / "extensions"
        lines = [f"extendedKeyUsage={purpose}"]
        lines += [f"subjectAltName={alternatives}"] if alternatives else []
        extensions.write_text("\n".join(lines))
        request = self.directory / "request"
        openssl(self.directory, "req", *key, "-subj", subject or f"/CN={name}",
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

    def put_byte(self, pair, stand_in, byte):
        """The certificate with that byte for the "?" in its subject: also one that no command line
        can say."""
        der, signed, signature = (self.directory / name for name in ("der", "signed", "signature"))
        openssl(self.directory, "x509", "-in", pair.cert, "-outform", "DER", "-out", der)
        old, new = stand_in.encode(), stand_in.encode().replace(b"?", byte)
        content, _ = der_split(der.read_bytes())
        content, algorithm_and_signature = der_split(content, whole=True)
        assert content.count(old) == 1
        signed.write_bytes(content.replace(old, new))
        openssl(self.directory, "dgst", "-sha256", "-sign", self.key, "-out", signature, signed)
        algorithm, _ = der_split(algorithm_and_signature, whole=True)
        bits = der_join(0x03, b"\0" + signature.read_bytes())
        der.write_bytes(der_join(0x30, signed.read_bytes() + algorithm + bits))
        openssl(self.directory, "x509", "-inform", "DER", "-in", der, "-out", pair.cert)
