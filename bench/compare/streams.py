"""append and Spark Structured Streaming: the same objects, each a commit of its own, into tables of one definition.

In: a file of records, or none. Out: a table with medians of what both take of CPU (user and system, all threads and processes)
and memory for objects of about 11.6 MB, once warm: the first objects and the start are told apart. append is one instance of the
function, an invocation for each object; Spark reads one file in each micro-batch.
"""

import argparse
import itertools
import json
import os
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

from append import TARGET, WORK, append_function, cpu_seconds, pinned, records, s3_event

OBJECTS = WORK / "objects"
SECONDS = 600


def main():
    options = arguments()
    rows = written(records.read(options.file), options)
    runs = {"append": append, "Spark Structured Streaming": spark}
    taken = {name: [] for name in runs}
    for _ in range(options.rounds):
        for name, run in runs.items():
            folder = WORK / "out"
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            taken[name].append(run(folder, rows, options))
    shutil.rmtree(folder)
    print("| objects, each a commit | | start and the first CPU s | the others CPU s | peak MB | rows / CPU s once warm | times the CPU of append |")
    print("| ---: | --- | ---: | ---: | ---: | ---: | ---: |")
    warm_rows = sum(rows[options.warm_up :])
    for name, each in taken.items():
        start, warm, peak = (statistics.median(column) for column in zip(*each))
        ratio = statistics.median(other[1] / own[1] for own, other in zip(taken["append"], each))
        print(
            f"| {options.warm_up} + {options.objects} | {name} | {start:.2f} | {warm:.2f} | {peak:.0f} "
            f"| {warm_rows / warm:,.0f} | {ratio:.1f} |",
            flush=True,
        )


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--file", type=Path, help="newline-delimited JSON of the Wikipedia sample's shape")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--warm-up", type=int, default=4, help="objects before those that are counted")
    parser.add_argument("--objects", type=int, default=12)
    parser.add_argument("--memory", default="1024", help="of the function, in MB")
    parser.add_argument("--cpus", type=int, default=1)
    parser.add_argument("--spark", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.spark:
        spark_process(options)
        sys.exit()
    return options


def written(lines, options):
    """Half of the sample in each object. How many rows each of them has."""
    shutil.rmtree(OBJECTS, ignore_errors=True)
    OBJECTS.mkdir(parents=True)
    half = len(lines) // 2
    count = options.warm_up + options.objects
    enriched = records.enriched(lines, -(-count // 2))
    for number in range(count):
        (OBJECTS / f"{number:04}.json").write_text("".join(itertools.islice(enriched, half)))
        if number % 2:
            list(itertools.islice(enriched, len(lines) - 2 * half))
    return [half] * count


def append(folder, rows, options):
    binary = TARGET / "release" / "append"
    function = append_function(binary, folder, options.memory, records.definition("t"), pinned(options.cpus))
    try:
        for number, expected in enumerate(rows):
            if number == options.warm_up:
                start = cpu_seconds(function.process.pid)
            kind, answer = function.invoke(s3_event(WORK.name, f"{OBJECTS.name}/{number:04}.json", "1"), SECONDS)
            if kind != "response" or answer["rows"] != expected:
                raise AssertionError(f"{expected} rows are expected: {answer}\n{(folder / 'log').read_text()}")
        return start, cpu_seconds(function.process.pid) - start, function.peak_mib() * 1.048576
    finally:
        function.stop()


def spark(folder, rows, options):
    command = [*pinned(options.cpus), sys.executable, __file__, "--spark", str(folder)]
    command += ["--warm-up", str(options.warm_up), "--objects", str(options.objects), "--cpus", str(options.cpus)]
    # Spark would go by the name of the machine, which may not resolve.
    variables = os.environ | {"SPARK_LOCAL_IP": "127.0.0.1"}
    with open(folder / "log", "wb") as log:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=log, env=variables, text=True, timeout=SECONDS)
    if done.returncode:
        raise AssertionError((folder / "log").read_text()[-4000:])
    told = json.loads(done.stdout.splitlines()[-1])
    if told["rows"] != sum(rows) or told["snapshots"] != len(rows):
        raise AssertionError(f"{sum(rows)} rows in {len(rows)} snapshots are expected: {told}")
    return told["start"], told["warm"], told["peak_mb"]


def spark_process(options):
    """One stream over the first objects, and the same one again over all: what comes with the second is warm."""
    import jvm
    from processes import memory_kib

    folder = options.spark
    session = jvm.Spark(folder).session()
    kinds = {"string": "STRING", "long": "BIGINT", "boolean": "BOOLEAN", "timestamptz": "TIMESTAMP"}
    columns = ", ".join(f"`{name}` {kinds[kind]}" for name, kind in records.COLUMNS.items())
    session.sql("CREATE NAMESPACE frazil.n")
    # No shuffle and no sort before writing: what is quickest for files whose rows are of one partition or two.
    session.sql(
        f"CREATE TABLE frazil.n.t ({columns}) USING iceberg PARTITIONED BY ({', '.join(records.PARTITIONS)}) TBLPROPERTIES "
        "('write.parquet.compression-codec' = 'zstd', 'write.distribution-mode' = 'none', 'write.spark.fanout.enabled' = 'true')"
    )
    machine = int(session._jvm.ProcessHandle.current().pid())  # pylint: disable=protected-access
    source = folder / "source"
    source.mkdir()
    taken = []
    for numbers in (range(options.warm_up), range(options.warm_up, options.warm_up + options.objects)):
        for number in numbers:
            name = f"{number:04}.json"
            os.link(OBJECTS / name, source / name)
        stream = session.readStream.schema(columns).option("maxFilesPerTrigger", 1).json(str(source))
        writer = stream.writeStream.format("iceberg").outputMode("append").trigger(availableNow=True)
        writer.option("checkpointLocation", str(folder / "checkpoint")).toTable("frazil.n.t").awaitTermination()
        taken.append(cpu_seconds(machine) + cpu_seconds(os.getpid()))
    fresh = jvm.Spark(folder)
    told = {
        "start": taken[0],
        "warm": taken[1] - taken[0],
        "peak_mb": memory_kib(machine)["VmHWM"] * 1024 / 1e6,
        "rows": fresh.column("SELECT count(*) FROM frazil.n.t")[0],
        "snapshots": fresh.column("SELECT count(*) FROM frazil.n.t.snapshots")[0],
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main()
