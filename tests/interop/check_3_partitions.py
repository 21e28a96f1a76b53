"""A table by a definition of the user's, with every kind of partition transform and values that break paths."""

import unittest
from collections import Counter
from datetime import datetime, timedelta, timezone
from pathlib import Path
from urllib.parse import urlparse

from pyiceberg.expressions import And, EqualTo, GreaterThanOrEqual, IsNull, LessThan, StartsWith

import bench
import typed_data
from engines import quoted


class Partitions(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.replayed = bench.partitioned()
        cls.outcome, cls.table, cls.duck = cls.replayed.outcome, cls.replayed.table, cls.replayed.duck
        cls.expected = typed_data.partition_rows()
        for row in cls.expected:
            row["ts"] = row["ts"] and typed_data.instant(row["ts"])

    def numbers(self, condition):
        return sorted(row["n"] for row in self.expected if condition(row))

    def found(self, pyiceberg_filter, sql):
        """The rows that both engines find; they must be the same."""
        scan = self.table.scan(row_filter=pyiceberg_filter, selected_fields=("n",))
        first = sorted(row["n"] for row in scan.to_arrow().to_pylist())
        second = sorted(row["n"] for row in self.duck.rows("n", sql))
        self.assertEqual(first, second, sql)
        return first

    def test_every_row(self):
        self.assertEqual(self.outcome["rows"], typed_data.PARTITION_ROWS)
        names = ("n", "ts", "user", "name", "place")
        expected = Counter(tuple(row[name] for name in names) for row in self.expected)
        for rows in (self.table.scan().to_arrow().to_pylist(), self.duck.rows()):
            self.assertEqual(Counter(tuple(row[name] for name in names) for row in rows), expected)

    def test_spec_is_as_defined(self):
        spec = [(field.name, str(field.transform)) for field in self.table.spec().fields]
        wanted = [(field["name"], field["transform"]) for field in typed_data.PARTITIONED_TABLE["partition-spec"]["fields"]]
        self.assertEqual(spec, wanted)

    def test_identity_values_are_found(self):
        for place in typed_data.PLACES:
            where = IsNull("place") if place is None else EqualTo("place", place)
            sql = "place IS NULL" if place is None else f"place = {quoted(place)}"
            self.assertEqual(self.found(where, sql), self.numbers(lambda row, place=place: row["place"] == place), place)

    def test_truncated_values_are_found(self):
        for name in typed_data.NAMES:
            where = IsNull("name") if name is None else EqualTo("name", name)
            sql = "name IS NULL" if name is None else f"name = {quoted(name)}"
            self.assertEqual(self.found(where, sql), self.numbers(lambda row, name=name: row["name"] == name), name)
        # Truncation counts characters, not bytes.
        self.assertEqual(
            self.found(StartsWith("name", "Ünï"), "name LIKE 'Ünï%'"),
            self.numbers(lambda row: (row["name"] or "").startswith("Ünï")),
        )

    def test_bucketed_values_are_found(self):
        for user in {row["user"] for row in self.expected}:
            where = IsNull("user") if user is None else EqualTo("user", user)
            sql = '"user" IS NULL' if user is None else f'"user" = {quoted(user)}'
            self.assertEqual(self.found(where, sql), self.numbers(lambda row, user=user: row["user"] == user), user)

    def test_days_are_found(self):
        for day in (2, 3):
            first = datetime(2026, 1, day, tzinfo=timezone.utc)
            last = first + timedelta(days=1)
            where = And(GreaterThanOrEqual("ts", first.isoformat()), LessThan("ts", last.isoformat()))
            sql = f"ts >= TIMESTAMPTZ '{first.isoformat()}' AND ts < TIMESTAMPTZ '{last.isoformat()}'"
            expected = self.numbers(lambda row, first=first, last=last: row["ts"] and first <= row["ts"] < last)
            self.assertEqual(self.found(where, sql), expected)
        self.assertEqual(self.found(IsNull("ts"), "ts IS NULL"), self.numbers(lambda row: row["ts"] is None))

    def test_files_lie_under_the_table(self):
        location = Path(urlparse(self.table.location()).path).resolve()
        paths = self.table.inspect.files()["file_path"].to_pylist()
        self.assertEqual(len(set(paths)), len(paths))
        for path in paths:
            scheme, _, rest = path.partition("://")
            self.assertEqual(scheme, "file")
            # `..` must not leave the folder, and nothing may be lost to a query or a fragment.
            file = Path(rest)
            self.assertTrue(file.is_file(), path)
            self.assertNotIn("..", file.parts)
            self.assertTrue(file.resolve().is_relative_to(location), path)
            self.assertEqual(urlparse(path).path, rest, path)

    def test_a_partition_has_rows_of_its_own_only(self):
        for row in self.table.inspect.files().to_pylist():
            place = row["partition"]["place"]
            bounds = row["readable_metrics"]["place"]
            self.assertIn(bounds["lower_bound"], (place, None))
            self.assertIn(bounds["upper_bound"], (place, None))
