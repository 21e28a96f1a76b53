"""The functions as they are deployed: size, cold start, memory, and one event answered by each.

    check.py FOLDER [EMULATOR...]      FOLDER/<function>/bootstrap.zip; what runs them, if not this machine

append appends an object of SeaweedFS's S3 to a table in ministack's Glue, both on this machine."""

import json
import shutil
import statistics
import sys
import time
import unittest
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
sys.path += [str(HERE.parent), str(HERE.parent / "interop")]
import counted  # noqa: E402, beside this folder
from lambdas import Function, sqs_event  # noqa: E402
from aws_server import Ministack  # noqa: E402
from s3_server import S3Server  # noqa: E402

FOLDER, *EMULATOR = sys.argv[1:]
FOLDER = Path(FOLDER).resolve()
# Bytes of the zip; milliseconds from the start of the process to its first answer. An emulator's time is not counted.
ZIP_BYTES = {"transform": 3_000_000, "append": 12_000_000}
STARTS = 20
# A message that S3 sends when a notification is configured: append has nothing to do.
NOTHING_TO_DO = {"Records": [{"messageId": "1", "eventSource": "aws:sqs", "body": json.dumps({"Event": "s3:TestEvent"})}]}


def event(name):
    return json.loads((REPOSITORY / "events" / name).read_text())


class Package(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = FOLDER / "run"
        shutil.rmtree(cls.folder, ignore_errors=True)
        (cls.folder / "s3").mkdir(parents=True)
        for name in ZIP_BYTES:
            with zipfile.ZipFile(FOLDER / name / "bootstrap.zip") as package:
                package.extract("bootstrap", FOLDER / name)
            (FOLDER / name / "bootstrap").chmod(0o755)

    def function(self, name, **variables):
        log = self.folder / f"{name}.log"
        function = Function(FOLDER / name / "bootstrap", log, variables, EMULATOR)
        self.addCleanup(function.stop)
        return function

    def starts(self, name, payload, **variables):
        """Prints how long the first answer takes."""
        times = []
        for _ in range(1 if EMULATOR else STARTS):
            start = time.perf_counter()
            function = self.function(name, **variables)
            kind, answer = function.invoke(payload)
            times.append((time.perf_counter() - start) * 1000)
            self.assertEqual(kind, "response", answer)
            peak = function.peak_mib()
            function.stop()
        print(f"\n{name}: first answer {min(times):.1f} ms at best, {statistics.median(times):.1f} ms median of {len(times)},",
              f"{peak:.0f} MiB", "under an emulator" if EMULATOR else "")

    def test_size(self):
        for name, limit in ZIP_BYTES.items():
            size = (FOLDER / name / "bootstrap.zip").stat().st_size
            print(f"\n{name}: zip of {size / 1e6:.2f} MB, binary of {(FOLDER / name / 'bootstrap').stat().st_size / 1e6:.2f} MB")
            self.assertLessEqual(size, limit)

    def test_transform(self):
        payload = event("firehose-direct-put.json")
        kind, answer = self.function("transform").invoke(payload)
        self.assertEqual(kind, "response", answer)
        given = [record["recordId"] for record in payload["records"]]
        self.assertEqual([(record["recordId"], record["result"]) for record in answer["records"]], [(id, "Ok") for id in given])
        self.starts("transform", payload)

    def test_append(self):
        s3 = S3Server(self.folder / "s3")
        self.addCleanup(s3.stop)
        aws = Ministack(self.folder)
        self.addCleanup(aws.stop)
        variables = s3.environment() | {
            "AWS_ENDPOINT_URL_S3": s3.endpoint,
            "AWS_ENDPOINT_URL_GLUE": aws.uri,
            "FRAZIL_CATALOG": "glue",
            "FRAZIL_TABLE": "package.events",
            "FRAZIL_WAREHOUSE": "s3://lake/warehouse",
            "FRAZIL_ERRORS": "s3://lake/errors",
        }
        self.starts("append", NOTHING_TO_DO, **variables)
        function = self.function("append", **variables)
        for number in range(3):
            key = f"{number}.json"
            s3.put(f"raw/{key}", b'{"user_id": "u-1"}\n{"user_id": "u-2"}\n')
            start = time.perf_counter()
            answer = function.invoke(sqs_event([[("raw", key, "1")]]))
            print(f"\nappend: an object appended in {(time.perf_counter() - start) * 1000:.0f} ms, {function.peak_mib():.0f} MiB")
            self.assertEqual(answer, ("response", {"batchItemFailures": []}))
        function.stop()
        self.assertEqual(self.rows(s3, aws), ["u-1", "u-2"] * 3)

    def rows(self, s3, aws):
        rows = aws.glue_table("package.events", s3.properties()).scan().to_arrow().to_pylist()
        return [row["user_id"] for row in sorted(rows, key=lambda row: (row["file_name"], row["user_id"]))]


if __name__ == "__main__":
    del sys.argv[1:]
    counted.main(__name__)
