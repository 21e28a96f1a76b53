"""A way to a server by TLS, with a certificate of an authority that nobody else knows."""

import socketserver
import ssl
import threading
from contextlib import suppress
from socket import SHUT_WR, create_connection

import trustme
from processes import Listening


class Tls(Listening):
    """Passes what comes by TLS on to `port`. `authority` is the file of the certificate to trust."""

    def __init__(self, port, folder):
        authority = trustme.CA()
        self.authority = folder / "authority.pem"
        authority.cert_pem.write_to_path(str(self.authority))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost").configure_cert(context)

        class Handler(socketserver.BaseRequestHandler):
            def handle(self):
                # Whoever does not trust the certificate goes away.
                with suppress(OSError), context.wrap_socket(self.request, server_side=True) as client:
                    with create_connection(("127.0.0.1", port), timeout=30) as server:
                        back = threading.Thread(target=copy, args=[server, client], daemon=True)
                        back.start()
                        copy(client, server)
                        back.join()

        super().__init__(socketserver.ThreadingTCPServer, Handler)
        self.uri = f"https://localhost:{self.port}"


def copy(source, target):
    with suppress(OSError):
        while chunk := source.recv(65536):
            target.sendall(chunk)
    with suppress(OSError):
        target.shutdown(SHUT_WR)
