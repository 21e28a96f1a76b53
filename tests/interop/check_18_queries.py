"""The queries of `queries/` on a million rows: the same rows from each engine, after a column was added and after a compaction
too. What only Athena runs is parsed as Trino, and its functions are looked up."""

import contextlib
import json
import math
import re
import unittest
from collections import Counter
from datetime import datetime
from decimal import Decimal

import bench
import million
import pyarrow
import sqlglot
from bench import REPOSITORY, TABLES, fresh_folder, run
from engines import connect, load_table
from jvm import Spark
from sqlglot import exp

QUERIES = REPOSITORY / "queries"
FUNCTIONS = REPOSITORY / "tests/interop/trino_functions.txt"
COMPARED = (
    "1_latest", "2_sessions", "3_time_travel", "4_anomalies", "5_key_metrics", "6_real_time_metrics", "7_partitions",
    "7_snapshots",
)
NAMESPACE = million.NAME.split(".")[0]


def text(engine, name, now=million.NOW):
    """A query as it is, but that it is `now`."""
    query = (QUERIES / engine / f"{name}.sql").read_text()
    return re.sub(r"current_timestamp", f"CAST('{now:%Y-%m-%d %H:%M:%S}+00:00' AS {INSTANT[engine]})", without_comments(query))


INSTANT = {"spark": "timestamp", "duckdb": "timestamptz", "frazil": "timestamp with time zone"}


def without_comments(query):
    return re.sub(r"^--.*\n", "", query, flags=re.MULTILINE).strip()


def plain(value):
    """A value as all engines give it."""
    if hasattr(value, "timestamp"):
        return round(value.timestamp(), 6)
    if isinstance(value, str) and re.match(r"\d{4}-\d\d-\d\dT", value):
        return round(datetime.fromisoformat(value).timestamp(), 6)
    if isinstance(value, Decimal):  # DuckDB's sums have 128 bits
        return int(value)
    return value


def differ(one, other):
    if isinstance(one, float) and isinstance(other, (int, float)):
        return not math.isclose(one, other, rel_tol=1e-9)
    return one != other


# What each engine answers: lists of dictionaries.

VIEWS = {"6_real_time_metrics": "real_time_metrics", "user_events_once": "user_events_once"}


def by_spark(spark, name):
    session = spark.session()
    session.sql("USE frazil")
    rows = session.sql(text("spark", name))
    if name in VIEWS:
        rows = session.sql(f"SELECT * FROM {VIEWS[name]}")
    return dictionaries(row.asDict(recursive=True) for row in rows.collect())


def by_duckdb(table, name):
    with contextlib.closing(connect()) as connection:
        location = table.metadata_location.removeprefix("file://")
        for statement in (QUERIES / "duckdb" / "open.sql").read_text().replace("METADATA", location).split(";\n"):
            # The extensions come from wheels here.
            if not re.search(r"^LOAD (avro|iceberg)", statement, re.MULTILINE):
                connection.execute(statement)
        answer = connection.execute(text("duckdb", name))
        if name in VIEWS:
            answer = connection.execute(f"SELECT * FROM {NAMESPACE}.{VIEWS[name]}")
        return dictionaries(answer.to_arrow_table().to_pylist())


def by_frazil(folder, name):
    file = folder / f"{name}.sql"
    file.write_text(text("frazil", name))
    printed = bench.run("query", file, "--warehouse", folder, "--format", "json")
    return dictionaries(json.loads(line) for line in printed.splitlines())


def dictionaries(rows):
    return [{name: plain(value) for name, value in row.items()} for row in rows]


class Queries(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.lake = million.Million("queries")
        cls.spark = Spark(cls.lake.folder)

    # Comparing.

    def assert_same(self, name, one, other, ordered=True):
        if not ordered:
            one, other = (sorted(rows, key=lambda row: [str(row[key]) for key in list(row)[:3]]) for rows in (one, other))
        self.assertEqual(len(one), len(other), name)
        for left, right in zip(one, other, strict=True):
            self.assertEqual(list(left), list(right), name)
            self.assertFalse({key for key in left if differ(left[key], right[key])}, f"{name}\n{left}\n{right}")

    def compare(self, *names):
        """Some queries, or all, on all engines; what Spark answers, by name."""
        answers = {}
        for name in names or COMPARED:
            answers[name] = by_spark(self.spark, name)
            for theirs in (by_duckdb(self.lake.table(), name), by_frazil(self.lake.folder, name)):
                if name == "7_snapshots":
                    # What Spark and Frazil say beside the operation is a map, and JSON with it in DuckDB.
                    for row in (*answers[name], *theirs):
                        row.pop("summary", None)
                self.assertTrue(answers[name], name)
                self.assert_same(name, answers[name], theirs, ordered=name not in VIEWS)
        return answers

    def test_engines_agree_before_and_after_evolution_and_compaction(self):
        answers = self.compare()
        self.looks_right(answers)
        # A column at the top and one in a struct.
        self.spark.sql(f"ALTER TABLE frazil.{million.NAME} ADD COLUMNS (campaign string, device_info.locale string)")
        self.lake.append(million.ROWS - 2000, million.ROWS, ", 'c-' || (h % 3) AS campaign", ", 'locale': 'l-' || (h % 5)")
        evolved = self.compare()
        (before,), (after,) = answers["5_key_metrics"], evolved["5_key_metrics"]
        self.assertEqual(after["total_events"], before["total_events"] + 2000)
        # A row goes by a delete file, then by a compaction.
        self.spark.sql(f"ALTER TABLE frazil.{million.NAME} SET TBLPROPERTIES ('write.delete.mode' = 'merge-on-read')")
        self.spark.sql(f"DELETE FROM frazil.{million.NAME} WHERE record_id = 'r-{million.ROWS - 1}'")
        deleted = self.compare("5_key_metrics", "7_partitions")
        self.assertEqual(deleted["5_key_metrics"][0]["total_events"], after["total_events"] - 2)
        self.assertGreater(sum(row["delete_file_count"] for row in deleted["7_partitions"]), 0)
        result = self.spark.sql(
            f"CALL frazil.system.rewrite_data_files(table => '{million.NAME}', options => map('rewrite-all', 'true'))"
        )
        self.assertGreater(result[0]["rewritten_data_files_count"], 7)
        compacted = self.compare()
        self.assert_same("5_key_metrics", compacted["5_key_metrics"], deleted["5_key_metrics"])
        self.assertEqual(len(compacted["4_anomalies"]), len(evolved["4_anomalies"]))

    def looks_right(self, answers):
        """By what the generator does: each query sees what it is there to see."""
        minute = million.ROWS / (million.SPAN.total_seconds() / 60)
        (metrics,) = answers["5_key_metrics"]
        self.assertAlmostEqual(metrics["total_events"], 5 * minute, delta=2)
        self.assertEqual(metrics["total_events"], sum(row["event_count"] for row in answers["1_latest"]))
        self.assertIn(None, [row["event_type"] for row in answers["1_latest"]])
        self.assertGreater(answers["2_sessions"][0]["active_sessions"], 1000)
        # An hour ago is yesterday.
        periods = Counter()
        for row in answers["3_time_travel"]:
            periods[row["time_period"]] += row["event_count"]
        self.assertAlmostEqual(periods["current"], 15 * minute, delta=2)
        self.assertAlmostEqual(periods["1_hour_ago"], 15 * minute, delta=2)
        statuses = {(row["event_type"], row["anomaly_status"]) for row in answers["4_anomalies"]}
        self.assertIn(("page_view", "HIGH"), statuses)
        self.assertIn(("purchase", "LOW"), statuses)
        self.assertIn(("click", "NORMAL"), statuses)
        self.assertEqual(len({row["window_start"] for row in answers["4_anomalies"]}), 26)
        self.assertEqual(sum(row["event_count"] for row in answers["6_real_time_metrics"]), million.ROWS)
        self.assertEqual({row["partition_date"] for row in answers["7_partitions"]}, {"2026-03-01", "2026-03-02"})
        self.assertEqual(sum(row["record_count"] for row in answers["7_partitions"]), million.ROWS)
        self.assertEqual([row["operation"] for row in answers["7_snapshots"]], ["append"] * 6)

    def test_the_scheduled_aggregation_may_run_as_often_as_it_likes(self):
        session = self.spark.session()
        session.sql("USE frazil")
        session.sql(f"""CREATE TABLE {NAMESPACE}.real_time_metrics_by_minute (minute_window timestamp, event_type string,
            device_type string, event_count bigint, unique_users bigint, avg_duration double) USING iceberg""")
        count = f"SELECT count(*), sum(event_count) FROM frazil.{NAMESPACE}.real_time_metrics_by_minute"
        seen = []
        for _ in range(2):
            # A new session for each: see `jvm.Spark`.
            session = self.spark.session()
            session.sql("USE frazil")
            for name in ("6_real_time_metrics", "6_real_time_metrics_merge"):
                session.sql(text("spark", name))
            seen.append(tuple(self.spark.session().sql(count).collect()[0]))
        self.assertEqual(*seen)
        self.assertGreater(seen[0][1], million.ROWS / 7)

    def test_the_queries_for_athena_are_sql_of_trino(self):
        known = set(FUNCTIONS.read_text().split())
        files = sorted((QUERIES / "athena").glob("*.sql"))
        self.assertGreater(len(files), 9)
        for file in files:
            tree = sqlglot.parse_one(file.read_text(), read="trino")
            self.assertNotIsInstance(tree, exp.Command, file.name)
            written = without_comments(file.read_text())
            self.assertNotRegex(written, r"\b\w+\['", f"{file.name}: a subscript fails where the key is missing")
            called = {name.lower() for name in re.findall(r"\b([a-z_][a-z0-9_]*)\(", written, re.IGNORECASE)}
            self.assertFalse(called - known - NOT_FUNCTIONS, file.name)

    def test_every_query_is_there_for_every_engine_and_in_the_readme(self):
        readme = (QUERIES / "README.md").read_text()
        for engine in ("athena", "spark", "duckdb", "frazil"):
            names = {file.stem for file in (QUERIES / engine).glob("*.sql")}
            self.assertLessEqual({*COMPARED, "user_events_once"}, names, engine)
            for name in names:
                self.assertIn(name, readme)


class Once(unittest.TestCase):
    def test_each_record_id_once(self):
        folder = fresh_folder("queries-once")
        run("table", "create", million.NAME, TABLES / "user_events.json", "--warehouse", folder)
        table = load_table(folder, million.NAME)
        rows = [("a", "1"), ("a", "2"), ("b", "2"), (None, "1"), (None, "1")]
        hour = {"partition_date": "2026-03-01", "partition_hour": "07"}
        rows = [{"record_id": record_id, "file_name": name} | hour for record_id, name in rows]
        table.append(pyarrow.Table.from_pylist(rows, schema=table.schema().as_arrow()))
        wanted = [(None, "1"), (None, "1"), ("a", "1"), ("b", "2")]
        found = {"spark": by_spark(Spark(folder), "user_events_once"), "duckdb": by_duckdb(table, "user_events_once"),
                 "frazil": by_frazil(folder, "user_events_once")}
        for engine, rows in found.items():
            rows = sorted(((row["record_id"], row["file_name"]) for row in rows), key=str)
            self.assertEqual(rows, sorted(wanted, key=str), engine)


# Words before a parenthesis that are not functions.
NOT_FUNCTIONS = {"in", "as", "using", "insert", "values", "over", "of", "from", "steps", "timestamp"}

if __name__ == "__main__":
    unittest.main()
