"""A threaded server on this machine's loopback address that can really be ended.

Python's own threaded servers either wait at their end until each client hangs
up, or leave the threads of clients that do not. Here `close` hangs up first and
then waits, so that no thread and no socket is left.
"""

from __future__ import annotations

import logging
import socket
import sys
import time
from contextlib import suppress
from socketserver import BaseRequestHandler, TCPServer, ThreadingMixIn
from threading import Lock, Thread
from typing import Any

ADDRESS = "127.0.0.1"

# How long the end waits for requests that are stuck, such as a long poll for
# messages: their threads are daemons and end with the process at the latest.
_LAST_WORD_SECONDS = 2.0

_logger = logging.getLogger(__name__)


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
