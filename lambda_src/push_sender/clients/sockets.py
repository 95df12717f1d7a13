"""Sockets with one time limit and a bound, names that are looked up in time, and TLS.

What ``connections`` sends over. Nothing here knows of calls or of botocore's errors: whatever
fails raises ``OSError``, of which ``TimeoutError`` and ``ssl.SSLError`` are kinds.
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
"""One address as ``socket.getaddrinfo`` gives it."""

if TYPE_CHECKING:
    _Socket = socket.socket
else:
    _Socket = object


class _AnswerTooLargeError(OSError):
    """More came than an answer may have."""


class _Bounded(_Socket):
    """A socket with one time limit for all that is done with it, and a bound for what comes."""

    _until: float
    _room: int

    def allow(self, until: float, room: int) -> None:
        """Set when all must have ended, on ``time.monotonic``, and how many bytes may come."""
        self._until = until
        self._room = room

    def recv_into(self, *arguments: Any, **options: Any) -> int:
        self.settimeout(seconds_left(self._until))
        count = super().recv_into(*arguments, **options)
        self._room -= count
        if self._room < 0:
            raise _AnswerTooLargeError
        return count

    def send(self, *arguments: Any) -> int:
        self.settimeout(seconds_left(self._until))
        return super().send(*arguments)

    def sendall(self, *arguments: Any) -> None:
        self.settimeout(seconds_left(self._until))
        super().sendall(*arguments)


class _BoundedSocket(_Bounded, socket.socket):
    """Without TLS."""


class _BoundedTlsSocket(_Bounded, ssl.SSLSocket):
    """With TLS: its ``sendall`` is made of ``send``."""


class _Response(HTTPResponse):
    """An answer, read past the interim ones before it (RFC 9110, 15.2)."""

    def begin(self) -> None:
        """Read the head of the final answer."""
        super().begin()
        while 100 <= self.status < 200:
            self.headers = self.msg = None  # type: ignore[assignment]  # as before the first head
            super().begin()


class Connection(HTTPConnection):
    """A connection to one host, with TLS where its address says https."""

    auto_open = 0  # never again by itself: what was sent must not be sent once more
    response_class = _Response
    sock: Any  # one of the two above, once it is open

    def __init__(self, url: SplitResult, tls: ssl.SSLContext | None) -> None:
        ports = {"http": 80, "https": 443}
        if url.scheme not in ports:
            raise ValueError(url.scheme)
        self.default_port = ports[url.scheme]  # the class says 80
        super().__init__(url.hostname or "", url.port)
        self._tls = tls if url.scheme == "https" else None
        self._unsent: list[bytes] = []

    def send(self, data: Any) -> None:
        """Keep what http.client hands over in parts: head and body go out together."""
        self._unsent.append(data)

    def flush(self) -> None:
        """Send all of it, in one call of the system and one record of TLS."""
        data = b"".join(self._unsent)
        self._unsent.clear()
        self.sock.sendall(data)

    def open(self, addresses: Sequence[AddressInfo], until: float) -> None:
        """Connect to the first of some addresses that answers.

        Raises
        ------
        OSError
            As the last of them did; ``TimeoutError`` and ``ssl.SSLError`` are such.
        """
        for number, address in enumerate(addresses, 1):
            share = seconds_left(until) / (len(addresses) - number + 1)
            try:
                self.sock = self._opened(address, share, until)
            except ssl.SSLError:
                raise
            except OSError:
                if number == len(addresses):
                    raise
            else:
                return

    def _opened(self, address: AddressInfo, seconds: float, until: float) -> _Bounded:
        family, kind, protocol, _, place = address
        plain = _BoundedSocket(family, kind, protocol)
        try:
            plain.settimeout(seconds)
            plain.connect(place)
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if self._tls is None:
                return plain
            plain.settimeout(seconds_left(until))  # for the handshake as a whole
            wrapped = self._tls.wrap_socket(plain, server_hostname=self.host)
            return cast("_Bounded", wrapped)  # of the context's class
        except BaseException:
            plain.close()
            raise


class Names:
    """Looks up the addresses of hosts, which nothing can interrupt.

    Each look-up has a thread of its own, and there is one at a time for a host: calls that
    find one under way wait for that one, so that threads do not accumulate while it hangs.
    """

    def __init__(self, resolve: Callable[..., Iterable[AddressInfo]]) -> None:
        self._resolve = resolve
        self._under_way: dict[tuple[str, int], Future[list[AddressInfo]]] = {}
        self._lock = threading.Lock()

    def look_up(self, host: str, port: int, until: float) -> Sequence[AddressInfo]:
        """Give the addresses of a host.

        Raises
        ------
        OSError
            If there is none; ``TimeoutError`` if it is not known in time.
        UnicodeError
            If that is no host's name.
        """
        with suppress(OSError, UnicodeError):  # an address needs no look-up
            return self._addresses(host, port, socket.AI_NUMERICHOST)
        with self._lock:
            found = self._under_way.get((host, port))
            if found is None:
                found = self._under_way[host, port] = Future()
                threading.Thread(
                    target=self._find, args=(host, port, found), name="names", daemon=True
                ).start()
        return found.result(seconds_left(until))

    def _find(self, host: str, port: int, found: Future[list[AddressInfo]]) -> None:
        try:
            addresses = self._addresses(host, port, 0)
        except Exception as error:  # noqa: BLE001  it is raised where it is waited for
            self._forget(host, port)
            found.set_exception(error)
        else:
            self._forget(host, port)
            found.set_result(addresses)

    def _forget(self, host: str, port: int) -> None:
        with self._lock:
            del self._under_way[host, port]

    def _addresses(self, host: str, port: int, flags: int) -> list[AddressInfo]:
        return list(self._resolve(host, port, type=socket.SOCK_STREAM, flags=flags))


def seconds_left(until: float) -> float:
    """Give the seconds until a moment.

    Raises
    ------
    TimeoutError
        If it has passed.
    """
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError("the time limit of the call has passed")
    return left


def tls_context(ca_bundle: str) -> ssl.SSLContext:
    """Set up TLS as the SDK does."""
    context: ssl.SSLContext = create_urllib3_context()
    context.sslsocket_class = _BoundedTlsSocket
    context.check_hostname = True  # botocore leaves that to urllib3
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_verify_locations(ca_bundle)
    except OSError as error:  # ssl.SSLError is one, too
        raise ValueError(f"no certificates can be read from {ca_bundle}: {error}") from error
    return context
