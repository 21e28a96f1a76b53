"""Batches of Kafka records that Lambda gave up, on S3 with Glue: `frazil redrive` reads its three envelopes, append takes none for data."""

import base64
import json
import subprocess
import unittest

import bench
from aws_server import Ministack
from lambdas import Function
from s3_server import S3Server

TABLE = "shop.orders"
CLUSTER = "arn:aws:kafka:eu-north-1:123456789012:cluster/events/0b5e-2"
FOLDER = "raw/aws/lambda/8a1c0c1e-2f6b-4f0c-9a51-0f8e7d3c2b1a/2026/11/27"
SECONDS = 120


def event(*offsets):
    """What the mapping would have sent."""

    def record(offset):
        value = base64.b64encode(json.dumps({"id": offset}).encode()).decode()
        return {"topic": "orders", "partition": 0, "offset": offset, "timestamp": 1772000000000 + offset, "value": value}

    return {"eventSource": "aws:kafka", "eventSourceArn": CLUSTER, "records": {"orders-0": list(map(record, offsets))}}


def envelope(payload, **info):
    """What Lambda writes; without a payload it is that of SQS and SNS."""
    ranges = {"orders-0": {"firstRecordOffset": "40", "lastRecordOffset": "44"}}
    batch = {
        "requestContext": {"requestId": "r", "functionArn": "arn:f", "condition": "RetryAttemptsExhausted"},
        "responseContext": {"statusCode": 200},
        "version": "1.0",
        "KafkaBatchInfo": {"batchSize": 5, "eventSourceArn": CLUSTER} | (info or {"recordsInfo": ranges}),
    }
    return json.dumps(batch if payload is None else batch | {"payload": payload})


class FailedBatches(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = bench.fresh_folder("failed-batches")
        cls.s3 = S3Server(cls.folder)
        cls.addClassCleanup(cls.s3.stop)
        cls.aws = Ministack(cls.folder)
        cls.addClassCleanup(cls.aws.stop)
        cls.variables = {name: value for name, value in (cls.s3.environment() | {
            "AWS_ENDPOINT_URL": None,
            "AWS_ENDPOINT_URL_S3": cls.s3.endpoint,
            "AWS_ENDPOINT_URL_GLUE": cls.aws.uri,
            "FRAZIL_CATALOG": "glue",
            "FRAZIL_WAREHOUSE": "s3://lake/warehouse",
            "FRAZIL_ERRORS": "s3://lake/errors",
            "FRAZIL_RAW_BUCKET": "s3://raw",
            "FRAZIL_TABLE": TABLE,
            "FRAZIL_BATCH_ITEM_FAILURES": "true",
        }).items() if value is not None}

    def redrive(self, uri, **changes):
        command = [str(bench.BINARIES / "frazil"), "redrive", "--failed-batches", uri, "--json"]
        return subprocess.run(
            command, cwd=self.folder, env=self.variables | changes, capture_output=True, text=True, timeout=SECONDS, check=False
        )

    def offsets(self):
        rows = self.aws.glue_table(TABLE, self.s3.properties()).scan(selected_fields=("topic", "offset")).to_arrow()
        self.assertEqual(set(rows["topic"].to_pylist()), {"orders"})
        return sorted(rows["offset"].to_pylist())

    def test_each_envelope_comes_back_under_the_records_own_identity(self):
        self.s3.put(f"{FOLDER}/both/in-s3", envelope(json.dumps(event(20, 21, 22))).encode())
        self.s3.put(f"{FOLDER}/both/of-a-topic", envelope(event(31), recordInfo={"offset": "31"}).encode())
        for rows in (4, 0):
            run = self.redrive(f"s3://{FOLDER}/both/")
            self.assertEqual(run.returncode, 0, run.stderr)
            summary = json.loads(run.stdout)
            self.assertEqual((summary["failed_batches"], summary["rows"]), (2, rows))
            self.assertEqual(self.offsets(), [20, 21, 22, 31])

        # Of what tells only which records failed, the places are told; the others are delivered all the same.
        self.s3.put("raw/other/of-a-queue", envelope(None).encode())
        run = self.redrive("s3://raw/other/of-a-queue")
        self.assertEqual(run.returncode, 1, run.stdout)
        self.assertIn("5 records", run.stderr)
        self.assertIn("topic orders, partition 0, offsets 40 to 44", run.stderr)

        # A batch that fails again is no success, whatever the mapping's setting is.
        anew = event(20)
        anew["records"]["orders-0"][0]["timestamp"] += 86_400_000
        self.s3.put("raw/other/anew", envelope(json.dumps(anew)).encode())
        run = self.redrive("s3://raw/other/anew")
        self.assertEqual(run.returncode, 1, run.stdout)
        self.assertIn("FRAZIL_TOPIC_LIVES=orders=2", run.stderr)
        self.assertEqual(self.offsets(), [20, 21, 22, 31])

    def test_append_takes_none_for_data(self):
        key = f"{FOLDER.removeprefix('raw/')}/told"
        self.s3.put(f"raw/{key}", envelope(json.dumps(event(50))).encode())
        notification = {"Records": [{"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": "raw"}, "object": {"key": key, "size": 1, "eTag": "e"}}}]}
        variables = self.variables | {"FRAZIL_TABLE": "shop.raw"}
        function = Function(bench.BINARIES / "append", self.folder / "append.log", variables)
        try:
            answer = function.invoke({"Records": [{"messageId": "1", "eventSource": "aws:sqs", "body": json.dumps(notification)}]})
        finally:
            function.stop()
        self.assertEqual(answer, ("response", {"batchItemFailures": []}))
        self.assertIn("failed_batch", (self.folder / "append.log").read_text())
