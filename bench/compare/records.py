"""The input of the comparison: records of the shape of the Wikipedia sample, as producers send them and as transform
writes them."""

import gzip
import random
import uuid
from datetime import datetime, timedelta, timezone

# Name and Iceberg type of what a producer sends.
SENT = {
    "time": "timestamptz",
    "channel": "string",
    "cityName": "string",
    "comment": "string",
    "countryIsoCode": "string",
    "countryName": "string",
    "isAnonymous": "boolean",
    "isMinor": "boolean",
    "isNew": "boolean",
    "isRobot": "boolean",
    "isUnpatrolled": "boolean",
    "metroCode": "long",
    "namespace": "string",
    "page": "string",
    "regionIsoCode": "string",
    "regionName": "string",
    "user": "string",
    "delta": "long",
    "added": "long",
    "deleted": "long",
}
# What transform adds.
ADDED = {
    "record_id": "string",
    "ingestion_timestamp": "timestamptz",
    "partition_date": "string",
    "partition_hour": "string",
}
COLUMNS = SENT | ADDED
PARTITIONS = ["partition_date", "partition_hour"]
# What append adds.
SYSTEM = {"processing_time": "timestamptz", "file_name": "string"}

GENERATED = 39_244
WORDS = (
    "added removed the of and Gebäude année página 編集 редакция category commons:file talk user fix typo revert "
    "template infobox see also reference {{citation}} [[link]] → ← \\\"quoted\\\" 2015 list history"
).split()
WIKIS = ["en", "de", "fr", "ru", "es", "it", "ja", "vi", "zh", "pt"]
PLACES = [("Kyiv", "UA", "Ukraine"), ("München", "DE", "Germany"), ("São Paulo", "BR", "Brazil"), ("Osaka", "JP", "Japan")]


def definition(table):
    """What `FRAZIL_TABLE_DEFINITION` takes."""
    columns = enumerate((COLUMNS | SYSTEM).items(), 1)
    fields = [{"id": at, "name": name, "required": False, "type": kind} for at, (name, kind) in columns]
    return {
        "name": table,
        "schema": {"type": "struct", "schema-id": 0, "fields": fields},
        "partition-spec": ", ".join(PARTITIONS),
        "properties": {"write.parquet.compression-codec": "zstd"},
    }


def read(path):
    """The lines of `path`, compressed or not; generated ones without a path."""
    if path is None:
        return generated()
    with open(path, "rb") as file:
        text = file.read()
    return (gzip.decompress(text) if text.startswith(b"\x1f\x8b") else text).decode().splitlines()


def generated():
    pick = random.Random(7)
    texts = [" ".join(pick.choices(WORDS, k=pick.randrange(1, 14))) for _ in range(20_000)]
    return [line(pick, texts, at) for at in range(GENERATED)]


def line(pick, texts, at):
    def flag(share):
        return "true" if pick.random() < share else "false"

    def text(value):
        return "null" if value is None else f'"{value}"'

    at = datetime(2015, 9, 12, tzinfo=timezone.utc) + timedelta(milliseconds=2200 * at + pick.randrange(1000))
    city, code, country = pick.choice(PLACES) if pick.random() < 0.1 else (None, None, None)
    delta = pick.randrange(-200, 1000)
    values = {
        "time": text(at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03}Z"),
        "channel": text(f"#{pick.choice(WIKIS)}.wikipedia"),
        "cityName": text(city),
        "comment": text(pick.choice(texts) + f" {pick.randrange(1 << 40):x}"),
        "countryIsoCode": text(code),
        "countryName": text(country),
        "isAnonymous": flag(0.1),
        "isMinor": flag(0.3),
        "isNew": flag(0.1),
        "isRobot": flag(0.4),
        "isUnpatrolled": flag(0.1),
        "metroCode": "null",
        "namespace": text(pick.choice(["Main", "Talk", "User", "Wikipedia"])),
        "page": text(texts[pick.randrange(len(texts))][:40].rstrip("\\")),
        "regionIsoCode": "null",
        "regionName": "null",
        "user": text(f"user {int(pick.paretovariate(0.5)) % 9000}"),
        "delta": str(delta),
        "added": str(max(delta, 0)),
        "deleted": str(max(-delta, 0)),
    }
    return "{" + ",".join(f'"{name}":{value}' for name, value in values.items()) + "}"


def enriched(lines, copies):
    """`lines`, so many times, each time with the fields that transform adds for the hour after: other ids, another
    partition."""
    for copy in range(copies):
        arrival = datetime(2026, 1, 2, copy % 24, tzinfo=timezone.utc)
        for number, line in enumerate(lines):
            at = arrival + timedelta(microseconds=1000 * (number % 3_600_000))
            record = uuid.uuid5(uuid.NAMESPACE_OID, f"{copy} {number}")
            yield (
                f'{line[:-1]},"record_id":"{record}","ingestion_timestamp":"{at:%Y-%m-%dT%H:%M:%S.%fZ}",'
                f'"partition_date":"{at:%Y-%m-%d}","partition_hour":"{at:%H}"}}\n'
            )
