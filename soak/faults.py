"""What goes wrong, how often, and which of it may make a push arrive twice.

Three kinds of places: a whole SendMessages call, one address of it, and a call of DynamoDB,
SQS or EventBridge. Every choice is made by seed and by what it is about (``chance``), never
by time or order, so that a seed that found something finds it again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from soak.seeded_random import Chance


class CallFault(StrEnum):
    """What can become of a SendMessages call.

    Those of ``REFUSED`` have no effect. In those of ``LOST`` and ``UNREADABLE`` the provider has
    the pushes, and the function cannot know it. ``OVERDUE`` is in no plan: a machine with too
    much to do takes so long by itself.
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
    LATE = "answered after the client's patience"
    OVERDUE = "answered after the client's patience, for want of CPU"
    TRUNCATED = "answer cut short"
    WRONG_TYPE = "answered with a page"
    NULL = "answered with null"
    NOT_UTF8 = "answer is not UTF-8"
    TOO_LONG = "answer with a Content-Length far too large"
    CUT_GZIP = "answer in gzip that is cut short"
    OTHER_KIND = "answer with results of another kind"
    TOO_DEEP = "answer nested too deeply"
    NO_HTTP = "answer that is no HTTP"
    INTERIM = "answered after interim answers"
    KILLED_BEFORE = "process killed before it was read"
    KILLED_AFTER = "process killed before the answer"
    SLOW = "answered at the end of the client's patience"


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
"""Answers of calls that no provider has seen."""

LOST: Final = frozenset({CallFault.CUT_OFF, CallFault.LATE, CallFault.OVERDUE})
"""No status came: after these a push may arrive twice, or be ``unknown``."""

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
        CallFault.NO_HTTP,
    }
)
"""An answer came that says nothing: after these a push is ``unknown``, and is not sent again."""

KILLED: Final = frozenset({CallFault.KILLED_BEFORE, CallFault.KILLED_AFTER})


class Fate(StrEnum):
    """What the provider makes of an address, each time or until it is mended."""

    ACCEPTED = "accepted"
    REPLACED = "accepted, with a new token"
    DEAD = "unregistered"
    INVALID = "bad token"
    REJECTED = "message refused"
    OPTED_OUT = "opted out"
    THROTTLED_ONCE = "throttled once"
    TEMPORARY_ONCE = "temporary failure once"
    BUSY = "throttled until it is mended"
    MISCONFIGURED = "wrong sender until it is mended"
    NO_CHANNEL = "no channel until it is mended"
    UNKNOWN = "unknown failure"
    TOO_DEEP = "unknown failure, its message nested too deeply"
    NULL_ACCEPTED = "accepted, its result null"
    ODD_ACCEPTED = "accepted, its result of other kinds"
    MISSING_ACCEPTED = "accepted, missing from the answer"
    MISSING = "missing from the answer"


class ServiceFault(StrEnum):
    """What can become of a call of DynamoDB, SQS or EventBridge."""

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
"""Answers of calls that had no effect."""

SERVICE_UNREADABLE: Final = frozenset(
    {ServiceFault.DONE_NULL, ServiceFault.DONE_NOT_UTF8, ServiceFault.DONE_OTHER_KIND}
)
"""Answers that take the place of a success, and say nothing else."""

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
"""What of the calls whose first try was lost."""

_CALLS_KILLED: Final = {CallFault.KILLED_BEFORE: 0.005, CallFault.KILLED_AFTER: 0.01}

_FATES: Final = {
    Fate.REPLACED: 0.01,
    Fate.DEAD: 0.03,
    Fate.INVALID: 0.02,
    Fate.REJECTED: 0.02,
    Fate.OPTED_OUT: 0.01,
    Fate.THROTTLED_ONCE: 0.04,
    Fate.TEMPORARY_ONCE: 0.03,
    Fate.BUSY: 0.01,
    Fate.MISCONFIGURED: 0.01,
    Fate.UNKNOWN: 0.005,
    Fate.TOO_DEEP: 0.003,
    Fate.NULL_ACCEPTED: 0.003,
    Fate.ODD_ACCEPTED: 0.003,
    Fate.MISSING_ACCEPTED: 0.005,
    Fate.MISSING: 0.005,
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

_JAMMED: Final = 0.5
_JAMMED_RECIPIENTS: Final = 500
_JAMMED_CALLS: Final = 12
"""Of large requests some are sent so slowly at first that their time runs out."""

_OUTAGE: Final = 0.08
"""Keys that cannot be taken at first, however often the client tries."""

_OUTAGE_CALLS: Final = 3

_ABSENT_SERVICE: Final = "ADM"
"""Whose channel is missing until it is mended."""

_TROUBLED_CALLS: Final = 2
"""How often one thing in a row may go wrong in AWS's own services: clients try three times and
more. What an outage that outlasts them means is promised, and tested, elsewhere."""

_DEADLY_CALLS: Final = 1
"""The first calls about a thing may kill; or a message might never be worked off."""


@dataclass(frozen=True)
class Faults:
    """What may go wrong in a run.

    Attributes
    ----------
    chance
        Chooses.
    any_
        Whether anything goes wrong at all.
    cut_off, killed
        Whether answers are cut off, and whether processes are killed: the two after which a
        push may arrive twice.
    """

    chance: Chance
    any_: bool = True
    cut_off: bool = True
    killed: bool = True

    def of_call(
        self, first_token: str, number: int, request: int, recipients: int, call_of_request: int
    ) -> CallFault | None:
        """Choose what becomes of a call.

        Parameters
        ----------
        first_token, number
            Its first device, and how many calls had that first before.
        request, recipients, call_of_request
            Whose devices they are, how many that has, and how many calls it had before.
        """
        if not self.any_:
            return None
        if (
            recipients > _JAMMED_RECIPIENTS
            and call_of_request < _JAMMED_CALLS
            and self.chance.draw("jam", request) < _JAMMED
        ):
            return CallFault.SLOW
        return self._of_try(first_token, number)

    def _of_try(self, first_token: str, number: int) -> CallFault | None:
        if (
            number
            and self._of_try(first_token, number - 1) in LOST
            and self.chance.draw("forbidden", first_token, number) < _FORBIDDEN_AFTER_LOST
        ):
            return CallFault.FORBIDDEN
        shares: dict[CallFault, float] = dict(_CALLS)
        if self.cut_off:
            shares |= _CALLS_CUT_OFF
        if self.killed and number < _DEADLY_CALLS:
            shares |= _CALLS_KILLED
        return self.chance.choose(shares, "call", first_token, number)

    def fate_of(self, token: str, service: str) -> Fate:
        """Choose what the provider makes of an address."""
        if not self.any_:
            return Fate.ACCEPTED
        if service == _ABSENT_SERVICE:
            return Fate.NO_CHANNEL
        return self.chance.choose(_FATES, "fate", token) or Fate.ACCEPTED

    def of_service(self, service: str, thing: str, number: int) -> ServiceFault | None:
        """Choose what becomes of the nth call about a thing."""
        if not self.any_:
            return None
        out = service == "key" and self.chance.draw("outage", thing) < _OUTAGE
        if out and number < _OUTAGE_CALLS:
            return ServiceFault.FAILED
        if number >= _TROUBLED_CALLS:
            return None
        shares: Mapping[ServiceFault, float] = _SERVICES
        if self.killed and number < _DEADLY_CALLS:
            shares = {**_SERVICES, **_SERVICES_KILLED}
        if service == "events":
            shares = {**shares, ServiceFault.REFUSED_ENTRIES: 0.03}
        return self.chance.choose(shares, service, thing, number)
