"""Columns that came with their rows, at every depth, and wider types: snapshots before and after, in two engines."""

import json
import unittest
from decimal import Decimal

import bench
from engines import DuckTable, load_table

NAME = "streaming_analytics.orders"
FIELDS = [
    {"id": 1, "name": "n", "required": False, "type": "int"},
    {"id": 2, "name": "weight", "required": False, "type": "float"},
    {"id": 3, "name": "price", "required": False, "type": "decimal(5, 2)"},
    {"id": 4, "name": "customer", "required": False, "type": {"type": "struct", "fields": [
        {"id": 5, "name": "id", "required": False, "type": "int"}]}},
    {"id": 6, "name": "items", "required": False, "type": {"type": "list", "element-id": 7,
        "element-required": False, "element": {"type": "struct", "fields": [
            {"id": 8, "name": "sku", "required": False, "type": "string"}]}}},
]
FIRST = [{"n": 1, "weight": 1.5, "price": 1.25, "customer": {"id": 7}, "items": [{"sku": "a"}]}, {"n": 2}]
SECOND = [
    {"n": 3_000_000_000, "weight": 1e39, "price": 12345.67},
    {"n": 4, "customer": {"id": 3_000_000_000, "tier": "gold", "address": {"city": "Oslo"}}, "coupon": "SPRING"},
    {"n": 5, "items": [{"sku": "b", "qty": 2}, {}], "seen_at": 1772000000123, "tags": ["x", "y"]},
]
SHOWN = ("n", "weight", "price", "customer", "items")


def expected(row, later):
    """What an engine shows of `row`, in a schema before or after it has grown."""
    customer, items = row.get("customer"), row.get("items")
    shown = {"n": row["n"], "weight": row.get("weight"), "customer": None, "items": None}
    shown["price"] = None if "price" not in row else Decimal(str(row["price"]))
    if customer is not None:
        shown["customer"] = {"id": customer["id"]}
        if later:
            shown["customer"] |= {"tier": customer.get("tier"), "address": customer.get("address")}
    if items is not None:
        shown["items"] = [{"sku": item.get("sku")} | ({"qty": item.get("qty")} if later else {}) for item in items]
    return shown


class Evolution(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = bench.fresh_folder("evolution")
        cls.warehouse = folder / "w"
        definition = folder / "orders.json"
        definition.write_text(json.dumps({"name": "orders", "schema": {"type": "struct", "fields": FIELDS}}))
        for name, rows in (("first", FIRST), ("second", SECOND)):
            file = folder / f"{name}.json"
            file.write_text("".join(json.dumps(row) + "\n" for row in rows))
            summary = bench.replay(cls.warehouse, "--table", definition, file)
            assert (summary["rows"], summary["rows_quarantined"]) == (len(rows), 0), summary
        cls.table = load_table(cls.warehouse, NAME)

    def snapshots(self):
        first, second = sorted(self.table.metadata.snapshots, key=lambda snapshot: snapshot.sequence_number)
        return (first.snapshot_id, FIRST, False), (second.snapshot_id, FIRST + SECOND, True)

    def test_pyiceberg_reads_every_snapshot(self):
        for snapshot, rows, later in self.snapshots():
            read = self.table.scan(snapshot_id=snapshot).to_arrow().to_pylist()
            shown = [{name: row[name] for name in SHOWN} for row in sorted(read, key=lambda row: row["n"])]
            wanted = [expected(row, later) for row in sorted(rows, key=lambda row: row["n"])]
            for row in shown + wanted:
                # PyIceberg makes an empty list of a null, where it changes the type of the elements.
                row["items"] = row["items"] or []
            self.assertEqual(shown, wanted)
            self.assertEqual("coupon" in read[0], later)

    def test_duckdb_reads_the_table(self):
        table = DuckTable(self.table.metadata_location)
        self.addCleanup(table.close)
        shown = table.rows(", ".join(SHOWN) + ", coupon", "true ORDER BY n")
        rows = sorted(FIRST + SECOND, key=lambda row: row["n"])
        self.assertEqual(shown, [expected(row, True) | {"coupon": row.get("coupon")} for row in rows])

    def test_new_columns_can_be_filtered_by(self):
        table = DuckTable(self.table.metadata_location)
        self.addCleanup(table.close)
        self.assertEqual(table.value("n", "customer.tier = 'gold'"), 4)
        self.assertEqual(self.table.scan("coupon = 'SPRING'").to_arrow()["n"].to_pylist(), [4])
        self.assertEqual(self.table.scan("n = 3000000000").to_arrow()["n"].to_pylist(), [3_000_000_000])


if __name__ == "__main__":
    unittest.main()
