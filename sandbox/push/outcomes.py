"""What became of a push, in one line: the provider's own word out of all that the API answers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


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


def _providers_word(status_message: str) -> str | None:
    try:
        told = json.loads(status_message)
    except ValueError:
        return None  # plain text, or cut short
    return told.get("pushProviderError") if isinstance(told, dict) else None
