"""What fails, how often, and which failures may send a push twice.

A fault concerns a SendMessages call, one address of it, or a call of DynamoDB, SQS, EventBridge,
Scheduler or S3. Each choice depends on the seed and on its subject (``seeded_random``), never on
time or order, so a seed repeats what it found.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from soak.seeded_random import SeededRandom


class CallFault(StrEnum):
    """What can happen to a SendMessages call.

    Calls in ``REFUSED`` have no effect. For ``LOST`` and ``UNREADABLE`` the provider has the
    pushes, and the function cannot know it. ``OVERDUE`` is never chosen: a busy machine causes it.
    """

    THROTTLED = "429"
    FAILED = "500"
    UNAVAILABLE = "503"
    UNAVAILABLE_NULL = "503 with null"
    UNAVAILABLE_TEXT = "503 with text"
    UNAVAILABLE_PAGE = "503 with a page in Latin-1"
    UNAVAILABLE_GZIP = "503 with gzip that is cut short"
    FORBIDDEN = "403 after a lost answer"
    RESET = "reset before it was read"
    CUT_OFF = "cut off before the answer"
    LATE = "answered after the client's timeout"
    OVERDUE = "answered after the client's timeout, for lack of CPU"
    TRUNCATED = "answer cut short"
    WRONG_TYPE = "answered with a page"
    NULL = "answered with null"
    NOT_UTF8 = "answer is not UTF-8"
    TOO_LONG = "answer with a Content-Length far too large"
    CUT_GZIP = "answer in gzip that is cut short"
    OTHER_KIND = "answer with results of another kind"
    TOO_DEEP = "answer nested too deeply"
    NOT_HTTP = "answer that is not HTTP"
    INTERIM = "answered after interim answers"
    KILLED_BEFORE = "process killed before it was read"
    KILLED_AFTER = "process killed before the answer"
    SLOW = "answered just before the client's timeout"


REFUSED: Final = frozenset(
    {
        CallFault.THROTTLED,
        CallFault.FAILED,
        CallFault.UNAVAILABLE,
        CallFault.UNAVAILABLE_NULL,
        CallFault.UNAVAILABLE_TEXT,
        CallFault.UNAVAILABLE_PAGE,
        CallFault.UNAVAILABLE_GZIP,
        CallFault.FORBIDDEN,
    }
)
"""Calls that no provider has received."""

LOST: Final = frozenset({CallFault.CUT_OFF, CallFault.LATE, CallFault.OVERDUE})
"""No status arrived: the push may be sent twice, or be ``unknown``."""

UNREADABLE: Final = frozenset(
    {
        CallFault.TRUNCATED,
        CallFault.WRONG_TYPE,
        CallFault.NULL,
        CallFault.NOT_UTF8,
        CallFault.TOO_LONG,
        CallFault.CUT_GZIP,
        CallFault.OTHER_KIND,
        CallFault.TOO_DEEP,
        CallFault.NOT_HTTP,
    }
)
"""An unreadable answer arrived: the push is ``unknown`` and is not sent again."""

KILLED: Final = frozenset({CallFault.KILLED_BEFORE, CallFault.KILLED_AFTER})


class Behaviour(StrEnum):
    """How the provider treats an address: always, once, or until everything is fixed."""

    ACCEPTED = "accepted"
    REPLACED = "accepted, with a new token"
    DEAD = "unregistered"
    INVALID = "bad token"
    REJECTED = "message refused"
    OPTED_OUT = "opted out"
    THROTTLED_ONCE = "throttled once"
    TEMPORARY_ONCE = "temporary failure once"
    THROTTLED_UNTIL_FIXED = "throttled until it is fixed"
    MISCONFIGURED = "wrong sender until it is fixed"
    NO_CHANNEL = "no channel until it is fixed"
    UNKNOWN = "unknown failure"
    TOO_DEEP = "unknown failure, its message nested too deeply"
    NULL_ACCEPTED = "accepted, its result null"
    ODD_ACCEPTED = "accepted, its result of other kinds"
    MISSING_ACCEPTED = "accepted, missing from the answer"
    MISSING = "missing from the answer"


class ServiceFault(StrEnum):
    """What can become of a call of DynamoDB, SQS, EventBridge, Scheduler or S3."""

    FAILED = "500"
    THROTTLED = "throttled"
    RESET = "reset before it was read"
    CUT_OFF = "cut off before the answer"
    REFUSED_ENTRIES = "entries refused"
    UNAVAILABLE_NULL = "503 with null"
    UNAVAILABLE_TEXT = "503 with text"
    UNAVAILABLE_NOT_UTF8 = "503 that is not UTF-8"
    DONE_NULL = "done, and answered with null"
    DONE_NOT_UTF8 = "done, and the answer is not UTF-8"
    DONE_OTHER_KIND = "done, and answered with members of other kinds"
    KILLED_BEFORE = "process killed before it was read"
    KILLED_AFTER = "process killed before the answer"


SERVICE_REFUSED: Final = frozenset(
    {
        ServiceFault.FAILED,
        ServiceFault.THROTTLED,
        ServiceFault.UNAVAILABLE_NULL,
        ServiceFault.UNAVAILABLE_TEXT,
        ServiceFault.UNAVAILABLE_NOT_UTF8,
    }
)
"""Calls that had no effect."""

SERVICE_UNREADABLE: Final = frozenset(
    {ServiceFault.DONE_NULL, ServiceFault.DONE_NOT_UTF8, ServiceFault.DONE_OTHER_KIND}
)
"""Unreadable answers in place of a success."""

_CALLS: Final = {
    CallFault.THROTTLED: 0.06,
    CallFault.FAILED: 0.03,
    CallFault.UNAVAILABLE: 0.02,
    CallFault.RESET: 0.02,
    CallFault.INTERIM: 0.01,
    **dict.fromkeys(
        (
            CallFault.UNAVAILABLE_NULL,
            CallFault.UNAVAILABLE_TEXT,
            CallFault.UNAVAILABLE_PAGE,
            CallFault.UNAVAILABLE_GZIP,
        ),
        0.005,
    ),
    **dict.fromkeys(sorted(UNREADABLE), 0.004),
}
_CALLS_CUT_OFF: Final = {CallFault.CUT_OFF: 0.02, CallFault.LATE: 0.003}
_FORBIDDEN_AFTER_LOST: Final = 0.5
"""The share of the calls whose try before was lost."""

_CALLS_KILLED: Final = {CallFault.KILLED_BEFORE: 0.005, CallFault.KILLED_AFTER: 0.01}

_BEHAVIOURS: Final = {
    Behaviour.REPLACED: 0.01,
    Behaviour.DEAD: 0.03,
    Behaviour.INVALID: 0.02,
    Behaviour.REJECTED: 0.02,
    Behaviour.OPTED_OUT: 0.01,
    Behaviour.THROTTLED_ONCE: 0.04,
    Behaviour.TEMPORARY_ONCE: 0.03,
    Behaviour.THROTTLED_UNTIL_FIXED: 0.01,
    Behaviour.MISCONFIGURED: 0.01,
    Behaviour.UNKNOWN: 0.005,
    Behaviour.TOO_DEEP: 0.003,
    Behaviour.NULL_ACCEPTED: 0.003,
    Behaviour.ODD_ACCEPTED: 0.003,
    Behaviour.MISSING_ACCEPTED: 0.005,
    Behaviour.MISSING: 0.005,
}

_SERVICES: Final = {
    ServiceFault.FAILED: 0.03,
    ServiceFault.THROTTLED: 0.03,
    ServiceFault.RESET: 0.02,
    ServiceFault.CUT_OFF: 0.03,
    ServiceFault.UNAVAILABLE_NULL: 0.01,
    ServiceFault.UNAVAILABLE_TEXT: 0.01,
    ServiceFault.UNAVAILABLE_NOT_UTF8: 0.01,
    ServiceFault.DONE_NULL: 0.01,
    ServiceFault.DONE_NOT_UTF8: 0.01,
    ServiceFault.DONE_OTHER_KIND: 0.01,
}
_SERVICES_KILLED: Final = {ServiceFault.KILLED_BEFORE: 0.004, ServiceFault.KILLED_AFTER: 0.008}

_KILLED_BY_SERVICE: Final[Mapping[str, Mapping[ServiceFault, float]]] = {
    "job": {ServiceFault.KILLED_BEFORE: 0.03, ServiceFault.KILLED_AFTER: 0.06},
    "requeued rows": {ServiceFault.KILLED_BEFORE: 0.03, ServiceFault.KILLED_AFTER: 0.9},
    "scheduler": {ServiceFault.KILLED_BEFORE: 0.03, ServiceFault.KILLED_AFTER: 0.06},
}
"""Higher shares for calls that are few: those about jobs alone, and those of Scheduler."""

_JAMMED: Final = 0.5
_JAMMED_RECIPIENTS: Final = 500
_JAMMED_CALLS: Final = 12
"""Some large requests are sent so slowly at first that their time runs out."""

_OUTAGE: Final = 0.08
"""The share of the keys that cannot be claimed at first, however often the client tries."""

_OUTAGE_CALLS: Final = 3

_ABSENT_SERVICE: Final = "ADM"
"""Its channel is missing until everything is fixed."""

_FAULTY_CALLS: Final = 2
"""How many calls in a row about one subject may fail in AWS's services. Clients try three times
or more. Other tests cover longer outages."""

_DEADLY_CALLS: Final = 1
"""Only the first calls about a subject may kill; otherwise a message might never be processed."""


@dataclass(frozen=True)
class Faults:
    """Chooses what fails in a run.

    Attributes
    ----------
    random
        The source of the choices.
    enabled
        Whether anything fails.
    cut_off, killed
        Whether answers are cut off, and whether processes are killed. After these two a push may
        be sent twice.
    """

    random: SeededRandom
    enabled: bool = True
    cut_off: bool = True
    killed: bool = True

    def call_fault(
        self, first_token: str, number: int, request: int, recipients: int, call_of_request: int
    ) -> CallFault | None:
        """Choose what happens to a call.

        Parameters
        ----------
        first_token, number
            Its first device, and the number of earlier calls with this first device.
        request, recipients, call_of_request
            The devices' request, the number of its recipients and of its earlier calls.
        """
        if not self.enabled:
            return None
        if (
            recipients > _JAMMED_RECIPIENTS
            and call_of_request < _JAMMED_CALLS
            and self.random.draw("jam", request) < _JAMMED
        ):
            return CallFault.SLOW
        return self._of_try(first_token, number)

    def _of_try(self, first_token: str, number: int) -> CallFault | None:
        if (
            number
            and self._of_try(first_token, number - 1) in LOST
            and self.random.draw("forbidden", first_token, number) < _FORBIDDEN_AFTER_LOST
        ):
            return CallFault.FORBIDDEN
        shares: dict[CallFault, float] = dict(_CALLS)
        if self.cut_off:
            shares |= _CALLS_CUT_OFF
        if self.killed and number < _DEADLY_CALLS:
            shares |= _CALLS_KILLED
        return self.random.choose(shares, "call", first_token, number)

    def behaviour_of(self, token: str, service: str) -> Behaviour:
        """Choose how the provider treats an address."""
        if not self.enabled:
            return Behaviour.ACCEPTED
        if service == _ABSENT_SERVICE:
            return Behaviour.NO_CHANNEL
        return self.random.choose(_BEHAVIOURS, "fate", token) or Behaviour.ACCEPTED

    def service_fault(self, service: str, subject: str, number: int) -> ServiceFault | None:
        """Choose what happens to the nth call about a subject."""
        if not self.enabled:
            return None
        out = service == "key" and self.random.draw("outage", subject) < _OUTAGE
        if out and number < _OUTAGE_CALLS:
            return ServiceFault.FAILED
        if number >= _FAULTY_CALLS:
            return None
        shares: Mapping[ServiceFault, float] = _SERVICES
        if self.killed and number < _DEADLY_CALLS:
            shares = {**_SERVICES, **_KILLED_BY_SERVICE.get(service, _SERVICES_KILLED)}
        if service == "events":
            shares = {**shares, ServiceFault.REFUSED_ENTRIES: 0.03}
        return self.random.choose(shares, service, subject, number)
