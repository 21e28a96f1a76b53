"""append and its peers, in turn on the same file.

In: a file of records, or none. Out: a table with medians: what each takes of CPU (user and system, all threads), wall time,
memory at most and bytes of Parquet, and how many times as much CPU a peer takes as append in the same round. append is the
function's binary under a Runtime API on this machine, its start and the creation of the table included; of the peers only
the work is counted.
"""

import argparse
import gzip
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "tests" / "interop"))

import peers
import records
from lambdas import Function, s3_event

TARGET = Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target"))
WORK = TARGET / "compare"
SECONDS = 600
# Python of the environments of peers that are not in this one.
PYTHONS = {"Polars": TARGET / "polars-venv" / "bin" / "python"}
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Taken:
    cpu: float
    wall: float
    peak_mb: float
    output_mb: float


def main():
    options = arguments()
    WORK.mkdir(parents=True, exist_ok=True)
    lines = records.read(options.file)
    (WORK / "records.json").write_text("".join(f"{line}\n" for line in lines))
    print("| input | CPUs | | CPU s | wall s | peak MB | output MB | rows / CPU s | times the CPU of append |")
    print("| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    inputs = [file for file in written(lines, options.copies) if options.only in file.name]
    for cpus in options.cpus:
        for file in inputs:
            compare(file, cpus, len(lines) * options.copies, options)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--file", type=Path, help="newline-delimited JSON of the Wikipedia sample's shape")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--copies", type=int, default=6, help="of the file, each with ids and an hour of its own")
    parser.add_argument("--cpus", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--memory", default="1024", help="of the function, in MB")
    parser.add_argument("--only", default="", help="inputs with this in their names: .gz")
    parser.add_argument("--binary", type=Path, action="append", help="of append; with several, the first is compared with")
    parser.add_argument("--peers", nargs="*", default=list(peers.PEERS), choices=list(peers.PEERS))
    return parser.parse_args()


def written(lines, copies):
    """The enriched records in one file, as they are and compressed."""
    plain, packed = WORK / "enriched.json", WORK / "enriched.json.gz"
    text = "".join(records.enriched(lines, copies)).encode()
    plain.write_bytes(text)
    packed.write_bytes(gzip.compress(text, 6, mtime=0))
    return [plain, packed]


def compare(file, cpus, rows, options):
    binaries = options.binary or [TARGET / "release" / "append"]
    runs = {f"append {binary}" if options.binary else "append": append_by(binary, options) for binary in binaries}
    runs |= {name: peer(name) for name in options.peers}
    taken = {name: [] for name in runs}
    for _ in range(options.rounds):
        for name, run in runs.items():
            folder = WORK / "out"
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            taken[name].append(run(file, folder, cpus, rows))
    shutil.rmtree(folder)
    ours = next(iter(taken.values()))
    for name, each in taken.items():
        ratios = [other.cpu / own.cpu for own, other in zip(ours, each)]
        cpu, wall, peak, output = (
            statistics.median(getattr(one, field) for one in each) for field in ("cpu", "wall", "peak_mb", "output_mb")
        )
        print(
            f"| {file.stat().st_size / 1e6:.0f} MB {file.suffix[1:]} | {cpus} | {name} | {cpu:.3f} | {wall:.3f} "
            f"| {peak:.0f} | {output:.1f} | {rows / cpu:,.0f} | {statistics.median(ratios):.2f} |",
            flush=True,
        )


def pinned(cpus):
    return ["taskset", "--cpu-list", f"0-{cpus - 1}"]


def append_function(binary, folder, memory_mb, definition, prefix=()):
    """The function on a new lake in `folder`. Objects are those of `WORK` and of folders in it."""
    path = folder / "definition.json"
    path.write_text(json.dumps(definition))
    variables = {
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(memory_mb),
        "FRAZIL_CATALOG": "sqlite",
        "FRAZIL_CATALOG_URI": str(folder / "catalog.db"),
        "FRAZIL_WAREHOUSE": f"file://{folder}/warehouse",
        "FRAZIL_ERRORS": f"file://{folder}/errors",
        "FRAZIL_SOURCE_ROOT": f"file://{WORK.parent}/",
        "FRAZIL_TABLE": "n.t",
        "FRAZIL_TABLE_DEFINITION": str(path),
        "FRAZIL_LOG": "warn",
    }
    return Function(binary, folder / "log", variables, prefix)


def append_by(binary, options):
    def run(file, folder, cpus, rows):
        function = append_function(binary, folder, options.memory, records.definition("t"), pinned(cpus))
        try:
            start = time.perf_counter()
            kind, answer = function.invoke(s3_event(WORK.name, file.name, "1"), SECONDS)
            wall = time.perf_counter() - start
            cpu, peak = cpu_seconds(function.process.pid), function.peak_mib() * 1.048576
        finally:
            function.stop()
        if kind != "response" or answer["rows"] != rows:
            raise AssertionError(f"{rows} rows are expected: {answer}\n{(folder / 'log').read_text()}")
        return Taken(cpu, wall, peak, parquet_mb(folder))

    return run


def cpu_seconds(pid):
    """Of all threads of a process, also those that have ended; in hundredths."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def peer(name):
    def run(file, folder, cpus, _):
        script = Path(peers.__file__)
        python = str(PYTHONS.get(name, sys.executable))
        command = [*pinned(cpus), python, str(script), name, str(file), str(folder), str(cpus)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=SECONDS, check=True)
        return Taken(**json.loads(done.stdout), output_mb=parquet_mb(folder))

    return run


def parquet_mb(folder):
    return sum(file.stat().st_size for file in folder.rglob("*.parquet")) / 1e6


if __name__ == "__main__":
    main()
