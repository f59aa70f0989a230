"""A node's own statements, run by pgbench: what PostgreSQL alone can do of a request."""

import os
import re
import subprocess
from pathlib import Path

from daemons import wait_until
from postgres import sql

# As a node sets its connections for these: else PostgreSQL may plan the long ones each time.
OPTIONS = "-c plan_cache_mode=force_generic_plan -c jit=off"


def logged(postgres, database, name, ask):
    """The text and the values of that statement, when `ask` makes a node run it."""
    log = Path(postgres.daemon.stderr_path)
    sql(database, "ALTER SYSTEM SET log_statement = 'all'")
    sql(database, "SELECT pg_reload_conf()")
    pattern = re.compile(rf"execute {name}: (.*)\n.*?DETAIL:  [Pp]arameters: (.*)\n")
    before = len(log.read_text())

    def found():
        ask()
        return pattern.search(log.read_text(), before)

    text, values = wait_until(found, f"PostgreSQL logs {name}").groups()
    sql(database, "ALTER SYSTEM RESET log_statement")
    sql(database, "SELECT pg_reload_conf()")
    taken = re.findall(r"\$\d+ = (NULL|'(?:[^']|'')*')", values)
    return text, [None if one == "NULL" else one[1:-1].replace("''", "'") for one in taken]


class PgBench:
    """Statements as logged() gives them, one after the other, with a number from 1 to `count` where
    their values had `shown`."""

    def __init__(self, scratch, database, count, name, statements, shown):
        self.database = database
        self.path = scratch / f"{name}.sql"
        self.shown, self.variables = str(shown), {}
        script = f"\\set n random(1, {count})\n"
        for text, values in statements:
            script += re.sub(r"\$(\d+)", lambda at, v=values: self._expression(v[int(at[1]) - 1]), text)
            script += ";\n"
        self.path.write_text(script)

    def _expression(self, value):
        """`:n` where the value had the number; all else in variables, for pgbench takes any
        `:word` for one."""
        if value is None:
            return "NULL"
        pieces = []
        for piece in value.split(self.shown):
            pieces.append(f":{self._variable(piece)}" if piece else "''")
        return "(" + " || :n || ".join(pieces) + ")"

    def _variable(self, text):
        return self.variables.setdefault(text, f"v{len(self.variables)}")

    def run(self, connections, seconds):
        """Transactions a second."""
        given = [word for item in self.variables.items() for word in ("-D", "=".join(reversed(item)))]
        done = subprocess.run(
            ["pgbench", "-n", "-M", "prepared", "-c", str(connections), "-j", "1", "-T",
             str(seconds), *given, "-f", self.path, self.database],
            capture_output=True, text=True, env=os.environ | {"PGOPTIONS": OPTIONS})  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        rate = re.search(r"tps = ([\d.]+)", done.stdout)  # there is none when none was done
        return float(rate.group(1)) if rate else 0.0
