"""What append and transform cost as one thing grows and all others stay.

In: which series, how many rounds. Out: a table for each and, with `--pictures`, a picture. CPU is that of the process, user and
system, all threads, medians over rounds in which all points of a series took turns. Each point of append is an instance of its own
that has appended a small object before, so that neither start nor the table's creation counts; the commit does.
"""

import argparse
import base64
import json
import random
import shutil
import statistics
import subprocess
from dataclasses import dataclass
from pathlib import Path

import picture
from append import REPOSITORY, TARGET, WORK, append_function, cpu_seconds, pinned, records
from lambdas import Function, sqs_event
from share import ONE_CPU_MB, Share

INPUT = WORK / "growth"
SECONDS = 600
BYTES = 48_000_000
# arm64, us-east-1.
DOLLARS_PER_GB_SECOND = 0.0000133334


@dataclass
class Point:
    """One invocation of append."""

    x: int
    rows: int
    objects: list
    definition: dict
    memory_mb: int = 1024
    share: bool = False


@dataclass
class Taken:
    cpu: float
    seconds: float
    peak_mb: float
    files: int


def main():
    options = arguments()
    shutil.rmtree(INPUT, ignore_errors=True)
    INPUT.mkdir(parents=True)
    for name in options.only:
        table, curves, axis = SERIES[name](options)
        print(f"\n## {name}\n\n{table}", flush=True)
        if options.pictures:
            options.pictures.mkdir(exist_ok=True)
            (options.pictures / f"{name}.svg").write_text(picture.svg(axis, curves))


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=list(SERIES), default=list(SERIES))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pictures", type=Path, help="the folder that pictures go to")
    parser.add_argument("--file", type=Path, help="newline-delimited JSON of the Wikipedia sample's shape, for memory")
    return parser.parse_args()


def commits(_):
    """By the benchmark of the commit layer, which counts requests too."""
    command = ["cargo", "bench", "--quiet", "--locked", "--package", "frazil-lake", "--bench", "history", "--"]
    command += ["--at", "10,100,1000,2000,5000"]
    done = subprocess.run(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, check=True)
    lines = [line for line in done.stdout.splitlines() if line.startswith("|")]
    rows = [[cell.strip().replace(",", "") for cell in line.strip("|").split("|")] for line in lines[2:]]
    cpu = [(int(row[0]), float(row[1])) for row in rows]
    written = [(int(row[0]), float(row[9]) / 1000) for row in rows]
    return "\n".join(lines), {"CPU ms a commit": cpu, "kB written a commit": written}, "commits in the history"


def partitions(options):
    def point(count):
        lines = (f'{line[:-1]},"p":"{number % count}"}}\n' for number, line in enumerate(records.generated()))
        path, rows = written(f"partitions-{count}", lines)
        kinds = records.SENT | {"p": "string"}
        return Point(count, rows, [path], definition(kinds, "p"))

    return by_rows([point(count) for count in (1, 10, 100, 1000)], options, "partitions, a row to each in turn")


def columns(options):
    """As many values, in rows of more columns."""
    pick = random.Random(7)
    words = [f"word {number}" for number in range(5000)]

    def point(count):
        kinds = {f"c{number}": ("long", "string", "double", "string")[number % 4] for number in range(count)}
        make = {
            "long": lambda: str(pick.randrange(1_000_000)),
            "double": lambda: str(pick.randrange(1_000_000) / 100),
            "string": lambda: f'"{pick.choice(words)}"',
        }
        heads = [(f'"{name}":', make[kind]) for name, kind in kinds.items()]
        lines = ("{" + ",".join(head + value() for head, value in heads) + "}\n" for _ in range(1_600_000 // count))
        path, rows = written(f"columns-{count}", lines)
        return Point(count, rows, [path], definition(kinds))

    points = [point(count) for count in (10, 30, 100, 300, 1000)]
    return by_rows(points, options, "columns", per=("value", lambda point: point.rows * point.x))


def sizes(options):
    """As many bytes, in longer records: text of words, and a number."""
    pick = random.Random(7)
    text = " ".join(pick.choice(records.WORDS).replace("\\", "").replace('"', "") for _ in range(400_000))

    def point(size):
        def line(number):
            head = f'{{"id":{number},"text":"'
            start = pick.randrange(len(text) // 2)
            return f'{head}{text[start : start + size - len(head) - 2]}"}}\n'

        path, rows = written(f"record-{size}", (line(number) for number in range(BYTES // size)))
        return Point(size, rows, [path], definition({"id": "long", "text": "string"}))

    points = [point(size) for size in (100, 1000, 10_000, 100_000, 1_000_000)]
    return by_rows(points, options, "bytes of a record", per=("MB", lambda point: size_of(point) / 1e6))


def objects(options):
    """As many rows in more objects."""
    lines = [f"{line}\n" for line in records.generated()]

    def point(count):
        paths = [written(f"objects-{count}/{number}", lines[number::count])[0] for number in range(count)]
        return Point(count, len(lines), paths, definition(records.SENT))

    return by_rows([point(count) for count in (1, 10, 100, 1000)], options, "objects in an invocation")


def memory(options):
    """Both functions with the share of a processor that Lambda would give them."""
    lines = records.read(options.file)
    kinds, path = records.definition("t"), INPUT / "memory.json"
    path.write_text("".join(records.enriched(lines, 1)))
    shapes = (128, 256, 512, 1024, ONE_CPU_MB, 3008, 2 * ONE_CPU_MB)
    points = [Point(mb, len(lines), [path], kinds, mb, share=True) for mb in shapes]
    sent_bytes = sum(len(line) + 1 for line in lines)
    event = firehose_event(lines, 1_000_000)
    event_bytes = sum(len(base64.b64decode(record["data"])) for record in event["records"])
    runs = {"append": (points, invoke_append, sent_bytes)}
    runs["transform"] = ([(mb, event) for mb in shapes], invoke_transform, event_bytes)
    lines = ["| function | memory MB | vCPU | CPU s | billed s | peak MB | $ / TB |", "| --- |" + " ---: |" * 6]
    curves = {}
    for name, (points, invoke, count) in runs.items():
        for mb, taken in zip(shapes, in_turn(points, invoke, options.rounds)):
            dollars = taken.seconds * mb / 1024 * DOLLARS_PER_GB_SECOND / count * 1e12
            share = f"{mb / ONE_CPU_MB:.2f}"
            lines.append(
                f"| {name} | {mb:,} | {share} | {taken.cpu:.4f} | {taken.seconds:.4f} | {taken.peak_mb:.0f} | {dollars:.3f} |"
            )
            curves.setdefault(f"{name}, $ per TB", []).append((mb, dollars))
    return "\n".join(lines), curves, "memory of the function, MB"


SERIES = {
    "commits": commits,
    "partitions": partitions,
    "columns": columns,
    "records": sizes,
    "objects": objects,
    "memory": memory,
}


def written(name, lines):
    """The path of an object of `lines`, and how many they are."""
    path = INPUT / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    count = 0
    with open(path, "w") as file:
        for line in lines:
            file.write(line)
            count += 1
    return path, count


def size_of(point):
    return sum(path.stat().st_size for path in point.objects)


def definition(kinds, partition=""):
    fields = enumerate((kinds | records.SYSTEM).items(), 1)
    return {
        "name": "t",
        "schema": {
            "type": "struct",
            "schema-id": 0,
            "fields": [{"id": at, "name": name, "required": False, "type": kind} for at, (name, kind) in fields],
        },
        "partition-spec": partition,
        "properties": {"write.parquet.compression-codec": "zstd"},
    }


def by_rows(points, options, axis, per=("row", lambda point: point.rows)):
    unit, count = per
    lines = [f"| {axis} | rows | MB | CPU s | CPU µs / {unit} | peak MB | files |", "|" + " ---: |" * 7]
    each, peaks = [], []
    for point, taken in zip(points, in_turn(points, invoke_append, options.rounds)):
        micros = taken.cpu * 1e6 / count(point)
        lines.append(
            f"| {point.x:,} | {point.rows:,} | {size_of(point) / 1e6:.1f} | {taken.cpu:.2f} | {micros:,.2f} "
            f"| {taken.peak_mb:.0f} | {taken.files} |"
        )
        each.append((point.x, micros))
        peaks.append((point.x, taken.peak_mb))
    return "\n".join(lines), {f"CPU µs per {unit}": each, "peak MB": peaks}, axis


def in_turn(points, invoke, rounds):
    """The medians of each point."""
    taken = [[invoke(point) for point in points] for _ in range(rounds)]
    medians = []
    for each in zip(*taken):
        fields = ("cpu", "seconds", "peak_mb", "files")
        medians.append(Taken(*(statistics.median(getattr(one, field) for one in each) for field in fields)))
    return medians


def invoke_append(point):
    folder = WORK / "out"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    small = INPUT / "small.json"
    with open(point.objects[0]) as first:
        small.write_text(first.readline())
    share = Share(point.memory_mb) if point.share else None
    prefix = share.prefix if share else pinned(1)
    function = append_function(TARGET / "release" / "append", folder, point.memory_mb, point.definition, prefix)
    try:
        append(function, [small], 1)
        before, files = cpu_seconds(function.process.pid), parquet_files(folder)
        append(function, point.objects, point.rows)
        cpu = cpu_seconds(function.process.pid) - before
        return Taken(cpu, function.seconds, function.peak_mib() * 1.048576, parquet_files(folder) - files)
    finally:
        function.stop()
        if share:
            share.close()


def append(function, paths, rows):
    keys = [(WORK.name, str(path.relative_to(WORK)), "1") for path in paths]
    event = sqs_event([keys])["Records"][0]["body"]
    kind, answer = function.invoke(json.loads(event), SECONDS)
    if kind != "response" or answer["rows"] != rows:
        raise AssertionError(f"{rows} rows are expected: {answer}\n{function.log.read_text()[-4000:]}")


def parquet_files(folder):
    return sum(1 for _ in folder.rglob("*.parquet"))


EVENTS = 20


def invoke_transform(point):
    """The mean of some events, after one."""
    memory_mb, event = point
    share = Share(memory_mb)
    variables = {"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(memory_mb)}
    function = Function(TARGET / "release" / "transform", WORK / "transform.log", variables, share.prefix)
    try:
        seconds = []
        for number in range(EVENTS + 1):
            if number == 1:
                before = cpu_seconds(function.process.pid)
            kind, answer = function.invoke(event)
            if kind != "response" or any(record["result"] != "Ok" for record in answer["records"]):
                raise AssertionError(f"{answer}"[:1000])
            seconds.append(function.seconds)
        cpu = (cpu_seconds(function.process.pid) - before) / EVENTS
        return Taken(cpu, statistics.mean(seconds[1:]), function.peak_mib() * 1.048576, 0)
    finally:
        function.stop()
        share.close()


def firehose_event(lines, size):
    some, total = [], 0
    for number, line in enumerate(lines):
        total += len(line)
        if total > size:
            break
        data = base64.b64encode(line.encode()).decode()
        some.append({"recordId": f"{number:056}", "approximateArrivalTimestamp": 1_767_323_045_678, "data": data})
    stream = "arn:aws:firehose:us-east-1:123456789012:deliverystream/events"
    return {"invocationId": "1", "deliveryStreamArn": stream, "region": "us-east-1", "records": some}


if __name__ == "__main__":
    main()
