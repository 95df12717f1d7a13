"""SendMessages on loopback, which misbehaves by plan and keeps the book of what it took."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import Any, Final, NamedTuple

from soak.answers import OF_CALL, Answer
from soak.faults import KILLED, LOST, REFUSED, UNREADABLE, CallFault, Fate, Faults
from soak.ledger import Acceptance, Ledger

LATE_SECONDS: Final = 11.0
"""Past the 10 s that the function waits for an answer."""

SLOW_SECONDS: Final = 8.0
"""Just before that."""


class Process(NamedTuple):
    """Who is calling: a process of the function, and what it works on.

    Attributes
    ----------
    access_key
        Each process has a key of its own to sign with.
    run
        The root of the trace that Lambda gives each invocation.
    """

    access_key: str
    run: str


Kill = Callable[[Process], None]
"""Ends a process, and comes back when it is gone."""

_WORDS: Final[Mapping[Fate, tuple[str, int, str]]] = {
    Fate.ACCEPTED: ("SUCCESSFUL", 200, ""),
    Fate.REPLACED: ("SUCCESSFUL", 200, ""),
    Fate.DEAD: ("PERMANENT_FAILURE", 410, '{"pushProviderError":"Unregistered"}'),
    Fate.INVALID: ("PERMANENT_FAILURE", 410, '{"pushProviderError":"BadDeviceToken"}'),
    Fate.REJECTED: ("PERMANENT_FAILURE", 400, '{"pushProviderError":"PayloadTooLarge"}'),
    Fate.OPTED_OUT: ("OPT_OUT", 400, ""),
    Fate.THROTTLED_ONCE: ("THROTTLED", 429, ""),
    Fate.TEMPORARY_ONCE: ("TEMPORARY_FAILURE", 503, ""),
    Fate.BUSY: ("THROTTLED", 429, ""),
    Fate.MISCONFIGURED: ("PERMANENT_FAILURE", 403, '{"pushProviderError":"MismatchSenderId"}'),
    Fate.NO_CHANNEL: ("PERMANENT_FAILURE", 400, "No channel of type ADM is enabled"),
    Fate.UNKNOWN: ("UNKNOWN_FAILURE", 500, ""),
    Fate.TOO_DEEP: ("UNKNOWN_FAILURE", 500, '{"errorMessage":' * 20_000),
}
_DOUBTFUL: Final = KILLED | LOST | UNREADABLE | {CallFault.RESET, CallFault.SLOW}
"""Of a call's faults those after which the function cannot know what the provider did."""

_ODD: Final[Mapping[Fate, Any]] = {
    Fate.NULL_ACCEPTED: None,
    Fate.ODD_ACCEPTED: {
        "DeliveryStatus": {"is": "SUCCESSFUL"},
        "StatusCode": "two hundred",
        "StatusMessage": [{"reason": 200}],
        "MessageId": 7,
        "UpdatedToken": [],
    },
}
_ACCEPTED: Final = frozenset({Fate.ACCEPTED, Fate.REPLACED, Fate.MISSING_ACCEPTED, *_ODD})
_UNSAID: Final = frozenset(
    {Fate.MISSING, Fate.MISSING_ACCEPTED, Fate.UNKNOWN, Fate.TOO_DEEP, *_ODD}
)
"""The same of an address's."""

_ONCE: Final = frozenset({Fate.THROTTLED_ONCE, Fate.TEMPORARY_ONCE})
_UNTIL_MENDED: Final = frozenset({Fate.BUSY, Fate.MISCONFIGURED, Fate.NO_CHANNEL})


class _Call(NamedTuple):
    """A SendMessages call as it came."""

    number: int
    addresses: Mapping[str, Any]
    caller: Process


class Provider:
    """The push service with all its providers.

    Parameters
    ----------
    faults
        What goes wrong.
    ledger
        The book.
    kill
        Ends the process that is calling.
    requests
        The number of the request that a device belongs to.

    Attributes
    ----------
    url
        Where it listens.
    """

    def __init__(
        self, faults: Faults, ledger: Ledger, kill: Kill, requests: Mapping[str, int]
    ) -> None:
        self.url = ""
        self._faults = faults
        self._ledger = ledger
        self._kill = kill
        self._numbers = count()
        self._lock = threading.Lock()
        self._requests = requests
        self._sizes = Counter(requests.values())
        self._named_first: Counter[str] = Counter()
        self._calls: Counter[int] = Counter()
        self._tried: Counter[str] = Counter()
        self._mended = False

    def mend(self) -> None:
        """Set up the missing channel, and have room for everybody."""
        self._mended = True

    def answer(self, handler: BaseHTTPRequestHandler, body: bytes, wire: Wire) -> None:
        """Answer one call on its wire, or let it down."""
        addresses: Mapping[str, Any] = json.loads(body)["Addresses"]
        with self._lock:
            call = _Call(next(self._numbers), addresses, process_of(handler))
            first = min(addresses)
            request = self._requests[first]
            fault = self._faults.of_call(
                first,
                self._named_first[first],
                request,
                self._sizes[request],
                self._calls[request],
            )
            self._named_first[first] += 1
            self._calls[request] += 1
        if fault is not None:
            self._ledger.trouble(f"SendMessages: {fault}")
        self._ledger.note(addresses, f"call {call.number}: {fault or 'answered'}")
        if fault in _DOUBTFUL:
            self._ledger.doubt(addresses, str(fault))
        match fault:
            case _ if fault in REFUSED:
                wire.give(OF_CALL[fault](b""))
            case CallFault.RESET:
                wire.hang_up()
            case CallFault.KILLED_BEFORE:
                self._kill(call.caller)
                wire.hang_up()
            case _:
                self._deliver(call, fault, wire)

    def _deliver(self, call: _Call, fault: CallFault | None, wire: Wire) -> None:
        told = self._told(call, fault)
        match fault:
            case CallFault.CUT_OFF:
                wire.hang_up()
            case CallFault.LATE:
                time.sleep(LATE_SECONDS)
                wire.hang_up()
            case CallFault.SLOW:
                time.sleep(SLOW_SECONDS)
                self._tell(call, Answer(200, told), wire)
            case _ if fault in UNREADABLE:
                # Its client closes the connection, whether it heard this or not.
                if not wire.give(OF_CALL[fault](told)):
                    self._note_overdue(call)
            case CallFault.KILLED_AFTER:
                self._kill(call.caller)
                wire.hang_up()
            case CallFault.INTERIM:
                self._tell(call, OF_CALL[fault](told), wire)
            case _:
                self._tell(call, Answer(200, told), wire)

    def _tell(self, call: _Call, answer: Answer, wire: Wire) -> None:
        """Answer readably, and see whether the client was still there to hear it."""
        if not (wire.give(answer) and wire.is_there()):
            self._note_overdue(call)

    def _note_overdue(self, call: _Call) -> None:
        self._ledger.trouble(f"SendMessages: {CallFault.OVERDUE}")
        self._ledger.note(call.addresses, f"call {call.number}: {CallFault.OVERDUE}")
        self._ledger.doubt(call.addresses, CallFault.OVERDUE)
        self._ledger.unhear(call.addresses, call.number, CallFault.OVERDUE)

    def _told(self, call: _Call, fault: CallFault | None) -> bytes:
        """Deliver to every device, and write what is answered of each."""
        results: dict[str, Any] = {}
        for token, address in call.addresses.items():
            fate = self._fate(token, address["ChannelType"])
            if fate in _ACCEPTED:
                self._ledger.accept(token, Acceptance(call.number, fault, call.caller.run))
            elif fate is Fate.OPTED_OUT:
                self._ledger.opt_out(token)
            self._ledger.note([token], f"call {call.number}: {fate}")
            if fate in _UNSAID:
                self._ledger.doubt([token], fate)
            if fate in (Fate.MISSING, Fate.MISSING_ACCEPTED):
                continue
            if fate in _ODD:
                results[token] = _ODD[fate]
                continue
            status, code, message = _WORDS[fate]
            results[token] = {
                "DeliveryStatus": status,
                "StatusCode": code,
                "StatusMessage": message,
                "MessageId": f"{call.number}-{token[-7:]}",
                **({"UpdatedToken": f"new-{token}"} if fate is Fate.REPLACED else {}),
            }
        answer = {"ApplicationId": "soak", "RequestId": str(call.number), "Result": results}
        return json.dumps(answer).encode()

    def _fate(self, token: str, service: str) -> Fate:
        fate = self._faults.fate_of(token, service)
        with self._lock:
            tried = self._tried[token]
            self._tried[token] += 1
        if (fate in _ONCE and tried) or (fate in _UNTIL_MENDED and self._mended):
            return Fate.ACCEPTED
        return fate


def process_of(handler: BaseHTTPRequestHandler) -> Process:
    """Read who is calling: the SDK signs, and passes Lambda's trace on."""
    _, _, credential = handler.headers.get("Authorization", "").partition("Credential=")
    _, _, trace = handler.headers.get("X-Amzn-Trace-Id", "").partition("Root=")
    return Process(credential.partition("/")[0], trace.partition(";")[0])


class Wire:
    """One request's connection, to answer on or to break."""

    def __init__(self, handler: BaseHTTPRequestHandler) -> None:
        self._handler = handler

    def give(self, answer: Answer) -> bool:
        """Write an answer, and tell whether the client had stayed for it."""
        is_whole = answer.status is not None and answer.length is None
        self._handler.close_connection |= not is_whole
        if not self.is_there():
            return False
        try:
            if answer.status is not None:
                self._head(answer.status, answer)
            self._handler.wfile.write(answer.body)
        except ConnectionError:
            return False
        return True

    def is_there(self) -> bool:
        """Tell whether the client has its end open, as it has when it waits or has heard."""
        try:
            here: bytes = self._handler.connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
            return here != b""
        except BlockingIOError:
            return True
        except ConnectionError:
            return False

    def hang_up(self) -> None:
        """Answer nothing, and close."""
        self._handler.close_connection = True

    def _head(self, status: int, answer: Answer) -> None:
        for _ in range(answer.interim):
            self._handler.send_response_only(103, "Early Hints")
            self._handler.send_header("Link", "</>; rel=preload")
            self._handler.end_headers()
        self._handler.send_response(status)
        for name, value in answer.headers.items():
            self._handler.send_header(name, value)
        length = len(answer.body) if answer.length is None else answer.length
        self._handler.send_header("Content-Length", str(length))
        self._handler.end_headers()


Answerer = Callable[[BaseHTTPRequestHandler, bytes, Wire], None]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a client that is gone: some are killed."""


@contextmanager
def listening(answerer: Answerer) -> Iterator[str]:
    """Serve POST on a free port of loopback; give the URL."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = -1

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            answerer(self, body, Wire(self))

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  http.server's name
            pass

    server = _Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
