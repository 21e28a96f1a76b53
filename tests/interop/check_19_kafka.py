"""`frazil kafka` on a real broker: killed, doubled and rewound it has each committed record once, as a consumer reads them."""

import base64
import json
import os
import random
import signal
import subprocess
import threading
import time
import unittest
from contextlib import closing

import bench
from engines import DuckTable, load_table
from jvm import java

EVENTS = 200_000
PARTITIONS = 4
IN_TRANSACTION = 1_000
KILLS = 5
GROUP = "frazil-check"
TABLE = "kafka.events"
PATIENCE = 120
# A member that was killed is missed after this.
SESSION_MS = 2_000
COLUMNS = {
    "n": "long",
    "text": "string",
    "ratio": "double",
    "kafka_key": "binary",
    "topic": "string",
    "partition": "int",
    "offset": "long",
    "kafka_timestamp": "timestamptz",
}
HEADERS = {
    "type": "list", "element-id": 20, "element-required": False, "element": {"type": "struct", "fields": [
        {"id": 21, "name": "key", "required": False, "type": "string"},
        {"id": 22, "name": "value", "required": False, "type": "binary"},
    ]},
}
BROKER = None


def setUpModule():
    java()
    # What the other checks do without.
    from kafka_server import Broker  # pylint: disable=import-outside-toplevel

    global BROKER
    BROKER = Broker(bench.fresh_folder("kafka-broker"))


def tearDownModule():
    if BROKER is not None:
        BROKER.stop()


def definition(columns):
    """The variable that says how the table is made."""
    fields = [{"id": at, "name": name, "required": False, "type": kind} for at, (name, kind) in enumerate(columns.items(), 1)]
    return {"FRAZIL_TABLE_DEFINITION": json.dumps({"name": "events", "schema": {"type": "struct", "fields": fields}})}


class Command:
    """`frazil kafka` on a warehouse. What it prints is kept beside that."""

    def __init__(self, warehouse, *topics, group=GROUP, table=TABLE, variables=None, arguments=()):
        self.said = warehouse.parent / f"kafka-{time.monotonic_ns()}.log"
        self.command = [str(bench.BINARIES / "frazil"), "kafka", "--json", "--bootstrap", BROKER.address]
        self.command += ["--group", group, "--warehouse", str(warehouse)]
        self.command += ["--property", f"session.timeout.ms={SESSION_MS}", "--property", "heartbeat.interval.ms=500"]
        if table:
            self.command += ["--table", table]
        for topic in topics:
            self.command += ["--topic", topic]
        self.command += arguments
        self.variables = os.environ | (variables or {})

    def start(self):
        with open(self.said, "ab") as said:
            self.process = subprocess.Popen(
                self.command, env=self.variables, stdin=subprocess.DEVNULL, stdout=said, stderr=said
            )
        return self

    def end(self, number):
        """The exit status after this signal."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)

    def until_end(self):
        """The exit status, the object that it prints, and what it says beside."""
        command = [*self.command, "--until-end"]
        run = subprocess.run(command, env=self.variables, capture_output=True, text=True, timeout=PATIENCE, check=False)
        return run.returncode, json.loads(run.stdout), run.stderr


def produce(topic, count):
    """`count` events over the partitions, a tenth of the transactions aborted."""
    producer = BROKER.producer(transactional_id=topic, compression_type="lz4")
    producer.init_transactions(30)
    for first in range(0, count, IN_TRANSACTION):
        producer.begin_transaction()
        for n in range(first, first + IN_TRANSACTION):
            value = json.dumps({"n": n, "text": f"event {n} é", "ratio": n / 8})
            producer.produce(topic, value, key=f"key-{n % 977}", partition=n % PARTITIONS)
            producer.poll(0)
        if first // IN_TRANSACTION % 10 == 7:
            # They are in the topic first.
            producer.flush(30)
            producer.abort_transaction(30)
        else:
            producer.commit_transaction(30)


class OnceWhateverHappens(unittest.TestCase):
    def test_killed_doubled_and_rewound(self):
        folder = bench.fresh_folder("kafka")
        BROKER.create("events", PARTITIONS)
        producing = threading.Thread(target=produce, args=("events", EVENTS))
        producing.start()
        self.addCleanup(producing.join)
        table = definition(COLUMNS)
        short = ("--batch-records", "4000", "--batch-seconds", "1")
        members = [Command(folder / "w", "events", variables=table, arguments=short).start() for _ in range(2)]
        self.addCleanup(lambda: [member.process.kill() for member in members])
        chance = random.Random(19)
        for kill in range(KILLS):
            before = sum(BROKER.committed(GROUP, "events", PARTITIONS))
            # Somebody goes on, whoever was killed.
            self.wait(lambda: sum(BROKER.committed(GROUP, "events", PARTITIONS)) > before, members)
            time.sleep(chance.uniform(0, 0.5))
            victim = members[kill % 2]
            self.assertEqual(victim.end(signal.SIGKILL), -signal.SIGKILL, victim.said.read_text())
            victim.start()
        producing.join()
        self.wait(lambda: BROKER.committed(GROUP, "events", PARTITIONS) == BROKER.ends("events", PARTITIONS), members)
        for member in members:
            self.assertEqual(member.end(signal.SIGTERM), 128 + signal.SIGTERM, member.said.read_text())
            self.assertIn("stopped by SIGTERM; what was committed stands", member.said.read_text())
        # They have left the group, which has no member now.
        BROKER.rewind(GROUP, "events", PARTITIONS)
        command = Command(folder / "w", "events")
        status, summary, said = command.until_end()
        self.assertEqual(status, 0, (summary, said))

        messages = BROKER.read("events", PARTITIONS)
        self.assertEqual(len(messages), EVENTS * 9 // 10)
        self.assertEqual(summary["records"], len(messages))
        self.assertGreater(summary["known"], 0)
        self.assertEqual(BROKER.committed(GROUP, "events", PARTITIONS), BROKER.ends("events", PARTITIONS))
        wanted = sorted(
            (message.partition(), message.offset(), message.key(), message.timestamp()[1], *row.values())
            for message in messages
            for row in [json.loads(message.value())]
        )
        columns = "partition, \"offset\", kafka_key, epoch_ms(kafka_timestamp) AS millis, n, text, ratio"
        with closing(DuckTable(load_table(folder / "w", TABLE).metadata_location)) as duck:
            found = sorted(tuple(row.values()) for row in duck.rows(columns))
        self.assertEqual(len(found), len(wanted))
        self.assertEqual(found, wanted)

        # Nothing is left to do, and nothing is done.
        status, summary, said = command.until_end()
        self.assertEqual((status, summary["records"], summary["invocations"]), (0, 0, 0), said)
        status, report = bench.frazil("audit", "--warehouse", folder / "w")
        self.assertEqual((status, report["findings"]), (0, []), report)

    def wait(self, is_done, members):
        deadline = time.monotonic() + PATIENCE
        while not is_done():
            self.assertLess(time.monotonic(), deadline, [member.said.read_text() for member in members])
            time.sleep(0.05)


class WhatRecordsHold(unittest.TestCase):
    def test_every_record_is_a_row_or_dropped_or_quarantined(self):
        folder = bench.fresh_folder("kafka-records")
        BROKER.create("records", 1, max_message_bytes=4_000_000)
        every_byte = bytes(range(256))
        long = "x" * 1_000_000
        number = lambda n, **more: json.dumps({"n": n, **more}).encode()
        records = [
            {"value": number(0), "key": None},
            {"value": number(1), "key": b""},
            {"value": number(2), "key": every_byte},
            {"value": number(3), "headers": [("all", every_byte), ("all", b""), ("none", None), ("é \"", b"\xff")]},
            {"value": None, "key": b"gone"},
            {"value": b""},
            {"value": b"[]"},
            {"value": b'{"n":'},
            {"value": every_byte},
            {"value": b'{"n": "many"}'},
            {"value": number(4, text=long)},
            {"value": number(5) + b"\n" + number(6)},
        ]
        for codec in ("none", "gzip", "snappy", "lz4", "zstd"):
            producer = BROKER.producer(compression_type=codec, message_max_bytes=4_000_000)
            for record in records:
                producer.produce("records", partition=0, **record)
            self.assertEqual(producer.flush(30), 0)
        command = Command(folder / "w", "records", group="records", variables=definition(COLUMNS | {"headers": HEADERS}))
        status, summary, said = command.until_end()
        self.assertEqual(status, 0, (summary, said))
        counts = [summary[name] for name in ("records", "known", "rows", "rows_quarantined", "dropped")]
        self.assertEqual(counts, [60, 0, 35, 15, 15])
        rows = load_table(folder / "w", TABLE).scan().to_arrow().to_pylist()
        rows.sort(key=lambda row: (row["offset"], row["n"]))
        self.assertEqual([row["n"] for row in rows], list(range(7)) * 5)
        self.assertEqual([row["kafka_key"] for row in rows[:3]], [None, b"", every_byte])
        for row in rows[3::7]:
            headers = [(header["key"], header["value"]) for header in row["headers"]]
            self.assertEqual(headers, records[3]["headers"])
        self.assertTrue(all(row["text"] == long for row in rows[4::7]))
        # Two events of one record.
        self.assertEqual([row["offset"] for row in rows[5:7]], [11, 11])
        lines = quarantined(folder / "w")
        self.assertEqual(sorted({line["offset"] % 12 for line in lines}), [7, 8, 9])
        self.assertEqual({base64.b64decode(line["rawData"]) for line in lines}, {records[at]["value"] for at in (7, 8, 9)})
        status, report = bench.frazil("audit", "--warehouse", folder / "w")
        self.assertEqual((status, report["findings"]), (0, []), report)

    def test_nothing_waits_for_what_is_aborted_or_open(self):
        folder = bench.fresh_folder("kafka-transactions")
        BROKER.create("open", 2)
        command = Command(folder / "w", "open", group="open")
        status, summary, said = command.until_end()
        self.assertEqual((status, summary.get("records")), (0, 0), (summary, said))
        for n, is_committed in enumerate((True, False)):
            producer = BROKER.producer(transactional_id=f"open-{n}")
            producer.init_transactions(30)
            producer.begin_transaction()
            producer.produce("open", json.dumps({"n": n}), partition=0)
            producer.flush(30)
            (producer.commit_transaction if is_committed else producer.abort_transaction)(30)
        undecided = BROKER.producer(transactional_id="open-2")
        undecided.init_transactions(30)
        undecided.begin_transaction()
        undecided.produce("open", json.dumps({"n": 2}), partition=0)
        undecided.flush(30)
        status, summary, said = command.until_end()
        self.assertEqual((status, summary["rows"], summary["next"]), (0, 1, {"open-0": 4}), said)
        undecided.commit_transaction(30)
        status, summary, said = command.until_end()
        self.assertEqual((status, summary["rows"], summary["next"]), (0, 1, {"open-0": 6}), said)
        with closing(DuckTable(load_table(folder / "w", TABLE).metadata_location)) as duck:
            self.assertEqual(sorted((row["offset"], row["n"]) for row in duck.rows("\"offset\", n")), [(0, 0), (4, 2)])


class WhatFails(unittest.TestCase):
    def test_a_topic_that_was_made_anew_holds_up_itself_alone(self):
        folder = bench.fresh_folder("kafka-anew")
        for topic in ("old-news", "other"):
            BROKER.create(topic, 1)
        self.send("old-news", 3)
        self.send("other", 3)
        # Each topic goes to a table of its name.
        command = Command(folder / "w", "old-news", "other", group="anew", table=None)
        status, summary, said = command.until_end()
        by_table = {"streaming_analytics.old_news": 3, "streaming_analytics.other": 3}
        self.assertEqual((status, summary["rows_by_table"]), (0, by_table), said)
        for deleted in BROKER.admin.delete_topics(["old-news"]).values():
            deleted.result(30)
        deadline = time.monotonic() + PATIENCE
        while "old-news" in BROKER.admin.list_topics(timeout=10).topics:
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.1)
        BROKER.create("old-news", 1)
        time.sleep(0.01)
        self.send("old-news", 2)
        self.send("other", 2)
        # The offsets of a group go with their topic.
        status, summary, said = command.until_end()
        self.assertEqual(status, 1)
        self.assertIn("FRAZIL_TOPIC_LIVES=old-news=2", summary["error"])
        self.assertIn("2 of 4 records are not committed, the first at offset 0 of old-news-0", said)
        self.assertEqual(BROKER.committed("anew", "other", 1), [5])
        self.assertLess(BROKER.committed("anew", "old-news", 1)[0], 1)
        command.variables["FRAZIL_TOPIC_LIVES"] = "old-news=2"
        status, summary, said = command.until_end()
        self.assertEqual((status, summary["rows"], summary["known"]), (0, 2, 0), said)

    def send(self, topic, count):
        producer = BROKER.producer()
        for n in range(count):
            producer.produce(topic, json.dumps({"n": n}), partition=0)
        self.assertEqual(producer.flush(30), 0)

    def test_what_is_wrong_is_named(self):
        folder = bench.fresh_folder("kafka-wrong")
        BROKER.create("right", 1)
        for topic, arguments, expected in [
            ("nowhere", (), "--topic nowhere: UnknownTopicOrPartition (Broker: Unknown topic or partition"),
            ("right", ("--property", "isolation.level=read_uncommitted"), "it is read_committed here"),
            ("right", ("--property", "group.id=x"), "--group says that"),
            ("right", ("--property", "fetch.sizes=x"), "No such configuration property: \"fetch.sizes\""),
            ("right", ("--property", "linger"), "expected KEY=VALUE"),
        ]:
            status, summary, _ = Command(folder / "w", topic, arguments=arguments).until_end()
            self.assertEqual(status, 1)
            self.assertIn(expected, summary["error"])


def quarantined(warehouse):
    paths = (warehouse / "errors" / "quarantine").rglob("*")
    return [json.loads(line) for path in paths if path.is_file() for line in path.read_text().splitlines()]
