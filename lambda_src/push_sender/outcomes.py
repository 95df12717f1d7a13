"""What can become of a recipient, and one answer's word on it."""

from __future__ import annotations

from enum import Enum, StrEnum, auto
from http import HTTPStatus
from typing import Final, NamedTuple


class Outcome(StrEnum):
    """What became of one recipient. The caller branches on it."""

    ACCEPTED = "accepted"
    DEAD_TOKEN = "dead_token"  # noqa: S105  an outcome, no secret
    INVALID_TOKEN = "invalid_token"  # noqa: S105  an outcome, no secret
    MISCONFIGURED = "misconfigured"
    REJECTED = "rejected"
    OPTED_OUT = "opted_out"
    DUPLICATE = "duplicate"
    TRANSIENT = "transient"
    UNKNOWN = "unknown"
    UNSENT = "unsent"
    REQUEUED = "requeued"


class Verdict(NamedTuple):
    """What one answer means for one address."""

    outcome: Outcome
    delivery_status: str | None = None
    status_code: int | None = None
    reason: str | None = None
    status_message: str | None = None
    message_id: str | None = None
    replacement_token: str | None = None


class Refusal(Enum):
    """Why the service threw a call back whole, before any provider was asked."""

    THROTTLED = auto()
    REFUSED = auto()


def refusal_of(
    outcome: str, delivery_status: str | None, status_code: int | None
) -> Refusal | None:
    """Tell why a recipient was not even tried; None where it was, or may have been.

    Parameters
    ----------
    outcome, delivery_status, status_code
        As a verdict or a result has them.
    """
    if delivery_status is not None:
        return None  # an answer for this very address
    if outcome == Outcome.TRANSIENT and status_code == HTTPStatus.TOO_MANY_REQUESTS:
        return Refusal.THROTTLED
    return Refusal.REFUSED if outcome == Outcome.MISCONFIGURED else None


NO_ANSWER: Final = Verdict(Outcome.UNKNOWN)
