"""Writes the seeds of the fuzz targets, `corpus/<target>/seed-*`: small inputs of every kind that the code knows.

Findings stand beside them under other names, and stay. Run again after a target's input has changed its shape.
"""

import gzip
import json
import sys
import zlib
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
EVENTS = FOLDER.parent / "events"
sys.path.insert(0, str(EVENTS))
import generate  # noqa: E402: the samples' own compressors

LINES = b'{"a":1}\n{"b":"x"}\n'


def texts():
    return {
        "lines": LINES,
        "concatenated": b'{"a":1}{"b":[1,2]} [3]\n12\n"x"\ntrue\nnull',
        "crlf": "\ufeff{\"a\":1}\r\n\r\n\ufeff{\"é\":\"\\u00e9\"}\r\n".encode(),
        "pretty": b'{\n  "a": {\n    "b": [\n      {"x": 1},\n      {"x": 2}\n    ]\n  }\n}\n{"c": 3}\n',
        "pretty-broken": b'{\n  "a": [\n    {"x": 1},\n    {"x": 2},\n  ]\n}\n{"c": 3}\n',
        "broken-lines": b'{"a":1}\nnot json\n{"a":"cut\n{"a":2}}\n{"b":\n{"c":3}\n',
        "seams": b'{"a":1}{"b":}{"c":3}{"d":{"e":1}{"f":2}',
        "log": b'2026-01-02 03:04:05 ERROR\n12 "x"\n{"a":1}\n',
        "cut": b'{"a":1}\n{"a":"\\u00e9\xc3',
        "large": b'{"a":1}\n{"a":"' + b"x" * 200 + b'"}\n{"a":2}{"b":"' + b"y" * 150 + b'"}{"c":3}\n',
        "large-pretty": b'{\n"a": [\n' + b'{"x": 1},\n' * 20 + b'{"x": "}{"}\n]\n}\n{"b": 2}\n',
    }


def frame():
    for name, text in texts().items():
        yield name, b"\xff\x03\x01\x00\x07" + text
        yield f"{name}-short", b"\x20\x82\x03\x05" + text


def offer():
    wanted = b"\x5a\x3c\xf0\x0f\x99\xa5\x01\x80"
    arrays = {
        "array": b'[{"a":1},{"b":[2]},3,{"c":"]"}]{"d":4}\n',
        "array-broken": b'[{"a":1}{"b":[2]}\x1e{"c":3}{"d":4}]\n{"e":5}',
        "envelope": b'{"h":1,"d":{"k":2,"R":[{"a":1},{"b":2},{"c":"}"}]},"t":3}\n{"e":5}',
    }
    for name, text in (texts() | arrays).items():
        yield name, b"\xff\x03" + wanted + b"\x01\x00\x07" + text
        yield f"{name}-short", b"\x20\xc2" + wanted + b"\x03\x05" + text


def decompress():
    text = LINES * 20
    descriptor = generate.zip_streamed(text)
    zstd_of_repeats = b"\x28\xb5\x2f\xfd\x60\x00\x03" + (1024 << 3 | 2 | 1).to_bytes(3, "little") + b"{"
    objects = {
        "plain": (0, text),
        "gzip": (0, gzip.compress(text, mtime=0)),
        "gzip-two": (0, gzip.compress(text[:50], mtime=0) + gzip.compress(text[50:], mtime=0)),
        "gzip-cut": (3, gzip.compress(text, mtime=0)[:-9]),
        "gzip-stored": (0, gzip.compress(text, 0, mtime=0)),
        "zstd": (0, generate.zstd_raw_blocks(text)),
        "zstd-repeats": (0, zstd_of_repeats),
        "zstd-skippable": (0, b"\x50\x2a\x4d\x18\x03\x00\x00\x00abc" + generate.zstd_raw_blocks(text[:60])),
        "snappy": (0, generate.snappy_framed(text)),
        "hadoop": (1, generate.hadoop_snappy(text)),
        "hadoop-copy": (1, b"\x00\x00\x00\x0a\x00\x00\x00\x06" + b"\x0a\x04ab\x11\x02"),
        "zip": (0, generate.zip_seekable(text)),
        "zip-streamed": (0, descriptor),
        "zip-empty": (0, b"PK\x05\x06" + bytes(18)),
        "xz": (0, b"\xfd7zXZ\x00"),
    }
    for name, (options, raw) in objects.items():
        yield name, bytes([options | 20 << 2]) + raw
        yield f"{name}-ceiling", bytes([options | 6 << 2]) + raw
    # One stored entry, its size known beforehand.
    stored = b"PK\x03\x04" + bytes([20, 0, 0, 0, 0, 0, 0, 0, 0, 0]) + zlib.crc32(text).to_bytes(4, "little")
    stored += len(text).to_bytes(4, "little") * 2 + b"\x01\x00\x00\x00a" + text
    yield "zip-stored", bytes([20 << 2]) + stored + b"PK\x01\x02"


def splice():
    payloads = [
        b'{"a":1}',
        b"{}",
        b' { "n" : 12345678901234567890.10e+05 , "s":"\\u00e9\\/", "n":1,\t"o":{"b":[ ]} } ',
        '\ufeff\r\n{"é":"\\ud83e\\uddca"}\r\n'.encode(),
        b'{"record_id":"x"}',
        b'{"record_id":{} , "a":1, "partition_date":[1] , "partition_hour":2 }',
        b'{"a":1 , "ingestion_timestamp" : "x" , "b":2}',
        b'{"\\u0072ecord_id":1,"\\ud800record_id":2,"a":{"record_id":3}}',
        b'{\n  "a": 1,\n  "record_id": 2\n}\n',
        b'{"a":"\xc3("}',
        b'{"a":1,}',
        b'{"a":1}{"b":2}',
        b"[1]",
        b"null",
        b"",
        b'{"a":' + b"[" * 511 + b"]" * 511 + b"}",
    ]
    for number, payload in enumerate(payloads):
        yield f"{number:02}", payload


def decode():
    rows = [
        {"b": True, "i": -7, "l": 9007199254740993, "f": 1.5, "d": 1e300, "m": "1234567.89", "n": 0.1},
        {"day": "2026-01-02", "t": "03:04:05.678", "at": "2026-01-02T03:04:05", "atz": "2026-01-02 03:04:05+05:30"},
        {"ns": "1969-12-31T23:59:59.999999999Z", "nsz": 1767323045678, "s": "naïve 🧊", "processing_time": None},
        {"u": "00112233-4455-6677-8899-aabbccddeeff", "x": "AAE=", "y": "AAEC", "s": {"kept": ["as", 1]}},
        {"p": {"x": 1, "ok": None, "q": {"s": "x", "y": "AAE="}}, "g": [[1, 2], [], None]},
        {"e": {"a": "b", "c": None}, "k": {"1": {"a": True, "l": [None]}, "2": None}, "z": {"true": ["AA"]}},
        {"b": "false", "i": "1e3", "l": 1.0, "d": "-0.5", "g": [], "e": {}, "p": None, "unknown": None},
    ]
    compact = {"separators": (",", ":")}
    lines = [json.dumps(row, ensure_ascii=index % 2 == 0, **compact).encode() for index, row in enumerate(rows)]
    refused = [
        b'{"p":{"x":1,"q":{"s":"x","y":"AAEC"}}}',
        b'{"g":[[1,2],[3,"x"]]}',
        b'{"k":{"1":{"a":true},"1.0":null}}',
        b'{"e":{"a":"b","a":"c"}}',
        b'{"l":9223372036854775808}',
        b'{"m":1.255}',
        b'{"day":"2026-02-30"}',
        b'{"s":"\\ud800"}',
        b'{"b":true,"b":false}',
        b'{"unknown":1}',
        b'{"B":true}',
        b'{"file_name":"x"}',
        b'{"":1}',
        b"[1]",
        b'"x"',
    ]
    for number, line in enumerate(lines):
        yield f"taken-{number}", line
    yield "refused", b"\n".join(refused)
    mixed = [line for pair in zip(lines, refused) for line in pair]
    yield "mixed", b"\n".join(mixed)
    yield "batches", b"\n\n".join(mixed[:6])
    keys = ",".join(f'"{key}":"{key}"' for key in range(20))
    yield "many-keys", f'{{"e":{{{keys}}}}}\n{{"e":{{{keys},"3":""}}}}'.encode()


def envelope():
    for file in sorted(EVENTS.glob("*.json")):
        if file.name == "expected.json":
            continue
        event = json.loads(file.read_text())
        for name in ("records", "Records"):
            # Kafka's records are lists by partition.
            if isinstance(event.get(name), dict):
                event[name] = {partition: records[:3] for partition, records in event[name].items()}
            elif name in event:
                event[name] = event[name][:3]
        yield file.stem, json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()
    records = [
        {"recordId": "1", "data": "e30="},
        {"recordId": "2", "approximateArrivalTimestamp": "1507217624302.5", "data": "eyJhIjoxfQ=="},
        {"recordId": "3", "kafkaRecordValue": "e30K", "mskRecordMetadata": {"partitionId": 3, "offset": "42"}},
        {"recordId": "4", "data": "e30", "kinesisRecordMetadata": {"shardId": "s", "sequenceNumber": "1"}},
        {"recordId": '5"', "data": None},
    ]
    yield "short", json.dumps({"deliveryStreamArn": "d", "records": records}, separators=(",", ":")).encode()
    s3 = {"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": "b"}, "object": {"key": "a+%C3%A9"}}}
    body = json.dumps({"Records": [s3]})
    sns = json.dumps({"Type": "Notification", "Message": body})
    yield "short-s3", body.encode()
    yield "short-sns", json.dumps({"Records": [{"Sns": {"Message": sns}}]}).encode()
    messages = [{"messageId": str(number), "body": body} for number, body in enumerate([body, sns, "", "{}"])]
    yield "short-sqs", json.dumps({"Records": messages}).encode()


def main():
    for target in (frame, offer, decompress, splice, decode, envelope):
        folder = FOLDER / "corpus" / target.__name__
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob("seed-*"):
            old.unlink()
        for name, content in target():
            (folder / f"seed-{name}").write_bytes(content)


if __name__ == "__main__":
    main()
