"""The names of prepared statements: two of one name would meet on a connection, some day."""

import re
from collections import Counter
from pathlib import Path

STORE = Path(__file__).resolve().parents[2] / "store"
STATEMENT = re.compile(r'struct statement \w+ = \{\s*"(\w+)"')


def test_every_statement_has_a_name_of_its_own():
    sources = [path.read_text() for path in STORE.rglob("*.c")]
    names = Counter(name for source in sources for name in STATEMENT.findall(source))
    assert len(names) > 50, "the pattern finds them"
    assert [name for name, count in names.items() if count > 1] == []
