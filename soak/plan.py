"""What is asked for in a run: requests of every size, service and kind, at every door."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from soak.seeded_random import Chance

SERVICES: Final = (
    *("GCM", "GCM", "GCM", "APNS", "APNS", "APNS_SANDBOX", "APNS_VOIP", "APNS_VOIP_SANDBOX"),
    *("BAIDU", "ADM"),
)
"""Of what a recipient's service is drawn."""

_SIZES: Final = ((1, 0.35), (7, 0.3), (60, 0.22), (250, 0.08), (1_200, 0.05))
"""How many recipients a request has at most, and how often."""


class Door(StrEnum):
    """By which door a request comes."""

    DIRECT = "direct"
    REQUEUEING = "direct, requeue"
    ASYNCHRONOUS = "asynchronous"
    EVENTBRIDGE = "EventBridge"
    QUEUE = "queue"
    HTTP = "HTTP"
    HTTP_LATER = "HTTP, respond-async"


ATTENDED: Final = frozenset({Door.DIRECT, Door.REQUEUEING, Door.HTTP})
"""Where somebody waits for the report."""

_KEYED: Final = 0.6
_REQUEUED: Final = 0.5
_TWICE: Final = 0.35
_TTLS: Final = {0: 0.04, 1: 0.06, 86_400: 0.3}


@dataclass(frozen=True, slots=True)
class Asked:
    """One request, and how it is handed in.

    Attributes
    ----------
    number
        Its place in the plan.
    door
        By which it comes.
    request
        What is handed in.
    twice
        Whether it is delivered twice on purpose: by its caller who repeats it, or by a queue
        or bus that may.
    """

    number: int
    door: Door
    request: dict[str, Any]
    twice: bool

    @property
    def key(self) -> str | None:
        """The key that it has of its own."""
        return self.request.get("idempotency_key")

    @property
    def recipients(self) -> Sequence[dict[str, Any]]:
        """Who is pushed to."""
        everyone: Sequence[dict[str, Any]] = self.request["recipients"]
        return everyone

    @property
    def ttl(self) -> int | None:
        """For how many seconds it is worth sending."""
        return self.request.get("ttl")


def plan(recipients: int, chance: Chance, *, plain: bool = False) -> Iterator[Asked]:
    """Plan requests of so many recipients in all, each device once.

    Parameters
    ----------
    recipients
        In all requests together.
    chance
        Chooses.
    plain
        Whether nothing comes twice, and nothing has a short time to live.
    """
    left, number = recipients, 0
    doors = tuple(Door)
    while left:
        most = chance.choose(dict(_SIZES), "size", number) or 1
        size = min(left, 1 + int(chance.draw("exactly", number) * most))
        door = doors[int(chance.draw("door", number) * len(doors))]
        yield _asked(number, recipients - left, size, door, chance, plain)
        left -= size
        number += 1


def _asked(number: int, first: int, size: int, door: Door, chance: Chance, plain: bool) -> Asked:
    request: dict[str, Any] = {
        "recipients": [_recipient(first + offset, chance) for offset in range(size)],
        "title": f"Request {number}",
        "message": "A test of nothing lost and nothing doubled",
    }
    ttl = None if plain else chance.choose(_TTLS, "ttl", number)
    if ttl == 0 and any(each["service"] == "ADM" for each in request["recipients"]):
        ttl = None  # ADM takes no 0
    if ttl is not None:
        request["ttl"] = ttl
    if chance.draw("key", number) < _KEYED:
        request["idempotency_key"] = f"soak-{chance.seed}-{number}"
    if door is Door.REQUEUEING or (
        door is Door.ASYNCHRONOUS and chance.draw("requeue", number) < _REQUEUED
    ):
        request["requeue"] = True
    # Who has no key and repeats a request asks for it to be sent again; queue and bus have one.
    may_come_twice = "idempotency_key" in request or door in (Door.EVENTBRIDGE, Door.QUEUE)
    twice = not plain and may_come_twice and chance.draw("twice", number) < _TWICE
    return Asked(number, door, request, twice)


def _recipient(number: int, chance: Chance) -> dict[str, Any]:
    service = SERVICES[int(chance.draw("service", number) * len(SERVICES))]
    return {"token": f"device-{number:07}", "service": service}
