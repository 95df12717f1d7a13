"""A threaded server on loopback that closes completely.

When Python's own threaded servers close, they either wait until each client disconnects or leave
threads behind. Here `close` reads no further request, waits for the answers to those that run, and
disconnects the clients, so that no thread and no socket is left.

A web page of any site can send requests to loopback through the browser. So `refusal_reason`
decides which requests a server here must not answer.
"""

from __future__ import annotations

import logging
import re
import socket
import sys
import time
from contextlib import suppress
from email.message import Message
from socketserver import BaseRequestHandler, TCPServer, ThreadingMixIn
from threading import Lock, Thread
from typing import Any, Final

ADDRESS = "127.0.0.1"
_NAMES: Final = (ADDRESS, "localhost", "[::1]")
_DEFAULT_PORT: Final = 80  # which a client leaves out of Host and Origin
_ABSOLUTE_FORM: Final = re.compile(r"http://([^/?#]*)(.*)", re.IGNORECASE | re.DOTALL)

# What a browser sends if no other site caused the request. A page of another port of this machine
# is "same-site", and is refused, too.
_OWN_SITES: Final = ("same-origin", "none")

_logger = logging.getLogger(__name__)


def refusal_reason(headers: Message, target: str, port: int) -> str | None:
    """Return why a server on this machine must not answer a request, or None if it may.

    An attacker can make a host name point to this machine (DNS rebinding), and then the browser
    treats its page as the server's own. The Host header still has that name.

    Parameters
    ----------
    headers
        The request's, repeated ones included.
    target
        The request's: a path, ``*``, or an address, whose host is checked, too.
    port
        The server's.
    """
    hosts = headers.get_all("Host", [])
    address = _ABSOLUTE_FORM.fullmatch(target)
    is_ours = target.startswith("/") or target == "*" or (address and _is_own(address[1], port))
    if len(hosts) != 1 or not _is_own(hosts[0], port) or not is_ours:
        names = ", ".join(f"{name}:{port}" for name in _NAMES)
        return f"The sandbox answers only requests with one of its own addresses as Host: {names}."
    origins = headers.get_all("Origin", [])
    sites = headers.get_all("Sec-Fetch-Site", [])
    if any(
        not origin.startswith("http://") or not _is_own(origin.removeprefix("http://"), port)
        for origin in origins
    ) or any(site not in _OWN_SITES for site in sites):
        return (
            "The sandbox answers no pages of other sites. To open one of its own pages, "
            "type the address into the browser."
        )
    return None


def origin_form(target: str) -> str:
    """Return the path of a request's target."""
    address = _ABSOLUTE_FORM.fullmatch(target)
    if address is None:
        return target
    return address[2] if address[2].startswith("/") else f"/{address[2]}"


def _is_own(authority: str, port: int) -> bool:
    own = {f"{name}:{port}" for name in _NAMES}
    if port == _DEFAULT_PORT:
        own.update(_NAMES)
    return authority.strip(" \t").lower() in own


def _shut_down(connection: socket.socket, how: int) -> None:
    with suppress(OSError):  # the client disconnected first
        connection.shutdown(how)


class LoopbackServer(ThreadingMixIn, TCPServer):
    """A listening socket with one thread for each connection.

    Parameters
    ----------
    port
        The port to listen on; 0 takes a free one.
    handler
        The class that serves a connection.

    Raises
    ------
    OSError
        If the port is taken.
    """

    allow_reuse_address = True
    request_queue_size = 128

    close_seconds = 2.0
    """How long `close` waits for requests that do not end, such as a long poll for messages. Their
    threads are daemons and end with the process."""

    def __init__(self, port: int, handler: type[BaseRequestHandler]) -> None:
        self._closing = False
        self._lock = Lock()
        self._connections: dict[socket.socket, Thread] = {}
        self._listener: Thread | None = None
        super().__init__((ADDRESS, port), handler)

    @property
    def port(self) -> int:
        """The port that the server listens on."""
        return int(self.server_address[1])

    def start(self) -> None:
        """Accept connections in another thread."""
        self._listener = Thread(target=self._accept, name=f"listener-{self.port}", daemon=True)
        self._listener.start()

    def close(self) -> None:
        """Disconnect every client, after the answer to a request that is running."""
        if self._listener is not None:
            self._closing = True
            # The listener waits for a connection, and then sees that it ends.
            with suppress(OSError), socket.create_connection((ADDRESS, self.port), timeout=1.0):
                pass
            self._listener.join()
            self._listener = None
        self.server_close()
        with self._lock:
            connections = dict(self._connections)
        for connection in connections:  # no further request is read
            _shut_down(connection, socket.SHUT_RD)
        end = time.monotonic() + self.close_seconds
        for connection, thread in connections.items():
            thread.join(max(0.0, end - time.monotonic()))
            _shut_down(connection, socket.SHUT_RDWR)

    def _accept(self) -> None:
        """Accept connections. Python's own loop looks many times a second whether it shall end."""
        while not self._closing:
            self.handle_request()

    # Python's socketserver calls the methods below.

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Refuse connections while the server closes, also the one of `close` itself."""
        return not self._closing

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection in a thread that `close` can wait for."""
        thread = Thread(
            target=self.process_request_thread, args=(request, client_address), daemon=True
        )
        with self._lock:
            self._connections[request] = thread
        thread.start()

    def shutdown_request(self, request: Any) -> None:
        """Forget a closed connection."""
        with self._lock:
            self._connections.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log an error of the server; a client that disconnects is none."""
        if not isinstance(sys.exception(), ConnectionError):
            _logger.exception("a connection ended with an error")
