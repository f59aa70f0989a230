"""All fixtures of the converter, by name: one per rule and per dialect."""

import fixtures_dialects  # noqa: F401
import fixtures_headers  # noqa: F401
import fixtures_metadata  # noqa: F401
import fixtures_odd  # noqa: F401
import fixtures_refused  # noqa: F401
import fixtures_rules  # noqa: F401
import fixtures_stacks  # noqa: F401
from fixture import ALL

GOOD = {name: made for name, made in ALL.items() if made.refused is None}
REFUSED = {name: made for name, made in ALL.items() if made.refused is not None}
