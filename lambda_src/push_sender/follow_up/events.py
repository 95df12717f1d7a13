"""Events about outcomes, for programs that do not wait for a report, and how they are sent.

The JSON Schemas in ``docs/events`` describe their details. Events hold tokens, users and devices,
because programs need them to clean up their databases; they hold no texts. If the bus refuses
events, nothing is raised: the failures are returned, and the caller decides.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from push_sender.clients.calls import CallError, perform
from push_sender.clients.queue_and_bus import TRIES, pause
from push_sender.follow_up.submission import Submission
from push_sender.report import Report, Result
from push_sender.request.errors import Finding
from push_sender.request.json_text import compact_json

SOURCE: Final = "push-sender"
"""The source of our events. The stack's rule ignores it, so that they do not become requests."""

VERSION: Final = 1

TOKEN_UPDATE: Final = "Push Token Update"  # noqa: S105  an event's name, no secret
DELIVERY_FAILED: Final = "Push Delivery Failed"
REPORT: Final = "Push Report"
JOB_REPORT: Final = "Push Job Report"

_COMMON: Final = frozenset({"version", "request_id", "idempotency_key", "application_id"})
_DETAILS: Final = (
    _COMMON | {"change", "tokens"},
    _COMMON | {"failure", "recipients"},
    _COMMON | {"failure", "faults"},
    _COMMON | {"attempt", "dry_run", "summary"},
    {"version", "action", "status", "rows", "summary", "results", "execution_id"},
)
"""The fields of each detail, beside those of ``_OPTIONAL``. A request cannot have them: ``version``
is no field of a request."""

_OPTIONAL: Final = frozenset({"job", "reason", "schedule_id"})

_MEMBERS: Final = ("token", "service", "status_code", "reason", "user_id", "device_id")
"""The members of a result that an event repeats. Only that of a user has the last two."""

DETAIL_BYTES: Final = 200_000
"""Room for an event's list. Far below the limit of the bus, because some targets of events accept
less."""

CALL_ENTRIES: Final = 10
CALL_BYTES: Final = 900_000
"""Limits of one PutEvents call: its entries must be under 1 MB in total."""

_ENTRY_BYTES: Final = 200
"""The counted size of an entry without its detail: source, type and time."""


class Event(NamedTuple):
    """An event to put on the bus.

    Attributes
    ----------
    detail_type, detail
        Its kind and its content.
    time
        Its time, in milliseconds of the epoch; by default that of the PutEvents call.
    """

    detail_type: str
    detail: Mapping[str, Any]
    time: int | None = None


class FailedPut(NamedTuple):
    """Events that the bus did not take.

    Attributes
    ----------
    events
        The number of events.
    code
        The code of the last error.
    out_of_time
        Whether the time ended before all tries were made.
    """

    events: int
    code: str
    out_of_time: bool


class BusUnavailable(Exception):  # noqa: N818  named like QueueUnavailable
    """There was too little time to put events on the bus.

    Attributes
    ----------
    reason
        The error code of EventBridge or the exception's name, for logs.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"events could not be put on the bus in time ({reason})")


def token_updates(
    submission: Submission, report: Report, change: str, results: Iterable[Result]
) -> Iterator[Event]:
    """Write the events that tell programs to delete or replace tokens.

    Their time is that of the request, so that the registry keeps a device that was registered
    after it.

    Parameters
    ----------
    submission, report
        The request and its report.
    change
        ``dead_token``, ``invalid_token`` or ``replacement_token``.
    results
        The results of the tokens with this change.
    """
    tokens = []
    for result in results:
        token = _entry(result)
        if change == "replacement_token":
            token["replacement_token"] = result["replacement_token"]
        tokens.append(token)
    head = {**_common_members(submission, report), "change": change}
    for event in _listing(TOKEN_UPDATE, head, "tokens", tokens):
        yield event._replace(time=submission.accepted_at)


def delivery_failed(
    submission: Submission, report: Report, failure: str, results: Iterable[Result]
) -> Iterator[Event]:
    """Write the events for pushes that failed permanently, all with one outcome."""
    yield from _listing(
        DELIVERY_FAILED,
        {**_common_members(submission, report), "failure": failure},
        "recipients",
        map(_entry, results),
    )


def request_refused(submission: Submission, errors: Iterable[Finding]) -> Event:
    """Write the event for a request that can never be sent: its errors, and none of its values."""
    listed: list[Mapping[str, Any]] = []
    room = DETAIL_BYTES
    for error in errors:
        room -= _size(error._asdict())
        if room < 0:
            break
        listed.append(error._asdict())
    return Event(
        DELIVERY_FAILED,
        {
            "version": VERSION,
            **_job_member(submission),
            "request_id": submission.request_id,
            "idempotency_key": None,
            "application_id": None,
            "failure": "invalid_request",
            "faults": listed,
        },
    )


def push_report(submission: Submission, report: Report, summary: Mapping[str, int]) -> Event:
    """Write the event for a queued request, or a requeued part of one, that is done."""
    detail = {
        **_common_members(submission, report),
        "attempt": submission.attempt,
        "dry_run": report["dry_run"],
        "summary": dict(summary),
    }
    if "schedule_id" in report:
        detail["schedule_id"] = report["schedule_id"]
    return Event(REPORT, detail)


def job_report(
    job: str,
    *,
    action: str,
    status: str,
    rows: int,
    summary: Mapping[str, int],
    results: str | None,
    execution_id: str,
    reason: str | None = None,
) -> Event:
    """Write the event for a job that has ended."""
    detail = {
        "version": VERSION,
        "job": job,
        "action": action,
        "status": status,
        "rows": rows,
        "summary": dict(summary),
        "results": results,
        "execution_id": execution_id,
    }
    return Event(JOB_REPORT, detail if reason is None else {**detail, "reason": reason})


def is_own_detail(value: object) -> bool:
    """Return whether a value is the detail of an event of this function."""
    return isinstance(value, dict) and value.keys() - _OPTIONAL in _DETAILS


class EventBus:
    """An EventBridge bus.

    Parameters
    ----------
    client
        An EventBridge client.
    name
        The name or ARN of the bus.
    """

    def __init__(self, client: Any, name: str) -> None:
        self._client = client
        self._name = name

    def put(self, events: Iterable[Event], *, last_start: float) -> list[FailedPut]:
        """Put events on the bus. Retry refused events while there is time.

        Parameters
        ----------
        events
            The events.
        last_start
            On ``time.monotonic``: no call begins after that.

        Returns
        -------
        list
            The events that were not accepted after all tries; empty if all were.
        """
        entries = [self._entry(event) for event in events]
        return [
            failure
            for call in _calls(entries)
            if (failure := self._put(call, last_start)) is not None
        ]

    def _entry(self, event: Event) -> Mapping[str, Any]:
        entry: dict[str, Any] = {
            "Source": SOURCE,
            "DetailType": event.detail_type,
            "Detail": compact_json(event.detail),
            "EventBusName": self._name,
        }
        if event.time is not None:
            entry["Time"] = datetime.fromtimestamp(event.time / 1_000, UTC)
        return entry

    def _put(self, entries: Sequence[Mapping[str, Any]], last_start: float) -> FailedPut | None:
        if time.monotonic() > last_start:
            return FailedPut(len(entries), "deadline", out_of_time=True)
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
                return FailedPut(len(entries), code, out_of_time=True)
        return FailedPut(len(entries), code, out_of_time=False)

    def _refused(self, entries: Sequence[Mapping[str, Any]]) -> list[tuple[Mapping[str, Any], str]]:
        """Put entries on the bus. Return those that it refused, each with its error code."""
        answers = self._client.put_events(Entries=entries)["Entries"]
        return [
            (entry, str(answer["ErrorCode"]))
            for entry, answer in zip(entries, answers, strict=True)
            if answer.get("ErrorCode")
        ]


def _common_members(submission: Submission, report: Report) -> dict[str, Any]:
    return {
        "version": VERSION,
        **_job_member(submission),
        "request_id": submission.request_id,
        "idempotency_key": submission.key,
        "application_id": report["application_id"],
    }


def _job_member(submission: Submission) -> dict[str, str]:
    return {"job": submission.job} if submission.job is not None else {}


def _entry(result: Mapping[str, Any]) -> dict[str, Any]:
    """Write a result as an entry of an event's list."""
    return {name: result[name] for name in _MEMBERS if name in result}


def _listing(
    detail_type: str, head: Mapping[str, Any], name: str, entries: Iterable[Mapping[str, Any]]
) -> Iterator[Event]:
    """Split a list over as many events as necessary."""
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


def _calls(entries: Iterable[Mapping[str, Any]]) -> Iterator[Sequence[Mapping[str, Any]]]:
    call: list[Mapping[str, Any]] = []
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
