"""One append by something else than Frazil: `peers.py NAME FILE FOLDER CPUS`. Prints what the work itself took, without the
start of Python and its libraries, as JSON.

Each is told the types of the columns, writes Parquet files with zstd by partition, and reads gzip itself."""

import json
import os
import resource
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "interop"))

import records
from processes import memory_kib


def duckdb_files(file, folder, cpus):
    """No commit: DuckDB does not write to an Iceberg table in a local folder."""
    import duckdb

    kinds = {"string": "VARCHAR", "long": "BIGINT", "boolean": "BOOLEAN", "timestamptz": "TIMESTAMPTZ"}
    columns = ", ".join(f"'{name}': '{kinds[kind]}'" for name, kind in records.COLUMNS.items())
    connection = duckdb.connect()
    connection.execute(f"SET threads = {cpus}")
    connection.execute("SET preserve_insertion_order = false")
    partitions = ", ".join(records.PARTITIONS)

    def work():
        connection.execute(
            f"COPY (SELECT * FROM read_json('{file}', format = 'newline_delimited', columns = {{{columns}}})) "
            f"TO '{folder}' (FORMAT parquet, COMPRESSION zstd, PARTITION_BY ({partitions}), WRITE_PARTITION_COLUMNS true)"
        )

    return work


def pyarrow_pyiceberg(file, folder, cpus):
    """PyArrow reads, PyIceberg writes and commits."""
    import pyarrow
    import pyarrow.json
    from pyiceberg.catalog.sql import SqlCatalog

    pyarrow.set_cpu_count(cpus)
    kinds = {
        "string": pyarrow.string(),
        "long": pyarrow.int64(),
        "boolean": pyarrow.bool_(),
        "timestamptz": pyarrow.timestamp("us", "UTC"),
    }
    schema = pyarrow.schema([(name, kinds[kind]) for name, kind in records.COLUMNS.items()])
    catalog = SqlCatalog("c", uri=f"sqlite:///{folder}/catalog.db", warehouse=f"file://{folder}")
    catalog.create_namespace("n")
    properties = {"write.parquet.compression-codec": "zstd"}
    table = catalog.create_table("n.t", schema, properties=properties)
    with table.update_spec() as spec:
        for name in records.PARTITIONS:
            spec.add_identity(name)

    def work():
        compression = "gzip" if file.suffix == ".gz" else None
        with pyarrow.input_stream(str(file), compression=compression) as stream:
            rows = pyarrow.json.read_json(
                stream,
                pyarrow.json.ReadOptions(use_threads=cpus > 1),
                pyarrow.json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="error"),
            )
        table.append(rows)

    return work


def polars_files(file, folder, cpus):
    """No commit: Polars writes to an Iceberg table by PyIceberg, as above."""
    # As it starts.
    os.environ["POLARS_MAX_THREADS"] = str(cpus)
    import polars

    kinds = {"string": polars.String, "long": polars.Int64, "boolean": polars.Boolean}
    # Its reader of JSON knows no instants.
    schema = {name: kinds.get(kind, polars.String) for name, kind in records.COLUMNS.items()}
    instants = [name for name, kind in records.COLUMNS.items() if kind == "timestamptz"]

    def work():
        rows = polars.scan_ndjson(file, schema=schema)
        rows = rows.with_columns(polars.col(instants).str.to_datetime("%+", time_unit="us", time_zone="UTC"))
        target = polars.PartitionBy(str(folder), key=records.PARTITIONS)
        rows.sink_parquet(target, compression="zstd", mkdir=True)

    return work


PEERS = {"DuckDB": duckdb_files, "PyArrow + PyIceberg": pyarrow_pyiceberg, "Polars": polars_files}


def main():
    name, file, folder, cpus = sys.argv[1:]
    work = PEERS[name](Path(file), folder, int(cpus))
    before, start = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    work()
    after, wall = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter() - start
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    # The most that this program had; what getrusage tells begins with the memory of the process that started it.
    peak_mb = memory_kib("self")["VmHWM"] * 1024 / 1e6
    print(json.dumps({"cpu": cpu, "wall": wall, "peak_mb": peak_mb}))


if __name__ == "__main__":
    main()
