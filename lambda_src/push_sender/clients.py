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
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

from push_sender.sdk import make_client

CONNECT_TIMEOUT_SECONDS: Final = 1
READ_TIMEOUT_SECONDS: Final = 2

CALL_SECONDS: Final = 3.0
"""How long one call takes at the longest: both timeouts."""

TRIES: Final = 4
_BACKOFF_SECONDS: Final = 0.1

_PASSING: Final = frozenset({"ThrottlingException", "Throttling", "RequestThrottled"})
"""Codes of a 400 that is worth another try. A 429 and a 5xx always are."""

Answer = TypeVar("Answer")


def client(service: str, region: str | None) -> Any:
    """Make a client. Its calls raise botocore's errors, after one try."""
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
    botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError
        As the last try did.
    """
    for number in range(1, TRIES):
        try:
            return call()
        except (BotoCoreError, ClientError) as error:
            if not (_may_pass(error) and pause(number, last_start)):
                raise
    return call()


def pause(number: int, last_start: float) -> bool:
    """Wait before the next try, unless that came too late. Tell whether it may begin."""
    wait = random.uniform(0, _BACKOFF_SECONDS * 2.0**number)  # noqa: S311  jitter, not a secret
    if time.monotonic() + wait > last_start:
        return False
    time.sleep(wait)
    return True


def code_of(error: BotoCoreError | ClientError) -> str:
    """Name an error for a log: the service's code, or botocore's own name. No message."""
    if isinstance(error, ClientError):
        return str(error.response.get("Error", {}).get("Code"))
    return type(error).__name__


def _may_pass(error: BotoCoreError | ClientError) -> bool:
    if isinstance(error, ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return status >= 500 or status == 429 or code_of(error) in _PASSING
    return isinstance(error, HTTPClientError)
