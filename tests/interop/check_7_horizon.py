"""Another engine takes the tokens away, or the rows: what is delivered again comes in exactly as often as it must."""

import json
import os
import subprocess
import unittest

import bench
from engines import load_table

NAME = "streaming_analytics.user_events"


def replay_with_log(warehouse):
    """Replays the sample; what it prints, and its log."""
    command = [str(bench.BINARIES / "frazil"), "replay", "--warehouse", str(warehouse), "--json"]
    environment = {**os.environ, "FRAZIL_LOG": "info"}
    run = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=bench.REPLAY_SECONDS, check=True
    )
    return json.loads(run.stdout.splitlines()[-1]), run.stdout + run.stderr


def audit(warehouse):
    command = [str(bench.BINARIES / "frazil"), "audit", "--warehouse", str(warehouse), "--json"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=bench.REPLAY_SECONDS, check=False)
    return run.returncode, json.loads(run.stdout)


def expire_all_but_current(table):
    # The tokens of recent commits outlive their snapshots there.
    with table.transaction() as change:
        change.remove_properties("frazil.ledger.recent")
    current = table.current_snapshot().snapshot_id
    old = [snapshot.snapshot_id for snapshot in table.metadata.snapshots if snapshot.snapshot_id != current]
    if old:
        table.maintenance.expire_snapshots().by_ids(old).commit()


def ids(warehouse):
    return sorted(load_table(warehouse, NAME).scan(selected_fields=("record_id",)).to_arrow()["record_id"].to_pylist())


class Horizon(unittest.TestCase):
    def fresh(self, name):
        warehouse = bench.fresh_folder(name) / "w"
        return warehouse, bench.replay(warehouse)

    def test_a_compaction_and_an_expiry_bring_no_row_twice(self):
        warehouse, first = self.fresh("compacted")
        before = ids(warehouse)
        table = load_table(warehouse, NAME)
        table.overwrite(table.scan().to_arrow())
        # The tokens are in the ancestry still.
        self.assertEqual(bench.replay(warehouse)["objects_already_committed"], first["objects"])
        expire_all_but_current(load_table(warehouse, NAME))
        again, log = replay_with_log(warehouse)
        self.assertEqual((again["rows"], again["objects"], again["objects_already_committed"]), (0, first["objects"], 0))
        self.assertEqual(ids(warehouse), before)
        self.assertEqual(log.count("files_opened="), 1, log)
        status, report = audit(warehouse)
        self.assertEqual((status, report["findings"]), (0, []))
        # Now the tokens are back.
        self.assertEqual(bench.replay(warehouse)["objects_already_committed"], first["objects"])

    def test_rows_that_were_rolled_back_come_in_once(self):
        warehouse, first = self.fresh("rolled-back")
        before = ids(warehouse)
        other = bench.fresh_folder("rolled-back-input") / "more.json"
        other.write_text("".join(json.dumps({"user_id": f"u{n}", "event_type": "more"}) + "\n" for n in range(500)))
        more = ["--table", NAME, other]
        self.assertEqual(bench.replay(warehouse, *more)["rows"], 500)
        after = ids(warehouse)
        table = load_table(warehouse, NAME)
        parent = table.current_snapshot().parent_snapshot_id
        table.manage_snapshots().rollback_to_snapshot(parent).commit()
        self.assertEqual(ids(warehouse), before)
        status, report = audit(warehouse)
        self.assertEqual((status, {finding["kind"] for finding in report["findings"]}), (1, {"pending_object"}))
        self.assertEqual(bench.replay(warehouse)["rows"], 0)
        self.assertEqual(bench.replay(warehouse, *more)["rows"], 500)
        self.assertEqual(ids(warehouse), after)
        self.assertEqual(bench.replay(warehouse, *more)["rows"], 0)
        self.assertEqual(len(after), first["rows"] + 500)
        self.assertEqual(audit(warehouse)[0], 0)
