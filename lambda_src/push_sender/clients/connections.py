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
import time
import weakref
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from http.client import HTTPException, HTTPResponse, IncompleteRead, InvalidURL
from typing import Any, Final
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
from botocore.parsers import ResponseParserError
from urllib3.util import wait_for_read

from push_sender.clients.calls import TooLateError, answered, permit_of_this_thread
from push_sender.clients.sockets import AddressInfo, Connection, Names, tls_context

ANSWER_BYTES: Final = 4_000_000
"""Where an answer is given up, with its head. The longest real one has 100 results of a few
kilobytes, or 100 of the table's items."""

_PART_BYTES: Final = 65_536


class UntrustedCertificateError(SSLError):
    """The server's certificate is not trusted, or is another host's. Nothing was sent."""


class UnusableRequestError(HTTPClientError):
    """HTTP cannot carry the address or a header. Nothing was sent."""

    fmt = "the address or a header is not what HTTP can carry"


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
        resolve: Callable[..., Iterable[AddressInfo]] = socket.getaddrinfo,
    ) -> None:
        self._connect_seconds = connect_seconds
        self._read_seconds = read_seconds
        self._most_kept = most_kept
        self._tls = None if ca_bundle is None else tls_context(ca_bundle)
        self._names = Names(resolve)
        self._idle: dict[tuple[str, str], deque[Connection]] = {}
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

    def _take(self, url: SplitResult) -> Connection:
        """Take a free connection, or make one that is not open yet."""
        idle = self._idle.setdefault((url.scheme, url.netloc), deque())
        with suppress(IndexError):
            while True:
                connection = idle.pop()
                if not wait_for_read(connection.sock, timeout=0):
                    return connection
                connection.close()  # by the server: there would be nothing to read otherwise
        return Connection(url, self._tls)

    def _connect(self, connection: Connection, url: str) -> None:
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
        self, connection: Connection, request: AWSPreparedRequest, url: SplitResult
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


def _until(seconds: float) -> float:
    """Tell when so many seconds have passed, or when the thread's permit ends before."""
    return min(time.monotonic() + seconds, permit_of_this_thread().deadline)


def _of_no_use(error: Exception) -> str:
    return f"an answer of no use ({type(error).__name__})"


def _close(idle: dict[tuple[str, str], deque[Connection]]) -> None:
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
