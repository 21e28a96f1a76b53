"""The Python snippets of the README run as written, in a folder in which `frazil replay` ran as the README says."""

import contextlib
import io
import re
import subprocess
import unittest

import bench
import engines


class Readme(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = bench.fresh_folder("readme")
        subprocess.run([bench.BINARIES / "frazil", "replay"], cwd=cls.folder, check=True, timeout=bench.REPLAY_SECONDS,
                       stdout=subprocess.DEVNULL)
        readme = (bench.REPOSITORY / "README.md").read_text()
        cls.snippets = re.findall(r"^```python\n(.*?)^```", readme, re.DOTALL | re.MULTILINE)

    def run_snippet(self, word):
        (snippet,) = [snippet for snippet in self.snippets if f"import {word}" in snippet or f"from {word}" in snippet]
        printed = io.StringIO()
        with contextlib.chdir(self.folder), contextlib.redirect_stdout(printed):
            exec(snippet, {"__name__": "readme"})  # what a reader of the README would paste
        return printed.getvalue()

    def test_pyiceberg(self):
        self.assertIn("purchase", self.run_snippet("pyiceberg"))

    def test_duckdb(self):
        # Extensions come from wheels here, not from DuckDB's site.
        connection = engines.connect()
        import duckdb

        queries = []

        def sql(query):
            queries.append(query)
            return connection.sql(query.replace("INSTALL avro; LOAD avro; INSTALL iceberg; LOAD iceberg", "SELECT 1"))

        original, duckdb.sql = duckdb.sql, sql
        try:
            printed = self.run_snippet("duckdb")
        finally:
            duckdb.sql = original
        self.assertEqual(len(queries), 2)
        counts = dict(re.findall(r"│ (\w+)\s+│\s+(\d+) │", printed))
        self.assertEqual(counts["page_view"], str(bench.expected()["rows_by_event_type"]["page_view"]))
