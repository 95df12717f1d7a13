"""HTTP for the SDK's clients, over connections that are kept.

botocore sends through urllib3 and two layers of its own around that, which take a fifth of a
push's CPU, and for each new connection it reads its 140 certificates of authorities anew, tens
of milliseconds (docs/performance.md). Here is what does the work beneath all of them, the
standard library's ``http.client``, used as they use it and read once. Errors are botocore's
own, so that callers see no difference.

A call has one time limit in total, whatever hangs: name resolution, connecting, TLS, or an
answer that drips. Nothing is repeated here, and no answer is read beyond a bound.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
import weakref
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import suppress
from http.client import HTTPConnection, HTTPException, HTTPResponse, IncompleteRead, InvalidURL
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import SplitResult, urlsplit

from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.exceptions import (
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    HTTPClientError,
    ReadTimeoutError,
    SSLError,
)
from botocore.httpsession import create_urllib3_context
from botocore.parsers import ResponseParserError
from urllib3.util import wait_for_read

from push_sender.clients.calls import TooLateError, answered, permit_of_this_thread

ANSWER_BYTES: Final = 4_000_000
"""Where an answer is given up, with its head. The longest real one has 100 results of a few
kilobytes, or 100 of the table's items."""

_PART_BYTES: Final = 65_536

_AddressInfo = tuple[Any, ...]
"""One address as ``socket.getaddrinfo`` gives it."""

if TYPE_CHECKING:
    _Socket = socket.socket
else:
    _Socket = object


class UntrustedCertificateError(SSLError):
    """The server's certificate is not trusted, or is another host's. Nothing was sent."""


class UnusableRequestError(HTTPClientError):
    """HTTP cannot carry the address or a header. Nothing was sent."""

    fmt = "the address or a header is not what HTTP can carry"


class _AnswerTooLargeError(OSError):
    """More came than an answer may have."""


class Connections:
    """Sends what a client asks for, in place of botocore's ``URLLib3Session``.

    Used by many threads at once: a connection belongs to one call, and is kept for another
    when that call has had its whole answer.

    Parameters
    ----------
    connect_seconds
        How long resolving a name, connecting and TLS may take together.
    read_seconds
        How long sending a request and reading its answer may take together.
    most_kept
        How many connections to keep for later calls.
    ca_bundle
        The file of the authorities that a server's certificate must come from. None where no
        server has one.
    resolve
        Gives the addresses of a host, as ``socket.getaddrinfo`` does.

    Raises
    ------
    ValueError
        If that file cannot be read.
    """

    def __init__(
        self,
        *,
        connect_seconds: float,
        read_seconds: float,
        most_kept: int,
        ca_bundle: str | None = None,
        resolve: Callable[..., Iterable[_AddressInfo]] = socket.getaddrinfo,
    ) -> None:
        self._connect_seconds = connect_seconds
        self._read_seconds = read_seconds
        self._most_kept = most_kept
        self._tls = None if ca_bundle is None else _tls(ca_bundle)
        self._names = _Names(resolve)
        self._idle: dict[tuple[str, str], deque[_Connection]] = {}
        weakref.finalize(self, _close, self._idle)

    def send(self, request: AWSPreparedRequest) -> AWSResponse:
        """Make a call and read its answer whole.

        Returns
        -------
        AWSResponse
            The answer. Of an error whose body cannot be read there is only the status.

        Raises
        ------
        ConnectTimeoutError, EndpointConnectionError, SSLError
            If there is no connection: nothing was sent.
        UnusableRequestError
            If HTTP cannot carry the request: nothing was sent.
        TooLateError
            If the thread's permit has ended: nothing was sent.
        ReadTimeoutError, ConnectionClosedError
            If no status came. What was asked for may have been done.
        ResponseParserError
            If what came is no HTTP, or success with a body that cannot be read.
        """
        answered(None)
        try:
            url = urlsplit(request.url)
            connection = self._take(url)
        except (InvalidURL, ValueError):  # whose text may hold the address
            raise UnusableRequestError from None
        is_reusable = False
        try:
            if connection.sock is None:
                permit_of_this_thread().connecting()
                self._connect(connection, request.url)
            answer, is_reusable = self._exchange(connection, request, url)
            return answer
        finally:  # the late answer of a call that was given up must not reach another call
            idle = self._idle[url.scheme, url.netloc]
            if is_reusable and connection.sock is not None and len(idle) < self._most_kept:
                idle.append(connection)
            else:
                connection.close()

    def close(self) -> None:
        """Close the connections that are kept."""
        _close(self._idle)

    def _take(self, url: SplitResult) -> _Connection:
        """Take a free connection, or make one that is not open yet."""
        idle = self._idle.setdefault((url.scheme, url.netloc), deque())
        with suppress(IndexError):
            while True:
                connection = idle.pop()
                if not wait_for_read(connection.sock, timeout=0):
                    return connection
                connection.close()  # by the server: there would be nothing to read otherwise
        return _Connection(url, self._tls)

    def _connect(self, connection: _Connection, url: str) -> None:
        until = _until(self._connect_seconds)
        try:
            addresses = self._names.look_up(connection.host, connection.port, until)
            connection.open(addresses, until)
        except TimeoutError as error:
            if time.monotonic() >= permit_of_this_thread().deadline:
                raise TooLateError from None
            raise ConnectTimeoutError(endpoint_url=url, error=error) from error
        except ssl.SSLCertVerificationError as error:
            raise UntrustedCertificateError(endpoint_url=url, error=error) from error
        except ssl.SSLError as error:
            raise SSLError(endpoint_url=url, error=error) from error
        except UnicodeError:  # a label that is no label of a host
            raise UnusableRequestError from None
        except OSError as error:
            raise EndpointConnectionError(endpoint_url=url, error=error) from error

    def _exchange(
        self, connection: _Connection, request: AWSPreparedRequest, url: SplitResult
    ) -> tuple[AWSResponse, bool]:
        """Send a request and read its answer. Tell whether the connection serves another."""
        target = f"{url.path or '/'}?{url.query}" if url.query else url.path or "/"
        asked: Any = request  # its stubs know less of it than http.client wants to know
        try:
            # What is sent ends the request's head; a header that cannot be carried comes before.
            connection.putrequest(asked.method, target, skip_host="Host" in asked.headers)
            for name, value in asked.headers.items():
                connection.putheader(name, value)
        except (ValueError, HTTPException):  # whose text holds the header: a credential, maybe
            raise UnusableRequestError from None
        connection.sock.allow(_until(self._read_seconds), ANSWER_BYTES)
        permit_of_this_thread().sending()
        try:
            with suppress(BrokenPipeError, ConnectionResetError):  # it may have answered before
                connection.endheaders(asked.body)
                connection.flush()
            answer = connection.getresponse()
        except TimeoutError as error:
            raise ReadTimeoutError(endpoint_url=request.url, error=error) from error
        except OSError as error:
            raise ConnectionClosedError(
                error=error, request=request, endpoint_url=request.url
            ) from error
        except (HTTPException, ValueError) as error:
            raise ResponseParserError(_of_no_use(error)) from None
        answered(answer.status)
        headers: Any = answer.headers
        try:
            body = _body(answer)
        except (HTTPException, OSError, ValueError, zlib.error) as error:
            if answer.status < 300:
                raise ResponseParserError(_of_no_use(error)) from None
            return AWSResponse(request.url, answer.status, headers, _Body()), False
        return AWSResponse(request.url, answer.status, headers, _Body(body)), True


class _Body(bytes):
    """A body that has been read, as ``AWSResponse`` takes one."""

    __slots__ = ()

    def stream(self) -> Iterator[bytes]:
        """Give it in one piece."""
        yield self


class _Bounded(_Socket):
    """A socket with one time limit for all that is done with it, and a bound for what comes."""

    _until: float
    _room: int

    def allow(self, until: float, room: int) -> None:
        """Set when all must have ended, on ``time.monotonic``, and how many bytes may come."""
        self._until = until
        self._room = room

    def recv_into(self, *arguments: Any, **options: Any) -> int:
        self.settimeout(_left(self._until))
        count = super().recv_into(*arguments, **options)
        self._room -= count
        if self._room < 0:
            raise _AnswerTooLargeError
        return count

    def send(self, *arguments: Any) -> int:
        self.settimeout(_left(self._until))
        return super().send(*arguments)

    def sendall(self, *arguments: Any) -> None:
        self.settimeout(_left(self._until))
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


class _Connection(HTTPConnection):
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

    def open(self, addresses: Sequence[_AddressInfo], until: float) -> None:
        """Connect to the first of some addresses that answers.

        Raises
        ------
        OSError
            As the last of them did; ``TimeoutError`` and ``ssl.SSLError`` are such.
        """
        for number, address in enumerate(addresses, 1):
            share = _left(until) / (len(addresses) - number + 1)
            try:
                self.sock = self._opened(address, share, until)
            except ssl.SSLError:
                raise
            except OSError:
                if number == len(addresses):
                    raise
            else:
                return

    def _opened(self, address: _AddressInfo, seconds: float, until: float) -> _Bounded:
        family, kind, protocol, _, place = address
        plain = _BoundedSocket(family, kind, protocol)
        try:
            plain.settimeout(seconds)
            plain.connect(place)
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if self._tls is None:
                return plain
            plain.settimeout(_left(until))  # for the handshake as a whole
            wrapped = self._tls.wrap_socket(plain, server_hostname=self.host)
            return cast("_Bounded", wrapped)  # of the context's class
        except BaseException:
            plain.close()
            raise


class _Names:
    """Looks up the addresses of hosts, which nothing can interrupt.

    Each look-up has a thread of its own, and there is one at a time for a host: calls that
    find one under way wait for that one, so that threads do not accumulate while it hangs.
    """

    def __init__(self, resolve: Callable[..., Iterable[_AddressInfo]]) -> None:
        self._resolve = resolve
        self._under_way: dict[tuple[str, int], Future[list[_AddressInfo]]] = {}
        self._lock = threading.Lock()

    def look_up(self, host: str, port: int, until: float) -> Sequence[_AddressInfo]:
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
        return found.result(_left(until))

    def _find(self, host: str, port: int, found: Future[list[_AddressInfo]]) -> None:
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

    def _addresses(self, host: str, port: int, flags: int) -> list[_AddressInfo]:
        return list(self._resolve(host, port, type=socket.SOCK_STREAM, flags=flags))


def _until(seconds: float) -> float:
    """Tell when so many seconds have passed, or when the thread's permit ends before."""
    return min(time.monotonic() + seconds, permit_of_this_thread().deadline)


def _left(until: float) -> float:
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


def _tls(ca_bundle: str) -> ssl.SSLContext:
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


def _of_no_use(error: Exception) -> str:
    return f"an answer of no use ({type(error).__name__})"


def _close(idle: dict[tuple[str, str], deque[_Connection]]) -> None:
    for connections in idle.values():
        while connections:
            connections.pop().close()


def _body(answer: HTTPResponse) -> bytes:
    """Read a body to its end and undo its compression.

    Raises
    ------
    HTTPException, OSError, ValueError, zlib.error
        If it is cut short, too large, or compressed in a way that is not known.
    """
    parts = []
    while part := answer.read(_PART_BYTES):
        parts.append(part)
    body = b"".join(parts)
    if answer.length:  # http.client reads in parts without comparing
        raise IncompleteRead(b"", answer.length)
    encoding = (answer.headers.get("Content-Encoding") or "identity").strip().lower()
    if encoding == "identity":
        return body
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise ValueError("a Content-Encoding that was not asked for")
    unpacking = zlib.decompressobj(zlib.MAX_WBITS | 32)  # either form, told by its head
    unpacked = unpacking.decompress(body, ANSWER_BYTES)
    if not unpacking.eof:
        raise ValueError("cut short, or too large")
    return unpacked
