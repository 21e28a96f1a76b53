"""append on Iceberg's own REST catalog server, which checks every update and every requirement by Iceberg's own code."""

import json
import unittest
from contextlib import closing

import bench
from check_9_catalogs import BUCKET, DEFINITION, Race
from engines import DuckTable
from jvm import RestServer
from lambdas import Function, sqs_event

APPEND = bench.BINARIES / "append"


class Judge(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = bench.fresh_folder("judge")
        cls.server = RestServer(cls.folder)
        cls.addClassCleanup(cls.server.stop)

    def put(self, key, text):
        path = self.folder / BUCKET / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def variables(self, table, properties=None):
        return {
            "FRAZIL_CATALOG": "rest",
            "FRAZIL_CATALOG_URI": self.server.uri,
            "FRAZIL_ERRORS": f"file://{self.folder}/errors",
            "FRAZIL_SOURCE_ROOT": f"file://{self.folder}/",
            "FRAZIL_TABLE": table,
            "FRAZIL_TABLE_DEFINITION": json.dumps(DEFINITION | {"properties": properties or {}}),
        }

    def deliver(self, variables, *keys):
        """One object after the other, each in an invocation of its own; none may be handed back."""
        function = Function(APPEND, self.folder / "append.txt", variables)
        try:
            for key in keys:
                answer = function.invoke(sqs_event([[(BUCKET, key, "1")]]))
                self.assertEqual(answer, ("response", {"batchItemFailures": []}), function.log.read_text()[-4000:])
        finally:
            function.stop()

    def test_race(self):
        race = Race(self, self.variables("lake.events"), self.put)
        race.run()
        race.compare(self.server.table("lake.events"))

    def test_merged_and_expired(self):
        """Every kind of update that an append makes; more than once, so that the judge sees its own answers again."""
        properties = {
            "commit.manifest.min-count-to-merge": "3",
            "history.expire.max-snapshot-age-ms": "1",
            "history.expire.min-snapshots-to-keep": "2",
            "write.metadata.previous-versions-max": "2",
        }
        variables = self.variables("lake.short", properties)
        keys = [f"short/{number}.json" for number in range(12)]
        for key in keys:
            self.put(key, f'{{"record_id": "{key}"}}\n')
        self.deliver(variables, *keys)
        table = self.server.table("lake.short")
        self.assertEqual(len(table.metadata.snapshots), 2)
        self.assertLessEqual(len(table.inspect.manifests()), 3)
        self.assertLessEqual(len(table.metadata.metadata_log), 2)
        # Again, by an instance that has not seen the table.
        self.deliver(variables, *keys)
        again = self.server.table("lake.short")
        self.assertEqual(again.metadata.current_snapshot_id, table.metadata.current_snapshot_id)
        found = again.scan(selected_fields=("record_id",)).to_arrow()["record_id"].to_pylist()
        self.assertEqual(sorted(found), sorted(keys))
        with closing(DuckTable(again.metadata_location)) as duck:
            self.assertEqual(sorted(row["record_id"] for row in duck.rows("record_id")), sorted(keys))
