"""What bench/kafka.sh measures: CPU time and memory of `frazil kafka` and of Kafka Connect's Iceberg sink.

CPU is user and system time of the whole process, as the kernel counts it. The sink's start is measured alone: it is let run
until its first rows are in the table, and then gets the others. `frazil kafka` is measured from its start to its end.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import time

import bench
from engines import load_table
from jvm import jars, java
from kafka_server import Broker
from processes import environment, free_port, memory_kib

TABLE = "streaming_analytics.user_events"
DEFINITION = bench.TABLES / "kafka_user_events.json"
FRAZIL = bench.TARGET / "release" / "frazil"
FIRST_ROWS = 100
PATIENCE = 300


def events(count):
    """Events of about 590 bytes, as the table's definition has them."""
    chance = random.Random(7)
    for n in range(count):
        user = chance.randrange(20_000)
        event = {
            "user_id": f"user-{user:06}",
            "event_type": chance.choice(("page_view", "click", "search", "add_to_cart", "purchase")),
            "timestamp": f"2026-03-01T{n // 3600 % 24:02}:{n // 60 % 60:02}:{n % 60:02}.{chance.randrange(1000):03}Z",
            "session_id": f"{chance.getrandbits(128):032x}",
            "device_info": {"device_type": chance.choice(("mobile", "desktop")), "os": "iOS 17.2", "app_version": "4.12.0"},
            "properties": {
                "page": f"/products/{chance.randrange(5000)}/reviews",
                "referrer": f"https://www.example.com/search?q={chance.getrandbits(64):016x}",
                "campaign": f"spring-{chance.randrange(40)}",
                "duration_ms": chance.randrange(100_000),
                "price": chance.randrange(100_000) / 100,
                "text": f"{chance.getrandbits(680):0170x}",
            },
        }
        yield f"user-{user:06}", json.dumps(event)


def produce(broker, topic, partitions, some):
    producer = broker.producer(queue_buffering_max_messages=1_000_000)
    size = 0
    for n, (key, value) in enumerate(some):
        size += len(value)
        producer.produce(topic, value, key=key, partition=n % partitions)
        producer.poll(0)
    producer.flush(60)
    return size


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rows(warehouse):
    """Rows by the summaries of snapshots."""
    snapshot = load_table(warehouse, TABLE).current_snapshot()
    return int(snapshot.summary["total-records"]) if snapshot else 0


def frazil(broker, topic, name, warehouse):
    """CPU seconds and MB at most."""
    command = [FRAZIL, "kafka", "--bootstrap", broker.address, "--topic", topic, "--group", name, "--until-end"]
    command += ["--table", TABLE, "--warehouse", warehouse, "--json"]
    variables = environment() | {"FRAZIL_TABLE_DEFINITION": str(DEFINITION)}
    with open(warehouse.parent / f"{name}.log", "wb") as log:
        process = subprocess.Popen(list(map(str, command)), env=variables, stdout=log, stderr=log)
        _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise AssertionError((warehouse.parent / f"{name}.log").read_text())
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


class Sink:
    """Kafka Connect with the Iceberg sink on the table of `warehouse`; to be stopped."""

    def __init__(self, broker, topic, name, warehouse):
        folder = warehouse.parent / name
        (folder / "plugins").mkdir(parents=True)
        (folder / "plugins" / "iceberg").symlink_to(jars("connect"))
        broker.create(f"{name}-control", 1)
        self.port = free_port()
        worker = {
            "bootstrap.servers": broker.address,
            "key.converter": "org.apache.kafka.connect.storage.StringConverter",
            "value.converter": "org.apache.kafka.connect.json.JsonConverter",
            "value.converter.schemas.enable": "false",
            "offset.storage.file.filename": folder / "offsets",
            "plugin.path": folder / "plugins",
            "listeners": f"http://127.0.0.1:{self.port}",
        }
        sink = {
            "name": name,
            "connector.class": "org.apache.iceberg.connect.IcebergSinkConnector",
            "tasks.max": 1,
            "topics": topic,
            "consumer.override.auto.offset.reset": "earliest",
            "iceberg.catalog.catalog-impl": "org.apache.iceberg.jdbc.JdbcCatalog",
            "iceberg.catalog.uri": f"jdbc:sqlite:{warehouse}/catalog.db?busy_timeout=20000&journal_mode=WAL",
            "iceberg.catalog.warehouse": f"file://{warehouse}/warehouse",
            "iceberg.catalog.jdbc.schema-version": "V1",
            # The catalog's name in the database.
            "iceberg.catalog": "frazil",
            "iceberg.tables": TABLE,
            "iceberg.control.topic": f"{name}-control",
            "iceberg.control.commit.interval-ms": 5_000,
        }
        for path, settings in (("worker", worker), ("sink", sink)):
            (folder / f"{path}.properties").write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
        self.log = folder / "connect.log"
        command = [java(), "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", f"{jars('kafka')}/*"]
        command += ["org.apache.kafka.connect.cli.ConnectStandalone", "worker.properties", "sink.properties"]
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(command, cwd=folder, env=environment(), stdout=log, stderr=log)

    def wait(self, warehouse, count):
        """Until the table has so many rows more than none."""
        deadline = time.monotonic() + PATIENCE
        while rows(warehouse) < count:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(self.log.read_text()[-6000:])
            time.sleep(0.5)

    def cpu_seconds(self):
        return cpu_seconds(self.process.pid)

    def peak_mb(self):
        return memory_kib(self.process.pid)["VmHWM"] / 1024

    def stop(self):
        self.process.kill()
        self.process.wait(10)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=235_000)
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--without-sink", action="store_true")
    arguments = parser.parse_args()
    folder = bench.fresh_folder("kafka-bench")
    broker = Broker(folder)
    try:
        measure(broker, folder, arguments)
    finally:
        broker.stop()


def measure(broker, folder, arguments):
    count, partitions = arguments.rows, arguments.partitions
    broker.create("events", partitions)
    size = produce(broker, "events", partitions, events(count))
    print(f"{count:,} events of {size / count:.0f} bytes on {partitions} partitions")
    ours = []
    for run in range(arguments.runs):
        warehouse = folder / f"frazil-{run}" / "w"
        warehouse.mkdir(parents=True)
        cpu, memory = frazil(broker, "events", f"frazil-{run}", warehouse)
        if rows(warehouse) != count:
            raise AssertionError(f"{rows(warehouse)} rows")
        ours.append(count / cpu)
        print(f"frazil kafka: {cpu:.2f} CPU s, {count / cpu:,.0f} rows per CPU s, {memory:.0f} MB")
    if arguments.without_sink:
        return
    theirs = []
    for run in range(arguments.runs):
        cpu, start, memory = sink(broker, folder, f"sink-{run}", count, partitions)
        theirs.append(count / cpu)
        print(
            f"Kafka Connect: {cpu:.2f} CPU s, {count / cpu:,.0f} rows per CPU s, {memory:.0f} MB; "
            f"its start with {FIRST_ROWS} rows {start:.2f} CPU s"
        )
    print(f"medians: {statistics.median(ours) / statistics.median(theirs):.1f} times as many rows per CPU s")


def sink(broker, folder, name, count, partitions):
    """CPU seconds of the rows, those of the start, and MB at most."""
    # A table of the same definition, which the topic's first rows make; the sink adds to it.
    warehouse = folder / name / "w"
    warehouse.mkdir(parents=True)
    topic = f"{name}-events"
    broker.create(topic, partitions)
    produce(broker, topic, partitions, events(FIRST_ROWS))
    frazil(broker, topic, f"{name}-definition", warehouse)
    sink_process = Sink(broker, topic, name, warehouse)
    try:
        sink_process.wait(warehouse, 2 * FIRST_ROWS)
        start = sink_process.cpu_seconds()
        produce(broker, topic, partitions, events(count))
        sink_process.wait(warehouse, 2 * FIRST_ROWS + count)
        return sink_process.cpu_seconds() - start, start, sink_process.peak_mb()
    finally:
        sink_process.stop()


if __name__ == "__main__":
    main()
