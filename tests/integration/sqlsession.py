"""One psql for many statements, where a process for each would take most of the time.

    session = SqlSession(uri)
    session.ask("SELECT 1")          # [["1"]]; postgres.sql(session, …) does the same
"""

import subprocess

MARK = "--- answered ---"


class SqlSession:
    def __init__(self, conninfo):
        self.conninfo = conninfo
        self.process = None

    def ask(self, statement):
        """Rows as postgres.sql() gives them. A connection that was lost since is made anew, once."""
        try:
            return self._ask(statement)
        except EOFError:
            return self._ask(statement)

    def _ask(self, statement):
        if self.process is None:
            self._start()
        try:
            self.process.stdin.write(f"{statement.rstrip().rstrip(';')};\n\\echo {MARK}\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            self._end()
        lines = []
        for line in self.process.stdout:
            line = line.rstrip("\n")
            if line == MARK:
                return [row.split("\x1f") for row in lines]
            lines.append(line)
        self._end()

    def _start(self):
        command = ["psql", "-X", "-q", "-A", "-t", "-F", "\x1f", "-v", "ON_ERROR_STOP=1"]
        self.process = subprocess.Popen(
            [*command, "-d", self.conninfo],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def _end(self):
        self.close()
        raise EOFError("psql ended")

    def close(self):
        if self.process is not None:
            process, self.process = self.process, None
            process.kill()
            process.communicate()
