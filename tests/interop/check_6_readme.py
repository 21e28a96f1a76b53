"""What the README says: its Python snippets, in a folder in which `frazil replay` ran as it says; its commands for single
functions, on another port and with another folder for the lake; and the view that it names."""

import contextlib
import io
import json
import os
import re
import signal
import subprocess
import time
import unittest

import bench
import engines
from processes import environment, free_port

COMPILE_SECONDS = 400


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

    def test_the_view_drops_rows_with_an_id_that_is_there_already(self):
        columns = json.loads((bench.REPOSITORY / "tables/user_events.json").read_text())["schema"]["fields"]
        connection = engines.connect()
        connection.execute("CREATE SCHEMA streaming_analytics")
        names = ", ".join(f"{column['name']} VARCHAR" for column in columns)
        connection.execute(f"CREATE TABLE streaming_analytics.user_events ({names})")
        for row in [("a", "1"), ("a", "2"), ("b", "2"), (None, "1"), (None, "1")]:
            connection.execute("INSERT INTO streaming_analytics.user_events (record_id, file_name) VALUES (?, ?)", row)
        connection.execute((bench.REPOSITORY / "queries/athena/user_events_once.sql").read_text())
        found = connection.execute("SELECT record_id, file_name FROM streaming_analytics.user_events_once ORDER BY ALL").fetchall()
        self.assertEqual(found, [("a", "1"), ("b", "2"), (None, "1"), (None, "1")])

    def test_single_functions(self):
        readme = (bench.REPOSITORY / "README.md").read_text()
        section = readme.split("### Single functions")[1].split("\n## ")[0]
        # A command may go over several lines.
        commands = re.findall(r"^    ((?:.*\\\n)*.*)$", section, re.MULTILINE)
        watches = [command for command in commands if "cargo lambda watch" in command]
        invokes = [command for command in commands if "cargo lambda invoke" in command]
        self.assertEqual(len(watches), 2)
        for watch, invoke in zip(watches, invokes, strict=True):
            answer = self.answer_of(watch, invoke)
            if "records" in answer:
                self.assertEqual({record["result"] for record in answer["records"]}, {"Ok"})
            else:
                self.assertEqual(answer, {"batchItemFailures": []})
        rows = engines.load_table(self.folder / "single", "streaming_analytics.user_events").scan().count()
        self.assertGreater(rows, 0)

    def answer_of(self, watch, invoke):
        port = free_port()
        watch = watch.replace("cargo lambda watch", f"exec cargo lambda watch -A 127.0.0.1 -P {port}")
        watch = watch.replace("$PWD/.frazil", str(self.folder / "single"))
        invoke = invoke.replace("cargo lambda invoke", f"cargo lambda invoke -A 127.0.0.1 -P {port}")
        run = {"shell": True, "cwd": bench.REPOSITORY, "env": environment()}
        with open(self.folder / "watch.log", "ab") as log:
            server = subprocess.Popen(watch, stdout=log, stderr=log, start_new_session=True, **run)
        try:
            end = time.monotonic() + COMPILE_SECONDS
            while True:
                answered = subprocess.run(invoke, capture_output=True, text=True, timeout=COMPILE_SECONDS, **run)
                if answered.returncode == 0:
                    return json.loads(answered.stdout)
                if time.monotonic() > end or server.poll() is not None:
                    log = (self.folder / "watch.log").read_text()
                    self.fail(f"{answered.stdout}{answered.stderr}\n{log[-4000:]}")
                time.sleep(1)
        finally:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait(20)
