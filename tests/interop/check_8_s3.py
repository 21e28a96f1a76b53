"""Objects, warehouse and errors in S3: the storage by itself, and append on top of it."""

import hashlib
import json
import os
import re
import subprocess
import unittest
from collections import Counter
from urllib.parse import quote, unquote

import bench
from check_5_runtime import Server, event
from processes import environment, memory_kib
from pyarrow.fs import FileSelector
from pyiceberg.catalog import load_catalog
from s3_server import S3Server

NAME = "streaming_analytics.user_events"
STORAGE_SECONDS = 500
PART_BYTES = 8 * 1024 * 1024
MEMORY_MB = 512


class WithS3(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = bench.fresh_folder(f"s3-{cls.__name__.lower()}")
        cls.s3 = S3Server(cls.folder)
        cls.addClassCleanup(cls.s3.stop)


class Storage(WithS3):
    def test_the_storage_against_a_real_server(self):
        """The tests of the crate that need one; they are left out elsewhere."""
        command = ["cargo", "test", "--workspace", "--lib", "--", "--ignored", "storage::s3::live"]
        run = subprocess.run(
            command,
            cwd=bench.REPOSITORY,
            env=environment() | self.s3.environment(),
            capture_output=True,
            text=True,
            timeout=STORAGE_SECONDS,
            check=False,
        )
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)
        passed = sum(map(int, re.findall(r"test result: ok\. (\d+) passed", run.stdout)))
        self.assertGreaterEqual(passed, 8, run.stdout)


class Append(WithS3):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for path in sorted((bench.EVENTS / "raw").rglob("*")):
            if path.is_file():
                cls.s3.put(f"raw/{path.relative_to(bench.EVENTS / 'raw')}", path.read_bytes())

    def function(self, name, **variables):
        """append with a lake of its own, `name`, under a server of its own, which takes only names of the workspace."""
        folder = self.folder / name
        folder.mkdir()
        function = Server(folder)
        self.addCleanup(function.stop)
        variables = {
            "FRAZIL_CATALOG": "sqlite",
            "FRAZIL_CATALOG_URI": str(folder / "catalog.db"),
            "FRAZIL_WAREHOUSE": f"s3://lake/{name}/warehouse",
            "FRAZIL_ERRORS": f"s3://lake/{name}/errors",
            "FRAZIL_TABLE": NAME,
            "FRAZIL_TABLE_DEFINITION": str(bench.TABLES / "user_events.json"),
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(MEMORY_MB),
        } | self.s3.environment() | variables
        function.function("append", **variables)
        return function

    def table(self, name):
        uri = f"sqlite:///{self.folder}/{name}/catalog.db"
        return load_catalog("frazil", type="sql", uri=uri, **self.s3.properties()).load_table(NAME)

    def files(self, folder):
        found = self.s3.files.get_file_info(FileSelector(folder, recursive=True, allow_not_found=True))
        return {info.path: info.size for info in found if info.is_file}

    def test_events_one_after_the_other_and_once_more(self):
        function = self.function("events")
        expected = bench.expected()
        for _ in range(2):
            appended = set()
            for name, wanted in expected["append"].items():
                with self.subTest(name):
                    status, response = function.invoke("append", event(name))
                    self.assertEqual(status, 200, response)
                    if name.startswith("sqs-"):
                        failures = [item["itemIdentifier"] for item in response["batchItemFailures"]]
                        self.assertEqual(sorted(failures), sorted(wanted["batch_item_failures"]))
                    appended.update(wanted["objects"])
            rows = self.table("events").scan(selected_fields=("file_name", "record_id")).to_arrow().to_pylist()
            self.assertEqual(len({row["record_id"] for row in rows}), len(rows), "a row was appended twice")
            names = Counter(unquote(row["file_name"]).removeprefix("s3://") for row in rows)
            objects = [expected["objects"][item] for item in appended]
            self.assertEqual(names, {item["key"]: item["rows"] for item in objects})
            lines = []
            for path in self.files("lake/events/errors/quarantine"):
                lines += self.s3.get(path).decode().splitlines()
            wanted = sum(item["rows_quarantined"] or 0 for item in expected["objects"].values())
            self.assertGreaterEqual(len(lines), wanted)
            self.assertTrue(all(json.loads(line)["object"].startswith("s3://raw/") for line in lines))

    def deliver(self, function, *keys):
        """Hands the objects to the function as SQS would, each in a message of its own."""
        messages = []
        for key in keys:
            described = {"key": quote(key), "eTag": hashlib.md5(key.encode()).hexdigest()}
            record = {"eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": "raw"}, "object": described}}
            messages.append({"messageId": key, "eventSource": "aws:sqs", "body": json.dumps({"Records": [record]})})
        return function.invoke("append", json.dumps({"Records": messages}).encode())

    def put_events(self, key, count, partitions=1, padding=0):
        def line(n):
            text = os.urandom(padding // 2).hex()
            hour = f"{n % partitions:04}"
            fields = {"record_id": f"{key}-{n}", "user_id": f"u{n}", "event_type": "t", "event_data": {"x": text}}
            fields |= {"ingestion_timestamp": "2026-01-02T03:04:05Z", "partition_date": "2026-01-02", "partition_hour": hour}
            return json.dumps(fields) + "\n"

        self.s3.put(f"raw/{key}", "".join(map(line, range(count))).encode())

    def test_a_large_object_in_bounded_memory(self):
        function = self.function("large")
        # Random digits do not get smaller: 40 MB in one file.
        self.put_events("large.json", 40_000, padding=1000)
        self.assertEqual(self.deliver(function, "large.json"), (200, {"batchItemFailures": []}))
        self.assertEqual(self.table("large").scan().count(), 40_000)
        data = [size for path, size in self.files("lake/large/warehouse").items() if path.endswith(".parquet")]
        self.assertEqual(len(data), 1)
        self.assertGreater(data[0], 4 * PART_BYTES)
        self.assertLess(peak_mib(function), 250)

    def test_many_partitions_in_bounded_memory(self):
        function = self.function("many", AWS_LAMBDA_FUNCTION_MEMORY_SIZE="128")
        self.put_events("many.json", 36_000, partitions=12, padding=1000)
        self.assertEqual(self.deliver(function, "many.json"), (200, {"batchItemFailures": []}))
        self.assertEqual(self.table("many").scan().count(), 36_000)
        data = [path for path in self.files("lake/many/warehouse") if path.endswith(".parquet")]
        self.assertGreater(len(data), 12, "nothing was closed early")
        self.assertLess(len(data), 12 * 4)
        self.assertLess(peak_mib(function), 110)

    def test_what_cannot_be_read_is_delivered_again(self):
        function = self.function("missing")
        self.put_events("there.json", 10)
        status, response = self.deliver(function, "there.json", "not-there.json")
        failed = [item["itemIdentifier"] for item in response["batchItemFailures"]]
        self.assertEqual((status, failed), (200, ["not-there.json"]))
        self.assertEqual(self.table("missing").scan().count(), 10)
        self.put_events("not-there.json", 5)
        self.assertEqual(self.deliver(function, "there.json", "not-there.json"), (200, {"batchItemFailures": []}))
        self.assertEqual(self.table("missing").scan().count(), 15)
        log = log_of(function)
        self.assertIn("the object s3://raw/not-there.json does not exist", log)

    def test_a_function_that_is_configured_wrongly_says_so(self):
        self.put_events("some.json", 10)
        for name, variables, expected in (
            ("secret", {"AWS_SECRET_ACCESS_KEY": "wrong"}, "the credentials are wrong"),
            ("denied", self.s3.environment("reader"), "access is denied; grant s3:PutObject"),
            ("bucket", {"FRAZIL_WAREHOUSE": "s3://no-such-bucket/w"}, "the bucket no-such-bucket does not exist"),
            ("scheme", {"FRAZIL_WAREHOUSE": "gs://lake/w"}, "expected s3://BUCKET/KEY or file:///PATH"),
            ("down", {"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, "S3 (http://127.0.0.1:1) does not answer"),
        ):
            with self.subTest(name):
                function = self.function(name, **variables)
                status, response = self.deliver(function, "some.json")
                said = json.dumps(response) + log_of(function)
                self.assertIn(expected, said)
                delivered_again = status != 200 or response["batchItemFailures"] == [{"itemIdentifier": "some.json"}]
                self.assertTrue(delivered_again, response)


def log_of(function):
    return (function.log_folder / "append.log").read_text()


def peak_mib(function):
    """Without the pages of the binary, which is built for debugging and with every catalog here."""
    kib = memory_kib(function.processes[-1].pid)
    return (kib["VmHWM"] - kib["RssFile"]) / 1024
