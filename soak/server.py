"""An HTTP server on loopback that can answer wrongly, cut off a connection or kill its client."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from soak.answers import Answer


class Process(NamedTuple):
    """The calling process of the function.

    Attributes
    ----------
    access_key
        Of the credentials. Each process has its own.
    run
        The root of the invocation's trace.
    """

    access_key: str
    run: str


Kill = Callable[[Process], None]
"""Ends a process, and returns when it has ended."""


def process_of(handler: BaseHTTPRequestHandler) -> Process:
    """Identify the calling process by the SDK's signature and Lambda's trace."""
    _, _, credential = handler.headers.get("Authorization", "").partition("Credential=")
    _, _, trace = handler.headers.get("X-Amzn-Trace-Id", "").partition("Root=")
    return Process(credential.partition("/")[0], trace.partition(";")[0])


class Connection:
    """The connection of a request: it can be answered or cut off."""

    def __init__(self, handler: BaseHTTPRequestHandler) -> None:
        self._handler = handler

    def write(self, answer: Answer) -> bool:
        """Write an answer; return whether the client was still connected."""
        is_complete = answer.status is not None and answer.length is None
        self._handler.close_connection |= not is_complete
        if not self.client_waits():
            return False
        try:
            if answer.status is not None:
                self._head(answer.status, answer)
            self._handler.wfile.write(answer.body)
        except ConnectionError:
            return False
        return True

    def client_waits(self) -> bool:
        """Whether the client's end is open: it waits, or it has received the answer."""
        try:
            peeked: bytes = self._handler.connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
            return peeked != b""
        except BlockingIOError:
            return True
        except ConnectionError:
            return False

    def hang_up(self) -> None:
        """Close without an answer."""
        self._handler.close_connection = True

    def _head(self, status: int, answer: Answer) -> None:
        for _ in range(answer.interim):
            self._handler.send_response_only(103, "Early Hints")
            self._handler.send_header("Link", "</>; rel=preload")
            self._handler.end_headers()
        self._handler.send_response(status)
        for name, value in answer.headers.items():
            self._handler.send_header(name, value)
        length = len(answer.body) if answer.length is None else answer.length
        self._handler.send_header("Content-Length", str(length))
        self._handler.end_headers()


Answering = Callable[[BaseHTTPRequestHandler, bytes, Connection], None]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore a client that has ended: some are killed."""


@contextmanager
def serving(answer: Answering) -> Iterator[str]:
    """Serve on a free port of loopback; return the URL."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = -1

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            answer(self, body, Connection(self))

        do_GET = do_PUT = do_POST  # noqa: N815  http.server's names

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  http.server's name
            pass

    server = _Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
