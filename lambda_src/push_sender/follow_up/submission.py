"""A request with the facts that the follow-up needs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from push_sender.follow_up.signed_attributes import Steering

_ROWS_OF_JOB: Final = re.compile(r"job/([A-Za-z0-9_-]{1,80})/[0-9]+(?:\.[0-9]+)?")
"""The id of a request for some rows of a job: the job, the first row, and the part of many."""


@dataclass(frozen=True, slots=True)
class Submission:
    """A request, and what its entry point knows about it.

    Attributes
    ----------
    request
        Parsed JSON, which has passed all checks before the follow-up reads it.
    request_id
        The id that the caller knows the request by: of the EventBridge event, of the SQS
        message or of the invocation. Requeuing does not change it.
    accepted_at
        When it was first accepted, in milliseconds of the epoch.
    attempt
        How often it was requeued so far.
    is_signed
        Whether this function itself wrote it: what it put on the queue, or rows of a job.
    """

    request: Any
    request_id: str
    accepted_at: int
    attempt: int = 0
    is_signed: bool = False

    @property
    def key(self) -> str:
        """The idempotency key of the request."""
        own = self.request.get("idempotency_key") if isinstance(self.request, dict) else None
        return own if isinstance(own, str) else self.request_id

    @property
    def job(self) -> str | None:
        """The job that the recipients are rows of, or None."""
        found = _ROWS_OF_JOB.fullmatch(self.request_id) if self.is_signed else None
        return found and found[1]

    def steering(self, attempt: int = 0) -> Steering:
        """Return the attributes for a message with the request, or with a part of it."""
        return Steering(self.request_id, self.accepted_at, attempt)
