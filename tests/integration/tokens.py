"""Tokens files of the tests, and requests that show a token.

    tokens = Tokens(directory, h7="host", root="admin")
    node = make_larder(flags=tokens.flags)
    node.get("/images", headers=tokens.of("h7"))
"""

import hashlib
from pathlib import Path


class Tokens:
    """The secret of a name is `secret-of-<name>`."""

    def __init__(self, directory, **roles):
        self.path = Path(directory) / "tokens"
        self.write(**roles)

    @property
    def flags(self):
        return ["--tokens", str(self.path)]

    def write(self, **roles):
        lines = [f"{name} {role} {digest(secret(name))}\n" for name, role in roles.items()]
        self.path.write_text("# made by the tests\n" + "".join(lines))

    def of(self, name):
        return {"Authorization": f"Bearer {secret(name)}"}


def secret(name):
    return f"secret-of-{name}"


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()
