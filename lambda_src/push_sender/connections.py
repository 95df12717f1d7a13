"""HTTP for the SDK's clients, over connections that are kept.

botocore sends through urllib3 and two layers of its own around that, which take a fifth of a
push's CPU, and for each new connection it reads its 140 certificates of authorities anew, tens
of milliseconds (docs/performance.md). Here is what does the work beneath all of them, the
standard library's ``http.client``, used as they use it and read once. Errors are botocore's
own, so nobody above can tell the difference.
"""

from __future__ import annotations

import socket
import ssl
import weakref
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from http.client import HTTPConnection, HTTPException, HTTPSConnection, InvalidURL
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
from botocore.httpsession import create_urllib3_context
from urllib3.util import wait_for_read

_CANNOT_BE_CARRIED: Final = "the address or a header is not what HTTP can carry"

_Idle = dict[tuple[str, str], deque[HTTPConnection]]
"""The connections that are free, by scheme and host."""


class Connections:
    """Sends what a client asks for, in place of botocore's ``URLLib3Session``.

    Used by many threads at once: a connection belongs to one call, and is kept for another
    when that call has had its whole answer.

    Parameters
    ----------
    connect_seconds
        How long to wait for a connection.
    read_seconds
        How long to wait for each part of an answer.
    most_kept
        How many connections to keep for later calls.
    ca_bundle
        The file of the authorities that a server's certificate must come from. None where no
        server has one.

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
    ) -> None:
        self._connect_seconds = connect_seconds
        self._read_seconds = read_seconds
        self._most_kept = most_kept
        self._tls = None if ca_bundle is None else _tls(ca_bundle)
        self._idle: _Idle = {}
        weakref.finalize(self, _close, self._idle)

    def send(self, request: AWSPreparedRequest) -> AWSResponse:
        """Make a call and read its answer whole.

        Raises
        ------
        ConnectTimeoutError, EndpointConnectionError, SSLError
            If there is no connection: nothing was sent.
        ReadTimeoutError, ConnectionClosedError
            If no whole answer came. What was asked for may have been done.
        HTTPClientError
            If HTTP cannot carry the request.
        """
        try:
            return self._send(request, urlsplit(request.url))
        except (InvalidURL, ValueError):  # whose text holds the header: it may be a credential
            raise HTTPClientError(error=_CANNOT_BE_CARRIED) from None

    def close(self) -> None:
        """Close the connections that are kept."""
        _close(self._idle)

    def _send(self, request: AWSPreparedRequest, url: SplitResult) -> AWSResponse:
        idle = self._idle.setdefault((url.scheme, url.netloc), deque())
        connection = _still_open(idle) or self._new(url)
        is_answered = False
        try:
            if connection.sock is None:
                self._connect(connection, request.url)
            answer = _exchange(connection, request, url)
            is_answered = True
            return answer
        finally:  # whatever broke a call off: what may come of its answer is nobody else's
            if is_answered and connection.sock is not None and len(idle) < self._most_kept:
                idle.append(connection)
            else:
                connection.close()

    def _new(self, url: SplitResult) -> HTTPConnection:
        host = url.hostname or ""
        if url.scheme == "http":
            return HTTPConnection(host, url.port, timeout=self._connect_seconds)
        if url.scheme == "https":
            return HTTPSConnection(host, url.port, timeout=self._connect_seconds, context=self._tls)
        raise ValueError(url.scheme)

    def _connect(self, connection: HTTPConnection, url: str) -> None:
        try:
            connection.connect()
        except TimeoutError as error:
            raise ConnectTimeoutError(endpoint_url=url, error=error) from error
        except ssl.SSLError as error:
            raise SSLError(endpoint_url=url, error=error) from error
        except OSError as error:
            raise EndpointConnectionError(endpoint_url=url, error=error) from error
        connection.sock.settimeout(self._read_seconds)
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


class _Body(bytes):
    """A body that has been read, as ``AWSResponse`` takes one."""

    __slots__ = ()

    def stream(self) -> Iterator[bytes]:
        """Give it in one piece."""
        yield self


def _tls(ca_bundle: str) -> ssl.SSLContext:
    """Set up TLS as the SDK does."""
    context: ssl.SSLContext = create_urllib3_context()
    context.check_hostname = True  # botocore leaves that to urllib3
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_verify_locations(ca_bundle)
    except OSError as error:  # ssl.SSLError is one, too
        raise ValueError(f"no certificates can be read from {ca_bundle}: {error}") from error
    return context


def _still_open(idle: deque[HTTPConnection]) -> HTTPConnection | None:
    """Take a free connection, unless the server has closed it: there is something to read then."""
    with suppress(IndexError):
        while True:
            connection = idle.pop()
            if not wait_for_read(connection.sock, timeout=0):
                return connection
            connection.close()
    return None


def _close(idle: _Idle) -> None:
    for connections in idle.values():
        while connections:
            connections.pop().close()


def _exchange(
    connection: HTTPConnection, request: AWSPreparedRequest, url: SplitResult
) -> AWSResponse:
    target = f"{url.path or '/'}?{url.query}" if url.query else url.path or "/"
    asked: Any = request  # its stubs know less of it than http.client wants to know
    try:
        with suppress(BrokenPipeError, ConnectionResetError):  # it may have answered before
            connection.request(asked.method, target, asked.body, asked.headers)
        answer = connection.getresponse()
        body = answer.read()
    except TimeoutError as error:
        raise ReadTimeoutError(endpoint_url=request.url, error=error) from error
    except (HTTPException, OSError) as error:
        raise ConnectionClosedError(
            error=error, request=request, endpoint_url=request.url
        ) from error
    headers: Any = answer.headers
    return AWSResponse(request.url, answer.status, headers, _Body(body))
