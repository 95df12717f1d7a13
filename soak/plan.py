"""The requests of a run: every size, service and kind, through every entry point."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from soak.phones import users_for, users_of_request
from soak.seeded_random import SeededRandom

SERVICES: Final = (
    *("GCM", "GCM", "GCM", "APNS", "APNS", "APNS_SANDBOX", "APNS_VOIP", "APNS_VOIP_SANDBOX"),
    *("BAIDU", "ADM"),
)
"""The services, each as often as its share of the recipients."""

_SIZES: Final = ((1, 0.35), (7, 0.3), (60, 0.22), (250, 0.08), (1_200, 0.05))
"""The maximum of a request's recipients, and the share of such requests."""


class EntryPoint(StrEnum):
    """The entry point of a request."""

    DIRECT = "direct"
    REQUEUEING = "direct, requeue"
    ASYNCHRONOUS = "asynchronous"
    EVENTBRIDGE = "EventBridge"
    QUEUE = "queue"
    HTTP = "HTTP"
    HTTP_ASYNCHRONOUS = "HTTP, respond-async"
    JOB = "job"


CALLER_WAITS: Final = frozenset({EntryPoint.DIRECT, EntryPoint.REQUEUEING, EntryPoint.HTTP})
"""The entry points at which the caller waits for the report."""

_REPORTED: Final = CALLER_WAITS | {EntryPoint.JOB}

_WAYS: Final = tuple(each for each in EntryPoint if each is not EntryPoint.JOB)
"""The entry points of single requests; ``job_plan`` plans the jobs."""

_OWN_KEY: Final = frozenset({EntryPoint.EVENTBRIDGE, EntryPoint.QUEUE, EntryPoint.JOB})

_MARK: Final = "Push of request "
_NUMBER: Final = re.compile(rf"{_MARK}(\d+)")
_JOB_KEY: Final = re.compile(r"job/[^/]+")

_FOR_USERS: Final = 0.2
_KEYED: Final = 0.6
_REQUEUED: Final = 0.5
_TWICE: Final = 0.35
_TRANSLATED: Final = 0.3
_LANGUAGES: Final = {"de": 0.3, "fr-CA": 0.2}
_LATER: Final = 0.12
_BUILT: Final = 0.3
_TTLS: Final = {0: 0.04, 1: 0.06, 86_400: 0.3}


@dataclass(frozen=True, slots=True)
class PlannedRequest:
    """One request, and how it is sent.

    Attributes
    ----------
    number
        Its place in the plan.
    entry_point
        Its entry point.
    request
        The request itself.
    delivered_twice
        Whether it is delivered twice on purpose: by a caller that repeats it, or by the queue or
        the bus.
    """

    number: int
    entry_point: EntryPoint
    request: dict[str, Any]
    delivered_twice: bool

    @property
    def key(self) -> str | None:
        """The caller's idempotency key."""
        return self.request.get("idempotency_key")

    @property
    def recipients(self) -> Sequence[dict[str, Any]]:
        """The recipients of the request."""
        recipients: Sequence[dict[str, Any]] = self.request["recipients"]
        return recipients

    @property
    def tokens(self) -> Sequence[str]:
        """The tokens of the recipients that are no users."""
        return [each["token"] for each in self.recipients if "token" in each]

    @property
    def users(self) -> Sequence[dict[str, Any]]:
        """The recipients that are users."""
        return [each for each in self.recipients if "user_id" in each]

    @property
    def is_for_later(self) -> bool:
        """Whether it has a schedule first."""
        return "send_at" in self.request

    @property
    def caller_gets_report(self) -> bool:
        """Whether its caller gets the report of the push; that of a job are its lists of rows."""
        return self.entry_point in _REPORTED and not self.is_for_later

    @property
    def ttl(self) -> int | None:
        """The time to live, in seconds."""
        return self.request.get("ttl")


def plan(
    recipients: int, random: SeededRandom, *, later: str | None = None, plain: bool = False
) -> Iterator[PlannedRequest]:
    """Plan requests with a number of recipients in all, each token once, and users often.

    Parameters
    ----------
    recipients
        The number in all requests together.
    random
        The source of the choices.
    later
        The `send_at` of some requests; None sends all at once.
    plain
        Whether no request is for users, is delivered twice or has a short time to live.
    """
    left, number = recipients, 0
    users = users_for(recipients)
    while left:
        most = random.choose(dict(_SIZES), "size", number) or 1
        size = min(left, 1 + int(random.draw("exactly", number) * most))
        entry_point = _WAYS[int(random.draw("door", number) * len(_WAYS))]
        if not plain and random.draw("for users", number) < _FOR_USERS:
            chosen = list(users_of_request(users, size, number, random))
        else:
            first = recipients - left
            chosen = [_recipient(first + offset, random) for offset in range(size)]
        is_later = later is not None and random.draw("later", number) < _LATER
        send_at = later if is_later else None
        request = request_for(number, chosen, entry_point, random, send_at=send_at, plain=plain)
        # Without a key, a repeated request is sent again. Queue and bus have keys of their own.
        has_key = "idempotency_key" in request or entry_point in _OWN_KEY
        twice = not plain and has_key and is_delivered_twice(number, random)
        yield PlannedRequest(number, entry_point, request, twice)
        left -= len(chosen)
        number += 1


def request_for(
    number: int,
    recipients: list[dict[str, Any]],
    entry_point: EntryPoint,
    random: SeededRandom,
    *,
    send_at: str | None = None,
    plain: bool = False,
) -> dict[str, Any]:
    """Write the request with a number; ``plain`` is that of ``plan``."""
    request: dict[str, Any] = {
        "recipients": recipients,
        "title": f"Request {number}",
        "message": f"{_MARK}{number}: a test of nothing lost and nothing doubled",
    }
    if random.draw("translated", number) < _TRANSLATED:
        request["translations"] = {"de": {"title": "Anfrage"}, "fr": {"title": "Demande"}}
        for each in request["recipients"]:
            name = each.get("token") or each["user_id"]
            if language := random.choose(_LANGUAGES, "language", name):
                each["language"] = language
    if random.draw("built", number) < _BUILT:
        request |= {"gcm": {"format": "fcm_v1"}, "apns": {"format": "native"}}
    ttl = None if plain else random.choose(_TTLS, "ttl", number)
    if ttl == 0 and any(each.get("service") == "ADM" for each in recipients):
        ttl = None  # ADM does not accept 0
    if ttl is not None:
        request["ttl"] = ttl
    if send_at is not None:
        request["send_at"] = send_at
    # An invocation that failed and is redriven has another id, so only its key leads to its users,
    # and to its schedule.
    is_found_by_key = "user_id" in recipients[0] or send_at is not None
    needs_key = entry_point is EntryPoint.ASYNCHRONOUS and is_found_by_key
    takes_key = entry_point is not EntryPoint.JOB
    if needs_key or (takes_key and random.draw("key", number) < _KEYED):
        request["idempotency_key"] = f"soak-{random.seed}-{number}"
    if entry_point is EntryPoint.REQUEUEING or (
        entry_point is EntryPoint.ASYNCHRONOUS and random.draw("requeue", number) < _REQUEUED
    ):
        request["requeue"] = True
    return request


def is_delivered_twice(number: int, random: SeededRandom) -> bool:
    """Choose whether a request with a key is delivered twice."""
    return random.draw("twice", number) < _TWICE


def request_name(planned: PlannedRequest) -> str:
    """Name a request in histories."""
    return f"request-{planned.number}"


def number_in(text: str) -> int:
    """Return the number of a request, by its message in a call or in a request."""
    found = _NUMBER.search(text)
    if found is None:
        raise ValueError("a message of no planned request")
    return int(found[1])


def root_of(key: str) -> str:
    """Return the key of the request that a part came from; of rows of a job, what all share."""
    rows_of_job = _JOB_KEY.match(key)
    return rows_of_job[0] if rows_of_job else key.partition("#")[0]


def _recipient(number: int, random: SeededRandom) -> dict[str, Any]:
    service = SERVICES[int(random.draw("service", number) * len(SERVICES))]
    return {"token": f"device-{number:07}", "service": service}
