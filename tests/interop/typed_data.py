"""Rows for the checks of types and of partitions: made from one seed, written as newline-delimited JSON."""

import gzip
import json
import random
from datetime import datetime, timedelta, timezone

TYPED_ROWS = 5_000
PARTITION_ROWS = 600

# 64 bytes: where a writer that cuts its statistics cuts them.
PREFIX = "https://example.com/a/very/long/address/that/all/of/them/share/"
PREFIX += "x" * (64 - len(PREFIX))
WORDS = ["plain", "naïve", "Größe", "данные", "データ", "بيانات", "데이터", "🧊 ice", ""]
WORDS += ['a "quote"', "back\\slash", "two\nlines", "nul\0inside"]


def write(file, rows):
    # No white space: what a string column keeps of a nested value is the input's own text.
    lines = (
        json.dumps(row, ensure_ascii=index % 7 == 0, separators=(",", ":")) + "\n" for index, row in enumerate(rows)
    )
    file.write_bytes(gzip.compress("".join(lines).encode(), mtime=0))


def _sometimes(rng, percent, value, otherwise=None):
    return otherwise if rng.random() * 100 < percent else value


def timestamps(rng):
    """The same instant as text, in one of the spellings of RFC 3339, and as a datetime in UTC."""
    seconds = int(rng.random() * 2_200_000_000) - 200_000_000  # some lie before 1970
    microseconds = rng.choice([0, 500_000, 123_000, 123_456, 999_999])
    moment = datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(seconds=seconds, microseconds=microseconds)
    minutes = rng.choice([0, 0, 0, 120, -300, 345])
    local = moment.astimezone(timezone(timedelta(minutes=minutes)))
    text = local.isoformat()
    if minutes == 0:
        text = text.replace("+00:00", "Z")
    return text, moment


def instant(text):
    """Reads what the generators write; text without a zone means UTC."""
    moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


def typed_rows():
    rng = random.Random(7)
    rows = []
    for n in range(TYPED_ROWS):
        at, moment = timestamps(rng)
        row = {
            "n": n,
            "small": _sometimes(rng, 20, rng.randrange(-1000, 1000)),
            "big": rng.choice([2**63 - 1, -(2**63), 2**53 + 1, -(2**53) - 1, rng.randrange(-(2**62), 2**62)]),
            # Whole numbers and fractions in one column: a double.
            "price": rng.choice([0, 3, -17, 0.1, 1e300, 5e-324, -2.5, round(rng.random() * 1000, 2)]),
            "ok": _sometimes(rng, 10, rng.random() < 0.3),
            "at": at,
            "local_time": moment.replace(tzinfo=None).isoformat(),  # no zone: UTC is meant
            "word": rng.choice(WORDS),
            "address": PREFIX + rng.choice(["", "ä", "日本", "\U0010ffff"]) + f"{rng.randrange(400):03d}",
            "device": {
                "os": rng.choice(["iOS", "Android", "Ωmega"]),
                "version": _sometimes(rng, 20, rng.randrange(1, 20)),
                "screen": {"width": rng.randrange(300, 4000), "scale": rng.choice([1.0, 1.5, 2.0])},
            },
            "tags": [rng.choice(WORDS) for _ in range(rng.randrange(4))],
            "points": [{"x": rng.randrange(100), "y": rng.random()} for _ in range(rng.randrange(3))],
            # Several kinds in one column: a string that holds the JSON text.
            "mixed": rng.choice(["text", "", 7, 1.5, True, False, [1, "two"], {"three": 3}, None]),
            "nothing": None,
            "größe": rng.randrange(30, 60),
        }
        if rng.random() < 0.1:
            row["device"] = rng.choice([None, {}, {"os": "iOS"}])
        if rng.random() < 0.1:
            row["tags"] = rng.choice([None, ["only", None]])
        for name in ("word", "address", "at", "price", "points", "mixed", "nothing"):
            if rng.random() < 0.05:
                del row[name]
            elif rng.random() < 0.05:
                row[name] = None
        rows.append(row)
    return rows


# Partition values that a path cannot hold as they are, and none at all.
PLACES = ["a/../b", "x#y?z", "sp ace", "ünï/ç", "100%25", "a=b&c", "", None]
NAMES = ["Ada", "Adam", "Ünïcode", "Ünïon", "日本語", "日本人", "zo", None]

PARTITIONED_TABLE = {
    "name": "visits",
    "schema": {
        "type": "struct",
        "schema-id": 0,
        "fields": [
            {"id": 1, "name": "n", "required": False, "type": "long"},
            {"id": 2, "name": "ts", "required": False, "type": "timestamptz"},
            {"id": 3, "name": "user", "required": False, "type": "string"},
            {"id": 4, "name": "name", "required": False, "type": "string"},
            {"id": 5, "name": "place", "required": False, "type": "string"},
            {"id": 6, "name": "record_id", "required": False, "type": "string"},
            {"id": 7, "name": "ingestion_timestamp", "required": False, "type": "timestamptz"},
            {"id": 8, "name": "partition_date", "required": False, "type": "string"},
            {"id": 9, "name": "partition_hour", "required": False, "type": "string"},
            {"id": 10, "name": "processing_time", "required": False, "type": "timestamptz"},
            {"id": 11, "name": "file_name", "required": False, "type": "string"},
        ],
    },
    "partition-spec": {
        "spec-id": 0,
        "fields": [
            {"source-id": 2, "field-id": 1000, "name": "ts_day", "transform": "day"},
            {"source-id": 3, "field-id": 1001, "name": "user_bucket", "transform": "bucket[4]"},
            {"source-id": 4, "field-id": 1002, "name": "name_trunc", "transform": "truncate[3]"},
            {"source-id": 5, "field-id": 1003, "name": "place", "transform": "identity"},
        ],
    },
    "properties": {"write.format.default": "parquet", "write.parquet.compression-codec": "zstd"},
}


def partition_rows():
    """Values move together, so that there are about a hundred partitions and not thousands."""
    rng = random.Random(11)
    first = datetime(2026, 1, 2, tzinfo=timezone.utc)
    rows = []
    for n in range(PARTITION_ROWS):
        which = rng.randrange(len(PLACES))
        moment = first + timedelta(days=n % 2, seconds=rng.randrange(86_400))
        row = {
            "n": n,
            # In a column of instants, text without a zone means UTC.
            "ts": (moment.replace(tzinfo=None) if n % 3 else moment).isoformat() if n % 50 else None,
            "user": f"user-{rng.randrange(8)}" if n % 40 else None,
            "name": NAMES[which],
            "place": PLACES[which if n % 10 else (which + 1) % len(PLACES)],
        }
        rows.append(row)
    return rows
