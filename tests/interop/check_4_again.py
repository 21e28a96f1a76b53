"""The same input again: the same objects are delivered, and no row is added."""

import unittest

import bench
from engines import load_table


class Again(unittest.TestCase):
    def again(self, first):
        second = bench.replay(first.warehouse, *first.arguments)
        self.assertEqual(second["rows"], 0)
        self.assertGreater(second["objects"], 0)
        self.assertEqual(second["objects"], first.outcome["objects"])
        self.assertEqual(second["objects_already_committed"], second["objects"])
        for name in ("records", "ok", "failed"):
            self.assertEqual(second[name], first.outcome[name], name)
        table = load_table(first.warehouse, first.table_name)
        self.assertEqual(table.scan().count(), first.outcome["rows"])
        self.assertEqual(table.current_snapshot().snapshot_id, first.table.current_snapshot().snapshot_id)

    def test_the_sample(self):
        self.again(bench.sample())

    def test_an_inferred_table(self):
        self.again(bench.typed())

    def test_a_defined_table(self):
        self.again(bench.partitioned())
