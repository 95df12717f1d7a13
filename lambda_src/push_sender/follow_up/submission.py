"""A request as an entry point hands it to the follow-up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from push_sender.follow_up.steering import Steering


@dataclass(frozen=True, slots=True)
class Submission:
    """A request, and what its entry point knows of it.

    Attributes
    ----------
    request
        Parsed JSON. It has passed all checks before anything here looks into it.
    request_id
        The id that the caller knows the request by: of the EventBridge event, of the SQS
        message or of the invocation. Stays the same however often it is requeued.
    accepted_at
        When it was first handed in, in milliseconds of the epoch.
    attempt
        How often it was requeued so far.
    """

    request: Any
    request_id: str
    accepted_at: int
    attempt: int = 0

    @property
    def key(self) -> str:
        """The key that it is sent under."""
        own = self.request.get("idempotency_key") if isinstance(self.request, dict) else None
        return own if isinstance(own, str) else self.request_id

    def steering(self, attempt: int = 0) -> Steering:
        """Give what must travel beside the request, or a part of it, to its next attempt."""
        return Steering(self.request_id, self.accepted_at, attempt)
