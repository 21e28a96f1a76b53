"""Two thousand small files in 24 closed partitions are made 24, while append goes on."""

import datetime
import threading
import unittest

from engines import DuckTable
from lake import Lake, definition

NAME = "frazil.lake.events"
HOURS = 24
FILES = 2000
COLUMNS = "n, name, t, file_name"


def table():
    """As in the other checks, but by hours."""
    made = definition()
    made["schema"]["fields"][2] |= {"name": "t", "type": "timestamptz"}
    made["partition-spec"] = "hour(t)"
    return made


def row(n, hour):
    time = datetime.datetime(2026, 3, 1, hour, n % 60, tzinfo=datetime.UTC)
    return {"n": n, "name": f"name {n}", "t": time.isoformat()}


class Compaction(unittest.TestCase):
    def read(self, lake, spark, snapshot, where="true"):
        """All rows by each engine."""
        scan = lake.table().scan(row_filter="n >= 0" if where == "true" else where, snapshot_id=snapshot)
        duck = DuckTable(lake.table().metadata_location, snapshot)
        self.addCleanup(duck.close)
        of_spark = spark.sql(f"SELECT {COLUMNS} FROM {NAME} VERSION AS OF {snapshot} WHERE {where}")
        # Spark's instants have no zone; they are of the session's, which is UTC.
        for found in of_spark:
            found["t"] = found["t"].replace(tzinfo=datetime.UTC)
        read = [scan.to_arrow().to_pylist(), duck.rows(COLUMNS, where), of_spark]
        return [sorted(rows, key=lambda row: row["n"]) for rows in read]

    def files(self, lake):
        """How many live data files there are of each partition."""
        counts = {}
        for entry, _ in lake.entries():
            if entry["status"] != 2:
                (hour,) = entry["data_file"]["partition"].values()
                counts[hour] = counts.get(hour, 0) + 1
        return counts

    def test_rows_are_the_same_in_three_engines(self):
        lake = Lake(self, "compaction", table())
        # A commit writes a file for each partition that it has rows of: 84 commits are enough.
        objects, n = [], 0
        while n < FILES:
            hours = range(min(HOURS, FILES - n))
            objects.append(lake.append(f"{len(objects)}.json", *(row(n + hour, hour) for hour in hours)))
            n += len(hours)
        before = lake.table().current_snapshot().snapshot_id
        self.assertEqual(lake.table().current_snapshot().summary["total-data-files"], str(FILES))
        self.assertEqual(len(self.files(lake)), HOURS)
        spark = lake.spark()
        wanted = self.read(lake, spark, before)
        for found in wanted:
            self.assertEqual(found, wanted[0])
        self.assertEqual([found["n"] for found in wanted[0]], list(range(FILES)))

        # Late rows of two of the hours, and rows of the present one.
        other, late, stop, failed = lake.another(self), [], threading.Event(), []

        def go_on():
            try:
                while not stop.wait(0.2):
                    number = FILES + 2 * len(late)
                    present = row(number + 1, 0) | {"t": datetime.datetime.now(datetime.UTC).isoformat()}
                    late.append(other.append(f"late-{len(late)}.json", row(number, len(late) % 2), present))
            except AssertionError as error:
                failed.append(error)

        thread = threading.Thread(target=go_on)
        thread.start()
        try:
            status, report = lake.frazil("maintain", "--closed-after", "1h")
        finally:
            stop.set()
            thread.join()
        self.assertEqual((status, failed), (0, []), report)
        done = report["tables"]["lake.events"]
        self.assertEqual(done["files_made"], HOURS, report)
        self.assertEqual((done["outdated"], done["left"], done["is_unfinished"]), (0, {}, False), report)
        # Late rows that were there by then are among them.
        self.assertGreaterEqual(done["files_compacted"], FILES)
        self.assertEqual(done["rows"], done["files_compacted"], report)
        self.assertGreater(len(late), 0)

        after = lake.table().current_snapshot().snapshot_id
        for found in self.read(lake, spark, after, f"n < {FILES}"):
            self.assertEqual(found, wanted[0])
        numbers = list(range(FILES + 2 * len(late)))
        self.assertEqual(lake.numbers(), numbers)
        # What came too late for the plan is beside it.
        files = self.files(lake)
        closed = sorted(files)[:HOURS]
        self.assertEqual([files[hour] for hour in closed[2:]], [1] * (HOURS - 2), files)
        self.assertEqual(sum(files[hour] for hour in closed), HOURS + len(late) - (done["files_compacted"] - FILES))
        operations = spark.column(f"SELECT operation FROM {NAME}.snapshots")
        self.assertEqual(operations.count("replace"), done["commits"], operations)
        # An append between two commits of maintain is none that it has overtaken.
        self.assertEqual(operations.count("append"), len(objects) + len(late))
        lake.keeps_the_rules()
        lake.files_exist()

        # Every object is known, and every row accounted for.
        lake.stop()
        lake.deliver(*objects, *late)
        self.assertEqual(lake.table().current_snapshot().snapshot_id, after)
        status, audit = lake.frazil("audit")
        self.assertEqual(status, 0, audit)
        self.assertEqual(audit["findings"], [])

        # What came meanwhile is for the next run: two of the hours have files beside the large one.
        status, report = lake.frazil("maintain")
        self.assertEqual(status, 0, report)
        self.assertEqual(lake.numbers(), numbers)
