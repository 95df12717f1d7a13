"""A request with the facts that the follow-up needs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from push_sender.follow_up.signed_attributes import Steering

_ROWS_OF_JOB: Final = re.compile(r"job/([A-Za-z0-9_-]{1,80})/[0-9]+(?:\.[0-9]+)?")
"""The id of a request for some rows of a job: the job, the first row, and the part of many."""

_JOB: Final = "job/"
_CALLER: Final = "caller/"
_DIGITS: Final = 16


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
    sent_by
        Who sent it first, as the log names it; None if that is not known.
    is_signed
        Whether this function itself wrote it: what it put on the queue, or rows of a job.
    message_group
        The group of the message that holds it; None if it has none, or there is no message.
    """

    request: Any
    request_id: str
    accepted_at: int
    attempt: int = 0
    sent_by: str | None = None
    is_signed: bool = False
    message_group: str | None = None

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

    @property
    def group(self) -> str:
        """The group of messages with the request, or with a part of it: SQS is fair to each group.

        It names a sender by a digest, because programs that read the queue need no more.
        """
        if self.message_group is not None:
            return self.message_group
        if self.sent_by is None:
            return f"{_CALLER}unknown"
        if self.sent_by.startswith(_JOB):
            return self.sent_by
        return _CALLER + sha256(self.sent_by.encode()).hexdigest()[:_DIGITS]

    def steering(self, attempt: int = 0) -> Steering:
        """Return the attributes for a message with the request, or with a part of it."""
        return Steering(self.request_id, self.accepted_at, attempt, self.sent_by)


def job_sender(job: str) -> str:
    """Name a job as the sender of its rows."""
    return _JOB + job
