"""The time that an invocation has left for its work."""

from __future__ import annotations

import time
from typing import Final

from aws_lambda_powertools.utilities.typing import LambdaContext

RESERVE_SECONDS: Final = 1.0
"""Time kept at the end of an invocation for its report, logs and metrics."""

RESERVE_SHARE: Final = 0.2
"""At most this share of a short invocation is kept."""


def end_of(context: LambdaContext) -> float:
    """Return when an invocation's work must be done, on ``time.monotonic``."""
    left = context.get_remaining_time_in_millis() / 1_000
    return time.monotonic() + left - min(RESERVE_SECONDS, left * RESERVE_SHARE)
