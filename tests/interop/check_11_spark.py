"""Spark goes on reading, writing, compacting and expiring between our commits; PyIceberg and DuckDB read what comes of it."""

import unittest

from lake import Lake, definition, row

NAME = "frazil.lake.events"


class Spark(unittest.TestCase):
    def test_every_snapshot_that_is_left_can_be_read(self):
        properties = {
            "commit.manifest.min-count-to-merge": "3",
            "history.expire.max-snapshot-age-ms": "1",
            "history.expire.min-snapshots-to-keep": "4",
        }
        lake = Lake(self, "spark-travel", definition(properties))
        for n in range(10):
            lake.append(f"{n}.json", row(n))
        read = lake.each_snapshot_reads()
        self.assertEqual(sorted(read.values()), [list(range(count)) for count in (7, 8, 9, 10)])
        self.assertLess(len(lake.manifests()), 5)
        lake.files_exist()
        spark = lake.spark()
        self.assertEqual(spark.column(f"SELECT count(*) FROM {NAME}.snapshots"), [4])
        self.assertEqual(spark.column(f"SELECT count(*) FROM {NAME}.history"), [4])
        self.assertEqual(spark.column(f"SELECT count(*) FROM {NAME}.manifests"), [len(lake.manifests())])

    def test_spark_writes_compacts_and_expires_between_our_commits(self):
        properties = {
            "commit.manifest.min-count-to-merge": "3",
            "history.expire.max-snapshot-age-ms": "1",
            "history.expire.min-snapshots-to-keep": "2",
        }
        lake = Lake(self, "spark-between", definition(properties))
        spark = lake.spark()
        objects = [lake.append(f"{n}.json", row(n)) for n in range(4)]
        spark.sql(f"INSERT INTO {NAME} VALUES (100, 'by Spark', '2026-03-01', null)")
        objects.append(lake.append("4.json", row(4, day="2026-03-02")))
        compacted = spark.sql(
            "CALL frazil.system.rewrite_data_files(table => 'lake.events', options => map('rewrite-all', 'true'))"
        )
        self.assertGreaterEqual(compacted[0]["rewritten_data_files_count"], 6)
        objects.append(lake.append("5.json", row(5)))
        spark.sql("CALL frazil.system.rewrite_manifests(table => 'lake.events')")
        objects.append(lake.append("6.json", row(6)))
        self.assertEqual(lake.numbers(), [*range(7), 100])
        spark.sql(f"DELETE FROM {NAME} WHERE n = 2")
        spark.sql(
            "CALL frazil.system.expire_snapshots(table => 'lake.events', older_than => TIMESTAMP '2100-01-01', retain_last => 1)"
        )
        objects.append(lake.append("7.json", row(7)))
        wanted = [0, 1, 3, 4, 5, 6, 7, 100]
        self.assertEqual(lake.numbers(), wanted)
        # Again, by an instance that has not seen the table: nothing comes twice, and what was deleted stays away.
        lake.stop()
        before = lake.table().current_snapshot().snapshot_id
        lake.deliver(*objects)
        self.assertEqual(lake.numbers(), wanted)
        self.assertEqual(lake.table().current_snapshot().snapshot_id, before)
        lake.files_exist()

    def test_settings_of_references_survive_an_append(self):
        lake = Lake(self, "spark-references", definition())
        spark = lake.spark()
        lake.append("1.json", row(1))
        spark.sql(f"ALTER TABLE {NAME} CREATE OR REPLACE BRANCH main RETAIN 7 DAYS WITH SNAPSHOT RETENTION 3 SNAPSHOTS")
        spark.sql(f"ALTER TABLE {NAME} CREATE BRANCH audit RETAIN 7 DAYS")
        spark.sql(f"INSERT INTO {NAME}.branch_audit VALUES (50, 'audited', '2026-03-01', null)")
        spark.sql(f"ALTER TABLE {NAME} CREATE TAG month RETAIN 30 DAYS")
        before = lake.metadata()["refs"]
        lake.append("2.json", row(2))
        after = lake.metadata()["refs"]
        self.assertEqual({**after["main"], "snapshot-id": before["main"]["snapshot-id"]}, before["main"])
        self.assertEqual((after["audit"], after["month"]), (before["audit"], before["month"]))
        self.assertEqual(lake.numbers(), [1, 2])
        self.assertEqual(lake.numbers(after["audit"]["snapshot-id"]), [1, 50])
        self.assertEqual(spark.column(f"SELECT n FROM {NAME} VERSION AS OF 'month'"), [1])

    def test_a_column_that_spark_adds_and_promotes(self):
        lake = Lake(self, "spark-promotes", definition(n="int"))
        spark = lake.spark()
        lake.append("1.json", row(1))
        spark.sql(f"ALTER TABLE {NAME} ALTER COLUMN n TYPE bigint")
        spark.sql(f"ALTER TABLE {NAME} ADD COLUMN amount double")
        lake.append("2.json", row(3_000_000_000, amount=2.5))
        self.assertEqual(lake.numbers(), [1, 3_000_000_000])
        amounts = spark.sql(f"SELECT n, amount FROM {NAME} ORDER BY n")
        self.assertEqual(amounts, [{"n": 1, "amount": None}, {"n": 3_000_000_000, "amount": 2.5}])
