"""HTTP for the SDK's clients, over connections that are kept open.

botocore sends through urllib3 and two layers of its own, which take a fifth of a push's CPU.
For each new connection it also reads its 140 certificates of authorities again, which takes
tens of milliseconds (docs/performance.md). This module uses the standard library's
``http.client`` directly, as urllib3 does, and reads the certificates once. It raises botocore's
errors, so that callers see no difference.

Two limits of time cover a whole call, whatever hangs: name resolution, connecting, TLS, or a
slow answer. Nothing is retried here, and an answer has a maximum size.
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

from push_sender.clients.calls import TooLateError, permit_of_this_thread, record_status
from push_sender.clients.sockets import AddressInfo, Connection, Resolver, tls_context

ANSWER_BYTES: Final = 4_000_000
"""Maximum size of an answer with its head. The longest real one has 100 results of a few
kilobytes, or 100 of the table's items."""

_PART_BYTES: Final = 65_536


class UntrustedCertificateError(SSLError):
    """The server's certificate is not trusted, or belongs to another host. Nothing was sent."""


class UnusableRequestError(HTTPClientError):
    """The address or a header is not valid in HTTP. Nothing was sent."""

    fmt = "the address or a header is not what HTTP can carry"


class Connections:
    """Sends a client's requests, in place of botocore's ``URLLib3Session``.

    Many threads may use it at once: a connection belongs to one call, and another call may
    use it after the whole answer was read.

    Parameters
    ----------
    connect_seconds
        Time limit for name resolution, connecting and TLS together.
    read_seconds
        Time limit for sending a request and reading its answer together.
    max_idle
        How many connections to keep for later calls.
    ca_bundle
        The file of the authorities that may issue a server's certificate. None if no server
        uses TLS.
    resolve
        Returns the addresses of a host, as ``socket.getaddrinfo`` does.

    Raises
    ------
    ValueError
        If the file of authorities cannot be read.
    """

    def __init__(
        self,
        *,
        connect_seconds: float,
        read_seconds: float,
        max_idle: int,
        ca_bundle: str | None = None,
        resolve: Callable[..., Iterable[AddressInfo]] = socket.getaddrinfo,
    ) -> None:
        self._connect_seconds = connect_seconds
        self._read_seconds = read_seconds
        self._max_idle = max_idle
        self._tls = None if ca_bundle is None else tls_context(ca_bundle)
        self._resolver = Resolver(resolve)
        self._idle: dict[tuple[str, str], deque[Connection]] = {}
        weakref.finalize(self, _close, self._idle)

    def send(self, request: AWSPreparedRequest) -> AWSResponse:
        """Make a call and read its whole answer.

        Returns
        -------
        AWSResponse
            The answer. An error whose body cannot be read has an empty body.

        Raises
        ------
        ConnectTimeoutError, EndpointConnectionError, SSLError
            If there is no connection. Nothing was sent.
        UnusableRequestError
            If the address or a header is not valid in HTTP. Nothing was sent.
        TooLateError
            If the thread's permit has ended. Nothing was sent.
        ReadTimeoutError, ConnectionClosedError
            If no status was received. The call may have had its effect.
        ResponseParserError
            If the answer is not HTTP, or reports success with a body that cannot be read.
        """
        record_status(None)
        try:
            url = urlsplit(request.url)
            connection = self._take(url)
        except (InvalidURL, ValueError):  # its text may hold the address
            raise UnusableRequestError from None
        is_reusable = False
        try:
            if connection.sock is None:
                permit_of_this_thread().connecting()
                self._connect(connection, request.url)
            answer, is_reusable = self._exchange(connection, request, url)
            return answer
        finally:  # a late answer to an abandoned call must not reach another call
            idle = self._idle[url.scheme, url.netloc]
            if is_reusable and connection.sock is not None and len(idle) < self._max_idle:
                idle.append(connection)
            else:
                connection.close()

    def close(self) -> None:
        """Close the idle connections."""
        _close(self._idle)

    def _take(self, url: SplitResult) -> Connection:
        """Take an idle connection, or create one that is not open yet."""
        idle = self._idle.setdefault((url.scheme, url.netloc), deque())
        with suppress(IndexError):
            while True:
                connection = idle.pop()
                if not wait_for_read(connection.sock, timeout=0):
                    return connection
                connection.close()  # only a connection that the server closed has something to read
        return Connection(url, self._tls)

    def _connect(self, connection: Connection, url: str) -> None:
        until = _until(self._connect_seconds)
        try:
            addresses = self._resolver.look_up(connection.host, connection.port, until)
            connection.open(addresses, until)
        except TimeoutError as error:
            if time.monotonic() >= permit_of_this_thread().deadline:
                raise TooLateError from None
            raise ConnectTimeoutError(endpoint_url=url, error=error) from error
        except ssl.SSLCertVerificationError as error:
            raise UntrustedCertificateError(endpoint_url=url, error=error) from error
        except ssl.SSLError as error:
            raise SSLError(endpoint_url=url, error=error) from error
        except UnicodeError:  # a host name that is not valid
            raise UnusableRequestError from None
        except OSError as error:
            raise EndpointConnectionError(endpoint_url=url, error=error) from error

    def _exchange(
        self, connection: Connection, request: AWSPreparedRequest, url: SplitResult
    ) -> tuple[AWSResponse, bool]:
        """Send a request and read its answer; also return whether the connection is reusable."""
        target = f"{url.path or '/'}?{url.query}" if url.query else url.path or "/"
        untyped: Any = request  # its stubs lack types that http.client needs
        try:
            # Nothing is sent until endheaders, so an invalid header fails before.
            connection.putrequest(untyped.method, target, skip_host="Host" in untyped.headers)
            for name, value in untyped.headers.items():
                connection.putheader(name, value)
        except (ValueError, HTTPException):  # its text holds the header, which may be a credential
            raise UnusableRequestError from None
        connection.sock.limit(_until(self._read_seconds), ANSWER_BYTES)
        permit_of_this_thread().sending()
        try:
            with suppress(BrokenPipeError, ConnectionResetError):  # an answer may be there already
                connection.endheaders(untyped.body)
                connection.flush()
            answer = connection.getresponse()
        except TimeoutError as error:
            raise ReadTimeoutError(endpoint_url=request.url, error=error) from error
        except OSError as error:
            raise ConnectionClosedError(
                error=error, request=request, endpoint_url=request.url
            ) from error
        except (HTTPException, ValueError) as error:
            raise ResponseParserError(_unusable(error)) from None
        record_status(answer.status)
        headers: Any = answer.headers
        try:
            body = _body(answer)
        except (HTTPException, OSError, ValueError, zlib.error) as error:
            if answer.status < 300:
                raise ResponseParserError(_unusable(error)) from None
            return AWSResponse(request.url, answer.status, headers, _Body()), False
        return AWSResponse(request.url, answer.status, headers, _Body(body)), True


class _Body(bytes):
    """A body that has been read, in the forms that ``AWSResponse`` and ``StreamingBody`` take."""

    __slots__ = ()

    def read(self, amount: int | None = None) -> bytes:
        """Return the whole body, once: ``StreamingBody`` is asked for all of it."""
        return self

    def stream(self) -> Iterator[bytes]:
        """Yield the body in one piece."""
        yield self


def _until(seconds: float) -> float:
    """Return the moment in ``seconds``, or the end of the thread's permit if that is earlier."""
    return min(time.monotonic() + seconds, permit_of_this_thread().deadline)


def _unusable(error: Exception) -> str:
    return f"an unusable answer ({type(error).__name__})"


def _close(idle: dict[tuple[str, str], deque[Connection]]) -> None:
    for connections in idle.values():
        while connections:
            connections.pop().close()


def _body(answer: HTTPResponse) -> bytes:
    """Read a body to its end and undo its compression.

    Raises
    ------
    HTTPException, OSError, ValueError, zlib.error
        If it is incomplete, too large, or its compression is unknown.
    """
    parts = []
    while part := answer.read(_PART_BYTES):
        parts.append(part)
    body = b"".join(parts)
    if answer.length:  # http.client does not check the length when it reads in parts
        raise IncompleteRead(b"", answer.length)
    encoding = (answer.headers.get("Content-Encoding") or "identity").strip().lower()
    if encoding == "identity":
        return body
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise ValueError("a Content-Encoding that was not asked for")
    unpacking = zlib.decompressobj(zlib.MAX_WBITS | 32)  # gzip or zlib, by its header
    unpacked = unpacking.decompress(body, ANSWER_BYTES)
    if not unpacking.eof:
        raise ValueError("cut short, or too large")
    return unpacked
