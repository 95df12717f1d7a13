"""The judge of every address: from what was answered to what it means for the caller.

A provider's own code is believed first, then what its response says, then the text around
it. ``signals`` lists everything that is believed.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from http import HTTPStatus
from typing import Final

from push_sender.outcomes.outcome import NO_ANSWER, Outcome, Refusal, Verdict
from push_sender.outcomes.signals import (
    CALL_CODES,
    STRONG_CODES,
    STRONG_WORDS,
    THROTTLED_CODES,
    TOKEN_FIELDS,
    WEAK_CODES,
    WEAK_WORDS,
)

_BY_STATUS: Final[Mapping[str, Outcome]] = {
    "SUCCESSFUL": Outcome.ACCEPTED,
    "THROTTLED": Outcome.TRANSIENT,
    "TEMPORARY_FAILURE": Outcome.TRANSIENT,
    "OPT_OUT": Outcome.OPTED_OUT,
    "DUPLICATE": Outcome.DUPLICATE,
}
"""Statuses that say all there is to say."""

_PROVIDER_MEMBERS: Final = (
    "details", "fieldViolations", "errorCode", "reason", "error", "results", "status",
    "message", "description",
)  # fmt: skip
"""Where APNs (reason), FCM v1 (error, details), FCM legacy (results) and ADM (reason) put it."""

_PASSING: Final = frozenset({408, 421, 425, 429})
"""HTTP statuses below 500 after which the same request may succeed: a timeout, a connection to
the wrong server, too early, too many (RFC 9110, RFC 8470, RFC 6585)."""

_OF_THE_MESSAGE: Final = frozenset({400, 413, 422})
"""HTTP statuses that speak of what was sent. Others are about the endpoint, the proxy or who
sends."""

_DEPTH: Final = 8
"""How deep JSON may hold JSON before it counts as text."""


def judge(answer: object) -> Verdict:
    """Judge what SendMessages answered for one address.

    Parameters
    ----------
    answer
        The ``MessageResult`` of botocore's model, of which any member may be missing or
        of another kind; None where the address is missing from the result.
    """
    if not isinstance(answer, dict):  # JSON's only mapping
        return NO_ANSWER
    status, code = answer.get("DeliveryStatus"), answer.get("StatusCode")
    message = _text(answer.get("StatusMessage"))
    reason = None
    if status == "SUCCESSFUL":
        outcome = Outcome.ACCEPTED
    else:
        document = _unwrapped(message)
        said, reason = _said(document)
        outcome = _decide(_text(status), _statuses(code, document), said)
    return Verdict(
        outcome,
        _text(status),
        code if type(code) is int else None,
        reason,
        message,
        _text(answer.get("MessageId")),
        _text(answer.get("UpdatedToken")) or None,
    )


def judge_refusal(code: str, http_status: int | None, message: object) -> Verdict:
    """Judge a call that was refused or failed as a whole, for each of its addresses.

    Parameters
    ----------
    code
        The exception's name, as the service or botocore gives it.
    http_status
        Of the answer; None where there was none.
    message
        The service's words.
    """
    signal = CALL_CODES.get(code)
    text = _text(message)
    if text and "No channel of type" in text:
        outcome = Outcome.MISCONFIGURED  # some have seen the whole call refused for one channel
    elif signal:
        outcome = signal.outcome
    else:
        outcome = _by_http_status(http_status)
    return Verdict(outcome, None, http_status, signal and signal.text, text or None)


def refusal_of(
    outcome: str, delivery_status: str | None, status_code: int | None, reason: str | None
) -> Refusal | None:
    """Tell why a recipient was not even tried; None where it was, or may have been.

    Parameters
    ----------
    outcome, delivery_status, status_code, reason
        As a verdict or a result has them.
    """
    if delivery_status is not None:
        return None  # an answer for this very address
    throttles = status_code == HTTPStatus.TOO_MANY_REQUESTS or reason in THROTTLED_CODES
    if outcome == Outcome.TRANSIENT and throttles:
        return Refusal.THROTTLED
    return Refusal.REFUSED if outcome == Outcome.MISCONFIGURED else None


def _decide(status: str | None, codes: Collection[int], said: Outcome | None) -> Outcome:
    if status is None:
        return Outcome.UNKNOWN
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    if status == "PERMANENT_FAILURE":
        return said or _by_provider_statuses(codes)
    # UNKNOWN_FAILURE, or a status that came later than this list: without a provider's
    # word that it did not arrive, it may have.
    return Outcome.UNKNOWN if said in (None, Outcome.TRANSIENT) else said


def _by_provider_statuses(statuses: Collection[int]) -> Outcome:
    """Judge a push for good refused, whose words say nothing, by what the HTTP statuses say."""
    if any(status in _PASSING or status >= 500 for status in statuses):
        return Outcome.TRANSIENT
    refused = any(status in (401, 403, 407) for status in statuses)
    return Outcome.MISCONFIGURED if refused else Outcome.REJECTED


def _by_http_status(status: int | None) -> Outcome:
    """Judge a whole call by its HTTP status: only some speak of the message at all."""
    if status is None or status < 300:
        return Outcome.UNKNOWN
    if status in _PASSING or status >= 500:
        return Outcome.TRANSIENT
    return Outcome.REJECTED if status in _OF_THE_MESSAGE else Outcome.MISCONFIGURED


def _statuses(code: object, document: object) -> Collection[int]:
    """List the HTTP statuses of an answer: the API's own, and the provider's where it is told."""
    told = document.get("pushProviderStatusCode") if isinstance(document, dict) else None
    texts = (str(status) for status in (code, told) if type(status) in (int, str))
    return [int(text) for text in texts if len(text) == 3 and text.isascii() and text.isdecimal()]


def _said(document: object) -> tuple[Outcome | None, str | None]:
    """Find what a StatusMessage says: the outcome, and the provider's code for it."""
    sayings = list(_sayings(document))
    code = next(
        (saying for saying in sayings if saying in STRONG_CODES or saying in WEAK_CODES), None
    )
    if any(f"field {field}" in sayings for field in TOKEN_FIELDS):
        return Outcome.INVALID_TOKEN, code
    for codes, words in ((STRONG_CODES, STRONG_WORDS), (WEAK_CODES, WEAK_WORDS)):
        for saying in sayings:
            if saying in codes:
                return codes[saying].outcome, saying
            for signal in words:
                if signal.text in saying:
                    return signal.outcome, code
    return None, None


def _sayings(document: object) -> Iterator[str]:
    """List what a StatusMessage says, what is nearest to the provider first."""
    if isinstance(document, dict):
        yield from _provider_sayings(document.get("pushProviderError"))
        yield from _provider_sayings(document.get("pushProviderResponse"))
        yield from _provider_sayings(document)
        yield from _provider_sayings(document.get("errorMessage"))
    else:
        yield from _provider_sayings(document)


def _provider_sayings(value: object, depth: int = 0) -> Iterator[str]:
    value = _unwrapped(value)
    if isinstance(value, str):
        yield value
    elif depth < _DEPTH and isinstance(value, dict):
        if isinstance(field := value.get("field"), str):
            yield f"field {field}"  # apart from what texts say, which may name a field too
        for member in _PROVIDER_MEMBERS:
            yield from _provider_sayings(value.get(member), depth + 1)
    elif depth < _DEPTH and isinstance(value, list):
        for item in value:
            yield from _provider_sayings(item, depth + 1)


def _unwrapped(value: object) -> object:
    """Read JSON, and the JSON in it, as far as it is whole; broken JSON stays text."""
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
    """Give a value that should be text as text that can be written as UTF-8."""
    if type(value) is str and value.isascii():  # all but always, and so many times
        return value
    if value is None:
        return None
    try:
        text = value if isinstance(value, str) else json.dumps(value, default=str)
    except RecursionError:
        text = "(nested too deeply)"
    return text.encode(errors="replace").decode()
