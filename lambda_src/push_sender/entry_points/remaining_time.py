"""The time that an invocation has left for its work."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

from aws_lambda_powertools.utilities.typing import LambdaContext

RESERVE_SECONDS: Final = 1.0
"""Time kept at the end of an invocation for its report, logs and metrics."""

RESERVE_SHARE: Final = 0.2
"""At most this share of a short invocation is kept."""


INTEGRATION_SECONDS: Final = 30.0
"""How long API Gateway waits for a response after it received the request."""


def end_of(context: LambdaContext) -> float:
    """Return when an invocation's work must be done, on ``time.monotonic``."""
    left = context.get_remaining_time_in_millis() / 1_000
    return time.monotonic() + left - min(RESERVE_SECONDS, left * RESERVE_SHARE)


def end_of_http(event: Mapping[str, Any], context: LambdaContext) -> float:
    """Return when the response to an HTTP request must be ready, on ``time.monotonic``.

    API Gateway began to wait before the function started, maybe by a whole cold start.
    """
    end = end_of(context)
    reached_at = event["requestContext"].get("timeEpoch")
    age = time.time() - reached_at / 1_000 if isinstance(reached_at, int) else -1.0
    if not 0 <= age < INTEGRATION_SECONDS:  # an old event that someone sent by hand
        return end
    return min(end, time.monotonic() + INTEGRATION_SECONDS - age - RESERVE_SECONDS)
