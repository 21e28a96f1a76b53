"""append on catalogs that are servers: writers that race, answers that are lost, and what is said when nothing works."""

import json
import random
import re
import socket
import threading
import unittest
from collections import Counter
from urllib.parse import urlsplit

import bench
import boto3
from botocore.exceptions import ClientError
from lambdas import Function, s3_event, sqs_event
from aws_server import Lossy, Ministack
from pyiceberg.catalog import load_catalog
from s3_server import REGION, SECRET, TABLE_BUCKET, S3Server
from tls import Tls

APPEND = bench.BINARIES / "append"
WRITERS = 6
COMMITS = 50
ROWS = 3
BUCKET = "raw"
DEFINITION = {
    "name": "events",
    "schema": {
        "type": "struct",
        "schema-id": 0,
        "fields": [
            {"id": 1, "name": "record_id", "type": "string", "required": False, "doc": "who"},
            {"id": 2, "name": "at", "type": "timestamptz", "required": False},
            {"id": 3, "name": "file_name", "type": "string", "required": False},
        ],
    },
    # So many snapshots make a long file; it is read and written by every commit.
    "properties": {"write.metadata.compression-codec": "gzip"},
}


def rows(writer, number):
    return [f"{writer}-{number}-{row}" for row in range(ROWS)]


class Race:
    """Each writer is a process. Some objects are given to two of them; what is handed back is delivered again."""

    def __init__(self, case, variables, put):
        self.case = case
        self.variables = variables
        self.put = put
        self.attempts = Counter()
        self.failures = []

    def run(self):
        for writer in range(WRITERS):
            for number in range(COMMITS):
                records = [{"record_id": row, "at": "2026-01-02T03:04:05.678901Z"} for row in rows(writer, number)]
                self.put(f"{writer}/{number}.json", "".join(json.dumps(record) + "\n" for record in records))
        threads = [threading.Thread(target=self.write, args=[writer]) for writer in range(WRITERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.case.assertEqual(self.failures, [])

    def write(self, writer):
        function = Function(APPEND, self.case.folder / f"append-{writer}.log", self.variables)
        try:
            for number in range(COMMITS):
                messages = [[(BUCKET, f"{writer}/{number}.json", "1")]]
                if number % 5 == 0:
                    messages.append([(BUCKET, f"{(writer + 1) % WRITERS}/{number}.json", "1")])
                while messages:
                    kind, answer = function.invoke(sqs_event(messages))
                    self.attempts[kind] += 1
                    if kind == "response":
                        again = [int(item["itemIdentifier"]) for item in answer["batchItemFailures"]]
                        self.attempts["handed back"] += len(again)
                        messages = [messages[place] for place in again]
        except Exception as error:  # pylint: disable=broad-exception-caught
            self.failures.append(f"writer {writer}: {error}")
        finally:
            function.stop()

    def compare(self, table):
        """Every row once, and no token twice."""
        found = Counter(table.scan(selected_fields=("record_id",)).to_arrow()["record_id"].to_pylist())
        wanted = Counter(row for writer in range(WRITERS) for number in range(COMMITS) for row in rows(writer, number))
        self.case.assertEqual(found - wanted, Counter(), "rows that are there twice")
        self.case.assertEqual(wanted - found, Counter(), "rows that are lost")
        tokens = Counter()
        for snapshot in table.metadata.snapshots:
            tokens.update(snapshot.summary.additional_properties["frazil.objects"].split())
        self.case.assertEqual(len(tokens), WRITERS * COMMITS)
        self.case.assertEqual({count for count in tokens.values()}, {1}, "tokens that are there twice")
        log = "".join(path.read_text() for path in self.case.folder.glob("append-*.log"))
        conflicts = sum(map(int, re.findall(r'"commit_conflicts":(\d+)', log)))
        self.case.assertGreater(conflicts, 0, "that was no race")
        print(
            f"\n{WRITERS} writers, {len(table.metadata.snapshots)} commits, {sum(found.values())} rows,",
            f"{conflicts} conflicts, {dict(self.attempts)}",
        )


class WithS3(unittest.TestCase):
    """Objects, warehouse and errors are in S3."""

    name = None

    @classmethod
    def setUpClass(cls):
        cls.folder = bench.fresh_folder(cls.name)
        cls.s3 = S3Server(cls.folder)
        cls.addClassCleanup(cls.s3.stop)

    def put(self, key, text):
        self.s3.put(f"{BUCKET}/{key}", text.encode())

    def said(self, variables, event, seconds=60):
        function = Function(APPEND, self.folder / "append-errors.txt", variables)
        try:
            return function.invoke(event, seconds)
        finally:
            function.stop()

    def check_error(self, variables, event, expected):
        """One line that says what to do."""
        kind, answer = self.said(variables, event)
        self.assertEqual(kind, "error")
        message = answer["errorMessage"]
        self.assertIn(expected, message)
        self.assertNotIn("\n", message)
        self.assertNotIn(SECRET.format("admin"), message)
        return message

    def check_deadline(self, variable):
        """An answer in time from a function whose catalog or storage says nothing."""
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))
            nobody.listen(100)
            variables = self.variables("errors.t", **{variable: f"http://127.0.0.1:{nobody.getsockname()[1]}"})
            self.put("errors/1.json", '{"record_id": "1"}\n')
            kind, answer = self.said(variables, sqs_event([[(BUCKET, "errors/1.json", "1")]]), 3)
            self.assertEqual((kind, answer), ("response", {"batchItemFailures": [{"itemIdentifier": "0"}]}))
            kind, answer = self.said(variables, s3_event(BUCKET, "errors/1.json", "1"), 3)
            self.assertEqual(kind, "error")
            self.assertIn("there was no time for", answer["errorMessage"])


class Glue(WithS3):
    name = "glue"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.aws = Ministack(cls.folder)
        cls.addClassCleanup(cls.aws.stop)
        cls.glue = boto3.client(
            "glue", endpoint_url=cls.aws.uri, region_name=REGION, aws_access_key_id="any", aws_secret_access_key="any"
        )

    def variables(self, table, **changes):
        variables = self.s3.environment() | {
            "AWS_ENDPOINT_URL": None,
            "AWS_ENDPOINT_URL_S3": self.s3.endpoint,
            "AWS_ENDPOINT_URL_GLUE": self.aws.uri,
            "FRAZIL_CATALOG": "glue",
            "FRAZIL_WAREHOUSE": "s3://lake/warehouse",
            "FRAZIL_ERRORS": "s3://lake/errors",
            "FRAZIL_TABLE": table,
            "FRAZIL_TABLE_DEFINITION": json.dumps(DEFINITION),
        }
        return {name: value for name, value in (variables | changes).items() if value is not None}

    def table(self, name):
        return self.aws.glue_table(name, self.s3.properties())

    def mark(self, database, name):
        """Writes into the table's entry, as others do, as soon as there is one. The writers are at work."""
        while True:
            try:
                entry = self.glue.get_table(DatabaseName=database, Name=name)["Table"]
                version = entry["VersionId"]
                keys = ("Name", "Description", "Owner", "StorageDescriptor", "PartitionKeys", "TableType", "Parameters")
                entry = {key: entry[key] for key in keys}
                entry["Owner"] = "analysts"
                entry["Parameters"]["classification"] = "pii"
                entry["StorageDescriptor"]["Columns"][1]["Comment"] = "when"
                self.glue.update_table(DatabaseName=database, TableInput=entry, VersionId=version, SkipArchive=True)
                return
            except ClientError as error:
                if error.response["Error"]["Code"] not in ("ConcurrentModificationException", "EntityNotFoundException"):
                    raise

    def test_race(self):
        lost = Counter()
        dice = random.Random(7)

        def is_lost(headers, status):
            is_swap = headers["x-amz-target"] == "AWSGlue.UpdateTable" and status == 200
            if is_swap and dice.random() < 0.1:
                lost["answers"] += 1
                return True
            return False

        way = Lossy(self.aws.port, is_lost)
        self.addCleanup(way.stop)
        marking = threading.Thread(target=self.mark, args=["lake", "events"])
        marking.start()
        race = Race(self, self.variables("lake.events", AWS_ENDPOINT_URL_GLUE=way.uri), self.put)
        race.run()
        marking.join(10)
        race.compare(self.table("lake.events"))
        print(f"{lost['answers']} answers to successful commits were lost")
        self.assertGreater(lost["answers"], 0)

        entry = self.glue.get_table(DatabaseName="lake", Name="events")["Table"]
        self.assertEqual((entry["Owner"], entry["Parameters"]["classification"]), ("analysts", "pii"))
        columns = entry["StorageDescriptor"]["Columns"]
        self.assertEqual([column["Name"] for column in columns], ["record_id", "at", "file_name"])
        self.assertEqual([column["Type"] for column in columns], ["string", "timestamp", "string"])
        self.assertEqual([column.get("Comment") for column in columns], ["who", "when", None])

    def test_errors_say_what_to_do(self):
        self.glue.create_database(DatabaseInput={"Name": "errors"})
        entry = {"Name": "csv", "StorageDescriptor": {"Location": "s3://b/csv", "Columns": []}, "Parameters": {}}
        self.glue.create_table(DatabaseName="errors", TableInput=entry)
        gone = {"table_type": "ICEBERG", "metadata_location": "s3://lake/gone/metadata/00000-a.metadata.json"}
        self.glue.create_table(DatabaseName="errors", TableInput=entry | {"Name": "gone", "Parameters": gone})
        self.put("errors/1.json", '{"record_id": "1"}\n')
        event = s3_event(BUCKET, "errors/1.json", "1")
        nowhere = {
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": "/nowhere",
            "AWS_SHARED_CREDENTIALS_FILE": "/nowhere",
        }
        anonymous = nowhere | dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"))
        for table, changes, expected in [
            ("errors.csv", {}, "errors.csv is in Glue, but it is no Iceberg table"),
            ("errors.gone", {}, "as the metadata file of the table errors.gone, and it cannot be read"),
            ("errors.Events", {}, "say events"),
            ("errors.t", {"FRAZIL_WAREHOUSE": None}, "set FRAZIL_WAREHOUSE"),
            ("errors.t", {"FRAZIL_WAREHOUSE": "s3://no-such-bucket/w"}, "the bucket no-such-bucket does not exist"),
            ("errors.t", {"AWS_SECRET_ACCESS_KEY": "wrong"}, "the credentials are wrong"),
            ("errors.t", {"AWS_ENDPOINT_URL_GLUE": "http://127.0.0.1:9"}, "Connection refused (os error 111). See AWS_ENDPOINT_URL"),
            ("errors.t", {"AWS_REGION": None} | nowhere, "Set AWS_REGION"),
            ("errors.t", anonymous, "There are no credentials"),
        ]:
            with self.subTest(table, **changes):
                message = self.check_error(self.variables(table, **changes), event, expected)
                print(f"\n{table} {changes}: {message}")

    def test_a_table_that_may_not_be_created(self):
        """What a role without glue:CreateTable gets while there is no table."""

        def is_refused(headers):
            return headers["x-amz-target"] == "AWSGlue.CreateTable"

        way = Lossy(self.aws.port, lambda *_: False, is_refused)
        self.addCleanup(way.stop)
        self.put("errors/1.json", '{"record_id": "1"}\n')
        variables = self.variables("denied.none", AWS_ENDPOINT_URL_GLUE=way.uri)
        expected = "cannot create the table denied.none in Glue: AccessDeniedException"
        message = self.check_error(variables, s3_event(BUCKET, "errors/1.json", "1"), expected)
        self.assertIn("glue:CreateTable", message)

    def test_an_answer_comes_at_the_deadline(self):
        self.check_deadline("AWS_ENDPOINT_URL_GLUE")
        self.check_deadline("AWS_ENDPOINT_URL_S3")


class Rest(WithS3):
    """The catalog signs in by OAuth."""

    name = "rest"

    def variables(self, table, **changes):
        variables = self.s3.environment() | {
            "FRAZIL_CATALOG": "rest",
            "FRAZIL_CATALOG_URI": self.s3.catalog,
            "FRAZIL_CATALOG_CREDENTIAL": f"admin:{SECRET.format('admin')}",
            "FRAZIL_WAREHOUSE": f"s3://{TABLE_BUCKET}",
            "FRAZIL_ERRORS": "s3://lake/errors",
            "FRAZIL_TABLE": table,
            "FRAZIL_TABLE_DEFINITION": json.dumps(DEFINITION),
        }
        return {name: value for name, value in (variables | changes).items() if value is not None}

    def table(self, name):
        rest = {
            "uri": self.s3.catalog,
            "credential": f"admin:{SECRET.format('admin')}",
            "oauth2-server-uri": f"{self.s3.catalog}/v1/oauth/tokens",
            "warehouse": f"s3://{TABLE_BUCKET}",
        }
        return load_catalog("rest", type="rest", **rest, **self.s3.properties()).load_table(name)

    def test_race(self):
        race = Race(self, self.variables("lake.events"), self.put)
        race.run()
        race.compare(self.table("lake.events"))

    def test_by_tls(self):
        tls = Tls(urlsplit(self.s3.catalog).port, self.folder)
        self.addCleanup(tls.stop)
        self.put("tls/1.json", '{"record_id": "1"}\n')
        event = s3_event(BUCKET, "tls/1.json", "1")
        variables = self.variables("lake.tls", FRAZIL_CATALOG_URI=tls.uri)
        self.check_error(variables, event, "UnknownIssuer")
        kind, answer = self.said(variables | {"SSL_CERT_FILE": str(tls.authority)}, event)
        self.assertEqual(kind, "response", answer)
        self.assertEqual(self.table("lake.tls").scan().count(), 1)

    def test_an_answer_comes_at_the_deadline(self):
        self.check_deadline("FRAZIL_CATALOG_URI")

    def test_errors_say_what_to_do(self):
        self.put("errors/1.json", '{"record_id": "1"}\n')
        event = s3_event(BUCKET, "errors/1.json", "1")
        credential = "FRAZIL_CATALOG_CREDENTIAL"
        for changes, expected in [
            ({credential: "admin:wrong"}, "Invalid client credentials). See FRAZIL_CATALOG_CREDENTIAL"),
            ({credential: None, "FRAZIL_CATALOG_TOKEN": "expired"}, "The credentials are wrong or have expired"),
            ({"FRAZIL_CATALOG_URI": "http://127.0.0.1:9"}, "Connection refused"),
            ({"FRAZIL_CATALOG_URI": self.s3.endpoint}, "FRAZIL_CATALOG_URI"),
            ({"FRAZIL_WAREHOUSE": "s3://no-such-bucket"}, "no-such-bucket"),
        ]:
            with self.subTest(**changes):
                message = self.check_error(self.variables("errors.t", **changes), event, expected)
                print(f"\n{changes}: {message}")
