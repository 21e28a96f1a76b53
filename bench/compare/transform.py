"""transform as a short handler in Python: a peer of `cargo bench -p frazil-transform`, for which it asks a Runtime API for
events as Lambda's own runtime does."""

import base64
import http.client
import json
import os
import uuid
from datetime import datetime, timezone

INVOCATION = "/2018-06-01/runtime/invocation"


def handler(event):
    return {"records": [answer(event["deliveryStreamArn"], record) for record in event["records"]]}


def answer(stream, record):
    arrival = datetime.fromtimestamp(record["approximateArrivalTimestamp"] / 1000, timezone.utc)
    fields = json.loads(base64.b64decode(record["data"])) | {
        "record_id": str(uuid.uuid5(uuid.NAMESPACE_OID, f"direct-put\0{stream}\0{record['recordId']}")),
        "ingestion_timestamp": arrival.isoformat(),
        "partition_date": arrival.strftime("%Y-%m-%d"),
        "partition_hour": arrival.strftime("%H"),
    }
    data = base64.b64encode((json.dumps(fields) + "\n").encode()).decode()
    return {"recordId": record["recordId"], "result": "Ok", "data": data}


def main():
    api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    while True:
        api.request("GET", f"{INVOCATION}/next")
        response = api.getresponse()
        event = json.loads(response.read())
        request = response.headers["lambda-runtime-aws-request-id"]
        api.request("POST", f"{INVOCATION}/{request}/response", json.dumps(handler(event)).encode())
        api.getresponse().read()


if __name__ == "__main__":
    main()
