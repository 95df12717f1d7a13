"""Events out: what those learn who wait for no answer, and how it is put on the bus.

Their details are described by the JSON Schemas in ``docs/events``. They hold tokens, because
whoever cleans up a database needs them; they hold no text. Nothing here raises because the
bus refuses: that is told, and whoever called decides.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from push_sender.clients.calls import CallError, perform
from push_sender.clients.retries import TRIES, pause
from push_sender.follow_up.submission import Submission
from push_sender.report import Report, Result
from push_sender.request.errors import Finding
from push_sender.request.json_text import compact_json

SOURCE: Final = "push-sender"
"""The stack's rule passes over what comes from here, or events would come back as requests."""

VERSION: Final = 1

TOKEN_UPDATE: Final = "Push Token Update"  # noqa: S105  an event's name, no secret
DELIVERY_FAILED: Final = "Push Delivery Failed"
REPORT: Final = "Push Report"

_ABOUT: Final = frozenset({"version", "request_id", "idempotency_key", "application_id"})
_DETAILS: Final = (
    _ABOUT | {"change", "tokens"},
    _ABOUT | {"failure", "recipients"},
    _ABOUT | {"failure", "faults"},
    _ABOUT | {"attempt", "dry_run", "summary"},
)
"""The fields of each detail. No request has them: ``version`` and ``request_id`` are none of
its fields."""

DETAIL_BYTES: Final = 200_000
"""Room for an event's list. Far below what the bus takes, because an event goes on to
targets that take less."""

CALL_ENTRIES: Final = 10
CALL_BYTES: Final = 900_000
"""What one PutEvents may hold: under 1 MB in all."""

_ENTRY_BYTES: Final = 200
"""What an entry counts beside its detail: source, type and time."""


class Event(NamedTuple):
    """An event to put on the bus."""

    detail_type: str
    detail: Mapping[str, Any]


class Unput(NamedTuple):
    """Events that the bus did not take.

    Attributes
    ----------
    events
        How many.
    code
        Of the last error.
    in_haste
        Whether it was given up for lack of time, and not after all tries.
    """

    events: int
    code: str
    in_haste: bool


class BusUnavailable(Exception):  # noqa: N818  said as QueueUnavailable is
    """There was no time left in which to put events on the bus.

    Attributes
    ----------
    reason
        The bus's code or the exception's name, for logs.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"events could not be put on the bus in time ({reason})")


def token_updates(
    submission: Submission, report: Report, change: str, results: Iterable[Result]
) -> Iterator[Event]:
    """Tell what is to be done about tokens.

    Parameters
    ----------
    submission, report
        The request and what became of it.
    change
        ``dead_token``, ``invalid_token`` or ``replacement_token``.
    results
        Of the tokens that it happened to.
    """
    tokens = []
    for result in results:
        told = {name: result[name] for name in ("token", "service", "status_code", "reason")}
        if change == "replacement_token":
            told["replacement_token"] = result["replacement_token"]
        tokens.append(told)
    yield from _listing(
        TOKEN_UPDATE, {**_about(submission, report), "change": change}, "tokens", tokens
    )


def delivery_failed(
    submission: Submission, report: Report, failure: str, results: Iterable[Result]
) -> Iterator[Event]:
    """Tell which pushes failed for good, all of them with one outcome."""
    recipients = [
        {name: result[name] for name in ("token", "service", "status_code", "reason")}
        for result in results
    ]
    yield from _listing(
        DELIVERY_FAILED,
        {**_about(submission, report), "failure": failure},
        "recipients",
        recipients,
    )


def request_refused(submission: Submission, errors: Iterable[Finding]) -> Event:
    """Tell that a request can never be sent, and why: paths, and nothing that it held."""
    told: list[Mapping[str, str]] = []
    room = DETAIL_BYTES
    for error in errors:
        room -= _size(error._asdict())
        if room < 0:
            break
        told.append(error._asdict())
    return Event(
        DELIVERY_FAILED,
        {
            "version": VERSION,
            "request_id": submission.request_id,
            "idempotency_key": None,
            "application_id": None,
            "failure": "invalid_request",
            "faults": told,
        },
    )


def push_report(submission: Submission, report: Report, summary: Mapping[str, int]) -> Event:
    """Tell that a queued request, or what was requeued of one, is done."""
    return Event(
        REPORT,
        {
            **_about(submission, report),
            "attempt": submission.attempt,
            "dry_run": report["dry_run"],
            "summary": dict(summary),
        },
    )


def is_own_detail(value: object) -> bool:
    """Tell whether something is the detail of an event from here, whatever carried it."""
    return isinstance(value, dict) and value.keys() in _DETAILS


class EventBus:
    """A bus to put events on.

    Parameters
    ----------
    client
        An EventBridge client.
    name
        The bus, by name or ARN.
    """

    def __init__(self, client: Any, name: str) -> None:
        self._client = client
        self._name = name

    def put(self, events: Iterable[Event], *, last_start: float) -> list[Unput]:
        """Put events on the bus. What it refuses is tried again, while there is time.

        Parameters
        ----------
        events
            What to tell.
        last_start
            On ``time.monotonic``: no call begins after that.

        Returns
        -------
        list
            What was not taken in the end; empty if all is well.
        """
        entries = [
            {
                "Source": SOURCE,
                "DetailType": event.detail_type,
                "Detail": compact_json(event.detail),
                "EventBusName": self._name,
            }
            for event in events
        ]
        return [
            unput for call in _calls(entries) if (unput := self._put(call, last_start)) is not None
        ]

    def _put(self, entries: Sequence[Mapping[str, str]], last_start: float) -> Unput | None:
        if time.monotonic() > last_start:
            return Unput(len(entries), "deadline", in_haste=True)
        for number in range(1, TRIES + 1):
            try:
                refused = perform(lambda: self._refused(entries))  # noqa: B023  called at once
            except CallError as error:
                code = error.code
            else:
                if not refused:
                    return None
                entries = [entry for entry, _ in refused]
                code = refused[-1][1]
            if number < TRIES and not pause(number, last_start):
                return Unput(len(entries), code, in_haste=True)
        return Unput(len(entries), code, in_haste=False)

    def _refused(self, entries: Sequence[Mapping[str, str]]) -> list[tuple[Mapping[str, str], str]]:
        """Put entries on the bus. Give those that it did not take, each with its code."""
        answers = self._client.put_events(Entries=entries)["Entries"]
        return [
            (entry, str(answer["ErrorCode"]))
            for entry, answer in zip(entries, answers, strict=True)
            if answer.get("ErrorCode")
        ]


def _about(submission: Submission, report: Report) -> dict[str, Any]:
    return {
        "version": VERSION,
        "request_id": submission.request_id,
        "idempotency_key": submission.key,
        "application_id": report["application_id"],
    }


def _listing(
    detail_type: str, head: Mapping[str, Any], name: str, entries: Iterable[Mapping[str, Any]]
) -> Iterator[Event]:
    """Spread a list over as many events as it takes."""
    part: list[Mapping[str, Any]] = []
    used = 0
    for entry in entries:
        size = _size(entry)
        if part and used + size > DETAIL_BYTES:
            yield Event(detail_type, {**head, name: part})
            part, used = [], 0
        part.append(entry)
        used += size
    if part:
        yield Event(detail_type, {**head, name: part})


def _calls(entries: Iterable[Mapping[str, str]]) -> Iterator[Sequence[Mapping[str, str]]]:
    call: list[Mapping[str, str]] = []
    used = 0
    for entry in entries:
        size = len(entry["Detail"].encode()) + _ENTRY_BYTES
        if len(call) == CALL_ENTRIES or (call and used + size > CALL_BYTES):
            yield call
            call, used = [], 0
        call.append(entry)
        used += size
    if call:
        yield call


def _size(entry: Mapping[str, Any]) -> int:
    return len(compact_json(entry).encode()) + len(",")
