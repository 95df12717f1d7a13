"""A threaded server on this machine's loopback address that can really be ended.

Python's own threaded servers either wait at their end until each client hangs
up, or leave the threads of clients that do not. Here `close` hangs up first and
then waits, so that no thread and no socket is left.

A browser on this machine reaches loopback, too, and lets any page in the world do so. So
`refusal_reason` tells which requests a server here must not answer.
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

# What a browser says of a request that no other site had a part in. A page of another port of
# this machine is "same-site" and no friend either.
_OWN_SITES: Final = ("same-origin", "none")

# How long the end waits for requests that are stuck, such as a long poll for
# messages: their threads are daemons and end with the process at the latest.
_LAST_WORD_SECONDS = 2.0

_logger = logging.getLogger(__name__)


def refusal_reason(headers: Message, target: str, port: int) -> str | None:
    """Say why a server on this machine must not answer a request; nothing if it may.

    Whatever name a browser looks up can be made to mean this machine (DNS rebinding), and
    then a page counts as the server's own. Host still tells the name.

    Parameters
    ----------
    headers
        Of the request, as they came, repeated ones included.
    target
        The request's: a path, ``*``, or an address, whose host then has to be right, too.
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
    """Give a request's target as the path that it names."""
    address = _ABSOLUTE_FORM.fullmatch(target)
    if address is None:
        return target
    return address[2] if address[2].startswith("/") else f"/{address[2]}"


def _is_own(authority: str, port: int) -> bool:
    own = {f"{name}:{port}" for name in _NAMES}
    if port == _DEFAULT_PORT:
        own.update(_NAMES)
    return authority.strip(" \t").lower() in own


class LoopbackServer(ThreadingMixIn, TCPServer):
    """A listening socket with one thread for each connection.

    Parameters
    ----------
    port
        The port to listen on; 0 takes a free one.
    handler
        What serves a connection.

    Raises
    ------
    OSError
        If the port is taken.
    """

    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, port: int, handler: type[BaseRequestHandler]) -> None:
        self._lock = Lock()
        self._connections: dict[socket.socket, Thread] = {}
        self._listener: Thread | None = None
        super().__init__((ADDRESS, port), handler)

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return int(self.server_address[1])

    def start(self) -> None:
        """Accept connections in a thread of its own."""
        self._listener = Thread(
            # The interval bounds only how long the end takes, never an answer.
            target=lambda: self.serve_forever(poll_interval=0.05),
            name=f"listener-{self.port}",
            daemon=True,
        )
        self._listener.start()

    def close(self) -> None:
        """Hang up on every client and wait until its thread has ended."""
        if self._listener is not None:
            self.shutdown()
            self._listener.join()
            self._listener = None
        self.server_close()
        with self._lock:
            connections = dict(self._connections)
        for connection in connections:
            with suppress(OSError):  # the client was faster
                connection.shutdown(socket.SHUT_RDWR)
        give_up = time.monotonic() + _LAST_WORD_SECONDS
        for thread in connections.values():
            thread.join(max(0.0, give_up - time.monotonic()))

    # What follows is called by Python's socketserver.

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection in a thread that `close` knows of."""
        thread = Thread(
            target=self.process_request_thread, args=(request, client_address), daemon=True
        )
        with self._lock:
            self._connections[request] = thread
        thread.start()

    def shutdown_request(self, request: Any) -> None:
        """Forget a connection that is done."""
        with self._lock:
            self._connections.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Report a fault of ours; a client that hung up is none."""
        if not isinstance(sys.exception(), ConnectionError):
            _logger.exception("a connection ended with an error")
