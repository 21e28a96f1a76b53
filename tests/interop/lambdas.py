"""A process of a function's binary under a Runtime API server of its own, which tells real deadlines."""

import json
import os
import queue
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

NEXT = "/2018-06-01/runtime/invocation/next"
MEMORY_MB = "512"
# How much later than its deadline an answer may come on a machine that does other things too.
GRACE_SECONDS = 5


class Function:
    """`variables` are all of FRAZIL_ and AWS_ that it sees. What it logs goes to the file `log`. `emulator` is the command
    that runs the binary, if it is not for this machine."""

    def __init__(self, binary, log, variables, emulator=()):
        self.log = log
        self.events = queue.Queue()
        self.answers = queue.Queue()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self.handler())
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("FRAZIL_", "AWS_"))} | {
            "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{self.server.server_port}",
            "AWS_LAMBDA_FUNCTION_NAME": binary.name,
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": MEMORY_MB,
            "AWS_LAMBDA_FUNCTION_VERSION": "1",
            **variables,
        }
        with open(log, "ab") as output:
            self.process = subprocess.Popen([*emulator, str(binary)], env=environment, stdout=output, stderr=output)

    def handler(function):
        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_GET(self):
                assert self.path == NEXT, self.path
                payload, deadline = function.events.get()
                self.send_response(200)
                self.send_header("lambda-runtime-aws-request-id", "1")
                self.send_header("lambda-runtime-deadline-ms", str(int(deadline * 1000)))
                self.send_header("lambda-runtime-invoked-function-arn", "arn:aws:lambda:us-east-1:1:function:f")
                self.send_header("content-length", str(len(payload)))
                self.end_headers()
                self.wfile.write(payload)

            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                self.send_response(202)
                self.send_header("content-length", "0")
                self.end_headers()
                function.answers.put((self.path.rsplit("/", 1)[1], json.loads(body)))

        return Handler

    def invoke(self, event, seconds=60):
        """`response` or `error`, and the body."""
        self.events.put((json.dumps(event).encode(), time.time() + seconds))
        give_up = time.monotonic() + seconds + GRACE_SECONDS
        while True:
            try:
                return self.answers.get(timeout=0.5)
            except queue.Empty:
                if self.process.poll() is not None:
                    raise AssertionError(f"the function has ended:\n{self.log.read_text()}") from None
                if time.monotonic() > give_up:
                    raise AssertionError(f"no answer in {seconds} s:\n{self.log.read_text()}") from None

    def peak_mib(self):
        """The most memory that the process has had, its binary's pages included."""
        with open(f"/proc/{self.process.pid}/status") as status:
            peak = next(line for line in status if line.startswith("VmHWM"))
        return int(peak.split()[1]) / 1024

    def stop(self):
        self.process.kill()
        self.process.wait(10)
        self.server.shutdown()
        self.server.server_close()


def sqs_event(messages):
    """Each message is a list of (bucket, key, etag)."""
    records = []
    for number, objects in enumerate(messages):
        body = {
            "Records": [
                {
                    "eventSource": "aws:s3",
                    "eventName": "ObjectCreated:Put",
                    "s3": {"bucket": {"name": bucket}, "object": {"key": key, "eTag": etag}},
                }
                for bucket, key, etag in objects
            ]
        }
        records.append({"messageId": str(number), "eventSource": "aws:sqs", "body": json.dumps(body)})
    return {"Records": records}


def s3_event(bucket, key, etag):
    return json.loads(sqs_event([[(bucket, key, etag)]])["Records"][0]["body"])
