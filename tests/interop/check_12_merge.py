"""Manifests are merged: no row comes back, none gets another id, no spec is mixed with another one."""

import unittest

import pyarrow
import pyarrow.parquet
from lake import Lake, definition, local, row
from pyiceberg.transforms import IdentityTransform
from pyiceberg.types import DoubleType, LongType

NAME = "frazil.lake.events"
MERGE_3 = {"commit.manifest.min-count-to-merge": "3"}


def live(lake):
    """The data files of the current snapshot by the values of `n` that they hold, with their entries and manifests."""
    found = {}
    for entry, manifest in lake.entries():
        if manifest["content"] == 0 and entry["status"] != 2:
            numbers = pyarrow.parquet.read_table(local(entry["data_file"]["file_path"]), partitioning=None)["n"].to_pylist()
            found[tuple(sorted(numbers))] = (entry, manifest)
    return found


class Deletes(unittest.TestCase):
    """A delete file applies to older data files only: how old a file is must survive the merge."""

    def lake(self, name):
        lake = Lake(self, name, definition(MERGE_3))
        self.snapshots = []
        for key, rows in [("1", [row(1, "a"), row(2, "b"), row(3, "c")]), ("2", [row(4, "d"), row(5, "e"), row(6, "f")])]:
            lake.append(f"{key}.json", *rows)
            self.snapshots.append(lake.metadata()["current-snapshot-id"])
        return lake

    def merged(self, lake):
        deletes = [manifest for manifest in lake.manifests() if manifest["content"] == 1]
        self.assertEqual(len(deletes), 1)
        lake.append("3.json", row(7, "e"))
        lake.append("4.json", row(8, "h"))
        lake.keeps_the_rules()
        files = live(lake)
        for number, numbers in enumerate([(1, 2, 3), (4, 5, 6)], 1):
            entry, manifest = files[numbers]
            self.assertEqual(entry["status"], 0, "that was not merged")
            self.assertEqual(entry["snapshot_id"], self.snapshots[number - 1])
            self.assertEqual((entry["sequence_number"], entry["file_sequence_number"]), (number, number))
            self.assertEqual(manifest["min_sequence_number"], 1)
        self.assertEqual(set(files), {(1, 2, 3), (4, 5, 6), (7,), (8,)})
        self.assertEqual([manifest for manifest in lake.manifests() if manifest["content"] == 1], deletes)
        lake.files_exist()

    def test_of_positions(self):
        lake = self.lake("merge-positions")
        spark = lake.spark()
        spark.sql(f"ALTER TABLE {NAME} SET TBLPROPERTIES ('write.delete.mode' = 'merge-on-read')")
        spark.sql(f"DELETE FROM {NAME} WHERE n = 2")
        self.merged(lake)
        self.assertEqual(lake.numbers(), [1, 3, 4, 5, 6, 7, 8])

    def test_of_values(self):
        """Only rows that were there before are deleted."""
        lake = self.lake("merge-values")
        table, machine = lake.spark().iceberg(lake.table_name)
        path = lake.folder / "warehouse/deletes.parquet"
        field = pyarrow.field("name", pyarrow.string(), metadata={"PARQUET:field_id": "2"})
        pyarrow.parquet.write_table(pyarrow.table([["e"]], schema=pyarrow.schema([field])), path)
        fields = machine.java.lang.reflect.Array.newInstance(machine.java.lang.Integer.TYPE, 1)
        fields[0] = 2
        deletes = machine.org.apache.iceberg.FileMetadata.deleteFileBuilder(table.spec()).ofEqualityDeletes(fields)
        deletes = deletes.withPath(f"file://{path}").withFileSizeInBytes(path.stat().st_size).withRecordCount(1)
        table.newRowDelta().addDeletes(deletes.withPartitionPath("day=2026-03-01").build()).commit()
        self.merged(lake)
        self.assertEqual(lake.numbers_of_others(), [1, 2, 3, 4, 6, 7, 8])


class Evolution(unittest.TestCase):
    def test_two_specs_a_promoted_and_a_dropped_column(self):
        lake = Lake(self, "merge-specs", definition({"commit.manifest.min-count-to-merge": "2"}, n="int"))

        def append(key, *rows):
            lake.append(f"{key}.json", *rows)
            lake.keeps_the_rules()

        append(1, row(1, "a"), row(2, "b"))
        append(2, row(3, "c", "2026-03-02"), row(4, "d", "2026-03-02"))
        with lake.table().update_schema() as update:
            update.update_column("n", LongType())
        with lake.table().update_schema() as update:
            update.add_column("amount", DoubleType())
        with lake.table().update_spec() as update:
            update.remove_field("day").add_field("name", IdentityTransform(), "name")
        append(3, row(3_000_000_000, "e", "2026-03-02", amount=1.5), row(6, "f", "2026-03-02", amount=2.5))
        append(4, row(7, "g", "2026-03-02", amount=3.5), row(8, "h", "2026-03-02", amount=4.5))
        self.reads(lake, [1, 2, 3, 4, 6, 7, 8, 3_000_000_000])
        with lake.table().update_schema() as update:
            update.delete_column("day")
        append(5, {"n": 9, "name": "i", "amount": 5.5})
        self.reads(lake, [1, 2, 3, 4, 6, 7, 8, 9, 3_000_000_000])

        manifests = lake.manifests()
        self.assertEqual(len({manifest["partition_spec_id"] for manifest in manifests}), 2)
        # Those of each spec are merged with one another.
        self.assertEqual(len(manifests), 2)
        for numbers, (entry, manifest) in live(lake).items():
            bound = dict(entry["data_file"]["lower_bounds"])[1]
            old = numbers in {(1, 2), (3, 4)}
            self.assertEqual((len(bound), manifest["partition_spec_id"]), (4, 0) if old else (8, 1), numbers)

    def reads(self, lake, numbers):
        self.assertEqual(lake.numbers(), numbers)
        spark = lake.spark()
        for condition in ("n = 2", "n = 3000000000", "name = 'c'"):
            self.assertEqual(lake.table().scan(condition).count(), 1, condition)
            self.assertEqual(spark.column(f"SELECT count(*) FROM {NAME} WHERE {condition}"), [1], condition)
        self.assertEqual(spark.column(f"SELECT count(*) FROM {NAME} WHERE amount IS NULL"), [4])


class RowIds(unittest.TestCase):
    """Format version 3: a row keeps its id, and the commit that wrote it."""

    def ids(self, lake):
        rows = lake.spark().sql(f"SELECT n, _row_id, _last_updated_sequence_number AS at FROM {NAME} ORDER BY _row_id")
        return {found["n"]: (found["_row_id"], found["at"]) for found in rows}

    def test_a_merge(self):
        lake = Lake(self, "merge-ids", definition())
        lake.create_by_spark({"format-version": "3", "commit.manifest.min-count-to-merge": "4"})
        lake.append("1.json", row(1), row(2), row(3))
        lake.append("2.json", row(4), row(5))
        lake.append("3.json", row(6))
        self.assertEqual(lake.metadata()["next-row-id"], 6)
        before = {1: (0, 1), 2: (1, 1), 3: (2, 1), 4: (3, 2), 5: (4, 2), 6: (5, 3)}
        self.assertEqual(self.ids(lake), before)
        lake.append("4.json", row(7), row(8))
        lake.keeps_the_rules()
        after = before | {7: (6, 4), 8: (7, 4)}
        self.assertEqual(self.ids(lake), after)
        (merged,) = lake.manifests()
        self.assertEqual(merged["first_row_id"], 6)
        first_ids = {numbers: entry["data_file"]["first_row_id"] for numbers, (entry, _) in live(lake).items()}
        self.assertEqual(first_ids, {(1, 2, 3): 0, (4, 5): 3, (6,): 5, (7, 8): None})
        metadata = lake.metadata()
        snapshot = next(found for found in metadata["snapshots"] if found["sequence-number"] == 4)
        self.assertEqual(snapshot["first-row-id"], 6)
        self.assertGreaterEqual(metadata["next-row-id"], 8)
        # Another writer's rows, and ours again.
        lake.spark().sql(f"INSERT INTO {NAME} VALUES (9, 'by Spark', '2026-03-01', null)")
        lake.append("5.json", row(10))
        ids = self.ids(lake)
        self.assertEqual({n: ids[n] for n in after}, after)
        self.assertEqual(len({row_id for row_id, _ in ids.values()}), 10)
        self.assertEqual(lake.numbers(), [*range(1, 11)])

    def test_a_table_of_version_2_that_was_upgraded(self):
        lake = Lake(self, "merge-upgraded", definition({"commit.manifest.min-count-to-merge": "4"}))
        for n in range(3):
            lake.append(f"{n}.json", row(n))
        lake.spark().sql(f"ALTER TABLE {NAME} SET TBLPROPERTIES ('format-version' = '3')")
        lake.append("3.json", row(3))
        lake.keeps_the_rules()
        ids = self.ids(lake)
        self.assertEqual(sorted(row_id for row_id, _ in ids.values()), [0, 1, 2, 3])
        for n in range(4, 8):
            lake.append(f"{n}.json", row(n))
        after = self.ids(lake)
        self.assertEqual({n: after[n] for n in ids}, ids)
        self.assertEqual(len({row_id for row_id, _ in after.values()}), 8)

    def test_delete_files_have_no_ids(self):
        lake = Lake(self, "merge-ids-deletes", definition())
        lake.create_by_spark({"format-version": "3", "write.delete.mode": "merge-on-read"} | MERGE_3)
        lake.append("1.json", row(1), row(2), row(3))
        lake.spark().sql(f"DELETE FROM {NAME} WHERE n = 2")
        for n in range(4, 8):
            lake.append(f"{n}.json", row(n))
        lake.keeps_the_rules()
        deletes = [manifest for manifest in lake.manifests() if manifest["content"] == 1]
        self.assertEqual([manifest["first_row_id"] for manifest in deletes], [None])
        spark = lake.spark().column(f"SELECT n FROM {NAME}")
        self.assertEqual(sorted(spark), [1, 3, 4, 5, 6, 7])
