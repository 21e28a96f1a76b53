"""Both function binaries under a Runtime API server, fed with the files of events/."""

import base64
import json
import os
import socket
import subprocess
import time
import unittest
import urllib.error
import urllib.request
import uuid
from collections import Counter
from datetime import datetime, timezone
from urllib.parse import unquote

import bench
from engines import load_table
from lambdas import function_environment
from processes import free_port

START_SECONDS = 20
INVOKE_SECONDS = 30
OWN_FIELDS = ("record_id", "ingestion_timestamp", "partition_date", "partition_hour")


def event(name):
    return (bench.EVENTS / name).read_bytes()


class Server:
    """`cargo lambda watch` without functions of its own, and the binaries that ask it for work."""

    def __init__(self, log_folder):
        self.log_folder = log_folder
        self.processes = []
        self.port = free_port()
        command = ["cargo-lambda", "lambda", "watch", "--only-lambda-apis", "--ignore-changes"]
        # It reads the workspace to learn which functions there are.
        self.start("server", [*command, "-A", "127.0.0.1", "-P", str(self.port)], dict(os.environ))
        self.wait_until_up()

    def start(self, name, command, environment):
        with open(self.log_folder / f"{name}.log", "wb") as log:
            process = subprocess.Popen(command, cwd=bench.REPOSITORY, env=environment, stdout=log, stderr=log)
        self.processes.append(process)

    def wait_until_up(self):
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self.processes[0].poll() is not None:
                break
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.1)
        self.stop()
        raise AssertionError("the Runtime API server did not start:\n" + (self.log_folder / "server.log").read_text())

    def function(self, name, **variables):
        told = function_environment(f"http://127.0.0.1:{self.port}/.rt/{name}", name)
        self.start(name, [str(bench.BINARIES / name)], told | variables)

    def invoke(self, name, payload):
        """The status and the answer. A function that is not there would keep the request waiting: hence the time-out."""
        url = f"http://127.0.0.1:{self.port}/2015-03-31/functions/{name}/invocations"
        request = urllib.request.Request(url, data=payload, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=INVOKE_SECONDS) as response:
                return response.status, json.loads(response.read() or b"null")
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read() or b"null")
        except OSError as error:
            log = self.log_folder / f"{name}.log"
            raise AssertionError(f"{name} did not answer: {error}\n{log.read_text()}") from error

    def stop(self):
        # Functions first: they wait for the server.
        for process in reversed(self.processes):
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


class WithServer(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = bench.fresh_folder(f"runtime-{cls.__name__.lower()}")
        cls.server = Server(cls.folder)
        cls.addClassCleanup(cls.server.stop)


def payload_of(record):
    return record.get("data", record.get("kafkaRecordValue"))


def objects_of(text):
    """The texts of the objects that `text` holds, one after the other or in an array."""
    at, found = 0, []
    while at < len(text):
        if text[at] in " \t\r\n[,]":
            at += 1
        else:
            _, end = json.JSONDecoder().raw_decode(text, at)
            found.append(text[at:end])
            at = end
    return found


class Transform(WithServer):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.server.function("transform")

    def answered(self, name):
        status, response = self.server.invoke("transform", event(name))
        self.assertEqual(status, 200, response)
        self.assertEqual(set(response), {"records"})
        return json.loads(event(name))["records"], response["records"]

    def check(self, name):
        asked, answered = self.answered(name)
        self.assertEqual([record["recordId"] for record in answered], [record["recordId"] for record in asked])
        self.assertEqual([record["result"] for record in answered], bench.expected()["transform"][name])
        ids = []
        for before, after in zip(asked, answered):
            self.assertEqual("kafkaRecordValue" in before, "kafkaRecordValue" in after)
            self.assertNotIn("metadata", after)
            if after["result"] == "Ok":
                ids.extend(self.check_record(before, after))
            elif payload_of(after):
                self.assertEqual(payload_of(after), payload_of(before), "a failed record keeps its bytes")
        self.assertEqual(len(set(ids)), len(ids))
        _, again = self.answered(name)
        self.assertEqual(again, answered, "a retry yields the same records")

    def check_record(self, before, after):
        """Each event of a record is a line of the answer."""
        events = objects_of(base64.b64decode(payload_of(before), validate=True).decode().strip())
        output = base64.b64decode(payload_of(after), validate=True).decode()
        lines = objects_of(output)
        self.assertEqual(output, "".join(f"{line}\n" for line in lines))
        self.assertEqual(len(lines), len(events), output)
        self.assertGreater(len(events), 0)
        return [self.check_event(before, event, line) for event, line in zip(events, lines)]

    def check_event(self, before, text, output):
        self.assertEqual(output.count("\n"), text.count("\n"), output)
        # Key by key, in order, duplicates included: only the four fields differ.
        pairs = json.loads(output, object_pairs_hook=list, parse_float=str, parse_int=str)
        own = dict(pair for pair in pairs if pair[0] in OWN_FIELDS)
        self.assertEqual(sum(pair[0] in OWN_FIELDS for pair in pairs), len(OWN_FIELDS), output)
        original = json.loads(text, object_pairs_hook=list, parse_float=str, parse_int=str)
        kept = [
            (f"producer_{name}" if name in OWN_FIELDS else name, value)
            for name, value in original
            if name not in OWN_FIELDS or value is not None
        ]
        self.assertEqual([pair for pair in pairs if pair[0] not in OWN_FIELDS], kept)
        if kept == original:
            # Nothing was renamed, so the producer's text must be there byte for byte.
            self.assertIn(text.removeprefix("{").removesuffix("}").strip(), output)
        milliseconds = before["approximateArrivalTimestamp"]
        arrived = datetime.fromtimestamp(milliseconds // 1000, timezone.utc).replace(microsecond=milliseconds % 1000 * 1000)
        self.assertEqual(own["ingestion_timestamp"], arrived.strftime("%Y-%m-%dT%H:%M:%S.%fZ"))
        self.assertEqual(own["partition_date"], arrived.strftime("%Y-%m-%d"))
        self.assertEqual(own["partition_hour"], arrived.strftime("%H"))
        self.assertEqual(uuid.UUID(own["record_id"]).version, 5)
        return own["record_id"]

    def test_direct_put(self):
        self.check("firehose-direct-put.json")

    def test_kinesis(self):
        self.check("firehose-kinesis.json")

    def test_msk(self):
        self.check("firehose-msk.json")

    def test_bad_records(self):
        self.check("firehose-bad-records.json")

    def test_what_is_no_firehose_event_is_refused(self):
        status, response = self.server.invoke("transform", event("not-firehose.json"))
        self.assertNotEqual(status, 200, response)
        self.assertIn("records", json.dumps(response))  # the error names what is missing


class Append(WithServer):
    """One function and one table for all events: an object that several of them name is appended once."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.expected = bench.expected()
        cls.warehouse = cls.folder / "w"
        cls.warehouse.mkdir()
        cls.server.function(
            "append",
            FRAZIL_CATALOG="sqlite",
            FRAZIL_CATALOG_URI=str(cls.warehouse / "catalog.db"),
            FRAZIL_WAREHOUSE=f"file://{cls.warehouse}/warehouse",
            FRAZIL_ERRORS=f"file://{cls.warehouse}/errors",
            FRAZIL_SOURCE_ROOT=f"file://{bench.EVENTS}/",
            FRAZIL_TABLE="streaming_analytics.user_events",
            FRAZIL_TABLE_DEFINITION=str(bench.TABLES / "user_events.json"),
        )

    def rows_by_object(self):
        """Rows of the table by the object that they name, and the number of distinct record ids."""
        table = load_table(self.warehouse, "streaming_analytics.user_events")
        rows = table.scan(selected_fields=("file_name", "record_id")).to_arrow().to_pylist()
        prefix = f"file://{bench.EVENTS}/"
        names = Counter(unquote(row["file_name"]).removeprefix(prefix) for row in rows)
        self.assertEqual(len({row["record_id"] for row in rows}), len(rows), "a row was appended twice")
        return names

    def test_events_one_after_the_other(self):
        appended = set()
        for name, wanted in self.expected["append"].items():
            with self.subTest(name):
                status, response = self.server.invoke("append", event(name))
                self.assertEqual(status, 200, response)
                if name.startswith("sqs-"):
                    failures = [item["itemIdentifier"] for item in response["batchItemFailures"]]
                    self.assertEqual(sorted(failures), sorted(wanted["batch_item_failures"]))
                appended.update(wanted["objects"])
                objects = [self.expected["objects"][item] for item in appended]
                self.assertEqual(self.rows_by_object(), {item["key"]: item["rows"] for item in objects})
        self.assertEqual(appended, set(self.expected["objects"]), "an object of events/raw was never named")

    def test_rows_that_were_refused_are_kept(self):
        # Runs after the test above, by its name; alone it brings its own event.
        status, response = self.server.invoke("append", event("sqs-damaged.json"))
        self.assertEqual((status, response["batchItemFailures"]), (200, []))
        lines = []
        for path in (self.warehouse / "errors" / "quarantine").rglob("*.jsonl"):
            lines += [json.loads(line) for line in path.read_text().splitlines()]
        wanted = sum(item["rows_quarantined"] or 0 for item in self.expected["objects"].values())
        self.assertGreaterEqual(len(lines), wanted)
