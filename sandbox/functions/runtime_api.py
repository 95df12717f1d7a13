"""Lambda's Runtime API for one process, which AWS's runtime client calls.

The sandbox passes in an invocation and waits for its answer. Over HTTP, the runtime fetches the
invocation and returns the answer.
"""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from threading import Condition

from sandbox.entry_points import DIRECT
from sandbox.loopback import ADDRESS, LoopbackServer, refusal_reason

# "6 MB" to the byte, as Lambda's own error message gives it.
RESPONSE_LIMIT = 6_291_556


@dataclass(frozen=True)
class Invocation:
    """An event for a function."""

    request_id: str
    payload: bytes
    function_arn: str
    """With the qualifier of the caller, if there is one."""
    trace_id: str
    client_context: str | None = None
    """JSON text, in ASCII."""
    entry_point: str = DIRECT
    """One of ``sandbox.entry_points``; the function does not get it."""


@dataclass(frozen=True)
class Answer:
    """The result of a function or its error, as JSON."""

    payload: bytes
    failed: bool = False


class RuntimeApi(LoopbackServer):
    """The exchange between Lambda and one runtime process."""

    def __init__(self) -> None:
        super().__init__(0, _RuntimeRequests)
        self._changed = Condition()
        self._runtime_asks = False
        self._ended = False
        self._task: tuple[Invocation, float] | None = None
        self._current: str | None = None
        self._answer: Answer | None = None
        self.init_error: Answer | None = None
        self.ready_at: float | None = None
        """`time.monotonic()` of the runtime's first request for work."""

    @property
    def address(self) -> str:
        """The value of AWS_LAMBDA_RUNTIME_API."""
        return f"{ADDRESS}:{self.port}"

    def wait_until_ready(self, seconds: float) -> bool:
        """Wait until the runtime asks for work; False if it failed, ended or took too long."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._runtime_asks or self.init_error or self._ended, seconds
            )
            return self._runtime_asks and not self._ended

    def run(self, invocation: Invocation, seconds: float) -> Answer | None:
        """Run an invocation; return None if the time is over or the process has ended.

        As in Lambda, an invocation ends when the runtime asks for the next one. So a process
        that still works on its answer is never reused.
        """
        with self._changed:
            self._answer = None
            self._current = invocation.request_id
            self._task = (invocation, time.time() + seconds)
            self._changed.notify_all()
            self._changed.wait_for(
                lambda: self._ended or (self._answer is not None and self._runtime_asks), seconds
            )
            self._current = None
            return self._answer

    @property
    def reusable(self) -> bool:
        """Whether the runtime is waiting for work."""
        with self._changed:
            return self._runtime_asks and not self._ended

    def end(self) -> None:
        """End all waiting: the process has ended or is about to."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    # Called for the runtime.

    def next_task(self) -> tuple[Invocation, float] | None:
        """Wait for an invocation and its deadline; return None at the end."""
        with self._changed:
            self._runtime_asks = True
            if self.ready_at is None:
                self.ready_at = time.monotonic()
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._task or self._ended)
            task, self._task = self._task, None
            self._runtime_asks = False
            return None if self._ended else task

    def accept(self, request_id: str, answer: Answer) -> bool:
        """Accept the answer to the current invocation; return False for any other."""
        with self._changed:
            if request_id != self._current or self._answer is not None:
                return False
            self._answer = answer
            self._changed.notify_all()
            return True

    def accept_init_error(self, payload: bytes) -> None:
        """Accept the reason why the function could not be loaded."""
        with self._changed:
            self.init_error = Answer(payload, failed=True)
            self._changed.notify_all()


_TOO_LARGE = Answer(
    json.dumps(
        {
            "errorMessage": "Response payload size exceeded maximum allowed payload size "
            f"({RESPONSE_LIMIT} bytes).",
            "errorType": "Function.ResponseSizeTooLarge",
        }
    ).encode(),
    failed=True,
)

_INVOCATION = re.compile(r"/2018-06-01/runtime/invocation/([^/]+)/(response|error)")


class _RuntimeRequests(BaseHTTPRequestHandler):
    server: RuntimeApi
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True

    def parse_request(self) -> bool:
        """Read a request's head, and refuse web pages, which can find the port."""
        if not super().parse_request():
            return False
        refusal = refusal_reason(self.headers, self.path, self.server.port)
        if refusal is not None:
            self.send_error(HTTPStatus.FORBIDDEN, explain=refusal)
        return refusal is None

    def do_GET(self) -> None:
        if self.path != "/2018-06-01/runtime/invocation/next":
            self._refuse(404, "UnknownPath")
            return
        task = self.server.next_task()
        if task is None:
            self.close_connection = True
            return
        invocation, deadline = task
        headers = {
            "Content-Type": "application/json",
            "Lambda-Runtime-Aws-Request-Id": invocation.request_id,
            "Lambda-Runtime-Deadline-Ms": str(int(deadline * 1000)),
            "Lambda-Runtime-Invoked-Function-Arn": invocation.function_arn,
            "Lambda-Runtime-Trace-Id": invocation.trace_id,
        }
        if invocation.client_context is not None:
            headers["Lambda-Runtime-Client-Context"] = invocation.client_context
        self._send(200, invocation.payload, headers)

    def do_POST(self) -> None:
        payload = self._read()
        if self.path == "/2018-06-01/runtime/init/error":
            self.server.accept_init_error(payload)
            self._send(202)
            return
        match = _INVOCATION.fullmatch(self.path)
        if match is None:
            self._refuse(404, "UnknownPath")
            return
        request_id, kind = match.groups()
        fits = len(payload) <= RESPONSE_LIMIT
        answer = Answer(payload, failed=kind == "error") if fits else _TOO_LARGE
        if not self.server.accept(request_id, answer):
            self._refuse(400, "InvalidRequestID")
        elif fits:
            self._send(202)
        else:
            self._refuse(413, "RequestEntityTooLarge")

    def _read(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", "").lower():
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        chunks = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def _refuse(self, status: int, error: str) -> None:
        self._send(status, json.dumps({"errorType": error, "errorMessage": error}).encode())

    def _send(
        self, status: int, payload: bytes = b"", headers: dict[str, str] | None = None
    ) -> None:
        self.send_response(status)
        for name, value in (headers or {"Content-Type": "application/json"}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)
        self.wfile.flush()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  http.server's name
        """Log nothing: Lambda has no log of its Runtime API."""
