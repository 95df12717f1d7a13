"""Sockets with limits of time and size, name resolution with a time limit, and TLS.

``connections`` sends over these sockets. This module does not know calls or botocore's errors:
every failure is an ``OSError``, such as ``TimeoutError`` or ``ssl.SSLError``.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from http.client import HTTPConnection, HTTPResponse
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import SplitResult

from botocore.httpsession import create_urllib3_context

AddressInfo = tuple[Any, ...]
"""One address as ``socket.getaddrinfo`` returns it."""

if TYPE_CHECKING:
    _Socket = socket.socket
else:
    _Socket = object


class _AnswerTooLargeError(OSError):
    """The answer is larger than allowed."""


class _Bounded(_Socket):
    """A socket with one time limit for everything, and a limit of received bytes."""

    _until: float
    _bytes_left: int

    def limit(self, until: float, max_bytes: int) -> None:
        """Set when everything must end, on ``time.monotonic``, and how many bytes to accept."""
        self._until = until
        self._bytes_left = max_bytes

    def recv_into(self, *arguments: Any, **options: Any) -> int:
        self.settimeout(seconds_left(self._until))
        count = super().recv_into(*arguments, **options)
        self._bytes_left -= count
        if self._bytes_left < 0:
            raise _AnswerTooLargeError
        return count

    def send(self, *arguments: Any) -> int:
        self.settimeout(seconds_left(self._until))
        return super().send(*arguments)

    def sendall(self, *arguments: Any) -> None:
        self.settimeout(seconds_left(self._until))
        super().sendall(*arguments)


class _BoundedSocket(_Bounded, socket.socket):
    """A bounded socket without TLS."""


class _BoundedTlsSocket(_Bounded, ssl.SSLSocket):
    """A bounded socket with TLS, whose ``sendall`` calls ``send``."""


class _Response(HTTPResponse):
    """An answer that skips the interim ones before it (RFC 9110, 15.2)."""

    def begin(self) -> None:
        """Read the head of the final answer."""
        super().begin()
        while 100 <= self.status < 200:
            self.headers = self.msg = None  # type: ignore[assignment]  # the initial values
            super().begin()


class Connection(HTTPConnection):
    """A connection to one host, with TLS if its URL begins with https."""

    auto_open = 0  # never reconnect: a request must not be sent twice
    response_class = _Response
    sock: Any  # one of the two bounded sockets, once it is open

    def __init__(self, url: SplitResult, tls: ssl.SSLContext | None) -> None:
        ports = {"http": 80, "https": 443}
        if url.scheme not in ports:
            raise ValueError(url.scheme)
        self.default_port = ports[url.scheme]  # the base class has 80
        super().__init__(url.hostname or "", url.port)
        self._tls = tls if url.scheme == "https" else None
        self._unsent: list[bytes] = []

    def send(self, data: Any) -> None:
        """Keep a part of the request: ``flush`` sends head and body together."""
        self._unsent.append(data)

    def flush(self) -> None:
        """Send all parts, in one system call and one TLS record."""
        data = b"".join(self._unsent)
        self._unsent.clear()
        self.sock.sendall(data)

    def open(self, addresses: Sequence[AddressInfo], until: float) -> None:
        """Connect to the first address that answers.

        Raises
        ------
        OSError
            The error of the last address, such as ``TimeoutError`` or ``ssl.SSLError``.
        """
        for number, address in enumerate(addresses, 1):
            share = seconds_left(until) / (len(addresses) - number + 1)
            try:
                self.sock = self._connected(address, share, until)
            except ssl.SSLError:
                raise
            except OSError:
                if number == len(addresses):
                    raise
            else:
                return

    def _connected(self, address: AddressInfo, seconds: float, until: float) -> _Bounded:
        family, kind, protocol, _, place = address
        plain = _BoundedSocket(family, kind, protocol)
        try:
            plain.settimeout(seconds)
            plain.connect(place)
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if self._tls is None:
                return plain
            plain.settimeout(seconds_left(until))  # for the whole handshake
            wrapped = self._tls.wrap_socket(plain, server_hostname=self.host)
            return cast("_Bounded", wrapped)  # tls_context set this class
        except BaseException:
            plain.close()
            raise


class Resolver:
    """Looks up the addresses of hosts with a time limit.

    Nothing can interrupt a look-up, so each has its own thread. Each host has at most one at a
    time: other calls wait for it, so that threads do not accumulate while it hangs.
    """

    def __init__(self, resolve: Callable[..., Iterable[AddressInfo]]) -> None:
        self._resolve = resolve
        self._under_way: dict[tuple[str, int], Future[list[AddressInfo]]] = {}
        self._lock = threading.Lock()

    def look_up(self, host: str, port: int, until: float) -> Sequence[AddressInfo]:
        """Return the addresses of a host.

        Raises
        ------
        OSError
            If the host has no address; ``TimeoutError`` if the look-up takes too long.
        UnicodeError
            If the host name is not valid.
        """
        with suppress(OSError, UnicodeError):  # a numeric address needs no look-up
            return self._addresses(host, port, socket.AI_NUMERICHOST)
        with self._lock:
            future = self._under_way.get((host, port))
            if future is None:
                future = self._under_way[host, port] = Future()
                threading.Thread(
                    target=self._find, args=(host, port, future), name="names", daemon=True
                ).start()
        return future.result(seconds_left(until))

    def _find(self, host: str, port: int, future: Future[list[AddressInfo]]) -> None:
        try:
            addresses = self._addresses(host, port, 0)
        except Exception as error:  # noqa: BLE001  the waiting calls raise it
            self._forget(host, port)
            future.set_exception(error)
        else:
            self._forget(host, port)
            future.set_result(addresses)

    def _forget(self, host: str, port: int) -> None:
        with self._lock:
            del self._under_way[host, port]

    def _addresses(self, host: str, port: int, flags: int) -> list[AddressInfo]:
        return list(self._resolve(host, port, type=socket.SOCK_STREAM, flags=flags))


def seconds_left(until: float) -> float:
    """Return the seconds until a moment.

    Raises
    ------
    TimeoutError
        If the moment has passed.
    """
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError("the time limit of the call has passed")
    return left


def tls_context(ca_bundle: str) -> ssl.SSLContext:
    """Create the TLS context that the SDK would use."""
    context: ssl.SSLContext = create_urllib3_context()
    context.sslsocket_class = _BoundedTlsSocket
    context.check_hostname = True  # in botocore, urllib3 does this
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_verify_locations(ca_bundle)
    except OSError as error:  # ssl.SSLError is one too
        raise ValueError(f"no certificates can be read from {ca_bundle}: {error}") from error
    return context
