"""The report: one result for each recipient, in the order of the request."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, NotRequired

from typing_extensions import TypedDict

from push_sender.outcomes.outcome import AddressResult, Outcome
from push_sender.request.errors import Finding, InvalidRequest, Remark
from push_sender.request.model import PushRequest, Recipient
from push_sender.request.services import SERVICES

if TYPE_CHECKING:
    from push_sender.recipients.resolution import Origin

RESPONSE_BYTES: Final = 6_000_000
"""Room for a report: Lambda's limit for a response is 6 MB (6,291,556 bytes)."""

_RESULT_BYTES: Final = 420
"""Size of a result without its tokens and its status message: names, codes, a message id."""

_RESULT_QUOTES: Final = 40
"""Number of quotes among those bytes."""

_STATUS_MESSAGE_BYTES: Final = (100, 2_000)
"""The smallest and the largest limit of a status message."""

_REPLACEMENT_TOKEN_BYTES: Final = 256

_USER_BYTES: Final = 48
"""The names of a user's two members, as text in JSON, without the ids."""


class Result(TypedDict):
    """The result of one device. Only that of a user has ``user_id`` and ``device_id``."""

    user_id: NotRequired[str]
    device_id: NotRequired[str | None]
    token: str | None
    service: str | None
    outcome: Outcome
    delivery_status: str | None
    status_code: int | None
    reason: str | None
    status_message: str | None
    message_id: str | None
    replacement_token: str | None
    attempts: int


class Report(TypedDict):
    """The response to a request.

    Only a dry run has ``requests``, and only a request for later ``schedule_id``.
    """

    application_id: str
    idempotency_key: str | None
    replayed: bool
    dry_run: bool
    summary: dict[str, int]
    results: list[Result]
    warnings: list[Remark]
    requests: NotRequired[Sequence[dict[str, Any]]]
    schedule_id: NotRequired[str]


def status_message_room(
    recipients: Sequence[Recipient],
    origins: Sequence[Origin | None] = (),
    *,
    as_text: bool = False,
) -> int:
    """Calculate how many bytes a report of these recipients leaves for each status message.

    Parameters
    ----------
    recipients
        All recipients.
    origins
        The user of each; empty if none is a user.
    as_text
        Whether the response holds the report as text in JSON, as over HTTP. There each quote
        and each backslash of the JSON takes one more byte.

    Raises
    ------
    InvalidRequest
        If the report could exceed Lambda's limit.
    """
    tokens = "".join(recipient.token for recipient in recipients)
    escaped = tokens.count('"') + tokens.count("\\")
    token_bytes = len(tokens) + escaped * (3 if as_text else 1)
    token_bytes += sum(
        _USER_BYTES + len(origin.user_id) + len(origin.device_id or "")
        for origin in origins
        if origin is not None
    )
    result_bytes = _RESULT_BYTES + _REPLACEMENT_TOKEN_BYTES + (_RESULT_QUOTES if as_text else 0)
    room = (RESPONSE_BYTES - result_bytes * len(recipients) - token_bytes) // len(recipients)
    if as_text:
        room //= 2  # as text, a character takes at most twice its size in JSON
    least, most = _STATUS_MESSAGE_BYTES
    if room < least:
        raise InvalidRequest(
            [
                Finding(
                    "recipients",
                    "with tokens this long the report could pass the 6 MB that Lambda answers; "
                    "split the request",
                )
            ]
        )
    return min(room, most)


def result(
    recipient: Recipient,
    address_result: AddressResult,
    attempts: int,
    room: int,
    origin: Origin | None = None,
) -> Result:
    """Write the result of one recipient, or of one device of a user."""
    message = address_result.status_message
    written: Result = {
        "token": recipient.token,
        "service": SERVICES[recipient.service].name,
        "outcome": address_result.outcome,
        "delivery_status": address_result.delivery_status,
        "status_code": address_result.status_code,
        "reason": address_result.reason,
        "status_message": message if message is None else _cut(message, room),
        "message_id": address_result.message_id,
        "replacement_token": address_result.replacement_token,
        "attempts": attempts,
    }
    if origin is not None:
        written |= {"user_id": origin.user_id, "device_id": origin.device_id}
        if origin.device_id is None:
            written |= {"token": None, "service": None}
    return written


def report(
    request: PushRequest,
    application_id: str,
    results: list[Result],
    warnings: Sequence[Finding],
    requests: Sequence[dict[str, Any]] | None = None,
    *,
    key: str | None = None,
    replayed: bool = False,
    as_text: bool = False,
) -> Report:
    """Write the report.

    Parameters
    ----------
    request
        The request.
    application_id
        The project that was used.
    results
        One for each recipient, in the order of the request.
    warnings
        Warnings for the caller.
    requests
        The calls to show, for a dry run.
    key
        The idempotency key that was used: the request's own or the entry point's default.
    replayed
        Whether all results come from an earlier invocation.
    as_text
        As for ``status_message_room``.
    """
    counts = Counter(result["outcome"] for result in results)
    answer: Report = {
        "application_id": application_id,
        "idempotency_key": key,
        "replayed": replayed,
        "dry_run": bool(request.dry_run),
        "summary": {
            "recipients": len(results),
            **{outcome.value: counts[outcome] for outcome in Outcome if outcome in counts},
        },
        "results": results,
        "warnings": [warning.as_json() for warning in warnings],
    }
    if requests is not None:
        answer["requests"] = requests
        if _answer_bytes(answer, as_text=as_text) > RESPONSE_BYTES:
            error = Finding(
                "dry_run", "the calls to show pass the 6 MB that Lambda answers; ask for fewer"
            )
            raise InvalidRequest([error])
    return answer


def _answer_bytes(answer: Report, *, as_text: bool) -> int:
    """Measure a report with its calls, until it exceeds the limit.

    It writes one call at a time, because each repeats the shared message: together they may
    take fifty times the memory of the request.
    """
    size = 0
    for part in ({**answer, "requests": []}, *answer["requests"]):
        text = json.dumps(part)
        size += len(json.dumps(text) if as_text else text) + len(", ")
        if size > RESPONSE_BYTES:
            break
    return size


def _cut(text: str, room: int) -> str:
    """Shorten a text so that its JSON takes at most ``room`` bytes."""
    cut = text
    while len(cut) * 6 > room and (size := len(json.dumps(cut))) > room:
        cut = cut[: len(cut) * (room - 8) // size]
    return cut if cut is text else f"{cut}…"


def changes_tokens(report: Report) -> bool:
    """Return whether a report names dead, invalid or replaced tokens."""
    return any(
        result["outcome"] in (Outcome.DEAD_TOKEN, Outcome.INVALID_TOKEN)
        or result["replacement_token"] is not None
        for result in report["results"]
    )
