"""Puts events into the stack on a stand-in for AWS, and reads the table until they are there.

The stand-in (tests/aws/check.py) has transform, objects, notifications, queue, append and catalog, but none of the waits that
are configured: it hands each record to transform at once, makes an object of it at once, and calls append at once. So this
program keeps the waits as AWS documents them. A buffer of Firehose is closed so long after its first record: first that of
transform, then that of the object. A window of the event source mapping is closed so long after its first message: the mapping
is switched on for what waits then.
"""

import statistics
import sys
import threading
import time
import uuid
from pathlib import Path

sys.path += [str(Path(__file__).resolve().parents[1] / "tests" / name) for name in ("aws", "interop")]
import check  # noqa: E402, in tests/aws

# Seconds: of transform's buffer, of the object's, of the window; between two events; events.
PRESETS = {
    "by default": (60, 300, 60, 10, 45),
    "within half a minute": (0, 10, 5, 2, 45),
    "at once": (0, 0, 0, 3, 45),
}
PATIENCE_SECONDS = 120


class Buffer:
    """Gives what is put into it to `to`, so many seconds after the first of it."""

    def __init__(self, seconds, to):
        self.seconds, self.to, self.held, self.since = seconds, to, [], None

    def put(self, items):
        self.since = self.since or time.monotonic()
        self.held += items
        self.tick()

    def tick(self):
        if self.held and time.monotonic() >= self.since + self.seconds:
            items, self.held, self.since = self.held, [], None
            self.to(items)


def produce(stack, buffers, gap, count, put_at):
    """Puts an event every `gap` seconds, and goes on until the buffers are empty."""
    transform_seconds, object_seconds = buffers
    objects = Buffer(object_seconds, stack.put)
    records = Buffer(transform_seconds, objects.put)
    next_at, left = time.monotonic(), count
    while left or records.held or objects.held:
        if left and time.monotonic() >= next_at:
            event = {"user_id": str(uuid.uuid4()), "event_type": "click"}
            put_at[event["user_id"]] = time.monotonic()
            records.put([event])
            next_at, left = next_at + gap, left - 1
        records.tick()
        objects.tick()
        time.sleep(0.02)


def keep_window(stack, seconds, ended):
    """Lets append have the messages that came in a window when it is over."""
    functions, mapping = stack.aws.client("lambda"), stack.source["UUID"]
    functions.update_event_source_mapping(UUID=mapping, Enabled=seconds == 0)
    while seconds and not ended.is_set():
        if not stack.waiting():
            time.sleep(0.1)
            continue
        time.sleep(seconds)
        functions.update_event_source_mapping(UUID=mapping, Enabled=True)
        while stack.waiting():
            time.sleep(0.05)
        functions.update_event_source_mapping(UUID=mapping, Enabled=False)


def read(stack, put_at, count):
    """When each event was first read, by its id."""
    read_at, location, end = {}, None, None
    while len(read_at) < count:
        if len(put_at) == count:
            end = end or time.monotonic() + PATIENCE_SECONDS + sum(PRESETS["by default"][:3])
            assert time.monotonic() < end, f"{count - len(read_at)} events are not in the table"
        try:
            table = stack.table()
        except check.NoSuchTableError:
            time.sleep(0.1)
            continue
        if table.metadata_location == location:
            time.sleep(0.1)
            continue
        location = table.metadata_location
        ids = table.scan(selected_fields=("user_id",)).to_arrow()["user_id"].to_pylist()
        now = time.monotonic()
        for found in set(ids) & set(put_at) - set(read_at):
            read_at[found] = now
    return read_at


def measure(stack, transform_seconds, object_seconds, window_seconds, gap, count):
    put_at, ended = {}, threading.Event()
    window = threading.Thread(target=keep_window, args=(stack, window_seconds, ended))
    producer = threading.Thread(target=produce, args=(stack, (transform_seconds, object_seconds), gap, count, put_at))
    window.start()
    producer.start()
    try:
        read_at = read(stack, put_at, count)
    finally:
        ended.set()
        producer.join()
        window.join()
    return sorted(read_at[event] - put_at[event] for event in put_at)


def main():
    check.without_what_is_unknown(check.REPOSITORY / "target/aws/build/template.yaml")
    aws = check.Aws()
    try:
        stack = check.Stack(aws, "frazil")
        # The table is made, and the functions have started once.
        stack.put([check.event(0)])
        stack.wait_for_rows(1)
        print(f"{'preset':22}{'buffers':>12}{'window':>8}{'events':>8}{'fastest':>9}{'median':>9}{'95 %':>9}{'slowest':>9}   seconds")
        for name, (transform_seconds, object_seconds, window_seconds, gap, count) in PRESETS.items():
            ages = measure(stack, transform_seconds, object_seconds, window_seconds, gap, count)
            buffers = f"{transform_seconds} + {object_seconds}"
            figures = (ages[0], statistics.median(ages), ages[int(0.95 * (len(ages) - 1))], ages[-1])
            print(f"{name:22}{buffers:>12}{window_seconds:>8}{count:>8}" + "".join(f"{figure:>9.1f}" for figure in figures), flush=True)
    finally:
        aws.ministack.stop()


if __name__ == "__main__":
    main()
