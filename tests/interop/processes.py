"""What the servers and the functions of these checks need of the machine: ports, variables, memory, threads."""

import os
import re
import socket
import threading


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def environment():
    """The variables of this process but those that the functions and AWS's tools heed."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "FRAZIL_"))}


def memory_kib(pid):
    """What the kernel tells of a process, by its names: `VmHWM` is the most memory that it has had."""
    with open(f"/proc/{pid}/status") as status:
        return {name: int(kib) for name, kib in re.findall(r"(\w+):\s+(\d+) kB", status.read())}


class Listening:
    """A server of the class `kind` on a port that is free, with threads of its own; to be stopped."""

    def __init__(self, kind, handler):
        self.server = kind(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
