"""HTTP servers of tests on free ports of loopback."""

from __future__ import annotations

import functools
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from sandbox.loopback import LoopbackServer


@dataclass
class Reply:
    """What a server sends back."""

    status: int = 200
    body: bytes = b"{}"
    headers: dict[str, str] = field(default_factory=dict)
    cut_off: bool = False


class LoopbackHandler(BaseHTTPRequestHandler):
    """Answers every request with what ``reply`` gives for it, and logs nothing."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else an answer waits 40 ms for an acknowledgement

    def reply(self, body: bytes) -> Reply:
        raise NotImplementedError

    def do_POST(self) -> None:
        reply = self.reply(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        if reply.cut_off:
            self.close_connection = True
            return
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        self.wfile.write(reply.body)

    do_GET = do_PUT = do_POST  # noqa: N815  http.server's names

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  http.server's name
        pass


class _Server(LoopbackServer):
    """A server whose handlers may hang."""

    close_seconds = 0.0

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print nothing about a client that was killed."""


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """Run a server on a free port of loopback; give its URL."""
    server = _Server(0, handler)
    server.start()
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.close()


@functools.cache
def refusing_url() -> str:
    """Give a URL on loopback that refuses connections.

    Its port stays bound until the process ends, and is never listened on: if it were freed, the
    next server of another process could get it.
    """
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        taken.detach()
    return url
