"""Divide the remaining time of an invocation between the send and its follow-up."""

from __future__ import annotations

import time
from typing import Final, NamedTuple, Self

from aws_lambda_powertools.utilities.typing import LambdaContext

from push_sender.clients.queue_and_bus import CALL_SECONDS
from push_sender.entry_points.remaining_time import end_of

FOLLOW_UP_SECONDS: Final = 1.0 + CALL_SECONDS
"""Time kept for the follow-up: one second in which calls to the queues and the bus may begin,
and the time that the last of them needs to end."""

FOLLOW_UP_SHARE: Final = 0.4
"""The follow-up gets at most this share of a short time."""


class Timing(NamedTuple):
    """Three moments on ``time.monotonic``.

    Attributes
    ----------
    deadline
        When the send must end.
    last_start
        When the last call of the follow-up may begin.
    end
        When everything must be done.
    """

    deadline: float
    last_start: float
    end: float

    @classmethod
    def until(cls, end: float) -> Self:
        """Divide the time from now until ``end``."""
        left = max(end - time.monotonic(), 0.0)
        kept = min(FOLLOW_UP_SECONDS, left * FOLLOW_UP_SHARE)
        return cls(end - kept, end - kept * CALL_SECONDS / FOLLOW_UP_SECONDS, end)

    @classmethod
    def of(cls, context: LambdaContext) -> Self:
        """Divide the remaining time of an invocation."""
        return cls.until(end_of(context))
