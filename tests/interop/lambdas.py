"""A process of a function's binary under a Runtime API server of its own, which tells real deadlines."""

import json
import queue
import subprocess
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from processes import Listening, environment, memory_kib

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
        # From the last event's end to its answer's: the time that Lambda would bill.
        self.started, self.seconds = time.perf_counter(), None
        self.server = Listening(ThreadingHTTPServer, self.handler())
        variables = function_environment(f"127.0.0.1:{self.server.port}", binary.name) | variables
        with open(log, "ab") as output:
            self.process = subprocess.Popen([*emulator, str(binary)], env=variables, stdout=output, stderr=output)

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
                function.started = time.perf_counter()

            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                function.seconds = time.perf_counter() - function.started
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
        return memory_kib(self.process.pid)["VmHWM"] / 1024

    def stop(self):
        self.process.kill()
        self.process.wait(10)
        self.server.stop()


def function_environment(api, name):
    """What Lambda tells the function `name`, whose Runtime API is at `api`."""
    return environment() | {
        "AWS_LAMBDA_RUNTIME_API": api,
        "AWS_LAMBDA_FUNCTION_NAME": name,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": MEMORY_MB,
        "AWS_LAMBDA_FUNCTION_VERSION": "1",
    }


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
