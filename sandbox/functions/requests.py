"""What Lambda takes as a request to invoke a function, and how it refuses one."""

from __future__ import annotations

import json
import secrets
import time
import uuid
from typing import NoReturn

from moto.awslambda.exceptions import LambdaClientError

from sandbox.functions.runtime_api import Invocation

# The limits of a request, in bytes: synchronous 6 MB, asynchronous 1 MB.
REQUEST_LIMIT = 6 * 1024 * 1024
EVENT_LIMIT = 1024 * 1024


def new_invocation(
    arn: str,
    payload: bytes,
    limit: int,
    client_context: str | None,
    trace_id: str | None,
    door: str,
) -> Invocation:
    """Make an invocation of a payload within a limit.

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
        door=door,
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


def refusal(status: int, error: str, message: str) -> LambdaClientError:
    """Make an error that moto answers with as Lambda does."""
    made = LambdaClientError(error, message)
    made.code = status
    return made


def refuse_stopping() -> NoReturn:
    """Refuse what comes after the end has begun."""
    raise refusal(500, "ServiceException", "The sandbox is stopping.") from None
