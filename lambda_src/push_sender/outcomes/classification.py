"""Classify answers: what the answer for an address means for the caller.

A provider's own code counts first, then its response, then the text around it. ``signals``
lists every code and phrase that counts.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from http import HTTPStatus
from typing import Final

from push_sender.outcomes.outcome import NO_ANSWER, AddressResult, Outcome, Refusal
from push_sender.outcomes.signals import (
    CALL_CODES,
    STRONG_CODES,
    STRONG_WORDS,
    THROTTLED_CODES,
    TOKEN_FIELDS,
    WEAK_CODES,
    WEAK_WORDS,
)

_BY_DELIVERY_STATUS: Final[Mapping[str, Outcome]] = {
    "SUCCESSFUL": Outcome.ACCEPTED,
    "THROTTLED": Outcome.TRANSIENT,
    "TEMPORARY_FAILURE": Outcome.TRANSIENT,
    "OPT_OUT": Outcome.OPTED_OUT,
    "DUPLICATE": Outcome.DUPLICATE,
}
"""Statuses that alone decide the outcome."""

_PROVIDER_MEMBERS: Final = (
    "details", "fieldViolations", "errorCode", "reason", "error", "results", "status",
    "message", "description",
)  # fmt: skip
"""Members with codes: of APNs and ADM (reason), FCM v1 (error, details), FCM legacy (results)."""

_TEMPORARY: Final = frozenset({408, 421, 425, 429})
"""HTTP statuses below 500 after which the same request may succeed: a timeout, a connection to
the wrong server, too early, too many (RFC 9110, RFC 8470, RFC 6585)."""

_ABOUT_THE_MESSAGE: Final = frozenset({400, 413, 422})
"""HTTP statuses for an error of the message. Others concern the endpoint, the proxy or the
sender."""

_DEPTH: Final = 8
"""How many levels of JSON are read; deeper levels count as text."""


def classify(answer: object) -> AddressResult:
    """Classify the answer of SendMessages for one address.

    Parameters
    ----------
    answer
        The ``MessageResult`` of botocore's model, in which any member may be missing or of
        another type; None if the answer does not contain the address.
    """
    if not isinstance(answer, dict):  # JSON's only mapping
        return NO_ANSWER
    status, code = answer.get("DeliveryStatus"), answer.get("StatusCode")
    message = _text(answer.get("StatusMessage"))
    reason = None
    if status == "SUCCESSFUL":
        outcome = Outcome.ACCEPTED
    else:
        document = _parsed(message)
        meaning, reason = _meaning(document)
        outcome = _outcome(_text(status), _statuses(code, document), meaning)
    return AddressResult(
        outcome,
        _text(status),
        code if type(code) is int else None,
        reason,
        message,
        _text(answer.get("MessageId")),
        _text(answer.get("UpdatedToken")) or None,
    )


def classify_error(code: str, http_status: int | None, message: object) -> AddressResult:
    """Classify a call that was refused or failed, for all its addresses.

    Parameters
    ----------
    code
        The error code of the service, or the name of botocore's exception.
    http_status
        The status of the answer; None if there was no answer.
    message
        The service's error message.
    """
    signal = CALL_CODES.get(code)
    text = _text(message)
    if text and "No channel of type" in text:
        outcome = Outcome.MISCONFIGURED  # reported: a missing channel can fail the whole call
    elif signal:
        outcome = signal.outcome
    else:
        outcome = _by_http_status(http_status)
    return AddressResult(outcome, None, http_status, signal and signal.text, text or None)


def refusal_of(
    outcome: str, delivery_status: str | None, status_code: int | None, reason: str | None
) -> Refusal | None:
    """Return why the service refused to try a recipient; None if it may have tried.

    Parameters
    ----------
    outcome, delivery_status, status_code, reason
        The fields of an ``AddressResult`` or of a report's result.
    """
    if delivery_status is not None:
        return None  # the service answered for this address
    throttles = status_code == HTTPStatus.TOO_MANY_REQUESTS or reason in THROTTLED_CODES
    if outcome == Outcome.TRANSIENT and throttles:
        return Refusal.THROTTLED
    return Refusal.REFUSED if outcome == Outcome.MISCONFIGURED else None


def _outcome(status: str | None, codes: Collection[int], meaning: Outcome | None) -> Outcome:
    if status is None:
        return Outcome.UNKNOWN
    if status in _BY_DELIVERY_STATUS:
        return _BY_DELIVERY_STATUS[status]
    if status == "PERMANENT_FAILURE":
        return meaning or _by_provider_statuses(codes)
    # UNKNOWN_FAILURE, or a status newer than this list: the push may have arrived, unless the
    # provider says that it did not.
    return Outcome.UNKNOWN if meaning in (None, Outcome.TRANSIENT) else meaning


def _by_provider_statuses(statuses: Collection[int]) -> Outcome:
    """Classify a permanent failure without a known phrase by its HTTP statuses."""
    if any(status in _TEMPORARY or status >= 500 for status in statuses):
        return Outcome.TRANSIENT
    refused = any(status in (401, 403, 407) for status in statuses)
    return Outcome.MISCONFIGURED if refused else Outcome.REJECTED


def _by_http_status(status: int | None) -> Outcome:
    """Classify a whole call by its HTTP status; only some statuses concern the message."""
    if status is None or status < 300:
        return Outcome.UNKNOWN
    if status in _TEMPORARY or status >= 500:
        return Outcome.TRANSIENT
    return Outcome.REJECTED if status in _ABOUT_THE_MESSAGE else Outcome.MISCONFIGURED


def _statuses(code: object, document: object) -> Collection[int]:
    """List the HTTP statuses of an answer: the API's, and the provider's if it is given."""
    provider_status = document.get("pushProviderStatusCode") if isinstance(document, dict) else None
    texts = (str(status) for status in (code, provider_status) if type(status) in (int, str))
    return [int(text) for text in texts if len(text) == 3 and text.isascii() and text.isdecimal()]


def _meaning(document: object) -> tuple[Outcome | None, str | None]:
    """Find the outcome that a StatusMessage means, and the provider's code for it."""
    phrases = list(_phrases(document))
    code = next(
        (phrase for phrase in phrases if phrase in STRONG_CODES or phrase in WEAK_CODES), None
    )
    if any(f"field {field}" in phrases for field in TOKEN_FIELDS):
        return Outcome.INVALID_TOKEN, code
    for codes, words in ((STRONG_CODES, STRONG_WORDS), (WEAK_CODES, WEAK_WORDS)):
        for phrase in phrases:
            if phrase in codes:
                return codes[phrase].outcome, phrase
            for signal in words:
                if signal.text in phrase:
                    return signal.outcome, code
    return None, None


def _phrases(document: object) -> Iterator[str]:
    """List the phrases of a StatusMessage, those nearest to the provider first."""
    if isinstance(document, dict):
        yield from _phrases_in(document.get("pushProviderError"))
        yield from _phrases_in(document.get("pushProviderResponse"))
        yield from _phrases_in(document)
        yield from _phrases_in(document.get("errorMessage"))
    else:
        yield from _phrases_in(document)


def _phrases_in(value: object, depth: int = 0) -> Iterator[str]:
    value = _parsed(value)
    if isinstance(value, str):
        yield value
    elif depth < _DEPTH and isinstance(value, dict):
        if isinstance(field := value.get("field"), str):
            yield f"field {field}"  # with a prefix, because a text may be the name of a field too
        for member in _PROVIDER_MEMBERS:
            yield from _phrases_in(value.get(member), depth + 1)
    elif depth < _DEPTH and isinstance(value, list):
        for item in value:
            yield from _phrases_in(item, depth + 1)


def _parsed(value: object) -> object:
    """Parse JSON, and JSON within its text; invalid JSON stays text."""
    for _ in range(_DEPTH):
        if not isinstance(value, str):
            break
        text = value.lstrip("\ufeff \t\r\n")
        if text[:1] not in ("{", "[", '"'):
            break
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            break
    return value


def _text(value: object) -> str | None:
    """Turn a value that should be text into text that is valid in UTF-8."""
    if type(value) is str and value.isascii():  # nearly always, so keep it fast
        return value
    if value is None:
        return None
    try:
        text = value if isinstance(value, str) else json.dumps(value, default=str)
    except RecursionError:
        text = "(nested too deeply)"
    return text.encode(errors="replace").decode()
