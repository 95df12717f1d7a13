"""The outcome of a push: in one line of the provider's words, and as a report names it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from push_sender.outcomes.classification import classify, classify_error
from push_sender.outcomes.outcome import Outcome

IN_REPORTS: Final = tuple(
    str(outcome) for outcome in Outcome if outcome not in (Outcome.UNSENT, Outcome.REQUEUED)
)
"""The outcomes that a call to the push service can have."""


def outcome(answer: Mapping[str, Any] | None) -> dict[str, Any]:
    """Name the status, the code and, if there is one, the reason.

    Parameters
    ----------
    answer
        The address's ``MessageResult``, or None where it is missing from the answer.

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
        "reason": _providers_word(text) or text,
    }


def outcome_in_report(answer: Mapping[str, Any] | None) -> str:
    """Name the outcome that a report has for this answer, if it is the last one."""
    return str(classify(answer).outcome)


def outcome_of_refusal(code: str, status: int, reason: str) -> str:
    """Name the outcome that a report has for each address of a call that was refused whole."""
    return str(classify_error(code, status, reason).outcome)


def _providers_word(status_message: str) -> str | None:
    try:
        told = json.loads(status_message)
    except ValueError:
        return None  # plain text, or cut short
    return told.get("pushProviderError") if isinstance(told, dict) else None
