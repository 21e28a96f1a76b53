#!/usr/bin/env python3
"""Writes every file of this folder but README.md and the two scripts. Standard library only, Python 3.9 or later.

Run it again and nothing changes: all choices come from one seeded generator, through `random()` alone, the one method
whose sequence Python promises to keep. A compressed file that already holds the right content is left as it is, since
two builds of zlib may spell the same content differently and the notifications carry the MD5 of the files.
"""

import base64
import gzip
import hashlib
import io
import json
import random
import uuid
import zipfile
import zlib
from datetime import datetime, timedelta, timezone
from pathlib import Path
from urllib.parse import quote_plus

import sources

HERE = Path(__file__).resolve().parent
RANDOM = random.Random(20260102)
# Any fixed namespace will do: ids in here must only be stable and different from each other.
NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "frazil/events")
START = datetime(2026, 1, 2, 3, 4, 5, 123000, tzinfo=timezone.utc)

ACCOUNT = "123456789012"
REGION = "us-east-1"
BUCKET = "raw"


# --- small tools -----------------------------------------------------------------------------------------------------


def pick(choices):
    return choices[int(RANDOM.random() * len(choices))]


def whole(low, high):
    """An integer from low to high, both included."""
    return low + int(RANDOM.random() * (high - low + 1))


def chance(percent):
    return RANDOM.random() * 100 < percent


def stable_uuid(name):
    return str(uuid.uuid5(NAMESPACE, name))


def stable_hex(name, length):
    return hashlib.sha256(name.encode()).hexdigest()[:length]


def stable_base64(name, size_bytes):
    """Stands for the opaque tokens that AWS puts into its events."""
    return base64.b64encode(hashlib.shake_256(name.encode()).digest(size_bytes)).decode()


def instant(moment, digits=3):
    """RFC 3339 in UTC, with milliseconds as AWS writes it, or with microseconds as transform does."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond:06d}"[:digits] + "Z"


def milliseconds(moment):
    return int(moment.timestamp()) * 1000 + moment.microsecond // 1000


class Raw(str):
    """JSON text that must reach the file as it is: how a number is spelled is part of the sample."""


def to_json(value, ascii_only=False, separators=(",", ":")):
    if isinstance(value, Raw):
        return str(value)
    if isinstance(value, dict):
        comma, colon = separators
        fields = (
            json.dumps(key, ensure_ascii=ascii_only) + colon + to_json(item, ascii_only, separators)
            for key, item in value.items()
        )
        return "{" + comma.join(fields) + "}"
    return json.dumps(value, ensure_ascii=ascii_only, separators=(",", ":"))


def write(path, content, decode=None):
    """`decode` tells what a compressed file holds: a file that already holds it stays."""
    file = HERE / path
    if decode and file.exists():
        try:
            if decode(file.read_bytes()) == decode(content):
                return
        except (OSError, EOFError, zlib.error, zipfile.BadZipFile):
            pass  # damaged: write it again
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)


def write_event(name, event):
    write(name, (json.dumps(event, ensure_ascii=False, indent=2) + "\n").encode())


# --- one event of the clickstream -------------------------------------------------------------------------------------

PAGES = ["/", "/pricing", "/docs", "/docs/getting-started", "/blog", "/account", "/cart", "/checkout", "/search"]
PAGES += [f"/products/{number}" for number in range(100, 140)]
REFERRERS = ["https://example.com/", "https://news.example.org/top?rank=1&day=2", "https://search.example.net/?q=ice"]
TITLES = [
    "Welcome",
    "Prices & plans",
    "Café crème à emporter",
    "Straße nach Süden",
    "Добро пожаловать",
    "Καλώς ήρθατε",
    "ようこそ",
    "欢迎光临",
    "환영합니다",
    "أهلا وسهلا",
    "ברוכים הבאים",
    "स्वागत है",
    "ยินดีต้อนรับ",
    "Chào mừng bạn",
    "Big sale 🎉",
    "Family 👨‍👩‍👧‍👦 & flag 🏳️‍🌈",
    'He said "hello"',
    "two\nlines",
    "tab\there",
    "back\\slash / and slash",
    "line\u2028separator",
    "e\u0301 is not é",
]
QUERIES = ["ice", "glacier tour", "иней", "氷", "얼음", "hielo & nieve", "100%", "a'b", "😀 emoji", "ثلج", "  spaces  "]
ELEMENTS = ["#buy", "#menu > li:nth-child(2)", ".hero a", "button[type=submit]", "#newsletter"]
EVENT_TYPES = (
    ["page_view"] * 46
    + ["click"] * 22
    + ["search"] * 9
    + ["scroll"] * 8
    + ["add_to_cart"] * 6
    + ["purchase"] * 3
    + ["login"] * 3
    + ["video_play"] * 2
    + ["share"]
)


def event_data(event_type):
    """A flat map, mostly of strings. What is no string is there to be stored as its own JSON text."""
    data = {"page": pick(PAGES), "session": f"s{whole(1, 4000):04d}"}
    if event_type == "page_view":
        data["title"] = pick(TITLES)
        data["duration"] = Raw(f"{whole(0, 3000) / 10}")
        if chance(30):
            data["referrer"] = pick(REFERRERS)
    elif event_type == "click":
        data["element"] = pick(ELEMENTS)
        data["x"] = whole(0, 1920)
        data["y"] = whole(0, 1080)
    elif event_type == "search":
        data["query"] = pick(QUERIES)
        data["results"] = whole(0, 500)
        data["cached"] = chance(50)
    elif event_type == "scroll":
        data["depth"] = Raw(f"{whole(1, 100) / 100:.2f}")
    elif event_type == "add_to_cart":
        data["sku"] = f"sku-{whole(100, 139)}"
        data["quantity"] = whole(1, 3)
    elif event_type == "purchase":
        # Beyond 2^53, where a JSON number is no longer safe in a double.
        data["order_id"] = 9007199254740993 + whole(0, 10**12)
        data["total"] = Raw(f"{whole(100, 99999) / 100:.2f}")
        data["items"] = [f"sku-{whole(100, 139)}" for _ in range(whole(1, 3))]
        data["gift"] = chance(10)
        data["coupon"] = None
    elif event_type == "login":
        data["method"] = pick(["password", "passkey", "sso"])
        data["success"] = chance(95)
    elif event_type == "video_play":
        data["position"] = Raw(pick(["0", "1e3", "1.5E2", "12.50", "-0", "0.1e-2"]))
        data["video"] = {"id": f"v{whole(1, 99)}", "hd": chance(70)}
    else:
        data["network"] = pick(["mastodon", "e-mail", "рассылка"])
    return data


def event():
    event_type = pick(EVENT_TYPES)
    fields = {"user_id": f"user-{whole(1, 3000):05d}", "event_type": event_type, "event_data": event_data(event_type)}
    # What real producers do to a schema. All of these are good rows.
    if chance(1.5):
        del fields["user_id"]
    elif chance(1):
        fields["user_id"] = None
    elif chance(0.5):
        fields["user_id"] = pick([40017, 12345678901234567890, Raw("7.0"), True])
    if chance(0.5):
        del fields["event_type"]
    if chance(0.5):
        fields["event_data"] = None
    elif chance(0.5):
        del fields["event_data"]
    elif chance(0.5):
        fields["event_data"] = {}
    if chance(0.3):
        fields["session_id"] = None  # a column that the table lacks, but nothing in it
    if chance(0.2):
        fields["record_id"] = "the producer's own"  # replaced by transform
    if chance(0.2):
        fields["partition_date"] = "1999-12-31"  # replaced by transform
    return fields


# --- clickstream.json.gz ----------------------------------------------------------------------------------------------

EVENT_COUNT = 20_000

# Lines that transform answers with ProcessingFailed, by kind.
FAILING = {
    "not_json": [
        b"ERROR 2026-01-02 03:04:05 upstream timed out",
        b"<html><body>502 Bad Gateway</body></html>",
        b"{'user_id': 'user-00007', 'event_type': 'click'}",
    ],
    "truncated_object": [
        b'{"user_id":"user-00008","event_type":"page_vi',
        b'{"user_id":"user-00009","event_type":"click","event_data":{"page":"/","x":12',
        b'{"user_id":"user-00010","event_type":"click","event_data":{"page":"/"}',
    ],
    "array": [b'["user-00011","click"]', b'[["user-00012","click"]]'],
    "string": [b'"page_view"', '"日本語"'.encode()],
    "number_or_null": [b"42", b"null"],
    "not_utf8": [b'{"user_id":"caf\xe9","event_type":"click","event_data":{"page":"/"}}'],
}
# Lines that pass transform and that append puts into the quarantine, by kind.
QUARANTINED = {
    "unknown_field": [
        b'{"user_id":"user-00013","event_type":"click","event_data":{"page":"/"},"device":{"os":"iOS"}}',
        b'{"user_id":"user-00014","event_type":"click","event_data":{"page":"/"},"experiment":false}',
        b'{"user_id":"user-00015","event_type":"click","event_data":{"page":"/"},"tags":[]}',
        '{"user_id":"user-00016","event_type":"click","größe":"XL"}'.encode(),
    ],
    "event_data_not_an_object": [
        b'{"user_id":"user-00017","event_type":"click","event_data":"page=/&x=12"}',
        b'{"user_id":"user-00018","event_type":"click","event_data":""}',
        b'{"user_id":"user-00019","event_type":"click","event_data":17}',
        b'{"user_id":"user-00020","event_type":"click","event_data":[{"page":"/"}]}',
    ],
}


def clickstream():
    """The lines, and what must become of them."""
    rejects = [line for kinds in (FAILING, QUARANTINED) for lines in kinds.values() for line in lines]
    # Spread over the file, so that most invocations and objects hold some.
    reject_at = {700 + 911 * index: line for index, line in enumerate(rejects)}
    lines = []
    by_event_type = {}
    user_id_nulls = event_type_nulls = event_data_nulls = rows = 0
    for index in range(EVENT_COUNT):
        if index in reject_at:
            lines.append(reject_at[index])
            continue
        if index in (5_000, 15_000):
            lines.append(b"")  # an empty line is no record
        fields = event()
        style = RANDOM.random()
        if style < 0.05:  # \u00e9 instead of é, surrogate pairs for emoji
            text = to_json(fields, ascii_only=True)
        elif style < 0.10:  # as Python and others write it
            text = to_json(fields, separators=(", ", ": "))
            text = text.replace('"items": ', '"items":  ') if chance(10) else text
        else:
            text = to_json(fields)
        if style > 0.98:
            text = "  " + text.replace("/", "\\/") + " \t"  # PHP's slashes, white space around the record
        lines.append(text.encode())
        rows += 1
        event_type = fields.get("event_type")
        if event_type is None:
            event_type_nulls += 1
        else:
            by_event_type[event_type] = by_event_type.get(event_type, 0) + 1
        user_id_nulls += fields.get("user_id") is None
        event_data_nulls += fields.get("event_data") is None
    failed = {kind: len(items) for kind, items in FAILING.items()}
    quarantined = {kind: len(items) for kind, items in QUARANTINED.items()}
    expected = {
        "input": "clickstream.json.gz",
        "records": rows + sum(failed.values()) + sum(quarantined.values()),
        "ok": rows + sum(quarantined.values()),
        "failed": sum(failed.values()),
        "failed_by_kind": failed,
        "rows": rows,
        "rows_quarantined": sum(quarantined.values()),
        "rows_quarantined_by_kind": quarantined,
        "rows_by_event_type": dict(sorted(by_event_type.items())),
        "event_type_nulls": event_type_nulls,
        "user_id_nulls": user_id_nulls,
        "event_data_nulls": event_data_nulls,
    }
    return b"\n".join(lines) + b"\n", expected


def gzipped(content):
    target = io.BytesIO()
    # No name and no time in the header.
    with gzip.GzipFile(filename="", fileobj=target, mode="wb", compresslevel=9, mtime=0) as file:
        file.write(content)
    return target.getvalue()


# --- Firehose transformation events -----------------------------------------------------------------------------------

STREAM_ARN = f"arn:aws:firehose:{REGION}:{ACCOUNT}:deliverystream/clicks"
KINESIS_ARN = f"arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/clicks"
MSK_ARN = f"arn:aws:kafka:{REGION}:{ACCOUNT}:cluster/events/{stable_uuid('msk cluster')}-7"


def encoded(data):
    return base64.b64encode(data).decode()


def firehose_event(name, records, **source):
    return {
        "invocationId": stable_uuid(name),
        "deliveryStreamArn": STREAM_ARN,
        **source,
        "region": REGION,
        "records": records,
    }


def direct_put_record(index, data):
    return {
        # Firehose's record ids look like a sequence number with six more digits.
        "recordId": f"{49670000000000000000000000000000000000000000000000000000 + 17 * index}{0:06d}",
        "approximateArrivalTimestamp": milliseconds(START + timedelta(milliseconds=137 * index)),
        "data": encoded(data),
    }


def direct_put():
    records = []
    for index in range(12):
        text = to_json(event()).encode()
        # Some producers end a record in a newline; transform writes exactly one in either case.
        records.append(direct_put_record(index, text + (b"\n" if index % 3 == 0 else b"")))
    return firehose_event("direct put", records), ["Ok"] * len(records)


def kinesis():
    records = []
    for index in range(10):
        # Records 4, 5 and 6 were put as one aggregate: one sequence number, three subsequences.
        sequence = 49680000000000000000000000000000000000000000000000000000 + 31 * (4 if 4 <= index <= 6 else index)
        subsequence = index - 4 if 4 <= index <= 6 else 0
        arrival = milliseconds(START + timedelta(milliseconds=211 * index))
        records.append(
            {
                "recordId": f"{sequence}{subsequence:06d}",
                "approximateArrivalTimestamp": arrival,
                "data": encoded(to_json(event()).encode()),
                "kinesisRecordMetadata": {
                    "sequenceNumber": str(sequence),
                    # Published samples write it as a number, as a string and as an empty string.
                    "subsequenceNumber": {8: "0", 9: ""}.get(index, subsequence),
                    "partitionKey": f"user-{whole(1, 3000):05d}",
                    "shardId": f"shardId-{index % 2:012d}",
                    "approximateArrivalTimestamp": arrival,
                },
            }
        )
    return firehose_event("kinesis", records, sourceKinesisStreamArn=KINESIS_ARN), ["Ok"] * len(records)


def msk():
    records = []
    for index in range(8):
        arrival = milliseconds(START + timedelta(milliseconds=73 * index))
        records.append(
            {
                "recordId": f"{49690000000000000000000000000000000000000000000000000000 + index}{0:06d}",
                "approximateArrivalTimestamp": arrival,
                "kafkaRecordValue": encoded(to_json(event()).encode()),
                "mskRecordMetadata": {
                    "offset": str(1_000_000 + index // 2),
                    "partitionId": str(index % 2),
                    "approximateArrivalTimestamp": str(arrival),
                },
            }
        )
    return firehose_event("msk", records, sourceMSKArn=MSK_ARN), ["Ok"] * len(records)


def kafka_value(number, **fields):
    value = {
        "user_id": f"user-{number:05d}",
        "event_type": "page_view",
        "timestamp": instant(START + timedelta(seconds=number)),
        "properties": {"page": f"/products/{100 + number}", "depth": number},
        "session_id": f"s{number}",
        "device_info": {"device_type": "phone", "os": "ios", "app_version": "1.2.3"},
        **fields,
    }
    return to_json(value).encode()


def kafka():
    """An event as Lambda's event source mapping for Amazon MSK makes it, and what it comes to."""

    def record(topic, partition, offset, value, key=b"", headers=(), **fields):
        return {
            "topic": topic,
            "partition": partition,
            "offset": offset,
            "timestamp": milliseconds(START + timedelta(milliseconds=offset)),
            "timestampType": "CREATE_TIME",
            "key": None if key is None else encoded(key),
            "value": None if value is None else encoded(value),
            # Bytes of Java have a sign.
            "headers": [{name: [byte - 256 if byte > 127 else byte for byte in text]} for name, text in headers],
            **fields,
        }

    trace = [("traceparent", b"00-1f-01"), ("blob", bytes([0, 127, 128, 255])), ("blob", b"")]
    orders = [
        record("user-events", 0, 100, kafka_value(1), b"user-00001", trace),
        record("user-events", 0, 101, kafka_value(2), None),
        record("user-events", 0, 103, kafka_value(3, device_info=None), b"user-00003", timestamp=-1),
        record("user-events", 0, 104, None, b"user-00002"),
        record("user-events", 0, 105, b'{"user_id": ', b"user-00004"),
        record("user-events", 0, 106, b"[" + kafka_value(5) + b"," + kafka_value(6) + b"]", b"batch"),
    ]
    others = [
        record("user-events", 1, 7, kafka_value(7), bytes([0, 0, 0, 200])),
        record("user-events", 1, 8, kafka_value(8, offset=1, topic="mine"), b"user-00008"),
        record("user-events", 1, 9, b"\x00\x00\x00\x00\x65" + kafka_value(9), b"user-00009"),
    ]
    del others[0]["headers"]
    event = {
        "eventSource": "aws:kafka",
        "eventSourceArn": MSK_ARN,
        "bootstrapServers": "b-1.events.example:9098,b-2.events.example:9098",
        "records": {"user-events-0": orders, "user-events-1": others},
    }
    # The field `topic` of the record at offset 8 has no column in the table.
    return event, {"records": 9, "rows": 7, "rows_quarantined": 2, "dropped": 1}


def bad_records():
    good = b'{"user_id":"user-00001","event_type":"click","event_data":{"page":"/"}}'
    cases = [
        ("Ok", good),
        ("ProcessingFailed", b"not json at all"),
        ("ProcessingFailed", b'{"user_id":"caf\xe9"}'),  # Latin-1, not UTF-8
        ("Ok", b'{"user_id":"user-00002","event_data":{"order_id":123456789012345678901234567890,"rate":1.10}}'),
        ("ProcessingFailed", b'["user-00003","click"]'),
        ("ProcessingFailed", b'"a string"'),
        ("ProcessingFailed", b"null"),
        ("ProcessingFailed", b""),
        ("ProcessingFailed", b" \n"),
        ("Ok", '{"user_id":"caf\\u00e9 \\ud83d\\ude00 é 😀","event_data":{"q":"a \\"quote\\" and \\n"}}'.encode()),
        ("Ok", b'{"user_id":"first","user_id":"second","event_type":"click"}'),
        ("Ok", b'{"record_id":"mine","user_id":"user-00004","partition_hour":99,"ingestion_timestamp":null}'),
        ("ProcessingFailed", b'{"user_id":"user-00005","event_type":'),
        ("Ok", good + good),  # two objects in one record
        ("Ok", b"{}"),
        ("Ok", b'\r\n  { "user_id" : "user-00006" , "event_type" : "click" }  \r\n'),
        ("ProcessingFailed", b'{"user_id":"user-00007",}'),
        ("Ok", good),
    ]
    records = [direct_put_record(index, data) for index, (_, data) in enumerate(cases)]
    results = [result for result, _ in cases]
    # Two records whose base64 is wrong: a foreign character, and a length that cannot be.
    for position, data in ((2, "eyJ1c2VyX2lkIjoi*"), (9, "eyJ1c")):
        records.insert(position, {**direct_put_record(len(records), b""), "data": data})
        results.insert(position, "ProcessingFailed")
    return firehose_event("bad records", records), results


NOT_FIREHOSE = {
    "version": "0",
    "id": stable_uuid("schedule"),
    "detail-type": "Scheduled Event",
    "source": "aws.events",
    "account": ACCOUNT,
    "time": "2026-01-02T03:00:00Z",
    "region": REGION,
    "resources": [f"arn:aws:events:{REGION}:{ACCOUNT}:rule/every-hour"],
    "detail": {},
}


# --- delivered objects ------------------------------------------------------------------------------------------------


def enriched(name, index, moment):
    """A record as transform leaves it: the four fields are there."""
    return {
        **{key: value for key, value in event().items() if key not in ("record_id", "partition_date")},
        "record_id": stable_uuid(f"{name} {index}"),
        "ingestion_timestamp": instant(moment, digits=6),
        "partition_date": moment.strftime("%Y-%m-%d"),
        "partition_hour": moment.strftime("%H"),
    }


def two_gzip_members(content):
    half = content.index(b"\n", len(content) // 2) + 1
    return gzipped(content[:half]) + gzipped(content[half:])


def zstd_raw_blocks(content):
    """A zstd frame whose blocks are stored as they are: valid, and no library needed."""
    frame = b"\x28\xb5\x2f\xfd" + bytes([0b1010_0000]) + len(content).to_bytes(4, "little")
    # Small blocks, so that rows cross their borders.
    blocks = [content[start : start + 4096] for start in range(0, len(content), 4096)]
    for index, block in enumerate(blocks):
        last = index == len(blocks) - 1
        frame += (len(block) << 3 | last).to_bytes(3, "little") + block
    return frame


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def snappy_framed(content):
    """Snappy's framing format with uncompressed chunks."""
    stream = b"\xff\x06\x00\x00sNaPpY"
    for start in range(0, len(content), 4096):
        chunk = content[start : start + 4096]
        crc = crc32c(chunk)
        masked = ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
        stream += b"\x01" + (len(chunk) + 4).to_bytes(3, "little") + masked.to_bytes(4, "little") + chunk
    return stream


def snappy_raw(content):
    """Snappy's block format with literals only."""
    length, varint = len(content), b""
    while length > 0x7F:
        varint += bytes([length & 0x7F | 0x80])
        length >>= 7
    stream = varint + bytes([length])
    for start in range(0, len(content), 1000):
        literal = content[start : start + 1000]
        stream += bytes([61 << 2]) + (len(literal) - 1).to_bytes(2, "little") + literal
    return stream


def hadoop_snappy(content):
    """Hadoop's block codec: each block says its plain length, then its chunks say their compressed length."""
    stream = b""
    for start in range(0, len(content), 16384):
        block = content[start : start + 16384]
        stream += len(block).to_bytes(4, "big")
        for chunk_start in range(0, len(block), 10000):
            chunk = snappy_raw(block[chunk_start : chunk_start + 10000])
            stream += len(chunk).to_bytes(4, "big") + chunk
    return stream


class OneWay(io.RawIOBase):
    """A target that cannot seek: zipfile then writes sizes and CRC behind the data, as every streaming writer does."""

    def __init__(self):
        super().__init__()
        self.content = b""

    def writable(self):
        return True

    def write(self, data):
        self.content += bytes(data)
        return len(data)


def zipped(target, content):
    with zipfile.ZipFile(target, "w") as archive:
        entry = zipfile.ZipInfo("clicks.json", date_time=(2026, 1, 2, 3, 4, 6))
        entry.compress_type = zipfile.ZIP_DEFLATED
        entry.external_attr = 0o644 << 16
        with archive.open(entry, "w") as file:
            file.write(content)


def zip_seekable(content):
    target = io.BytesIO()
    zipped(target, content)
    return target.getvalue()


def zip_streamed(content):
    target = OneWay()
    zipped(target, content)
    return target.content


def unzip(content):
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return [archive.read(name) for name in archive.namelist()]


def gzip_cut(content):
    """The first half of the rows, then a cut: what a writer leaves that died. The flush makes the half complete."""
    half = content.index(b"\n", len(content) // 2) + 1
    compressor = zlib.compressobj(9, zlib.DEFLATED, 31)
    head = compressor.compress(content[:half]) + compressor.flush(zlib.Z_FULL_FLUSH)
    return head + (compressor.compress(content[half:]) + compressor.flush())[:3]


def gunzip_what_is_there(content):
    return zlib.decompressobj(31).decompress(content)


def newline_delimited(records):
    return "".join(to_json(record) + "\n" for record in records).encode()


def concatenated(records):
    return "".join(to_json(record) for record in records).encode()


def crlf_with_bom(records):
    return ("\ufeff" + "".join(to_json(record) + "\r\n" for record in records)).encode()


def pretty_printed(records):
    def plain(value):
        return json.loads(to_json(value))

    return "\n".join(json.dumps(plain(record), ensure_ascii=False, indent=2) for record in records).encode()


def with_rejects(records):
    """Four rows among the good ones that the table cannot take."""
    records = [dict(record) for record in records]
    records[3]["device"] = {"os": "iOS"}
    records[9]["event_data"] = "page=/"
    records[15]["ingestion_timestamp"] = "yesterday"
    lines = [to_json(record) for record in records]
    lines[21] = lines[21][: len(lines[21]) // 2]
    return "".join(line + "\n" for line in lines).encode()


def same(content):
    return content


class Object:
    """An object under raw/, and what its notification says of it."""

    def __init__(self, name, rows, minute, suffix, lay_out=newline_delimited, compress=same, decode=None, **options):
        moment = START + timedelta(minutes=minute)
        self.name = name
        self.moment = moment + timedelta(seconds=60)  # delivered when the buffer's time was over
        prefix = options.get("prefix", "") + moment.strftime("%Y/%m/%d/%H/")
        stream = options.get("stream", "clicks-1")
        self.key = f"{prefix}{stream}-{moment:%Y-%m-%d-%H-%M-%S}-{stable_uuid(name)}{suffix}"
        records = [enriched(name, index, moment + timedelta(milliseconds=97 * index)) for index in range(rows)]
        plain = lay_out(records)
        self.rows_quarantined = options.get("rows_quarantined", 0)
        self.rows = rows - self.rows_quarantined
        if compress is gzip_cut:
            # The cut leaves no part of a row: what is lost cannot be counted in rows.
            self.rows = plain[: plain.index(b"\n", len(plain) // 2) + 1].count(b"\n")
        write(f"{BUCKET}/{self.key}", compress(plain), decode)
        self.content = (HERE / BUCKET / self.key).read_bytes()
        self.etag = hashlib.md5(self.content).hexdigest()
        self.sequencer = f"00{milliseconds(self.moment):012X}{stable_hex(name, 4).upper()}"
        self.version_id = stable_base64(name, 24).replace("+", ".").replace("/", "_") if options.get("versioned") else None

    def s3_record(self):
        described = {
            # Form encoding, as S3 does it: + is a space, the slashes stay.
            "key": quote_plus(self.key, safe="/-_.*"),
            "size": len(self.content),
            "eTag": self.etag,
        }
        if self.version_id:
            described["versionId"] = self.version_id
        described["sequencer"] = self.sequencer
        return {
            "eventVersion": "2.1",
            "eventSource": "aws:s3",
            "awsRegion": REGION,
            "eventTime": instant(self.moment),
            "eventName": "ObjectCreated:Put",
            "userIdentity": {"principalId": "AWS:AROAEXAMPLEEXAMPLE123:AWSFirehoseToS3"},
            "requestParameters": {"sourceIPAddress": "192.0.2.17"},
            "responseElements": {
                "x-amz-request-id": stable_hex("request " + self.name, 16).upper(),
                "x-amz-id-2": stable_base64("host " + self.name, 56),
            },
            "s3": {
                "s3SchemaVersion": "1.0",
                "configurationId": "clicks-to-append",
                "bucket": {
                    "name": BUCKET,
                    "ownerIdentity": {"principalId": "A1EXAMPLE2OWNER"},
                    "arn": f"arn:aws:s3:::{BUCKET}",
                },
                "object": described,
            },
        }

    def eventbridge(self):
        described = {"key": self.key, "size": len(self.content), "etag": self.etag}
        if self.version_id:
            described["version-id"] = self.version_id
        described["sequencer"] = self.sequencer
        return {
            "version": "0",
            "id": stable_uuid("eventbridge " + self.name),
            "detail-type": "Object Created",
            "source": "aws.s3",
            "account": ACCOUNT,
            "time": self.moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "region": REGION,
            "resources": [f"arn:aws:s3:::{BUCKET}"],
            "detail": {
                "version": "0",
                "bucket": {"name": BUCKET},
                "object": described,
                "request-id": stable_hex("request " + self.name, 16).upper(),
                "requester": "firehose.amazonaws.com",
                "source-ip-address": "192.0.2.17",
                "reason": "PutObject",
            },
        }


def s3_event(*objects):
    return {"Records": [item.s3_record() for item in objects]}


def sns_envelope(name, message):
    topic = f"arn:aws:sns:{REGION}:{ACCOUNT}:raw-objects"
    return {
        "Type": "Notification",
        "MessageId": stable_uuid("sns " + name),
        "TopicArn": topic,
        "Subject": "Amazon S3 Notification",
        "Message": to_json(message),
        "Timestamp": instant(START + timedelta(minutes=2)),
        "SignatureVersion": "1",
        "Signature": stable_base64("signature " + name, 256),
        "SigningCertURL": f"https://sns.{REGION}.amazonaws.com/SimpleNotificationService-{stable_hex('cert', 32)}.pem",
        "UnsubscribeURL": f"https://sns.{REGION}.amazonaws.com/?Action=Unsubscribe"
        f"&SubscriptionArn={topic}:{stable_uuid('subscription')}",
    }


def sqs_event(name, *bodies):
    """Every body becomes a message; what is no text is written as JSON."""
    messages = []
    for index, body in enumerate(bodies):
        text = body if isinstance(body, str) else to_json(body)
        sent = milliseconds(START + timedelta(minutes=2, milliseconds=311 * index))
        messages.append(
            {
                "messageId": stable_uuid(f"{name} {index}"),
                "receiptHandle": stable_base64(f"receipt {name} {index}", 120),
                "body": text,
                "attributes": {
                    "ApproximateReceiveCount": "1",
                    "SentTimestamp": str(sent),
                    "SenderId": "AROAEXAMPLEEXAMPLE456:S3-PROD-END",
                    "ApproximateFirstReceiveTimestamp": str(sent + 12),
                },
                "messageAttributes": {},
                "md5OfBody": hashlib.md5(text.encode()).hexdigest(),
                "eventSource": "aws:sqs",
                "eventSourceARN": f"arn:aws:sqs:{REGION}:{ACCOUNT}:raw-objects",
                "awsRegion": REGION,
            }
        )
    return {"Records": messages}


S3_TEST_EVENT = {
    "Service": "Amazon S3",
    "Event": "s3:TestEvent",
    "Time": "2026-01-02T02:55:00.000Z",
    "Bucket": BUCKET,
    "RequestId": stable_hex("test event", 16).upper(),
    "HostId": stable_base64("test event", 56),
}


def delivered_objects():
    """By the name that README.md uses."""
    objects = [
        Object("gzip", 120, 0, ".gz", compress=gzipped, decode=gzip.decompress, versioned=True),
        Object("gzip of two members", 80, 7, ".gz", compress=two_gzip_members, decode=gzip.decompress),
        Object("zstd", 60, 11, ".zst", compress=zstd_raw_blocks),
        Object("snappy", 60, 15, ".snappy", compress=snappy_framed),
        Object("hadoop snappy", 100, 19, ".hsnappy", compress=hadoop_snappy, versioned=True),
        Object("zip", 50, 23, ".zip", compress=zip_seekable, decode=unzip),
        Object("zip, streamed", 50, 27, ".zip", compress=zip_streamed, decode=unzip),
        Object("newline-delimited", 40, 60, "", versioned=True),
        Object("concatenated", 40, 64, "", lay_out=concatenated),
        Object("crlf and bom", 30, 68, ".json", lay_out=crlf_with_bom),
        Object("pretty-printed", 20, 72, ".json", lay_out=pretty_printed),
        Object(
            "odd key",
            30,
            76,
            ".gz",
            compress=gzipped,
            decode=gzip.decompress,
            prefix="site=münchen süd/",
            stream="clicks+web 1-1",
        ),
        Object("rejects", 40, 120, ".gz", with_rejects, gzipped, gzip.decompress, rows_quarantined=4),
        Object("cut gzip", 60, 124, ".gz", compress=gzip_cut, decode=gunzip_what_is_there),
    ]
    return {item.name: item for item in objects}


def missing(item):
    """A notification for a key at which there is nothing."""
    record = item.s3_record()
    record["s3"]["object"]["key"] = f"2026/01/02/03/clicks-1-2026-01-02-03-59-59-{stable_uuid('missing')}.gz"
    record["s3"]["object"]["sequencer"] = item.sequencer[:-4] + "FFFF"
    record["s3"]["object"].pop("versionId", None)
    return {"Records": [record]}


def notifications(objects):
    """File name, event, the objects it names that exist, the positions of the messages that must come back."""
    o = objects
    yield "s3-put.json", s3_event(o["gzip"]), ["gzip"], []
    several = ["zstd", "zip, streamed", "odd key", "pretty-printed"]
    yield "s3-put-several.json", s3_event(*(o[name] for name in several)), several, []
    batch = ["gzip", "gzip of two members", "snappy", "hadoop snappy", "zip", "concatenated"]
    # The third message holds two records: S3 may put several into one.
    bodies = [s3_event(o[batch[0]]), s3_event(o[batch[1]]), s3_event(o[batch[2]], o[batch[3]])]
    bodies += [s3_event(o[name]) for name in batch[4:]]
    yield "sqs-s3.json", sqs_event("sqs s3", *bodies), batch, []
    batch = ["newline-delimited", "crlf and bom", "odd key"]
    bodies = [sns_envelope(name, s3_event(o[name])) for name in batch]
    yield "sqs-sns-s3.json", sqs_event("sqs sns s3", *bodies), batch, []
    yield "eventbridge-object-created.json", o["hadoop snappy"].eventbridge(), ["hadoop snappy"], []
    batch = ["pretty-printed", "zip, streamed", "odd key", "newline-delimited"]
    yield "sqs-eventbridge.json", sqs_event("sqs eventbridge", *(o[name].eventbridge() for name in batch)), batch, []
    yield "s3-test-event.json", S3_TEST_EVENT, [], []
    yield "sqs-s3-test-event.json", sqs_event("sqs test event", S3_TEST_EVENT, s3_event(o["zstd"])), ["zstd"], []
    bodies = [s3_event(o["gzip of two members"]), missing(o["gzip"]), "this is no notification"]
    yield "sqs-mixed-failures.json", sqs_event("sqs mixed", *bodies), ["gzip of two members"], [1, 2]
    batch = ["rejects", "cut gzip"]
    yield "sqs-damaged.json", sqs_event("sqs damaged", *(s3_event(o[name]) for name in batch)), batch, []


def main():
    content, expected = clickstream()
    write("clickstream.json.gz", gzipped(content), decode=gzip.decompress)

    expected["transform"] = {}
    for name, build in (
        ("firehose-direct-put.json", direct_put),
        ("firehose-kinesis.json", kinesis),
        ("firehose-msk.json", msk),
        ("firehose-bad-records.json", bad_records),
    ):
        transformation, results = build()
        write_event(name, transformation)
        expected["transform"][name] = results
    write_event("not-firehose.json", NOT_FIREHOSE)

    objects = delivered_objects()
    expected["objects"] = {
        item.name: {
            "key": f"{BUCKET}/{item.key}",
            "rows": item.rows,
            # None where bytes are lost of which nobody can say how many rows they were.
            "rows_quarantined": None if item.name == "cut gzip" else item.rows_quarantined,
        }
        for item in objects.values()
    }
    expected["append"] = {}
    for name, notification, named, failing in notifications(objects):
        write_event(name, notification)
        expected["append"][name] = {
            "objects": named,
            "batch_item_failures": [notification["Records"][index]["messageId"] for index in failing],
        }
    write_event("msk.json", kafka()[0])
    expected["msk"] = {"msk.json": kafka()[1]}
    write_event("expected.json", expected)

    for name, text in sources.build().items():
        write(f"sources/{name}", text.encode())


if __name__ == "__main__":
    main()
