"""An invocation of a function: the check of its request, and its result."""

from __future__ import annotations

import json
import secrets
import time
import uuid
from dataclasses import dataclass
from typing import Final, NoReturn, Self

from sandbox.functions.refusals import refusal
from sandbox.functions.runtime_api import Invocation

# The limits of a request, in bytes: synchronous 6 MB, asynchronous 1 MB.
REQUEST_LIMIT: Final = 6 * 1024 * 1024
EVENT_LIMIT: Final = 1024 * 1024


@dataclass(frozen=True)
class InvocationResult:
    """The response of Invoke."""

    request_id: str
    executed_version: str
    payload: bytes
    failed: bool
    """Whether the payload is a function error."""
    log_tail: bytes


@dataclass(frozen=True)
class FailedEvent:
    """An asynchronous invocation that failed in all its retries, or was never run."""

    function_arn: str
    """With the qualifier, if it was invoked by one."""
    request_id: str
    payload: bytes
    """The event as it was sent, for the dead-letter queue."""
    answer: bytes | None
    """The last function error; None if the function's reserved concurrency is zero."""
    executed_version: str
    attempts: int

    @classmethod
    def not_run(cls, invocation: Invocation) -> Self:
        """Make one of an invocation that Lambda did not try."""
        return cls(
            function_arn=invocation.function_arn,
            request_id=invocation.request_id,
            payload=invocation.payload,
            answer=None,
            executed_version="",
            attempts=0,
        )


def new_invocation(
    arn: str,
    payload: bytes,
    limit: int,
    client_context: str | None,
    trace_id: str | None,
    entry_point: str,
) -> Invocation:
    """Make an invocation, and check its payload.

    Raises
    ------
    LambdaClientError
        RequestTooLargeException, or InvalidRequestContentException if it is not JSON.
    """
    if len(payload) > limit:
        raise refusal(
            413,
            "RequestTooLargeException",
            f"Request must be smaller than {limit} bytes for the InvokeFunction operation",
        )
    return Invocation(
        request_id=str(uuid.uuid4()),
        payload=_checked_json(payload or b"{}"),
        function_arn=arn,
        trace_id=trace_id
        or f"Root=1-{int(time.time()):08x}-{secrets.token_hex(12)};"
        f"Parent={secrets.token_hex(8)};Sampled=0",
        client_context=client_context,
        entry_point=entry_point,
    )


def _checked_json(payload: bytes) -> bytes:
    try:
        json.loads(payload.decode(), parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise refusal(
            400, "InvalidRequestContentException", "Could not parse request body into json."
        ) from None
    return payload


def _refuse_constant(name: str) -> NoReturn:
    # Python reads NaN and Infinity, which are not JSON.
    raise ValueError(name)
