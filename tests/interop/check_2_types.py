"""A table without a definition: types are inferred, values arrive as they were written, filters find them."""

import json
import unittest
from collections import Counter

from pyiceberg.expressions import EqualTo, GreaterThanOrEqual, IsNull, LessThan, NotNull, StartsWith

import bench
import jsontext
import typed_data
from engines import quoted

DEVICE = {"os": None, "version": None, "screen": None}


def expected_row(row):
    """The row as the table must give it back."""

    def get(name, change=lambda value: value):
        value = row.get(name)
        return None if value is None else change(value)

    # The text of what is no string, spelled as the file spells it: without white space.
    mixed = jsontext.read(json.dumps(row.get("mixed"), separators=(",", ":")))
    return {
        "n": row["n"],
        "small": get("small"),
        "big": get("big"),
        "price": get("price", float),
        "ok": get("ok"),
        "at": get("at", typed_data.instant),
        "local_time": get("local_time", typed_data.instant),
        "word": get("word"),
        "address": get("address"),
        "device": get("device", lambda device: DEVICE | device),
        "tags": get("tags"),
        "points": get("points"),
        "mixed": jsontext.text_of(mixed),
        "größe": get("größe"),
    }


class Types(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.replayed = bench.typed()
        cls.outcome, cls.table, cls.duck = cls.replayed.outcome, cls.replayed.table, cls.replayed.duck
        cls.expected = {row["n"]: expected_row(row) for row in typed_data.typed_rows()}

    def test_no_row_is_lost(self):
        self.assertEqual(self.outcome["records"], typed_data.TYPED_ROWS)
        self.assertEqual(self.outcome["rows"], typed_data.TYPED_ROWS)
        self.assertEqual(self.outcome["failed"], 0)
        self.assertEqual(self.outcome["rows_quarantined"], 0)
        self.assertEqual(self.table.scan().count(), typed_data.TYPED_ROWS)
        self.assertEqual(self.duck.count(), typed_data.TYPED_ROWS)

    def test_types_are_inferred(self):
        types = {field.name: str(field.field_type) for field in self.table.schema().fields}
        wanted = {
            "n": "long",
            "small": "long",
            "big": "long",
            "price": "double",
            "ok": "boolean",
            "at": "timestamptz",
            "local_time": "timestamptz",
            "word": "string",
            "address": "string",
            "tags": "list<string>",
            "mixed": "string",
            "größe": "long",
            "record_id": "string",
            "ingestion_timestamp": "timestamptz",
            "partition_date": "string",
            "partition_hour": "string",
            "processing_time": "timestamptz",
            "file_name": "string",
        }
        self.assertEqual({name: types.get(name) for name in wanted}, wanted)
        # A field that is always null has no column: nothing says of which type.
        self.assertEqual(set(types) - set(wanted), {"device", "points"})
        self.assertFalse([field.name for field in self.table.schema().fields if field.required])

    def test_every_value_in_pyiceberg(self):
        rows = self.table.scan().to_arrow().to_pylist()
        # PyIceberg 0.12 reads a null list of structs as an empty list, whoever wrote the file. DuckDB sees the null.
        self.same(rows, {n: row | {"points": row["points"] or []} for n, row in self.expected.items()})

    def test_every_value_in_duckdb(self):
        self.same(self.duck.rows(), self.expected)

    def same(self, rows, expected_rows):
        self.assertEqual(len({row["n"] for row in rows}), len(rows))
        for row in rows:
            expected = expected_rows[row["n"]]
            different = {name: (row[name], value) for name, value in expected.items() if row[name] != value}
            self.assertFalse(different, f"row {row['n']}: got and expected differ")

    def test_sums(self):
        for name in ("n", "small", "big", "größe"):
            expected = sum(row[name] or 0 for row in self.expected.values())
            self.assertEqual(self.duck.value(f'sum("{name}"::HUGEINT)'), expected, name)
        scales = sum(row["device"]["screen"]["scale"] for row in self.expected.values() if (row["device"] or DEVICE)["screen"])
        self.assertEqual(self.duck.value("sum(device.screen.scale)"), scales)

    def test_nulls(self):
        for name in ("small", "ok", "at", "word", "device", "tags", "points", "mixed"):
            expected = sum(row[name] is None for row in self.expected.values())
            self.assertEqual(self.duck.count(f'"{name}" IS NULL'), expected, name)
            if name not in ("device", "tags", "points"):  # PyIceberg filters on columns of plain types
                self.assertEqual(self.table.scan(row_filter=IsNull(name)).count(), expected, name)
                self.assertEqual(self.table.scan(row_filter=NotNull(name)).count(), len(self.expected) - expected, name)

    def test_long_strings_are_found(self):
        # Statistics that were cut at 64 bytes, which all of these share, would hide rows.
        counts = Counter(row["address"] for row in self.expected.values() if row["address"])
        addresses = sorted(counts)
        for address in addresses[:5] + addresses[-5:] + addresses[:: len(addresses) // 20]:
            self.assertEqual(self.table.scan(row_filter=EqualTo("address", address)).count(), counts[address], address)
            self.assertEqual(self.duck.count(f"address = {quoted(address)}"), counts[address], address)
        for address in (addresses[0], addresses[len(addresses) // 2], addresses[-1]):
            above = sum(count for text, count in counts.items() if text.encode() >= address.encode())
            self.assertEqual(self.table.scan(row_filter=GreaterThanOrEqual("address", address)).count(), above)
            self.assertEqual(self.duck.count(f"address >= {quoted(address)}"), above)
        everything = sum(counts.values())
        self.assertEqual(self.table.scan(row_filter=StartsWith("address", typed_data.PREFIX)).count(), everything)

    def test_ranges_are_found(self):
        rows = self.expected.values()
        for low in (-(2**63), -1, 2**53 + 1, 2**63 - 1):
            expected = sum(row["big"] >= low for row in rows)
            self.assertEqual(self.table.scan(row_filter=GreaterThanOrEqual("big", low)).count(), expected)
            self.assertEqual(self.duck.count(f"big >= ({low})::BIGINT"), expected)
        for text in ("1969-12-31T23:59:59.999999+00:00", "2001-09-09T01:46:40+00:00"):
            expected = sum(row["at"] is not None and row["at"] < typed_data.instant(text) for row in rows)
            self.assertEqual(self.table.scan(row_filter=LessThan("at", text)).count(), expected)
            self.assertEqual(self.duck.count(f'"at" < TIMESTAMPTZ {quoted(text)}'), expected)
        expected = sum(row["ok"] is True for row in rows)
        self.assertEqual(self.table.scan(row_filter=EqualTo("ok", True)).count(), expected)
        self.assertEqual(self.duck.count("ok"), expected)
        expected = sum(row["price"] is not None and row["price"] < 0.1 for row in rows)
        self.assertEqual(self.table.scan(row_filter=LessThan("price", 0.1)).count(), expected)
        self.assertEqual(self.duck.count("price < 0.1::DOUBLE"), expected)
