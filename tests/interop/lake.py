"""A lake in a folder of its own: append's binary writes to it, three engines read it, and its metadata are looked at raw."""

import copy
import functools
import gzip
import hashlib
import json
import sqlite3
from contextlib import closing
from pathlib import Path

import bench
from engines import DuckTable, connect, load_table, quoted
from jvm import Spark
from lambdas import Function, sqs_event
from pyiceberg.avro.file import AvroFile
from pyiceberg.io.pyarrow import PyArrowFileIO

APPEND = bench.BINARIES / "append"
BUCKET = "raw"


def definition(properties=None, n="long", partitioned=True):
    """The tables of these checks: `n`, `name` and `day`, and the object's URI; partitioned by `day`."""
    columns = [("n", n), ("name", "string"), ("day", "string"), ("file_name", "string")]
    fields = [{"id": at, "name": name, "type": kind, "required": False} for at, (name, kind) in enumerate(columns, 1)]
    spec = [{"source-id": 3, "field-id": 1000, "name": "day", "transform": "identity"}] if partitioned else []
    return {
        "name": "events",
        "schema": {"type": "struct", "schema-id": 0, "fields": fields},
        "partition-spec": {"spec-id": 0, "fields": spec},
        "properties": properties or {},
    }


def row(n, name=None, day="2026-03-01", **more):
    return {"n": n, "name": name or f"name {n}", "day": day, **more}


class Lake:
    """`name` is the name of its folder. The table is `lake.events`, made by `table` when the first object comes."""

    table_name = "lake.events"

    def __init__(self, case, name, table, **variables):
        self.case = case
        self.folder = bench.fresh_folder(name)
        self.log = self.folder / "append.log"
        self.variables = {
            "FRAZIL_CATALOG_URI": f"{self.folder}/catalog.db",
            "FRAZIL_WAREHOUSE": f"file://{self.folder}/warehouse",
            "FRAZIL_ERRORS": f"file://{self.folder}/errors",
            "FRAZIL_SOURCE_ROOT": f"file://{self.folder}/",
            "FRAZIL_TABLE": self.table_name,
            "FRAZIL_TABLE_DEFINITION": json.dumps(table),
            "FRAZIL_LOG": "info,lake=debug",
        } | variables
        self.function = None
        case.addCleanup(self.stop)

    def another(self, case):
        """Another instance of the function, with a log of its own."""
        other = copy.copy(self)
        other.function = None
        other.log = self.folder / f"append-{len(list(self.folder.glob('append-*.log')))}.log"
        other.log.touch()
        case.addCleanup(other.stop)
        return other

    # Writing.

    def put(self, key, rows):
        """Puts an object of `rows`."""
        text = "".join(json.dumps(row) + "\n" for row in rows)
        path = self.folder / BUCKET / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return BUCKET, key, hashlib.md5(text.encode()).hexdigest()

    def append(self, key, *rows):
        """Puts an object, has it appended, and gives it back, to be delivered again."""
        put = self.put(key, rows)
        self.deliver(put)
        return put

    def deliver(self, *objects):
        """Delivers objects that were put, each in a message of its own. None may be handed back."""
        kind, answer = self.invoke(*objects)
        said = self.log.read_text()[-4000:] if kind != "response" or answer["batchItemFailures"] else ""
        self.case.assertEqual((kind, answer), ("response", {"batchItemFailures": []}), said)

    def invoke(self, *objects):
        """`response` or `error`, and the body."""
        if self.function is None:
            self.function = Function(APPEND, self.log, self.variables)
        return self.function.invoke(sqs_event([[put] for put in objects]))

    def stop(self):
        """The next object finds a new instance of the function."""
        if self.function is not None:
            self.function.stop()
            self.function = None

    def frazil(self, *arguments):
        """Runs `frazil` on the lake; the exit status and what it prints."""
        return bench.frazil(*arguments, "--warehouse", self.folder)

    # Reading.

    def table(self):
        """The table by PyIceberg."""
        return load_table(self.folder, self.table_name)

    def metadata_path(self):
        return local(self.table().metadata_location)

    def metadata(self):
        """The metadata file as it is, whatever it is called."""
        return read_json(self.metadata_path())

    def spark(self):
        return Spark(self.folder)

    def manifests(self, snapshot_id=None, metadata=None):
        """The manifest list of a snapshot, of the current one if none is named, as DuckDB's Avro reader finds it."""
        metadata = metadata or self.metadata()
        snapshot_id = snapshot_id or metadata["current-snapshot-id"]
        snapshot = next(found for found in metadata["snapshots"] if found["snapshot-id"] == snapshot_id)
        return avro(snapshot["manifest-list"])

    def entries(self, snapshot_id=None):
        """All entries of a snapshot with the manifest that each stands in: pairs."""
        return [(entry, manifest) for manifest in self.manifests(snapshot_id) for entry in avro(manifest["manifest_path"])]

    def numbers(self, snapshot_id=None):
        """The values of `n` by each engine, which must be the same."""
        pyiceberg = self.table().scan(snapshot_id=snapshot_id, selected_fields=("n",)).to_arrow()["n"].to_pylist()
        self.case.assertEqual(self.numbers_of_others(snapshot_id), sorted(pyiceberg))
        return sorted(pyiceberg)

    def numbers_of_others(self, snapshot_id=None):
        """As above, without PyIceberg, which reads no equality deletes."""
        with closing(DuckTable(self.table().metadata_location, snapshot_id)) as duck:
            found = sorted(row["n"] for row in duck.rows("n"))
        version = f" VERSION AS OF {snapshot_id}" if snapshot_id else ""
        spark = self.spark().column(f"SELECT n FROM frazil.{self.table_name}{version}")
        self.case.assertEqual(sorted(spark), found)
        return found

    def each_snapshot_reads(self):
        """Every snapshot that is left opens in every engine. The numbers by snapshot."""
        return {found["snapshot-id"]: self.numbers(found["snapshot-id"]) for found in self.metadata()["snapshots"]}

    def files_exist(self):
        """Every file that the metadata name is there."""
        metadata = self.metadata()
        named = [entry["metadata-file"] for entry in metadata["metadata-log"]]
        named += [found["statistics-path"] for found in metadata.get("statistics", [])]
        for snapshot in metadata["snapshots"]:
            named.append(snapshot["manifest-list"])
            for entry, manifest in self.entries(snapshot["snapshot-id"]):
                named.append(manifest["manifest_path"])
                if entry["status"] != 2:
                    named.append(entry["data_file"]["file_path"])
        self.case.assertEqual([uri for uri in dict.fromkeys(named) if not local(uri).exists()], [])

    def keeps_the_rules(self):
        """What the Iceberg specification says of the manifest list and the manifests of the current snapshot ("Manifest
        Lists", "Manifest Entry Fields", "Sequence Number Inheritance")."""
        metadata, case = self.metadata(), self.case
        snapshot = next(found for found in metadata["snapshots"] if found["snapshot-id"] == metadata["current-snapshot-id"])
        specs = {spec["spec-id"]: spec["fields"] for spec in metadata["partition-specs"]}
        rows, files = 0, {0: 0, 1: 0, 2: 0}
        for manifest in self.manifests():
            entries = avro(manifest["manifest_path"])
            counts = {"added": [], "existing": [], "deleted": []}
            numbers = []
            for entry in entries:
                content = entry["data_file"]["content"]
                case.assertEqual(manifest["content"], min(content, 1), "data files and delete files in one manifest")
                counts[("existing", "added", "deleted")[entry["status"]]].append(entry["data_file"]["record_count"])
                if entry["status"] == 1:
                    case.assertIn(entry["snapshot_id"], (None, manifest["added_snapshot_id"]), entry)
                else:
                    fields = ("snapshot_id", "sequence_number", "file_sequence_number")
                    case.assertNotIn(None, [entry[field] for field in fields], entry)
                if entry["status"] == 2:
                    case.assertEqual(entry["snapshot_id"], manifest["added_snapshot_id"], "an old DELETED entry")
                    continue
                number = entry["sequence_number"]
                numbers.append(manifest["sequence_number"] if number is None else number)
                files[content] += 1
                rows += entry["data_file"]["record_count"] if content == 0 else 0
            for status, records in counts.items():
                case.assertEqual(manifest[f"{status}_files_count"], len(records), manifest)
                case.assertEqual(manifest[f"{status}_rows_count"], sum(records), manifest)
            if numbers:
                case.assertEqual(manifest["min_sequence_number"], min(numbers), manifest)
            fields = specs[manifest["partition_spec_id"]]
            case.assertEqual(len(manifest["partitions"] or []), len(fields), manifest)
            header = avro_header(manifest["manifest_path"])
            case.assertEqual(header["partition-spec-id"], str(manifest["partition_spec_id"]))
            columns = {field["id"] for field in json.loads(header["schema"])["fields"]}
            case.assertLessEqual({field["source-id"] for field in fields}, columns, "a source column is not in the schema")
        summary = snapshot["summary"]
        case.assertEqual(int(summary["total-records"]), rows)
        case.assertEqual(int(summary["total-data-files"]), files[0])
        case.assertEqual(int(summary.get("total-delete-files", 0)), files[1] + files[2])

    # What others do to it.

    def create_by_spark(self, properties, columns="n bigint, name string, day string, file_name string"):
        # As append leaves it. It could not change it while Spark has the database open: see `Spark.session`.
        with closing(sqlite3.connect(self.folder / "catalog.db")) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
        listed = ", ".join(f"'{name}' = '{value}'" for name, value in properties.items())
        self.spark().sql("CREATE NAMESPACE IF NOT EXISTS frazil.lake")
        create = f"CREATE TABLE frazil.{self.table_name} ({columns}) USING iceberg PARTITIONED BY (day)"
        self.spark().sql(f"{create} TBLPROPERTIES ({listed})")

    def replace_metadata(self, change, name=None):
        """Writes the metadata anew as `change` leaves them, and makes the catalog point at them. `name` is the file's name,
        a number higher than the last one otherwise."""
        path = self.metadata_path()
        metadata = read_json(path)
        change(metadata)
        number = int(path.name.split("-")[0]) + 1 if path.name[0].isdigit() else 1
        path = path.with_name(name or f"{number:05}-00000000-0000-4000-8000-{number:012}.metadata.json")
        text = json.dumps(metadata).encode()
        path.write_bytes(gzip.compress(text) if ".gz" in path.name else text)
        self.point_at(path)
        return path

    def point_by_hand(self, path):
        """As above, without opening the file."""
        with closing(sqlite3.connect(self.folder / "catalog.db")) as connection, connection:
            connection.execute("UPDATE iceberg_tables SET metadata_location = ?", [f"file://{path}"])

    def point_at(self, path):
        catalog = self.table().catalog
        catalog.drop_table(self.table_name)
        catalog.register_table(self.table_name, f"file://{path}")


def local(uri):
    """The path of a URI."""
    return Path(uri.removeprefix("file://") if uri.startswith("file:///") else uri.removeprefix("file:"))


def read_json(path):
    content = Path(path).read_bytes()
    return json.loads(gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content)


def avro(uri):
    """The records of an Avro file as they stand there: nothing is inherited."""
    return _duck().execute(f"SELECT * FROM read_avro({quoted(str(local(uri)))})").to_arrow_table().to_pylist()


@functools.cache
def _duck():
    return connect()


def avro_header(uri):
    """The texts in the header of an Avro file, by name."""
    with AvroFile(PyArrowFileIO().new_input(uri)) as file:
        return dict(file.header.meta)
