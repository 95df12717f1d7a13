"""The simulated push service: SendMessages with faults, which records what it accepted."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler
from itertools import count
from typing import Any, Final, NamedTuple

from soak.answers import CALL_ANSWERS, Answer
from soak.faults import KILLED, LOST, REFUSED, UNREADABLE, Behaviour, CallFault, Faults
from soak.ledger import Acceptance, Ledger, PhonePush
from soak.phones import phone_in, result_name
from soak.plan import number_in
from soak.server import Connection, Kill, Process, process_of

LATE_SECONDS: Final = 11.0
"""Longer than the 10 s that the function waits for an answer."""

SLOW_SECONDS: Final = 8.0
"""Shorter than those."""


_ANSWERS: Final[Mapping[Behaviour, tuple[str, int, str]]] = {
    Behaviour.ACCEPTED: ("SUCCESSFUL", 200, ""),
    Behaviour.REPLACED: ("SUCCESSFUL", 200, ""),
    Behaviour.DEAD: ("PERMANENT_FAILURE", 410, '{"pushProviderError":"Unregistered"}'),
    Behaviour.INVALID: ("PERMANENT_FAILURE", 410, '{"pushProviderError":"BadDeviceToken"}'),
    Behaviour.REJECTED: (
        "PERMANENT_FAILURE",
        400,
        '{"pushProviderError":"PayloadTooLarge"}',
    ),
    Behaviour.OPTED_OUT: ("OPT_OUT", 400, ""),
    Behaviour.THROTTLED_ONCE: ("THROTTLED", 429, ""),
    Behaviour.TEMPORARY_ONCE: ("TEMPORARY_FAILURE", 503, ""),
    Behaviour.THROTTLED_UNTIL_FIXED: ("THROTTLED", 429, ""),
    Behaviour.MISCONFIGURED: (
        "PERMANENT_FAILURE",
        403,
        '{"pushProviderError":"MismatchSenderId"}',
    ),
    Behaviour.NO_CHANNEL: ("PERMANENT_FAILURE", 400, "No channel of type ADM is enabled"),
    Behaviour.UNKNOWN: ("UNKNOWN_FAILURE", 500, ""),
    Behaviour.TOO_DEEP: ("UNKNOWN_FAILURE", 500, '{"errorMessage":' * 20_000),
}
_DOUBTFUL: Final = KILLED | LOST | UNREADABLE | {CallFault.RESET, CallFault.SLOW}
"""Faults of a call after which the function cannot know what the provider did."""

_ODD: Final[Mapping[Behaviour, Any]] = {
    Behaviour.NULL_ACCEPTED: None,
    Behaviour.ODD_ACCEPTED: {
        "DeliveryStatus": {"is": "SUCCESSFUL"},
        "StatusCode": "two hundred",
        "StatusMessage": [{"reason": 200}],
        "MessageId": 7,
        "UpdatedToken": [],
    },
}
_ACCEPTED: Final = frozenset(
    {Behaviour.ACCEPTED, Behaviour.REPLACED, Behaviour.MISSING_ACCEPTED, *_ODD}
)
_UNKNOWN_RESULT: Final = frozenset(
    {
        Behaviour.MISSING,
        Behaviour.MISSING_ACCEPTED,
        Behaviour.UNKNOWN,
        Behaviour.TOO_DEEP,
        *_ODD,
    }
)
"""Behaviours after which the function cannot know what the provider did."""

_ONCE: Final = frozenset({Behaviour.THROTTLED_ONCE, Behaviour.TEMPORARY_ONCE})
_UNTIL_FIXED: Final = frozenset(
    {
        Behaviour.THROTTLED_UNTIL_FIXED,
        Behaviour.MISCONFIGURED,
        Behaviour.NO_CHANNEL,
    }
)


class _Call(NamedTuple):
    """A received SendMessages call."""

    number: int
    request: int
    addresses: Mapping[str, Any]
    caller: Process

    @property
    def names(self) -> list[str]:
        """The names of its addresses in the ledger."""
        return [result_name(token, self.request) for token in self.addresses]


class Provider:
    """The push service and the providers behind it.

    Parameters
    ----------
    faults
        What fails.
    ledger
        Gets each push that is accepted.
    kill
        Ends the calling process.
    sizes
        By the number of a request, the number of its recipients.

    Attributes
    ----------
    url
        The service's URL.
    """

    def __init__(
        self, faults: Faults, ledger: Ledger, kill: Kill, sizes: Mapping[int, int]
    ) -> None:
        self.url = ""
        self._faults = faults
        self._ledger = ledger
        self._kill = kill
        self._numbers = count()
        self._lock = threading.Lock()
        self._sizes = sizes
        self._named_first: Counter[str] = Counter()
        self._calls: Counter[int] = Counter()
        self._tried: Counter[str] = Counter()
        self._fixed = False

    def fix_everything(self) -> None:
        """Set up the missing channel, correct the sender, and throttle nothing."""
        self._fixed = True

    def answer(self, handler: BaseHTTPRequestHandler, body: bytes, connection: Connection) -> None:
        """Answer one call, or let it fail."""
        arrived = time.monotonic()
        addresses: Mapping[str, Any] = json.loads(body)["Addresses"]
        request = number_in(body.decode())
        with self._lock:
            call = _Call(next(self._numbers), request, addresses, process_of(handler))
            first = min(call.names)
            fault = self._faults.call_fault(
                first,
                self._named_first[first],
                request,
                self._sizes[request],
                self._calls[request],
            )
            self._named_first[first] += 1
            self._calls[request] += 1
        for token in filter(phone_in, addresses):
            self._ledger.push(PhonePush(token, request, call.caller.run, arrived))
        if fault is not None:
            self._ledger.count_fault(f"SendMessages: {fault}")
        self._ledger.note(call.names, f"call {call.number}: {fault or 'answered'}")
        if fault in _DOUBTFUL:
            self._ledger.mark_uncertain(call.names, str(fault))
        match fault:
            case _ if fault in REFUSED:
                connection.write(CALL_ANSWERS[fault](b""))
            case CallFault.RESET:
                connection.hang_up()
            case CallFault.KILLED_BEFORE:
                self._kill(call.caller)
                connection.hang_up()
            case _:
                self._deliver(call, fault, connection)

    def _deliver(self, call: _Call, fault: CallFault | None, connection: Connection) -> None:
        body = self._push_to_all(call, fault)
        match fault:
            case CallFault.CUT_OFF:
                connection.hang_up()
            case CallFault.LATE:
                time.sleep(LATE_SECONDS)
                connection.hang_up()
            case CallFault.SLOW:
                time.sleep(SLOW_SECONDS)
                self._answer_readably(call, Answer(200, body), connection)
            case _ if fault in UNREADABLE:
                # Its client closes the connection even if it received the answer.
                if not connection.write(CALL_ANSWERS[fault](body)):
                    self._note_overdue(call)
            case CallFault.KILLED_AFTER:
                self._kill(call.caller)
                connection.hang_up()
            case CallFault.INTERIM:
                self._answer_readably(call, CALL_ANSWERS[fault](body), connection)
            case _:
                self._answer_readably(call, Answer(200, body), connection)

    def _answer_readably(self, call: _Call, answer: Answer, connection: Connection) -> None:
        """Send a readable answer, and check that the client was still connected."""
        if not (connection.write(answer) and connection.client_waits()):
            self._note_overdue(call)

    def _note_overdue(self, call: _Call) -> None:
        self._ledger.count_fault(f"SendMessages: {CallFault.OVERDUE}")
        self._ledger.note(call.names, f"call {call.number}: {CallFault.OVERDUE}")
        self._ledger.mark_uncertain(call.names, CallFault.OVERDUE)
        self._ledger.mark_unheard(call.names, call.number, CallFault.OVERDUE)

    def _push_to_all(self, call: _Call, fault: CallFault | None) -> bytes:
        """Push to every device; return the answer with their results."""
        results: dict[str, Any] = {}
        for token, address in call.addresses.items():
            name = result_name(token, call.request)
            behaviour = self._behaviour(token, name, address["ChannelType"])
            if behaviour in _ACCEPTED:
                now = time.monotonic()
                push = Acceptance(call.number, fault, call.caller.run, now, token)
                self._ledger.accept(name, push)
            elif behaviour is Behaviour.OPTED_OUT:
                self._ledger.opt_out(name)
            self._ledger.note([name], f"call {call.number}: {behaviour}, {token}")
            if behaviour in _UNKNOWN_RESULT:
                self._ledger.mark_uncertain([name], behaviour)
            if behaviour in (Behaviour.MISSING, Behaviour.MISSING_ACCEPTED):
                continue
            if behaviour in _ODD:
                results[token] = _ODD[behaviour]
                continue
            status, code, message = _ANSWERS[behaviour]
            results[token] = {
                "DeliveryStatus": status,
                "StatusCode": code,
                "StatusMessage": message,
                "MessageId": f"{call.number}-{token[-7:]}",
                **({"UpdatedToken": f"new-{token}"} if behaviour is Behaviour.REPLACED else {}),
            }
        answer = {"ApplicationId": "soak", "RequestId": str(call.number), "Result": results}
        return json.dumps(answer).encode()

    def _behaviour(self, token: str, name: str, service: str) -> Behaviour:
        behaviour = self._faults.behaviour_of(token, service)
        with self._lock:
            tried = self._tried[name]
            self._tried[name] += 1
        if (behaviour in _ONCE and tried) or (behaviour in _UNTIL_FIXED and self._fixed):
            return Behaviour.ACCEPTED
        return behaviour
