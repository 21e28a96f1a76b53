"""`frazil` on S3 with Glue and with a REST catalog, as an operator has it: audit, table, redrive, announce and sweep after what goes wrong in practice."""

import json
import subprocess
import unittest
from datetime import datetime, timedelta, timezone

import bench
import boto3
from aws_server import Ministack
from lambdas import Function
from pyiceberg.catalog import load_catalog
from s3_server import REGION, SECRET, TABLE_BUCKET, S3Server

TABLE = "operated.events"
BUCKET = "raw"
SECONDS = 120
DEFINITION = {
    "name": "events",
    "schema": {
        "type": "struct",
        "schema-id": 0,
        "fields": [
            {"id": 1, "name": "record_id", "type": "string", "required": False},
            {"id": 2, "name": "n", "type": "long", "required": False},
            {"id": 3, "name": "file_name", "type": "string", "required": False},
        ],
    },
    "properties": {"frazil.schema-evolution": "quarantine"},
}
# What Firehose delivers, by key. In the second one record has a column that the table lacks, and one is none.
OBJECTS = {
    "raw/2026/11/26/first.json": [{"record_id": "a", "n": 1}, {"record_id": "b", "n": 2}],
    "raw/2026/11/27/second.json": [{"record_id": "c", "n": 3}, {"record_id": "d", "n": 4, "unit": "m"}, "nope"],
    "raw/2026/11/27/lost.json": [{"record_id": "e", "n": 5}],
}
FIRST, SECOND, LOST = OBJECTS


def line(record):
    return (record if isinstance(record, str) else json.dumps(record)) + "\n"


class OnS3(unittest.TestCase):
    """Objects, tables and errors are in S3, the queue is one of SQS. The raw bucket keeps versions, as that of the stack."""

    name = None

    @classmethod
    def setUpClass(cls):
        cls.folder = bench.fresh_folder(f"operate-{cls.name}")
        cls.s3 = S3Server(cls.folder)
        cls.addClassCleanup(cls.s3.stop)
        cls.aws = Ministack(cls.folder)
        cls.addClassCleanup(cls.aws.stop)
        keys = {"region_name": REGION, "aws_access_key_id": "admin", "aws_secret_access_key": SECRET.format("admin")}
        cls.objects = boto3.client("s3", endpoint_url=cls.s3.endpoint, **keys)
        cls.sqs = boto3.client("sqs", endpoint_url=cls.aws.uri, **keys)
        cls.objects.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
        cls.queue = cls.sqs.create_queue(QueueName="operate")["QueueUrl"]
        cls.variables = {name: value for name, value in (cls.s3.environment() | {
            "AWS_ENDPOINT_URL": None,
            "AWS_ENDPOINT_URL_S3": cls.s3.endpoint,
            "AWS_ENDPOINT_URL_SQS": cls.aws.uri,
            "FRAZIL_ERRORS": "s3://lake/errors",
            "FRAZIL_TABLE": TABLE,
            "FRAZIL_RAW_BUCKET": f"s3://{BUCKET}",
        } | cls.catalog()).items() if value is not None}

    @classmethod
    def catalog(cls):
        """The variables of the catalog."""
        raise NotImplementedError

    def table(self):
        """The table as PyIceberg finds it."""
        raise NotImplementedError

    def run_frazil(self, *arguments, **changes):
        command = [str(bench.BINARIES / "frazil"), *map(str, arguments)]
        variables = {name: value for name, value in (self.variables | changes).items() if value is not None}
        return subprocess.run(
            command, cwd=self.folder, env=variables, capture_output=True, text=True, timeout=SECONDS, check=False
        )

    def frazil(self, *arguments):
        """What a command prints that succeeds."""
        run = self.run_frazil(*arguments)
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)
        return run.stdout

    def summary(self, *arguments):
        return json.loads(self.frazil(*arguments, "--json"))

    def audit(self, *arguments):
        """The report, and its findings as kinds and names."""
        run = self.run_frazil("audit", "--json", *arguments)
        self.assertIn(run.returncode, (0, 1), run.stderr)
        report = json.loads(run.stdout)
        findings = [(finding["kind"], finding["name"]) for finding in report["findings"]]
        self.assertEqual(run.returncode, 1 if findings else 0, report)
        return report, findings

    def deliver(self, *bodies):
        """Messages with these bodies, to append."""
        function = Function(bench.BINARIES / "append", self.folder / "append.log", self.variables)
        try:
            records = [
                {"messageId": str(at), "eventSource": "aws:sqs", "body": body} for at, body in enumerate(bodies)
            ]
            answer = function.invoke({"Records": records})
        finally:
            function.stop()
        self.assertEqual(answer, ("response", {"batchItemFailures": []}))

    def announced_by_s3(self, key):
        head = self.objects.head_object(Bucket=BUCKET, Key=key)
        described = {"key": key, "size": head["ContentLength"], "eTag": head["ETag"].strip('"')}
        if head.get("VersionId", "null") != "null":
            described["versionId"] = head["VersionId"]
        record = {"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": BUCKET}, "object": described}}
        return json.dumps({"Records": [record]})

    def in_queue(self):
        """The bodies of the messages in the queue, which are taken out."""
        bodies = []
        while messages := self.sqs.receive_message(QueueUrl=self.queue, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                bodies.append(message["Body"])
                self.sqs.delete_message(QueueUrl=self.queue, ReceiptHandle=message["ReceiptHandle"])
        return bodies

    def rows(self):
        return sorted(self.table().scan(selected_fields=("record_id",)).to_arrow()["record_id"].to_pylist())

    def definition(self, name, definition):
        path = self.folder / name
        path.write_text(json.dumps(definition))
        return path

    def check_what_goes_wrong(self):
        # A table is made, and shown.
        created = self.frazil("table", "create", TABLE, self.definition("table.json", DEFINITION))
        self.assertEqual(created, f"{TABLE} is created\n")
        shown = json.loads(self.frazil("table", "show", TABLE))
        self.assertEqual([field["name"] for field in shown["schema"]["fields"]], ["record_id", "n", "file_name"])
        self.assertIn(TABLE, self.frazil("table", "show").splitlines())

        # Events come in. One object is lost on the way, one record does not fit.
        for key, records in OBJECTS.items():
            self.s3.put(f"{BUCKET}/{key}", "".join(map(line, records)).encode())
        self.deliver(self.announced_by_s3(FIRST), self.announced_by_s3(SECOND))
        self.assertEqual(self.rows(), ["a", "b", "c"])
        report, findings = self.audit()
        self.assertEqual(findings, [("pending_object", f"s3://{BUCKET}/{LOST}")])
        counts = {name: report[name] for name in ("objects", "objects_committed", "rows_in_tables", "rows_quarantined")}
        self.assertEqual(counts, {"objects": 3, "objects_committed": 2, "rows_in_tables": 3, "rows_quarantined": 2})
        # maintain finds the lost object by itself, whatever day it is.
        upkeep = {"FRAZIL_RAW": f"s3://{BUCKET}/raw", "FRAZIL_COMPACT": "never"}
        run = self.run_frazil("maintain", "--pending-after", "0s", "--json", **upkeep)
        self.assertEqual(run.returncode, 1, run.stdout + run.stderr)
        pending = json.loads(run.stdout)["pending"]
        self.assertEqual((pending["delivered"], pending["named"]), (3, [f"s3://{BUCKET}/{LOST}"]))
        # A part of the bucket, and of time.
        report, findings = self.audit("--prefix", "raw/2026/11/26/")
        self.assertEqual((report["objects"], report["rows_in_tables"], findings), (1, 2, []))
        later = (datetime.now(timezone.utc) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
        self.assertEqual(self.audit("--since", later)[0]["objects"], 0)
        self.assertEqual(self.audit("--since", "1h")[0]["objects"], 3)

        # The column comes, and the row is put back.
        unit = {"id": 900, "name": "unit", "type": "string", "required": False}
        shown["schema"]["fields"].append(unit)
        evolved = self.frazil("table", "evolve", TABLE, self.definition("wider.json", shown))
        self.assertEqual(evolved, f"{TABLE}: 1 column new or wider\n  unit\n")
        summary = self.summary("redrive")
        self.assertEqual([summary[name] for name in ("files", "records", "rows", "records_left")], [1, 1, 1, 1])
        self.assertEqual(self.rows(), ["a", "b", "c", "d"])
        again = self.summary("redrive")
        self.assertEqual([again[name] for name in ("files", "records_left")], [0, 1])
        report, findings = self.audit()
        self.assertEqual(findings, [("pending_object", f"s3://{BUCKET}/{LOST}")])
        self.assertEqual((report["rows_quarantined"], report["rows_redriven"]), (1, 1))

        # The lost object is announced, and no other.
        prefix = f"s3://{BUCKET}/raw/"
        dry = self.frazil("announce", prefix, "--dry-run").splitlines()
        self.assertEqual(dry[0], f"s3://{BUCKET}/{LOST}")
        self.assertEqual(self.in_queue(), [])
        summary = self.summary("announce", prefix, "--queue", self.queue, "--rate", "50")
        self.assertEqual([summary[name] for name in ("objects", "objects_known", "announced")], [3, 2, 1])
        self.deliver(*self.in_queue())
        self.assertEqual(self.rows(), ["a", "b", "c", "d", "e"])
        self.assertEqual(self.audit()[1], [])

        # The table is rolled back by somebody, and gets back what it lost.
        table = self.table()
        parent = table.current_snapshot().parent_snapshot_id
        table.manage_snapshots().rollback_to_snapshot(parent).commit()
        self.assertEqual(self.rows(), ["a", "b", "c", "d"])
        self.assertEqual(self.audit()[1], [("pending_object", f"s3://{BUCKET}/{LOST}")])
        self.assertEqual(self.summary("announce", prefix, "--queue", self.queue)["announced"], 1)
        self.deliver(*self.in_queue())
        self.assertEqual(self.rows(), ["a", "b", "c", "d", "e"])
        self.assertEqual(self.audit()[1], [])
        # What a table has may be announced all the same, and changes nothing.
        self.assertEqual(self.summary("announce", prefix, "--queue", self.queue, "--all")["announced"], 3)
        self.deliver(*self.in_queue())
        self.assertEqual(self.rows(), ["a", "b", "c", "d", "e"])

        # Somebody's file that nothing needs goes, and nothing else.
        orphan = f"{self.table().location()}/data/orphan.parquet"
        self.s3.put(orphan.removeprefix("s3://"), b"x")
        self.assertEqual(self.summary("sweep")["orphans"], [], "it is young")
        swept = self.summary("sweep", "--older-than", "0s")
        self.assertIn(orphan, [file["path"] for file in swept["orphans"]])
        self.assertEqual(swept["deleted"], 0)
        swept = self.summary("sweep", "--older-than", "0s", "--delete")
        self.assertEqual((swept["deleted"], swept["failed"]), (len(swept["orphans"]), []))
        self.assertEqual(self.summary("sweep", "--older-than", "0s")["orphans"], [])
        self.assertEqual(self.audit()[1], [])
        self.assertEqual(self.rows(), ["a", "b", "c", "d", "e"])

        # A data file that is gone is found.
        data = next(task.file.file_path for task in self.table().scan().plan_files())
        bucket, _, key = data.removeprefix("s3://").partition("/")
        self.objects.delete_object(Bucket=bucket, Key=key)
        self.assertIn(("missing_data_file", data), self.audit()[1])


class Glue(OnS3):
    name = "glue"

    @classmethod
    def catalog(cls):
        return {
            "AWS_ENDPOINT_URL_GLUE": cls.aws.uri,
            "FRAZIL_CATALOG": "glue",
            "FRAZIL_WAREHOUSE": "s3://lake/warehouse",
        }

    def table(self):
        return self.aws.glue_table(TABLE, self.s3.properties())

    def test_what_goes_wrong_is_found_and_mended(self):
        self.check_what_goes_wrong()

    def test_arguments_go_before_variables(self):
        audit = ["audit", "--catalog", "glue", "--table", "other.table", "--raw-bucket", "s3://lake", "--errors", "s3://lake/e"]
        report, findings = self.audit(*audit[1:])
        self.assertEqual((report["objects"], report["tables"], findings), (0, [], []))
        run = self.run_frazil(*audit, FRAZIL_CATALOG="s3tables", FRAZIL_RAW_BUCKET=None, FRAZIL_ERRORS=None, FRAZIL_TABLE=None)
        self.assertEqual(run.returncode, 0, run.stderr)

    def test_what_is_not_said_is_asked_for(self):
        for command, changes, expected in (
            (["audit"], {"FRAZIL_RAW_BUCKET": None}, "FRAZIL_RAW_BUCKET is not set"),
            (["redrive"], {"FRAZIL_ERRORS": None}, "FRAZIL_ERRORS is not set"),
            (["sweep"], {"FRAZIL_TABLE": None}, "FRAZIL_TABLE is not set"),
            (["table", "show", "no.table"], {}, "there is no table no.table"),
            (["announce", "s3://raw/", "--queue", f"{self.queue}-nowhere", "--all"], {}, "cannot send messages to"),
            (["audit", "--warehouse", "."], {}, "has no catalog.db"),
        ):
            with self.subTest(command):
                self.s3.put(f"{BUCKET}/other/x", b"{}\n")
                run = self.run_frazil(*command, **changes)
                self.assertEqual(run.returncode, 1, run.stdout + run.stderr)
                self.assertIn(expected, run.stderr)


class Rest(OnS3):
    name = "rest"

    @classmethod
    def catalog(cls):
        return {
            "FRAZIL_CATALOG": "rest",
            "FRAZIL_CATALOG_URI": cls.s3.catalog,
            "FRAZIL_CATALOG_CREDENTIAL": f"admin:{SECRET.format('admin')}",
            "FRAZIL_WAREHOUSE": f"s3://{TABLE_BUCKET}",
        }

    def table(self):
        rest = {
            "uri": self.s3.catalog,
            "credential": f"admin:{SECRET.format('admin')}",
            "oauth2-server-uri": f"{self.s3.catalog}/v1/oauth/tokens",
            "warehouse": f"s3://{TABLE_BUCKET}",
        }
        return load_catalog("rest", type="rest", **rest, **self.s3.properties()).load_table(TABLE)

    def test_what_goes_wrong_is_found_and_mended(self):
        self.check_what_goes_wrong()
