"""A branch that append writes to, as three engines see it and main, and its publication, upon a main that they changed."""

import unittest

from lake import Lake, definition, row

NAME = "frazil.lake.events"
AUDIT = {"FRAZIL_BRANCH": "audit"}


class Publish(unittest.TestCase):
    def setUp(self):
        self.lake = Lake(self, f"publish-{self._testMethodName}", definition({"history.expire.min-snapshots-to-keep": "1"}))
        self.lake.append("main.ndjson", row(100))
        self.branch = self.lake.another(self)
        self.branch.variables = self.lake.variables | AUDIT

    def publish(self, *arguments):
        """The exit status and the summary."""
        return self.lake.frazil("publish", "--table", "lake.events", "--branch", "audit", *arguments)

    def head(self, name="audit"):
        return self.lake.metadata()["refs"][name]["snapshot-id"]

    def sees(self, main, audit):
        self.assertEqual(self.lake.numbers(), main)
        self.assertEqual(self.lake.numbers(self.head()), audit)
        by_name = self.lake.spark().column(f"SELECT n FROM {NAME} VERSION AS OF 'audit'")
        self.assertEqual(sorted(by_name), audit)
        self.lake.keeps_the_rules()
        self.lake.files_exist()

    def test_fast_forward(self):
        self.branch.append("1.ndjson", row(1))
        self.branch.append("2.ndjson", row(2))
        self.sees([100], [1, 2, 100])
        # All that may expire goes; Spark honours what the branch has to keep.
        unpublished = self.head()
        self.lake.spark().sql("CALL frazil.system.expire_snapshots('lake.events', TIMESTAMP '2100-01-01', 1)")
        self.assertEqual(self.head(), unpublished)
        status, summary = self.publish("--min-rows", "2", "--max-nulls", "n=0")
        self.assertEqual((status, summary["status"], len(summary["commits"])), (0, "fast_forward", 2))
        self.sees([1, 2, 100], [1, 2, 100])

    def test_upon_a_delete_and_a_compaction(self):
        self.branch.append("1.ndjson", row(1))
        put = self.branch.append("2.ndjson", row(2))
        spark = self.lake.spark()
        spark.sql(f"DELETE FROM {NAME} WHERE n = 100")
        self.lake.append("main-2.ndjson", row(101))
        self.lake.append("main-3.ndjson", row(102))
        spark.sql("CALL frazil.system.rewrite_data_files(table => 'lake.events', options => map('rewrite-all', 'true'))")
        audited = self.head()
        status, summary = self.publish()
        self.assertEqual((status, summary["status"]), (0, "applied"), summary)
        self.sees([1, 2, 101, 102], [1, 2, 101, 102])
        self.assertEqual(self.lake.table().current_snapshot().summary["source-snapshot-id"], str(audited))
        before = self.lake.table().metadata_location
        self.assertEqual(self.publish()[1]["status"], "nothing_to_publish")
        self.branch.deliver(put)
        self.lake.deliver(put)
        self.assertEqual(self.lake.table().metadata_location, before)
        # They can go on with it.
        spark.sql(f"INSERT INTO {NAME} VALUES (8, 'by Spark', '2026-03-02', NULL)")
        self.branch.append("3.ndjson", row(3))
        self.assertEqual(self.publish()[1]["status"], "applied")
        self.sees([1, 2, 3, 8, 101, 102], [1, 2, 3, 8, 101, 102])

    def test_a_delete_on_the_branch_is_refused(self):
        self.branch.append("1.ndjson", row(1))
        spark = self.lake.spark()
        spark.sql(f"DELETE FROM {NAME}.branch_audit WHERE n = 1")
        spark.sql(f"DELETE FROM {NAME} WHERE n = 100")
        status, summary = self.publish()
        self.assertEqual((status, summary["status"]), (1, "refused"), summary)
        self.assertIn("is no append", summary["reason"])
        self.assertEqual(self.lake.numbers(), [])
