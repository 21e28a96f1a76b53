"""A table of the columns of Kafka's user events with a million generated rows, whose snapshots have the times of their rows."""

import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta

import bench
from engines import connect, load_table
from lake import local, read_json

NAME = "streaming_analytics.user_events"
ROWS = 1_000_000
# Just after midnight: what was processed an hour ago has another partition_date.
NOW = datetime(2026, 3, 2, 0, 4, tzinfo=UTC)
SPAN = timedelta(hours=6)

# Every value follows from the row's number. 20 in a million are processed later than an hour after they happened, one user in
# 50 is null, one duration in 10 is missing and one in 500 no number; one device in 40 is null, one event type in 1,000.
GENERATED = """
WITH numbers AS (
    SELECT range AS i, hash(range) AS h, hash(range + 1000000007) AS g FROM range({first}, {last})
),
moments AS (
    SELECT *, TIMESTAMPTZ '{start}' + to_microseconds(CAST(i * {step} AS BIGINT)) AS processed FROM numbers
)
SELECT
    'k' || (h % 5000) AS kafka_key,
    CASE WHEN h % 50 <> 7 THEN 'u-' || (h % 20011) END AS user_id,
    CASE
        WHEN g % 1000 = 1 THEN NULL
        WHEN g % 10 < 5 OR (g % 10 = 9 AND processed > TIMESTAMPTZ '{end}' - INTERVAL '20' MINUTE) THEN 'page_view'
        WHEN g % 10 < 8 THEN 'click'
        ELSE 'purchase'
    END AS event_type,
    processed - to_microseconds(CAST(CASE WHEN i % 50000 = 3 THEN 4000000000 ELSE h % 90000000 END AS BIGINT)) AS "timestamp",
    CASE
        WHEN h % 10 = 3 THEN MAP {{'page': '/' || (g % 40)}}
        WHEN h % 500 = 4 THEN MAP {{'duration': 'long'}}
        ELSE MAP {{'duration': CAST((g % 20000) / 2 AS VARCHAR), 'page': '/' || (g % 40)}}
    END AS properties,
    CASE WHEN h % 33 <> 5 THEN 's-' || (h % 20011) || '-' || (i // 25000) END AS session_id,
    CASE WHEN g % 40 <> 6 THEN {{
        'device_type': ['mobile', 'desktop', 'tablet', NULL][1 + CAST(g % 4 AS INTEGER)],
        'os': 'os ' || (g % 7),
        'app_version': '1.' || (g % 9){more_device}
    }} END AS device_info,
    'user-events' AS topic,
    CAST(i % 6 AS INTEGER) AS "partition",
    CAST(i // 6 AS BIGINT) AS "offset",
    processed - to_microseconds(1500) AS kafka_timestamp,
    processed AS processing_time,
    strftime(processed, '%Y-%m-%d') AS partition_date,
    CAST(date_part('hour', processed) AS INTEGER) AS partition_hour,
    CAST(NULL AS STRUCT(key VARCHAR, value BLOB)[]) AS headers,
    'r-' || i AS record_id{more}
FROM moments
"""


class Million:
    """Made in a folder of its own by `frazil table create` and PyIceberg, an append for each hour."""

    def __init__(self, name):
        self.folder = bench.fresh_folder(name)
        definition = bench.TABLES / "kafka_user_events.json"
        bench.run("table", "create", NAME, definition, "--warehouse", self.folder)
        hours = range(int(SPAN / timedelta(hours=1)))
        for hour in hours:
            self.append(ROWS * hour // len(hours), ROWS * (hour + 1) // len(hours))
        self.set_times([NOW - SPAN + timedelta(hours=hour + 1) for hour in hours])

    def append(self, first, last, more="", more_device=""):
        """Appends the rows `first` to `last`, with more columns if the table has them."""
        start = NOW - SPAN
        connection = connect()
        connection.execute("SET TimeZone = 'UTC'")
        text = GENERATED.format(first=first, last=last, start=start, end=NOW, step=SPAN / timedelta(microseconds=ROWS),
                                more=more, more_device=more_device)
        rows = connection.execute(text).to_arrow_table()
        connection.close()
        self.table().append(rows)

    def table(self):
        return load_table(self.folder, NAME)

    def set_times(self, times):
        """Gives the snapshots these times, an hour apart instead of a second: AS OF goes by them."""
        path = local(self.table().metadata_location)
        metadata = read_json(path)
        for snapshot, entry, moment in zip(metadata["snapshots"], metadata["snapshot-log"], times, strict=True):
            snapshot["timestamp-ms"] = entry["timestamp-ms"] = int(moment.timestamp() * 1000)
        metadata["last-updated-ms"] = metadata["snapshots"][-1]["timestamp-ms"]
        metadata["metadata-log"] = []
        path = path.with_name(f"00099-{metadata['table-uuid']}.metadata.json")
        path.write_text(json.dumps(metadata))
        with closing(sqlite3.connect(self.folder / "catalog.db")) as database, database:
            database.execute("UPDATE iceberg_tables SET metadata_location = ?", [f"file://{path}"])
