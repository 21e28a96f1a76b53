"""One sample for each common source, as it comes: `generate.py` writes them into the folder sources.

The shapes are those of AWS's documentation; docs/sources.md names the page of each and the settings that it needs.
"""

import base64
import hashlib
import json
import struct
import zlib

ACCOUNT = "123456789012"
REGION = "us-east-1"
# 2026-01-02T03:04:05.123Z.
MILLIS = 1767323045123
STREAM_ARN = f"arn:aws:firehose:{REGION}:{ACCOUNT}:deliverystream/clicks"


def text(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def encoded(data):
    return base64.b64encode(data).decode()


def stored(data):
    """Gzip of one block that is not compressed: the same bytes with every zlib."""
    block = struct.pack("<BHH", 1, len(data), len(data) ^ 0xFFFF) + data
    return b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + block + struct.pack("<II", zlib.crc32(data), len(data))


def subscription(kind, messages):
    return {
        "messageType": kind,
        "owner": ACCOUNT,
        "logGroup": "/aws/lambda/shop",
        "logStream": "2026/01/02/[$LATEST]0123456789abcdef",
        "subscriptionFilters": ["to-firehose"],
        "logEvents": [
            {"id": f"{3926500000000000000000000000000000000000000000000000000 + at}", "timestamp": MILLIS + at, "message": message}
            for at, message in enumerate(messages)
        ],
    }


MESSAGES = ['{"level":"info","order":17}', "START RequestId: 8f5e Version: $LATEST\n"]


def cloudwatch_logs():
    envelopes = [
        subscription("CONTROL_MESSAGE", ["CWL CONTROL MESSAGE: Checking health of destination Firehose."]),
        subscription("DATA_MESSAGE", MESSAGES),
    ]
    return [stored(text(envelope).encode()) for envelope in envelopes]


def extracted_messages():
    return ["".join(message.rstrip("\n") + "\n" for message in MESSAGES).encode()]


def metric_stream():
    def metric(name, value):
        return {
            "metric_stream_name": "all",
            "account_id": ACCOUNT,
            "region": REGION,
            "namespace": "AWS/Lambda",
            "metric_name": name,
            "dimensions": {"FunctionName": "shop"},
            "timestamp": MILLIS // 60000 * 60000,
            "value": {"max": value, "min": value, "sum": value, "count": 1.0},
            "unit": "Count",
        }

    return ["".join(text(metric(name, value)) + "\n" for name, value in (("Invocations", 1.0), ("Errors", 0.0))).encode()]


def cloudtrail():
    def record(at, name):
        return {
            "eventVersion": "1.11",
            "userIdentity": {"type": "IAMUser", "principalId": "AIDA0EXAMPLE", "accountId": ACCOUNT, "userName": "ada"},
            "eventTime": f"2026-01-02T03:04:0{at}Z",
            "eventSource": "s3.amazonaws.com",
            "eventName": name,
            "awsRegion": REGION,
            "sourceIPAddress": "192.0.2.1",
            "userAgent": "aws-cli/2",
            "requestParameters": {"bucketName": "raw"},
            "responseElements": None,
            "requestID": f"REQUEST{at}",
            "eventID": f"6f3f8f80-0000-4000-8000-00000000000{at}",
            "readOnly": True,
            "eventType": "AwsApiCall",
            "managementEvent": True,
            "recipientAccountId": ACCOUNT,
            "eventCategory": "Management",
        }

    return text({"Records": [record(5, "ListObjects"), record(6, "GetBucketAcl")]})


def waf():
    return text({
        "timestamp": MILLIS,
        "formatVersion": 1,
        "webaclId": f"arn:aws:wafv2:{REGION}:{ACCOUNT}:regional/webacl/shop/0123",
        "terminatingRuleId": "Default_Action",
        "terminatingRuleType": "REGULAR",
        "action": "ALLOW",
        "terminatingRuleMatchDetails": [],
        "httpSourceName": "ALB",
        "httpSourceId": f"{ACCOUNT}-app/shop/0123",
        "ruleGroupList": [],
        "rateBasedRuleList": [],
        "nonTerminatingMatchingRules": [],
        "requestHeadersInserted": None,
        "responseCodeSent": None,
        "httpRequest": {
            "clientIp": "192.0.2.1",
            "country": "DE",
            "headers": [{"name": "Host", "value": "shop.example.com"}],
            "uri": "/cart",
            "args": "",
            "httpVersion": "HTTP/1.1",
            "httpMethod": "GET",
            "requestId": "1-0123-4567",
        },
    }) + "\n"


def vpc_flow_logs():
    line = f"2 {ACCOUNT} eni-0123456789abcdef0 192.0.2.1 198.51.100.2 443 49152 6 20 4249 1767323045 1767323105"
    return "".join(text({"message": f"{line} {action} OK"}) + "\n" for action in ("ACCEPT", "REJECT"))


def ses():
    return text({
        "eventType": "Delivery",
        "mail": {
            "timestamp": "2026-01-02T03:04:05.123Z",
            "source": "shop@example.com",
            "sendingAccountId": ACCOUNT,
            "messageId": "0100019b-0000",
            "destination": ["ada@example.net"],
            "headersTruncated": False,
            "headers": [{"name": "Subject", "value": "Your order"}],
            "commonHeaders": {"from": ["shop@example.com"], "to": ["ada@example.net"], "subject": "Your order"},
        },
        "delivery": {
            "timestamp": "2026-01-02T03:04:06.357Z",
            "processingTimeMillis": 1234,
            "recipients": ["ada@example.net"],
            "smtpResponse": "250 2.0.0 OK",
            "reportingMTA": "a1-1.smtp-out.amazonses.com",
        },
    }) + "\n"


def eventbridge():
    return text({
        "version": "0",
        "id": "6f3f8f80-0000-4000-8000-000000000001",
        "detail-type": "Order Placed",
        "source": "shop.orders",
        "account": ACCOUNT,
        "time": "2026-01-02T03:04:05Z",
        "region": REGION,
        "resources": [],
        "detail": {"order": "o-17", "total": 12.5},
    }) + "\n"


def dynamodb():
    def change(at, name, images):
        return {
            "awsRegion": REGION,
            "eventID": f"6f3f8f80-0000-4000-8000-00000000000{at}",
            "eventName": name,
            "recordFormat": "application/json",
            "tableName": "orders",
            "dynamodb": {
                "ApproximateCreationDateTime": MILLIS + at,
                "Keys": {"id": {"S": "o-17"}},
                **images,
                "SizeBytes": 87,
            },
            "eventSource": "aws:dynamodb",
        }

    item = {
        "id": {"S": "o-17"},
        "total": {"N": "12.50"},
        "paid": {"BOOL": True},
        "tags": {"SS": ["gift", "new"]},
        "address": {"M": {"city": {"S": "Kiel"}}},
    }
    return text(change(1, "INSERT", {"NewImage": item})) + "\n" + text(change(2, "REMOVE", {"OldImage": item})) + "\n"


def fluent_bit():
    def line(at, log):
        return {"date": f"2026-01-02T03:04:05.00{at}Z", "log": log, "stream": "stdout", "container_name": "shop"}

    return ["".join(text(line(at, log)) + "\n" for at, log in enumerate(("starting", "ready", "GET /cart"))).encode()]


def field(number, data):
    assert len(data) < 128
    return bytes([number << 3 | 2, len(data)]) + data


def kpl():
    """An aggregate: the mark, a protobuf message of a partition key and the user records, and its MD5."""
    users = [text({"user": f"u-{at}", "clicks": at}).encode() for at in (1, 2)]
    message = field(1, b"k") + b"".join(field(3, b"\x08\x00" + field(3, data)) for data in users)
    return [b"\xf3\x89\x9a\xc2" + message + hashlib.md5(message).digest(), b'{"user":"u-3","clicks":3}\n']


def msk():
    def record(at, data):
        return {
            "recordId": f"{at:056d}",
            "approximateArrivalTimestamp": MILLIS + at,
            "kafkaRecordValue": data and encoded(data),
            "mskRecordMetadata": {
                "offset": str(at),
                "partitionId": "0",
                "approximateArrivalTimestamp": str(MILLIS + at),
            },
        }

    records = [record(1, b'{"user":"u-1","clicks":1}'), record(2, None)]
    return event("msk", records, sourceMSKArn=f"arn:aws:kafka:{REGION}:{ACCOUNT}:cluster/shop/0123")


def event(name, records, **source):
    return {"invocationId": name, "deliveryStreamArn": STREAM_ARN, **source, "region": REGION, "records": records}


def direct_put(name, contents):
    return event(name, [
        {"recordId": f"{at:056d}", "approximateArrivalTimestamp": MILLIS + at, "data": encoded(content)}
        for at, content in enumerate(contents)
    ])


# Data as producers or AWS write it into a file or a record each.
FILES = {
    "cloudtrail.json": cloudtrail,
    "waf.json": waf,
    "vpc-flow-logs.json": vpc_flow_logs,
    "ses.json": ses,
    "eventbridge.json": eventbridge,
    "dynamodb.json": dynamodb,
}
# Where it matters what one record is: what Firehose gives transform.
EVENTS = {
    "cloudwatch-logs.json": cloudwatch_logs,
    "cloudwatch-logs-messages.json": extracted_messages,
    "metric-stream.json": metric_stream,
    "fluent-bit.json": fluent_bit,
    "kpl.json": kpl,
}


def build():
    """The content of each file, as text, by its name."""
    events = {name: direct_put(name.removesuffix(".json"), make()) for name, make in EVENTS.items()}
    events["msk.json"] = msk()
    contents = {name: make() for name, make in FILES.items()}
    return contents | {name: json.dumps(value, indent=2) + "\n" for name, value in events.items()}
