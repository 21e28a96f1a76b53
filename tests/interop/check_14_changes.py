"""Changes that no function makes yet, made by a test of the crate: columns and wider types, a branch, a replacement."""

import subprocess
import unittest
from decimal import Decimal

import bench
from engines import DuckTable
from lake import Lake, definition
from processes import environment

NAME = "frazil.lake.events"
SECONDS = 500
FIRST = {"n": 1, "x": 0.5, "d": Decimal("1.25"), "added": None}
WIDE = {"n": 3_000_000_000, "x": 0.1, "d": Decimal("1234567.25"), "added": "new"}


class Changes(unittest.TestCase):
    def test_three_engines_read_them(self):
        lake = Lake(self, "changes", definition())
        command = ["cargo", "test", "--workspace", "--lib", "--", "--ignored", "changes_for_other_engines"]
        variables = environment() | {"FRAZIL_TEST_FOLDER": str(lake.folder)}
        run = subprocess.run(
            command, cwd=bench.REPOSITORY, env=variables, capture_output=True, text=True, timeout=SECONDS, check=False
        )
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)

        last = {"n": 7, "x": None, "d": None, "added": None}
        audited = {"n": 50, "x": None, "d": None, "added": None}
        audit = lake.metadata()["refs"]["audit"]["snapshot-id"]
        spark = lake.spark()
        for snapshot, version, rows in [(None, "main", [FIRST, last, WIDE]), (audit, "audit", [FIRST, audited, WIDE])]:
            read = [
                lake.table().scan(snapshot_id=snapshot).to_arrow().to_pylist(),
                DuckTable(lake.table().metadata_location, snapshot).rows("n, x, d, added"),
                spark.sql(f"SELECT n, x, d, added FROM {NAME} VERSION AS OF '{version}'"),
            ]
            for found in read:
                self.assertEqual(sorted(found, key=lambda row: row["n"]), rows)
        operations = spark.column(f"SELECT operation FROM {NAME}.snapshots ORDER BY committed_at")
        self.assertEqual(operations.count("replace"), 1, operations)
        self.assertEqual(lake.table().current_snapshot().summary["total-data-files"], "2")
        lake.keeps_the_rules()
        lake.files_exist()

        # They can go on with it.
        spark.sql(f"DELETE FROM {NAME} WHERE n = 1")
        spark.sql(f"INSERT INTO {NAME} VALUES (8, 1.5, 2.5, 'by Spark')")
        self.assertEqual(lake.numbers(), [7, 8, 3_000_000_000])
        self.assertEqual(lake.numbers(audit), [1, 50, 3_000_000_000])
