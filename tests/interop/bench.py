"""Where things are, and `frazil replay` as these checks call it."""

import functools
import json
import os
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import typed_data
from engines import DuckTable, load_table

REPOSITORY = Path(__file__).resolve().parents[2]
EVENTS = REPOSITORY / "events"
TABLES = REPOSITORY / "tables"
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target"))
BINARIES = TARGET / "interop-bin"
WORK = TARGET / "interop"

REPLAY_SECONDS = 120


def expected():
    return json.loads((EVENTS / "expected.json").read_text())


def fresh_folder(name):
    folder = WORK / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def replay(warehouse, *arguments):
    """Runs `frazil replay` and returns the object that it prints."""
    command = [str(BINARIES / "frazil"), "replay", *map(str, arguments), "--warehouse", str(warehouse), "--json"]
    run = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=REPLAY_SECONDS, check=False)
    if run.returncode != 0:
        raise AssertionError(f"{' '.join(command)} ended with {run.returncode}\n{run.stdout}\n{run.stderr}")
    return json.loads(run.stdout)


def frazil(*arguments):
    """Runs `frazil` with `--json`; its exit status and the object that it prints."""
    command = [str(BINARIES / "frazil"), *map(str, arguments), "--json"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=REPLAY_SECONDS, check=False)
    return run.returncode, json.loads(run.stdout)


def run(*arguments):
    """Runs `frazil`; what it prints."""
    command = [str(BINARIES / "frazil"), *map(str, arguments)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=REPLAY_SECONDS, check=False)
    if run.returncode != 0:
        raise AssertionError(f"{' '.join(command)} ended with {run.returncode}\n{run.stdout}\n{run.stderr}")
    return run.stdout


def _replayed(name, table_name, *arguments):
    warehouse = fresh_folder(name) / "w"
    outcome = replay(warehouse, *arguments)
    table = load_table(warehouse, table_name)
    return SimpleNamespace(
        warehouse=warehouse,
        arguments=arguments,
        outcome=outcome,
        table_name=table_name,
        table=table,
        duck=DuckTable(table.metadata_location),
    )


# Each replay runs once, whichever checks need it.


@functools.cache
def sample():
    return _replayed("sample", "streaming_analytics.user_events")


@functools.cache
def typed():
    file = fresh_folder("typed-input") / "typed.json.gz"
    typed_data.write(file, typed_data.typed_rows())
    return _replayed("typed", "streaming_analytics.events", file)


@functools.cache
def partitioned():
    folder = fresh_folder("partitioned-input")
    file = folder / "visits.json.gz"
    typed_data.write(file, typed_data.partition_rows())
    definition = folder / "visits.json"
    definition.write_text(json.dumps(typed_data.PARTITIONED_TABLE, ensure_ascii=False))
    return _replayed("partitioned", "streaming_analytics.visits", file, "--table", definition)
