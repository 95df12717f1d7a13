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

from soak.chance import Chance


class CallFault(StrEnum):
    """What can become of a SendMessages call.

    In those of ``UNHEARD`` the provider has the pushes and nobody hears of it. ``OVERDUE`` is
    in no plan: a machine with too much to do takes so long by itself.
    """

    THROTTLED = "429"
    FAILED = "500"
    UNAVAILABLE = "503"
    RESET = "reset before it was read"
    CUT_OFF = "cut off before the answer"
    LATE = "answered after the client's patience"
    OVERDUE = "answered after the client's patience, for want of CPU"
    TRUNCATED = "answer cut short"
    WRONG_TYPE = "answered with a page"
    KILLED_BEFORE = "process killed before it was read"
    KILLED_AFTER = "process killed before the answer"
    SLOW = "answered at the end of the client's patience"


UNHEARD: Final = frozenset(
    {
        CallFault.CUT_OFF,
        CallFault.LATE,
        CallFault.OVERDUE,
        CallFault.TRUNCATED,
        CallFault.WRONG_TYPE,
    }
)
"""Answers that were cut off: after these a push may arrive twice, or be ``unknown``."""

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
    MISSING_ACCEPTED = "accepted, missing from the answer"
    MISSING = "missing from the answer"


class ServiceFault(StrEnum):
    """What can become of a call of DynamoDB, SQS or EventBridge."""

    FAILED = "500"
    THROTTLED = "throttled"
    RESET = "reset before it was read"
    CUT_OFF = "cut off before the answer"
    REFUSED_ENTRIES = "entries refused"
    KILLED_BEFORE = "process killed before it was read"
    KILLED_AFTER = "process killed before the answer"


_CALLS: Final = {
    CallFault.THROTTLED: 0.06,
    CallFault.FAILED: 0.03,
    CallFault.UNAVAILABLE: 0.02,
    CallFault.RESET: 0.02,
}
_CALLS_CUT_OFF: Final = {
    CallFault.CUT_OFF: 0.02,
    CallFault.LATE: 0.003,
    CallFault.TRUNCATED: 0.01,
    CallFault.WRONG_TYPE: 0.01,
}
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
    Fate.MISSING_ACCEPTED: 0.005,
    Fate.MISSING: 0.005,
}

_SERVICES: Final = {
    ServiceFault.FAILED: 0.03,
    ServiceFault.THROTTLED: 0.03,
    ServiceFault.RESET: 0.02,
    ServiceFault.CUT_OFF: 0.03,
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
