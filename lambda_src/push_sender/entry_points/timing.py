"""How an invocation without a waiting caller divides the time that it has left."""

from __future__ import annotations

import time
from typing import Final, NamedTuple, Self

from aws_lambda_powertools.utilities.typing import LambdaContext

from push_sender.clients.retries import CALL_SECONDS
from push_sender.entry_points.remaining_time import end_of

FOLLOW_UP_SECONDS: Final = 1.0 + CALL_SECONDS
"""Kept back after a send for what follows it: a second in which calls to the queues and the
bus may begin, and time for the last of them to end."""

FOLLOW_UP_SHARE: Final = 0.4
"""At most this share of a short time is kept back."""


class Timing(NamedTuple):
    """Three moments on ``time.monotonic``.

    Attributes
    ----------
    deadline
        The send has ended.
    last_start
        No call that follows it begins after that.
    end
        All is done.
    """

    deadline: float
    last_start: float
    end: float

    @classmethod
    def until(cls, end: float) -> Self:
        """Share out the time from now to an end."""
        left = max(end - time.monotonic(), 0.0)
        kept = min(FOLLOW_UP_SECONDS, left * FOLLOW_UP_SHARE)
        return cls(end - kept, end - kept * CALL_SECONDS / FOLLOW_UP_SECONDS, end)

    @classmethod
    def of(cls, context: LambdaContext) -> Self:
        """Share out what an invocation has left."""
        return cls.until(end_of(context))
