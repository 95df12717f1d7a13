"""Raw HTTP servers on loopback, and the function's connection pool as a client of them."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from botocore.awsrequest import AWSPreparedRequest, AWSRequest

from push_sender.clients.connections import (
    Connections,
)

ONE = {"recipient": {"token": "t", "service": "GCM"}, "message": "m"}
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"

Talk = Callable[[socket.socket], None]


class RawServer:
    """A server on loopback that handles each connection with a function of the test."""

    def __init__(self, talk: Talk, tls: ssl.SSLContext | None) -> None:
        self.accepted = 0
        self._talk = talk
        self._tls = tls
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self.address = f"127.0.0.1:{self._listening.getsockname()[1]}"
        self.url = f"{'http' if tls is None else 'https'}://{self.address}"

    def serve(self) -> None:
        """Accept connections until the server is closed, each in its own thread."""
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            self.accepted += 1
            if self._tls is not None:
                connection = self._tls.wrap_socket(
                    connection, server_side=True, do_handshake_on_connect=False
                )
            self._open.append(connection)
            thread = threading.Thread(target=self._serve_one, args=(connection,))
            self._threads.append(thread)
            thread.start()

    def close(self) -> None:
        """Close every connection, and wait for the threads."""
        for one in (self._listening, *self._open):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for thread in self._threads:
            thread.join()

    def _serve_one(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):  # the client left, or the test is over
            if isinstance(connection, ssl.SSLSocket):
                connection.do_handshake()
            self._talk(connection)


@contextmanager
def serving(talk: Talk, tls: ssl.SSLContext | None = None) -> Iterator[RawServer]:
    """Run a server."""
    server = RawServer(talk, tls)
    thread = threading.Thread(target=server.serve)
    thread.start()
    try:
        yield server
    finally:
        server.close()
        thread.join()


def read_request(connection: socket.socket) -> bytes:
    """Read one request, head and body; nothing if the client has closed."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = connection.recv(1)
        if not byte:
            return b""
        head += byte
    length = next(
        (int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-len")),
        0,
    )
    body = b""
    while len(body) < length:
        body += connection.recv(length - len(body))
    return head + body


def answering(*answers: bytes, then_close: bool = False) -> Talk:
    """Answer the requests of each connection in turn, and repeat the last answer."""

    def talk(connection: socket.socket) -> None:
        rest = list(answers)
        while read_request(connection):
            connection.sendall(rest.pop(0) if len(rest) > 1 else rest[0])
            if then_close and len(rest) == 1:
                connection.close()
                return

    return talk


def silent(connection: socket.socket) -> None:
    """Read, and answer nothing."""
    while connection.recv(4_096):
        pass


def asking(server: RawServer | str, body: bytes = b"{}") -> AWSPreparedRequest:
    """Prepare a request as botocore does."""
    url = server if isinstance(server, str) else f"{server.url}/v1/messages"
    return AWSRequest(method="POST", url=url, data=body, headers={"X-Told": "yes"}).prepare()


def connections(**settings: Any) -> Connections:
    """Make a pool whose default timeouts suit a busy machine."""
    return Connections(**{"connect_seconds": 5, "read_seconds": 5, "max_idle": 4, **settings})
