"""The direct entry point: the request in, the report out.

``aws lambda invoke``, EventBridge Scheduler and Step Functions hand in the request as it
is. A request that cannot be sent raises ``InvalidRequest``, so the invocation carries a
function error that names every fault.
"""

from __future__ import annotations

import time
from typing import Final

from aws_lambda_powertools.utilities.typing import LambdaContext

from push_sender.report import Report
from push_sender.sender import Sender

RESERVE_SECONDS: Final = 1.0
"""Kept back from an invocation to write its report, its logs and its metrics."""

RESERVE_SHARE: Final = 0.2
"""At most this share of a short invocation is kept back."""


def push(event: object, context: LambdaContext, sender: Sender) -> Report:
    """Send the request that an invocation holds, in the time that it has left.

    Raises
    ------
    InvalidRequest
        With every fault. Nothing was sent.
    IdempotencyConflict, IdempotencyInProgress, IdempotencyStoreUnavailable
        As ``Sender.send``. Nothing was sent.
    """
    return sender.send(event, deadline=end_of(context))


def end_of(context: LambdaContext) -> float:
    """Tell, on ``time.monotonic``, when an invocation's work must be done."""
    left = context.get_remaining_time_in_millis() / 1_000
    return time.monotonic() + left - min(RESERVE_SECONDS, left * RESERVE_SHARE)
