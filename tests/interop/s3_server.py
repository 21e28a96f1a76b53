"""A real S3 server on this machine: SeaweedFS. It has an Iceberg REST catalog too."""

import json
import os
import random
import socket
import subprocess
import time
import urllib.error
import urllib.request

from pyarrow.fs import FileType, S3FileSystem

START_SECONDS = 60
STOP_SECONDS = 20
BUCKETS = ("lake", "raw")
# The warehouse of the REST catalog.
TABLE_BUCKET = "tables"
REGION = "us-east-1"
# `reader` may read and nothing else.
IDENTITIES = {"admin": ["Admin", "Read", "Write", "List", "Tagging"], "reader": ["Read", "List"]}
SECRET = "secret-of-{}"
# This machine may seem to be one of EC2: nobody is to ask for its credentials.
NO_METADATA = {"AWS_EC2_METADATA_DISABLED": "true"}
os.environ.update(NO_METADATA)


class S3Server:
    """Started in `folder`, which keeps its log and its data; to be stopped."""

    def __init__(self, folder):
        self.folder = folder
        data = folder / "s3"
        data.mkdir()
        identities = folder / "identities.json"
        identities.write_text(json.dumps({"identities": [
            {"name": name, "credentials": [{"accessKey": name, "secretKey": SECRET.format(name)}], "actions": actions}
            for name, actions in IDENTITIES.items()
        ]}))
        *ports, iceberg_port = free_ports(6)
        ports = dict(zip(("s3", "master", "volume", "filer", "admin"), ports))
        self.endpoint = f"http://127.0.0.1:{ports['s3']}"
        self.catalog = f"http://127.0.0.1:{iceberg_port}"
        # fmt: off
        command = [
            "weed", "mini", f"-dir={data}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-bucket={','.join(BUCKETS)}",
            *(f"-{name}.port={port}" for name, port in ports.items()),
            f"-s3.config={identities}", "-s3.autoCreateBucket=false", "-s3.port.lance=0",
            f"-s3.port.iceberg={iceberg_port}", f"-tableBucket={TABLE_BUCKET}",
            "-webdav=false", "-admin.ui=false", "-master.telemetry=false",
        ]
        # fmt: on
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        self.log = folder / "s3.log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
        self.files = S3FileSystem(
            access_key="admin",
            secret_key=SECRET.format("admin"),
            endpoint_override=self.endpoint,
            region=REGION,
            connect_timeout=5,
            request_timeout=60,
        )
        try:
            self.wait_until_up()
        except BaseException:
            self.stop()
            raise

    def wait_until_up(self):
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                urllib.request.urlopen(self.endpoint, timeout=1).close()
            except urllib.error.HTTPError:
                # It refuses whoever does not sign, so it is up.
                if all(info.type == FileType.Directory for info in self.files.get_file_info(list(BUCKETS))):
                    return
            except OSError:
                pass
            time.sleep(0.2)
        raise AssertionError("the S3 server did not start:\n" + self.log.read_text()[-4000:])

    def environment(self, user="admin", secret=None):
        """The variables by which AWS's tools find the server."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": user,
            "AWS_SECRET_ACCESS_KEY": secret or SECRET.format(user),
            "AWS_REGION": REGION,
            **NO_METADATA,
        }

    def properties(self):
        """The properties by which PyIceberg finds the server."""
        return {
            "s3.endpoint": self.endpoint,
            "s3.region": REGION,
            "s3.access-key-id": "admin",
            "s3.secret-access-key": SECRET.format("admin"),
        }

    def put(self, path, content):
        """`path` is BUCKET/KEY."""
        with self.files.open_output_stream(path, compression=None) as file:
            file.write(content)

    def get(self, path):
        return self.files.open_input_stream(path, compression=None).read()

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def free_ports(count):
    """Ports that are free, as are those 10,000 above, which the server takes too."""
    found = []
    while len(found) < count:
        port = random.randrange(20_000, 30_000)
        if port not in found and is_free(port) and is_free(port + 10_000):
            found.append(port)
    return found


def is_free(port):
    with socket.socket() as listener:
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
