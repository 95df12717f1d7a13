"""Clients for what happens after a send: SQS and EventBridge, bounded in time.

As with Pinpoint's, retries are ours alone: only we know when the invocation ends. A call
that timed out may have had its effect, so what is sent must bear coming twice.
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
"""How long one call takes at the longest: both timeouts, whatever hangs."""

TRIES: Final = 4
_BACKOFF_SECONDS: Final = 0.1

Answer = TypeVar("Answer")


def client(service: str, region: str | None) -> Any:
    """Make a client that tries each call once."""
    config = Config(
        connect_timeout=CONNECT_TIMEOUT_SECONDS,
        read_timeout=READ_TIMEOUT_SECONDS,
        retries={"total_max_attempts": 1},
    )
    return make_client(service, region, config)


def insist(call: Callable[[], Answer], *, last_start: float) -> Answer:
    """Make a call, and again where it failed for the moment.

    Parameters
    ----------
    call
        Makes it.
    last_start
        On ``time.monotonic``: no try begins after that, except the first.

    Raises
    ------
    CallError
        Of the last try. Its ``may_have_arrived`` speaks of all of them.
    """
    may_have_arrived = False
    number = 0
    while True:
        number += 1
        try:
            return perform(call)
        except CallError as error:
            may_have_arrived |= error.may_have_arrived
            if number == TRIES or not (error.may_pass and pause(number, last_start)):
                error.may_have_arrived = may_have_arrived
                raise


def pause(number: int, last_start: float) -> bool:
    """Wait before the next try, unless that came too late. Tell whether it may begin."""
    wait = random.uniform(0, _BACKOFF_SECONDS * 2.0**number)  # noqa: S311  jitter, not a secret
    if time.monotonic() + wait > last_start:
        return False
    time.sleep(wait)
    return True
