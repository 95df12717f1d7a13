"""The outcomes of a recipient, and what one answer means for one address."""

from __future__ import annotations

from enum import Enum, StrEnum, auto
from typing import Final, NamedTuple


class Outcome(StrEnum):
    """The class of a recipient's result. Callers branch on it."""

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


class AddressResult(NamedTuple):
    """The result of one address, as one answer gives it."""

    outcome: Outcome
    delivery_status: str | None = None
    status_code: int | None = None
    reason: str | None = None
    status_message: str | None = None
    message_id: str | None = None
    replacement_token: str | None = None


class Refusal(Enum):
    """Why the service refused a whole call before it asked any provider."""

    THROTTLED = auto()
    REFUSED = auto()


NO_ANSWER: Final = AddressResult(Outcome.UNKNOWN)
