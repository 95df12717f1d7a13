"""moto's server on loopback, in threads of this process, with further applications.

WSGI applications can be mounted in front of moto by path. A command line gets what it needs to
start the server, to report errors, and to end cleanly.

Requests of web pages of other sites are refused. moto answers every page. Here any page could then
run code on this machine, because the sandbox runs functions and does not check signatures.
"""

from __future__ import annotations

import errno
import logging
import re
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from io import BytesIO
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, Self, TextIO

from moto.moto_api._internal.models import moto_api_backend
from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)

from sandbox.loopback import ADDRESS, LoopbackServer, origin_form, refusal_reason

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_logger = logging.getLogger(__name__)

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_BODILESS = (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)
_TEXT = "text/plain; charset=utf-8"
_FOLD = re.compile(r"[ \t]*(?:\r\n|\r|\n)[ \t]+")


class PortTakenError(Exception):
    """The port is in use; the message names the cure."""

    def __init__(self, port: int) -> None:
        super().__init__(
            f"Port {port} on {ADDRESS} is taken by another program, perhaps by another sandbox. "
            f"End that one, or choose another port: PORT={port + 10}."
        )
        self.port = port


class _Stopped(BaseException):
    """A signal told this process to end."""


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """End the block at Ctrl-C or SIGTERM, without an error and after all its clean-up.

    Only the first signal counts: a second Ctrl-C must not interrupt the clean-up. For the main
    thread only.

    Examples
    --------
    >>> with ended_by_signals(), Server(port=5000) as server:
    ...     print(server.url)
    ...     signal.pause()
    """

    def stop(_signal: int, _frame: FrameType | None) -> None:
        for number in _STOP_SIGNALS:
            signal.signal(number, lambda *_: None)
        raise _Stopped

    before = {number: signal.signal(number, stop) for number in _STOP_SIGNALS}
    try:
        yield
    except _Stopped:
        pass
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Server:
    """A local AWS with an empty account, alive inside its `with` block.

    Parameters
    ----------
    port
        The port on 127.0.0.1; 0 takes a free one.
    mounts
        WSGI applications by path prefix (`/sandbox`), in front of moto. They
        get the whole path with the prefix.
    guard
        Wraps moto and the mounted applications, and may answer in their place. It
        does not see requests that the server refuses.
    unguarded
        WSGI applications by path prefix, like ``mounts``, but in front of the
        guard: they check their callers themselves.
    request_log
        Gets a line for each request; if left out, nothing is logged.

    Raises
    ------
    PortTakenError
        On entering the block, if something else listens on the port.

    Examples
    --------
    >>> with Server(port=0) as server:
    ...     boto3.client("sqs", endpoint_url=server.url)
    """

    def __init__(
        self,
        port: int = 0,
        *,
        mounts: Mapping[str, WSGIApplication] | None = None,
        guard: Callable[[WSGIApplication], WSGIApplication] | None = None,
        unguarded: Mapping[str, WSGIApplication] | None = None,
        request_log: TextIO | None = None,
    ) -> None:
        self._wanted_port = port
        self._mounts = dict(mounts or {})
        self._guard = guard
        self._unguarded = dict(unguarded or {})
        self._request_log = request_log
        self._http: _HttpServer | None = None

    @property
    def port(self) -> int:
        """The port that the server listens on."""
        if self._http is None:
            raise RuntimeError("The server has no port outside its `with` block.")
        return self._http.port

    @property
    def url(self) -> str:
        """The value for `--endpoint-url` and AWS_ENDPOINT_URL."""
        return f"http://{ADDRESS}:{self.port}"

    def __enter__(self) -> Self:
        try:
            self._http = _HttpServer(self._wanted_port, self._request_log)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise PortTakenError(self._wanted_port) from None
            raise
        # moto keeps its resources in the process: without a reset a second server
        # would begin with those of the first.
        moto_api_backend.reset()
        application = _mounted(self._mounts, in_front_of=_Dispatcher(create_backend_app))
        if self._guard is not None:
            application = self._guard(application)
        self._http.app = _mounted(self._unguarded, in_front_of=application)
        self._http.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._http is not None:
            self._http.close()
            self._http = None


def _mounted(
    mounts: Mapping[str, WSGIApplication], *, in_front_of: WSGIApplication
) -> WSGIApplication:
    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        fitting = [mount for mount in mounts if path == mount or path.startswith(f"{mount}/")]
        chosen = mounts[max(fitting, key=len)] if fitting else in_front_of
        return chosen(environ, start_response)

    return application


class _Dispatcher(DomainDispatcherApplication):
    """moto's choice of a service, made once for each host name.

    moto itself searches its folders on disk for every request, under a lock that all
    requests share: a third of the time of a response.
    """

    def __init__(self, create_app: Any) -> None:
        super().__init__(create_app)
        self._backends: dict[str | None, Any] = {}

    def get_backend_for_host(self, host: str | None) -> Any:
        """Return the service, if any."""
        if host not in self._backends:
            self._backends[host] = super().get_backend_for_host(host)
        return self._backends[host]


class _HttpServer(LoopbackServer):
    """The attributes that werkzeug's request handler expects of its server."""

    app: WSGIApplication
    multithread = True
    multiprocess = False
    ssl_context = None
    _server_version = "push-sender-sandbox"

    def __init__(self, port: int, request_log: TextIO | None) -> None:
        self.request_log = request_log
        super().__init__(port, _RequestHandler)


class _RequestHandler(MotoRequestHandler):
    """moto's request handler, with connections that stay open.

    werkzeug's own handler closes each connection and waits 10 ms at the end of each request,
    because it does not know what the application left unread. moto reads and writes complete
    bodies. So here the body is read first and the length of the response is always known, and a
    client's connection pool works as against AWS.
    """

    protocol_version = "HTTP/1.1"
    # Head and body are sent in one packet, without waiting for an acknowledgement.
    wbufsize = -1
    disable_nagle_algorithm = True

    def handle_expect_100(self) -> bool:
        """Let a client that sent Expect: 100-continue send its body."""
        allowed = super().handle_expect_100()
        self.wfile.flush()
        return allowed

    def parse_request(self) -> bool:
        """Read a request's head, with headers as RFC 9110 and 9112 define them.

        White space around a value is removed, and a folded line continues after a space.
        """
        if not super().parse_request():
            return False
        headers = self.MessageClass()
        for name, value in self.headers.items():
            headers[name] = _FOLD.sub(" ", value).strip(" \t")
        self.headers = headers
        return True

    def run_wsgi(self) -> None:
        """Answer one request."""
        refusal = refusal_reason(self.headers, self.path, self.server.server_address[1])
        self.path = origin_form(self.path) if refusal is None else "/"
        self.environ = environ = self.make_environ()
        body = environ["wsgi.input"].read(self._announced_length())
        if refusal is not None:
            self._send(HTTPStatus.FORBIDDEN, [("Content-Type", _TEXT)], f"{refusal}\n".encode())
            return
        environ["wsgi.input"] = BytesIO(body)
        if environ.pop("HTTP_TRANSFER_ENCODING", None):
            environ["CONTENT_LENGTH"] = str(len(body))
        status, headers, payload = self._ask_application(environ)
        self._send(status, headers, payload)

    def _announced_length(self) -> int:
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            return -1  # werkzeug's stream knows its end
        try:
            return max(0, int(self.headers.get("Content-Length", 0)))
        except ValueError:
            self.close_connection = True
            return 0

    def _ask_application(
        self, environ: dict[str, Any]
    ) -> tuple[HTTPStatus | int, list[tuple[str, str]], bytes]:
        begun: list[tuple[str, list[tuple[str, str]]]] = []
        written: list[bytes] = []

        def start_response(status: str, headers: list[tuple[str, str]], _exc: Any = None) -> Any:
            begun.append((status, headers))
            return written.append

        try:
            answer: Iterable[bytes] = self.server.app(environ, start_response)
            try:
                written.extend(answer)
            finally:
                if hasattr(answer, "close"):
                    answer.close()
            status, headers = begun[-1]
            return int(status.split()[0]), headers, b"".join(written)
        except NotImplementedError as lacking:
            # No warning: a program such as `make smoke` asks on purpose, and gets this answer.
            _logger.info("%s %s: not in the sandbox: %s", self.command, self.path, lacking)
            return _refused(HTTPStatus.NOT_IMPLEMENTED, "The sandbox does not have this.")
        except Exception:
            # A defect of the sandbox, not an error of the caller: logged where the sandbox runs.
            _logger.exception("%s %s failed in the sandbox", self.command, self.path)
            message = "The sandbox itself failed; its output says how."
            return _refused(HTTPStatus.INTERNAL_SERVER_ERROR, message)

    def _send(self, status: int, headers: list[tuple[str, str]], payload: bytes) -> None:
        self.send_response(status)
        bodiless = status in _BODILESS or self.command == "HEAD"
        for name, value in headers:
            # moto's length is used only if there is no body to count.
            if name.lower() not in ("content-length", "connection") or (
                self.command == "HEAD" and name.lower() == "content-length"
            ):
                self.send_header(name, value)
        if not bodiless:
            self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        if not bodiless:
            self.wfile.write(payload)
        self.wfile.flush()

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Write a line to the request log, if there is one."""
        if isinstance(self.server, _HttpServer) and self.server.request_log is not None:
            status = int(code) if isinstance(code, int) else code
            print(self.command, self.path, status, file=self.server.request_log, flush=True)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  http.server's name
        """Drop http.server's messages about malformed requests: the client gets an error."""


def _refused(status: HTTPStatus, message: str) -> tuple[HTTPStatus, list[tuple[str, str]], bytes]:
    # HTML, because SDKs of every protocol take that for an error of the service.
    return status, [("Content-Type", "text/html")], f"<html>{message}</html>".encode()
