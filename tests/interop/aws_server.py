"""AWS on this machine: ministack, whose Glue heeds the VersionId of UpdateTable, and a way to it on which answers are lost."""

import contextlib
import http.client
import os
import shutil
import signal
import subprocess
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from processes import Listening, free_port
from pyiceberg.catalog import load_catalog

START_SECONDS = 60
REGION = "us-east-1"


class Ministack:
    """Started in `folder`, which keeps its log; to be stopped."""

    def __init__(self, folder):
        self.port = free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        environment = os.environ | {
            "BIND_HOST": "127.0.0.1",
            "GATEWAY_PORT": str(self.port),
            "AWS_ENDPOINT_URL": self.uri,
            "TMPDIR": str(folder),
        }
        with open(folder / "ministack.log", "wb") as log:
            command = [shutil.which("ministack")]
            # In a session of its own, so that the functions that it starts end with it.
            self.process = subprocess.Popen(
                command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                urllib.request.urlopen(f"{self.uri}/_localstack/health", timeout=2).close()
                return
            except OSError as error:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    self.stop()
                    text = (folder / "ministack.log").read_text()
                    raise AssertionError(f"ministack did not start:\n{text}") from error
                time.sleep(0.2)

    def glue_table(self, name, storage):
        """The table as PyIceberg finds it in Glue. `storage` are its properties for the S3 with the table's files."""
        glue = {"endpoint": self.uri, "region": REGION, "access-key-id": "any", "secret-access-key": "any"}
        properties = {f"glue.{key}": value for key, value in glue.items()} | storage
        return load_catalog("glue", type="glue", **properties).load_table(name)

    def stop(self):
        for sign in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, sign)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(20)
                break


class Lossy(Listening):
    """Passes requests on to `port`; of those that `is_lost` picks when they are done, the answer does not come back. Those
    that `is_refused` picks are denied, as by a role that does not allow them."""

    def __init__(self, port, is_lost, is_refused=lambda headers: False):
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                if is_refused(self.headers):
                    denied = b'{"__type": "AccessDeniedException", "Message": "not authorized"}'
                    self.send_response(400)
                    self.send_header("content-length", str(len(denied)))
                    self.end_headers()
                    self.wfile.write(denied)
                    return
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
                connection.request("POST", self.path, body, dict(self.headers))
                answer = connection.getresponse()
                content = answer.read()
                connection.close()
                self.close_connection = True
                if is_lost(self.headers, answer.status):
                    return
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in ("connection", "content-length", "transfer-encoding", "date", "server"):
                        self.send_header(name, value)
                self.send_header("content-length", str(len(content)))
                self.send_header("connection", "close")
                self.end_headers()
                self.wfile.write(content)

        super().__init__(ThreadingHTTPServer, Handler)
        self.uri = f"http://127.0.0.1:{self.port}"
