"""The outcome of a push: as the provider reports it, and as a report of the function names it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from push_sender.outcomes.classification import classify, classify_error
from push_sender.outcomes.outcome import Outcome

IN_REPORTS: Final = tuple(
    str(outcome)
    for outcome in Outcome
    if outcome not in (Outcome.UNSENT, Outcome.REQUEUED, Outcome.NO_DEVICE)
)
"""The outcomes that a call to the push service can have."""


def outcome(answer: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the status, the code and, if there is one, the reason.

    Parameters
    ----------
    answer
        The address's ``MessageResult``, or None if it is missing from the answer.

    Examples
    --------
    >>> outcome({"DeliveryStatus": "OPT_OUT", "StatusCode": 400, "StatusMessage": "No"})
    {'status': 'OPT_OUT', 'code': 400, 'reason': 'No'}
    """
    if answer is None:
        return {"status": "MISSING", "code": None, "reason": "Not in the answer"}
    text = answer.get("StatusMessage", "")
    return {
        "status": answer["DeliveryStatus"],
        "code": answer["StatusCode"],
        "reason": _provider_error(text) or text,
    }


def outcome_in_report(answer: Mapping[str, Any] | None) -> str:
    """Return the outcome that a report has for an answer, if no retry follows."""
    return str(classify(answer).outcome)


def outcome_of_refusal(code: str, status: int, reason: str) -> str:
    """Return the outcome that a report has for each address of a refused call."""
    return str(classify_error(code, status, reason).outcome)


def _provider_error(status_message: str) -> str | None:
    try:
        message = json.loads(status_message)
    except ValueError:
        return None  # plain text, or cut short
    return message.get("pushProviderError") if isinstance(message, dict) else None
