"""Clients for SQS, EventBridge and its Scheduler, with retries that end in time.

The SDK's retries are off, as for Pinpoint: only this code knows when the invocation ends. A
call that timed out may have had its effect, so whatever is sent must be harmless twice.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

from botocore.config import Config

from push_sender.clients.calls import CallError, perform
from push_sender.clients.sdk import make_client

CONNECT_TIMEOUT_SECONDS: Final = 1
READ_TIMEOUT_SECONDS: Final = 2

CALL_SECONDS: Final = 3.0
"""The longest time of one call: both timeouts, whatever hangs."""

TRIES: Final = 4
_BACKOFF_SECONDS: Final = 0.1

Answer = TypeVar("Answer")


def client(service: str, region: str | None) -> Any:
    """Create a client that does not retry by itself."""
    config = Config(
        connect_timeout=CONNECT_TIMEOUT_SECONDS,
        read_timeout=READ_TIMEOUT_SECONDS,
        retries={"total_max_attempts": 1},
    )
    return make_client(service, region, config)


def call_with_retries(call: Callable[[], Answer], *, last_start: float) -> Answer:
    """Make a call, and retry it after a temporary failure.

    Parameters
    ----------
    call
        Makes the call.
    last_start
        On ``time.monotonic``: no retry begins after that.

    Raises
    ------
    CallError
        The error of the last try. Its ``may_have_arrived`` counts all tries.
    """
    may_have_arrived = False
    number = 0
    while True:
        number += 1
        try:
            return perform(call)
        except CallError as error:
            may_have_arrived |= error.may_have_arrived
            if number == TRIES or not (error.is_retryable and pause(number, last_start)):
                error.may_have_arrived = may_have_arrived
                raise


def pause(number: int, last_start: float) -> bool:
    """Wait before a retry, unless it would begin too late. Return whether it may begin."""
    wait = random.uniform(0, _BACKOFF_SECONDS * 2.0**number)  # noqa: S311  jitter, not a secret
    if time.monotonic() + wait > last_start:
        return False
    time.sleep(wait)
    return True
