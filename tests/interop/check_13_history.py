"""Snapshots, metadata files and tokens come to their end, and nothing that is needed goes with them."""

import datetime
import gzip
import json
import os
import threading
import time
import unittest

import pyarrow
from engines import catalog
from lake import Lake, definition, local, read_json, row
from pyiceberg.schema import Schema
from pyiceberg.types import LongType, NestedField, StringType

NAME = "frazil.lake.events"
DAY_MS = 24 * 60 * 60 * 1000
DAYS_20 = 20 * 24 * 60 * 60


def snapshots(lake):
    return {snapshot["snapshot-id"] for snapshot in lake.metadata()["snapshots"]}


def metadata_files(lake):
    return sorted(path for path in lake.metadata_path().parent.iterdir() if ".metadata.json" in path.name)


class Tokens(unittest.TestCase):
    """The ledger of tokens that outlives the snapshots is no orphan to any engine, and a ledger that is gone is not empty."""

    def ledger(self, lake):
        """The file that a property of the table names."""
        properties = lake.metadata()["properties"]
        named = [value for name, value in properties.items() if name.startswith("frazil.") and "ledger" in name]
        self.assertEqual(len(named), 1, properties)
        return local(named[0])

    def test_the_ledger_survives_every_cleaner(self):
        properties = {"history.expire.max-snapshot-age-ms": "1", "history.expire.min-snapshots-to-keep": "2"}
        lake = Lake(self, "history-ledger", definition(properties))
        objects = [lake.append(f"{n}.json", row(n)) for n in range(1, 11)]
        spark = lake.spark()
        spark.sql(f"ALTER TABLE {NAME} SET TBLPROPERTIES ('write.delete.mode' = 'copy-on-write')")
        spark.sql(f"DELETE FROM {NAME} WHERE n = 3")
        spark.sql(
            "CALL frazil.system.expire_snapshots(table => 'lake.events', older_than => TIMESTAMP '2100-01-01', retain_last => 1)"
        )
        ledger = self.ledger(lake)
        content = ledger.read_bytes()
        location = local(lake.metadata()["location"])
        self.assertNotIn(location, ledger.parents)
        long_ago = time.time() - DAYS_20
        for folder, _, names in os.walk(lake.folder):
            for name in names:
                if "catalog.db" not in name and ".log" not in name:
                    os.utime(os.path.join(folder, name), (long_ago, long_ago))
        days_3 = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=3)
        spark.sql(
            f"CALL frazil.system.remove_orphan_files(table => 'lake.events', older_than => TIMESTAMP '{days_3:%F %T}')"
        )
        status, swept = lake.frazil("sweep", "--delete")
        self.assertIn(status, (0, 1), swept)
        lake.append("11.json", row(11))
        if self.ledger(lake) == ledger:
            self.assertEqual(ledger.read_bytes(), content)
        lake.files_exist()

        # Again, by an instance that has not seen the table.
        lake.stop()
        before = lake.table().current_snapshot().snapshot_id
        lake.deliver(*objects)
        wanted = [n for n in range(1, 12) if n != 3]
        self.assertEqual(lake.numbers(), wanted)
        self.assertEqual(lake.table().current_snapshot().snapshot_id, before)

        ledger = self.ledger(lake)
        ledger.unlink()
        lake.stop()
        status, report = lake.frazil("audit")
        self.assertEqual(status, 1)
        self.assertEqual(len([found for found in report["findings"] if ledger.name in json.dumps(found)]), 1, report)
        logged = lake.log.stat().st_size
        lake.deliver(objects[0])
        self.assertEqual(lake.numbers(), wanted)
        lines = lake.log.read_text()[logged:].splitlines()
        warnings = [line for line in lines if "WARN" in line.upper() and ledger.name in line]
        self.assertEqual(len(warnings), 1, lines)
        lake.append("12.json", row(12))
        self.assertEqual(lake.numbers(), [*wanted, 12])
        self.assertTrue(self.ledger(lake).exists())


class References(unittest.TestCase):
    def test_a_tag_and_a_branch_keep_what_they_need(self):
        properties = {
            "history.expire.max-snapshot-age-ms": "1",
            "history.expire.min-snapshots-to-keep": "1",
            "gc.enabled": "false",
        }
        lake = Lake(self, "history-tag", definition(properties))
        spark = lake.spark()
        taken, files, lists = [], [], []

        def look():
            metadata = lake.metadata()
            taken.append(metadata["current-snapshot-id"])
            found = [snapshot for snapshot in metadata["snapshots"] if snapshot["snapshot-id"] == taken[-1]]
            lists.append(local(found[0]["manifest-list"]))

        for n in range(1, 5):
            lake.append(f"{n}.json", row(n))
            look()
            added = [entry for entry, manifest in lake.entries() if manifest["added_snapshot_id"] == taken[-1]]
            files.append(local(added[0]["data_file"]["file_path"]))
        self.assertEqual(len(snapshots(lake)), 4, "gc.enabled is false")
        spark.sql(f"ALTER TABLE {NAME} CREATE TAG month AS OF VERSION {taken[1]}")
        spark.sql(f"ALTER TABLE {NAME} CREATE BRANCH audit AS OF VERSION {taken[2]} WITH SNAPSHOT RETENTION 2 SNAPSHOTS")
        for snapshot in (taken[1], taken[3]):
            spark.sql(f"CALL frazil.system.compute_table_stats(table => 'lake.events', snapshot_id => {snapshot})")
        statistics = {found["snapshot-id"]: local(found["statistics-path"]) for found in lake.metadata()["statistics"]}
        self.assertEqual(set(statistics), {taken[1], taken[3]})
        spark.sql(f"INSERT INTO {NAME}.branch_audit VALUES (5, 'audited', '2026-03-01', null)")
        audit = lake.metadata()["refs"]["audit"]
        rewritten = "CALL frazil.system.rewrite_data_files(table => 'lake.events', options => map('rewrite-all', 'true'))"
        spark.sql(rewritten)
        look()
        spark.sql(f"ALTER TABLE {NAME} SET TBLPROPERTIES ('gc.enabled' = 'true')")
        lake.append("6.json", row(6))
        look()

        metadata = lake.metadata()
        refs = metadata["refs"]
        self.assertEqual(snapshots(lake), {taken[1], taken[2], audit["snapshot-id"], taken[5]})
        self.assertEqual(set(refs), {"main", "month", "audit"})
        self.assertEqual((refs["main"]["snapshot-id"], refs["audit"]), (taken[5], audit))
        self.assertEqual([entry["snapshot-id"] for entry in metadata["snapshot-log"]], [taken[5]])
        self.assertEqual([found["snapshot-id"] for found in metadata["statistics"]], [taken[1]])

        status, swept = lake.frazil("sweep", "--delete", "--older-than", "0s")
        self.assertIn(status, (0, 1), swept)
        lake.files_exist()
        self.assertTrue(all(path.exists() for path in (*files[:3], statistics[taken[1]])))
        gone = [files[3], lists[0], lists[3], lists[4], statistics[taken[3]]]
        self.assertEqual([path for path in gone if path.exists()], [])
        self.assertEqual(lake.numbers(), [1, 2, 3, 4, 6])
        self.assertEqual(lake.numbers(taken[1]), [1, 2])
        self.assertEqual(lake.numbers(audit["snapshot-id"]), [1, 2, 3, 5])
        self.assertEqual(sorted(spark.column(f"SELECT n FROM {NAME} VERSION AS OF 'month'")), [1, 2])
        with self.assertRaises(Exception):
            spark.sql(f"SELECT n FROM {NAME} TIMESTAMP AS OF '2026-01-01 00:00:00'")
        # A parent that is gone is the end of the chain.
        lake.append("7.json", row(7))
        self.assertEqual(lake.numbers(), [1, 2, 3, 4, 6, 7])
        self.assertEqual(lake.frazil("audit")[0], 0)


class Clocks(unittest.TestCase):
    """The table was last written by a machine whose clock runs ahead."""

    def ahead(self, name, by_ms, properties):
        lake = Lake(self, name, definition(properties))
        for n in range(1, 4):
            lake.append(f"{n}.json", row(n))

        def raise_clock(metadata):
            metadata["last-updated-ms"] += by_ms
            if metadata["metadata-log"]:
                metadata["metadata-log"][-1]["timestamp-ms"] += by_ms

        lake.stop()
        path = lake.replace_metadata(raise_clock)
        before = read_json(path)["last-updated-ms"]
        lake.append("4.json", row(4))
        metadata = lake.metadata()
        snapshot = max(metadata["snapshots"], key=lambda snapshot: snapshot["sequence-number"])
        self.assertGreaterEqual(snapshot["timestamp-ms"], before)
        self.assertGreaterEqual(metadata["last-updated-ms"], before)
        self.assertNotIn("commit attempt failed", lake.log.read_text())
        for log in ("snapshot-log", "metadata-log"):
            times = [entry["timestamp-ms"] for entry in metadata[log]]
            self.assertEqual(times, sorted(times), log)
        lake.append("5.json", row(5))
        self.assertEqual(lake.numbers(), [1, 2, 3, 4, 5])
        self.assertEqual(lake.spark().column(f"SELECT count(*) FROM {NAME}.history"), [5])
        self.assertEqual(lake.spark().column(f"SELECT count(*) FROM {NAME}.snapshots"), [5])

    def test_ten_minutes(self):
        self.ahead("history-minutes", 10 * 60 * 1000, {})

    def test_two_days(self):
        """Nothing is expired for it."""
        one_day = {"history.expire.max-snapshot-age-ms": str(DAY_MS), "history.expire.min-snapshots-to-keep": "1"}
        self.ahead("history-days", 2 * DAY_MS, one_day)


class Metadata(unittest.TestCase):
    """Old metadata files are deleted, and none that anybody may come to need."""

    TWO = {"write.metadata.previous-versions-max": "2", "write.metadata.delete-after-commit.enabled": "true"}

    def check(self, lake):
        log = [local(entry["metadata-file"]) for entry in lake.metadata()["metadata-log"]]
        self.assertLessEqual(len(log), 2)
        self.assertEqual([path for path in log if not path.exists()], [])
        lake.files_exist()

    def test_three_are_left(self):
        lake = Lake(self, "history-metadata", definition(self.TWO))
        for n in range(1, 6):
            lake.append(f"{n}.json", row(n))
            self.check(lake)
        self.assertEqual(len(metadata_files(lake)), 3)
        earlier = lake.table()
        # What falls out of the log cannot be deleted: a folder is in its place.
        oldest = metadata_files(lake)[0]
        content = oldest.read_bytes()
        oldest.unlink()
        (oldest / "kept").mkdir(parents=True)
        logged = lake.log.stat().st_size
        lake.append("6.json", row(6))
        (oldest / "kept").rmdir()
        oldest.rmdir()
        oldest.write_bytes(content)
        lines = [line for line in lake.log.read_text()[logged:].splitlines() if oldest.name in line]
        self.assertEqual(len(lines), 1, lines)
        self.assertIn("DEBUG", lines[0].upper())
        for n in range(7, 9):
            lake.append(f"{n}.json", row(n))
            self.check(lake)
        self.assertEqual(sorted(earlier.scan().to_arrow()["n"].to_pylist()), [1, 2, 3, 4, 5])
        self.assertEqual(lake.numbers(), [*range(1, 9)])

    def test_all_that_falls_out_goes_at_once(self):
        lake = Lake(self, "history-lowered", definition(self.TWO | {"write.metadata.previous-versions-max": "20"}))
        for n in range(1, 23):
            lake.append(f"{n}.json", row(n))
        self.assertEqual(len(metadata_files(lake)), 21)
        with lake.table().transaction() as transaction:
            transaction.set_properties(**{"write.metadata.previous-versions-max": "2"})
        lake.append("23.json", row(23))
        self.check(lake)
        self.assertEqual(len(metadata_files(lake)), 3)

    def test_writers_that_meet(self):
        """Attempts are lost and outcomes unknown; what a pointer could come to name is there."""
        lake = Lake(self, "history-meet", definition(self.TWO))
        lake.append("first.json", row(0))
        others = [lake.another(self) for _ in range(4)]
        failures = []

        def write(writer, first):
            try:
                for n in range(first, first + 10):
                    writer.append(f"{n}.json", row(n))
            except Exception as error:  # pylint: disable=broad-exception-caught
                failures.append(error)

        threads = [threading.Thread(target=write, args=[writer, 100 * at]) for at, writer in enumerate(others, 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(failures, [])
        self.check(lake)
        lake.keeps_the_rules()
        self.assertEqual(lake.numbers(), sorted([0, *(100 * at + n for at in range(1, 5) for n in range(10))]))


class Names(unittest.TestCase):
    """Metadata files of others, by whatever name, and by theirs what we write."""

    SCHEMA = Schema(
        NestedField(1, "n", LongType()),
        NestedField(2, "name", StringType()),
        NestedField(3, "day", StringType()),
        NestedField(4, "file_name", StringType()),
    )
    UUID = "5f0cde0e-1b1c-4a6e-9f6e-0d8f6a2b7c11"

    def lake(self, name, properties=None):
        """A table that PyIceberg has made, with a row."""
        lake = Lake(self, f"history-{name}", definition())
        (lake.folder / "warehouse").mkdir()
        theirs = catalog(lake.folder)
        theirs.create_namespace("lake")
        table = theirs.create_table(lake.table_name, self.SCHEMA, properties=properties or {})
        table.append(pyarrow.table({"n": [0], "name": ["theirs"], "day": ["d"], "file_name": [None]}, schema=table.schema().as_arrow()))
        return lake

    def appends(self, lake, is_gzip, first=1):
        for n in (first, first + 1):
            lake.append(f"{n}.json", row(n))
            path = lake.metadata_path()
            self.assertRegex(path.name, r"^\d+-[0-9a-f-]{36}(\.gz)?\.metadata\.json$")
            self.assertEqual(path.read_bytes()[:2] == b"\x1f\x8b", ".gz." in path.name, path)
            self.assertEqual(".gz." in path.name, is_gzip)
        self.assertEqual(lake.numbers(), [*range(first + 2)])
        lake.files_exist()

    def renamed(self, lake, name, compress):
        path = lake.metadata_path()
        content = path.read_bytes()
        other = path.with_name(name)
        other.write_bytes(gzip.compress(content) if compress else content)
        if name.endswith(".gz") or (compress and ".gz." not in name):
            # PyIceberg tells by the name and cannot open it: only the pointer is changed.
            lake.point_by_hand(other)
        else:
            lake.point_at(other)
        return lake

    def test_names(self):
        for at, (name, compress, number) in enumerate([
            ("v3.metadata.json", False, 3),
            (f"00004-{self.UUID}.gz.metadata.json", True, 4),
            (f"00004-{self.UUID}.metadata.json.gz", True, 4),
            (f"00004-{self.UUID}.metadata.json", True, 4),
            ("20260301T101500Z.metadata.json", False, -1),
        ]):
            with self.subTest(name):
                lake = self.renamed(self.lake(f"name-{at}"), name, compress)
                self.appends(lake, False)
                self.assertGreater(int(lake.metadata_path().name.split("-")[0]), number + 1)

    def test_metadata_elsewhere(self):
        elsewhere = local(Lake(self, "history-elsewhere-metadata", definition()).folder.as_uri())
        lake = self.lake("elsewhere", {"write.metadata.path": f"file://{elsewhere}"})
        self.appends(lake, False)
        metadata = lake.metadata()
        snapshot = next(found for found in metadata["snapshots"] if found["snapshot-id"] == metadata["current-snapshot-id"])
        ours = [manifest["manifest_path"] for manifest in lake.manifests()]
        for path in (lake.metadata_path(), local(snapshot["manifest-list"]), *map(local, ours)):
            self.assertEqual(path.parent, elsewhere)

    def test_codecs(self):
        lake = self.lake("codecs")
        first = 1
        for codec, is_gzip in [("gzip", True), ("GZIP", True), ("none", False)]:
            self.set_codec(lake, codec)
            with self.subTest(codec):
                self.appends(lake, is_gzip, first)
            first += 2

    def test_a_codec_that_nobody_reads(self):
        """Plain, or refused by the property's name; never a file that no reader opens."""
        lake = self.lake("codec-zstd")
        self.set_codec(lake, "zstd")
        kind, answer = lake.invoke(lake.put("1.json", [row(1)]))
        if kind == "error":
            self.assertIn("write.metadata.compression-codec", answer["errorMessage"])
            self.set_codec(lake, "none")
        self.appends(lake, False)

    def set_codec(self, lake, codec):
        with lake.table().transaction() as transaction:
            transaction.set_properties(**{"write.metadata.compression-codec": codec})
