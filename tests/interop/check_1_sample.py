"""The bundled sample: what the table holds, against what a reading of the input in plain Python says."""

import gzip
import json
import unittest
from collections import Counter
from pathlib import Path
from urllib.parse import unquote, urlparse

from pyiceberg.expressions import And, EqualTo, IsNull

import bench
import jsontext
from engines import quoted

INPUT = bench.EVENTS / "clickstream.json.gz"


def read_input(columns):
    """What must become of every line. Returns the rows and the number of failed and of quarantined records."""
    rows, failed, quarantined = [], 0, 0
    for line in gzip.decompress(INPUT.read_bytes()).split(b"\n"):
        if not line.strip():
            continue
        try:
            record = jsontext.read(line)
        except ValueError:
            record = None
        if not isinstance(record, dict):
            failed += 1
            continue
        unknown = any(name not in columns and value is not None for name, value in record.items())
        data = record.get("event_data")
        if unknown or not (data is None or isinstance(data, dict)):
            quarantined += 1
            continue
        rows.append(content(record.get("user_id"), record.get("event_type"), data and data.items(), data is None))
    return rows, failed, quarantined


def content(user_id, event_type, data_items, data_is_null):
    """A row without what the pipeline adds, in a form that can be counted."""
    data = None if data_is_null else tuple(sorted((key, jsontext.text_of(value)) for key, value in data_items or ()))
    return jsontext.text_of(user_id), jsontext.text_of(event_type), data


class Sample(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.replayed = bench.sample()
        cls.outcome, cls.table, cls.duck = cls.replayed.outcome, cls.replayed.table, cls.replayed.duck
        cls.definition = json.loads((bench.TABLES / "user_events.json").read_text())
        columns = {field["name"] for field in cls.definition["schema"]["fields"]}
        cls.expected_rows, cls.failed, cls.quarantined = read_input(columns)
        cls.arrow = cls.table.scan().to_arrow()
        cls.rows = cls.arrow.to_pylist()

    def test_outcome_agrees_with_the_input(self):
        outcome = self.outcome
        self.assertEqual(outcome["records"], len(self.expected_rows) + self.failed + self.quarantined)
        self.assertEqual(outcome["ok"], len(self.expected_rows) + self.quarantined)
        self.assertEqual(outcome["failed"], self.failed)
        self.assertEqual(outcome["rows"], len(self.expected_rows))
        self.assertEqual(outcome["rows_quarantined"], self.quarantined)
        self.assertEqual(outcome["objects_already_committed"], 0)
        self.assertGreater(outcome["objects"], 0)
        self.assertGreater(outcome["seconds"], 0)
        self.assertEqual(outcome["table"], self.replayed.table_name)

    def test_outcome_agrees_with_expected_json(self):
        expected = bench.expected()
        for name in ("records", "ok", "failed", "rows", "rows_quarantined"):
            self.assertEqual(self.outcome[name], expected[name], name)
        by_type = Counter(row["event_type"] for row in self.rows)
        self.assertEqual(by_type.pop(None), expected["event_type_nulls"])
        self.assertEqual(by_type, expected["rows_by_event_type"])
        self.assertEqual(sum(row["user_id"] is None for row in self.rows), expected["user_id_nulls"])
        self.assertEqual(sum(row["event_data"] is None for row in self.rows), expected["event_data_nulls"])

    def test_outcome_names_the_tables_state(self):
        self.assertEqual(self.outcome["metadata_location"], self.table.metadata_location)
        self.assertEqual(str(self.outcome["snapshot_id"]), str(self.table.current_snapshot().snapshot_id))
        self.assertEqual(self.outcome["data_files"], self.table.inspect.files().num_rows)

    def test_table_is_as_defined(self):
        schema = json.loads(self.table.schema().model_dump_json())
        for got, wanted in zip(schema["fields"], self.definition["schema"]["fields"], strict=True):
            self.assertEqual((got["id"], got["name"], got["type"]), (wanted["id"], wanted["name"], wanted["type"]))
        spec = json.loads(self.table.spec().model_dump_json())
        self.assertEqual(spec["fields"], self.definition["partition-spec"]["fields"])
        self.assertEqual(self.table.properties | self.definition["properties"], self.table.properties)

    def test_every_row_in_pyiceberg(self):
        got = Counter(
            content(row["user_id"], row["event_type"], row["event_data"], row["event_data"] is None)
            for row in self.rows
        )
        self.same(got)

    def test_every_row_in_duckdb(self):
        got = Counter(
            content(row["user_id"], row["event_type"], row["event_data"], row["event_data"] is None)
            for row in self.duck.rows("user_id, event_type, event_data")
        )
        self.same(got)

    def same(self, got):
        expected = Counter(self.expected_rows)
        missing, surplus = expected - got, got - expected
        self.assertFalse(missing or surplus, f"missing {list(missing)[:3]}, surplus {list(surplus)[:3]}")

    def test_record_ids_are_distinct(self):
        self.assertEqual(len({row["record_id"] for row in self.rows}), len(self.expected_rows))
        self.assertEqual(self.duck.value("count(DISTINCT record_id)"), len(self.expected_rows))

    def test_counts_by_event_type(self):
        expected = Counter(event_type for _, event_type, _ in self.expected_rows)
        grouped = self.duck.connection.execute("SELECT event_type, count(*) FROM t GROUP BY ALL").fetchall()
        self.assertEqual(dict(grouped), expected)
        for event_type, count in expected.items():
            where = IsNull("event_type") if event_type is None else EqualTo("event_type", event_type)
            self.assertEqual(self.table.scan(row_filter=where, selected_fields=("record_id",)).count(), count)

    def test_nulls_of_user_id(self):
        expected = sum(user_id is None for user_id, _, _ in self.expected_rows)
        self.assertEqual(self.table.scan(row_filter=IsNull("user_id")).count(), expected)
        self.assertEqual(self.duck.count("user_id IS NULL"), expected)

    def test_values_of_a_map_in_sql(self):
        expected = Counter(
            dict(data)["duration"] for _, event_type, data in self.expected_rows if event_type == "page_view" and data
        )
        grouped = self.duck.connection.execute(
            "SELECT event_data['duration'], count(*) FROM t"
            " WHERE event_type = 'page_view' AND event_data['duration'] IS NOT NULL GROUP BY ALL"
        ).fetchall()
        self.assertEqual(dict(grouped), expected)

    def test_partition_values_are_those_of_the_timestamp(self):
        for row in self.rows:
            moment = row["ingestion_timestamp"]
            self.assertEqual(row["partition_date"], f"{moment:%Y-%m-%d}")
            self.assertEqual(row["partition_hour"], f"{moment:%H}")

    def test_partitions_are_found_by_filter(self):
        partitions = Counter((row["partition_date"], row["partition_hour"]) for row in self.rows)
        self.assertEqual({tuple(row["partition"].values()) for row in self.table.inspect.files().to_pylist()}, set(partitions))
        for (date, hour), count in partitions.items():
            where = And(EqualTo("partition_date", date), EqualTo("partition_hour", hour))
            self.assertEqual(self.table.scan(row_filter=where).count(), count)
            sql = f"partition_date = {quoted(date)} AND partition_hour = {quoted(hour)}"
            self.assertEqual(self.duck.count(sql), count)

    def test_own_columns_say_where_a_row_came_from(self):
        self.assertFalse([row for row in self.rows if row["file_name"] is None or row["processing_time"] is None])
        names = {row["file_name"] for row in self.rows}
        self.assertLessEqual(len(names), self.outcome["objects"])
        for name in names:
            path = urlparse(name).path
            self.assertTrue(Path(path).exists() or Path(unquote(path)).exists(), name)

    def test_summaries_account_for_the_rows(self):
        snapshots = self.table.snapshots()
        self.assertTrue(snapshots)
        added = sum(int(snapshot.summary["added-records"]) for snapshot in snapshots)
        self.assertEqual(added, len(self.expected_rows))
        self.assertEqual(int(self.table.current_snapshot().summary["total-records"]), len(self.expected_rows))
        for snapshot in snapshots:
            self.assertEqual(snapshot.summary.operation.value, "append")
            own = [key for key in snapshot.summary.additional_properties if key.startswith("frazil.")]
            self.assertTrue(own, "the summary holds no token of an object")

    def test_rejections_were_kept(self):
        kept = [path for path in (self.replayed.warehouse / "errors").rglob("*") if path.is_file()]
        self.assertTrue(kept)
