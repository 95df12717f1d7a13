"""The errors with which Lambda refuses a request."""

from __future__ import annotations

from typing import Final, NoReturn

from moto.awslambda.exceptions import LambdaClientError

THROTTLED: Final = "TooManyRequestsException"


def refusal(status: int, error: str, message: str) -> LambdaClientError:
    """Make an error that moto turns into Lambda's response."""
    made = LambdaClientError(error, message)
    made.code = status
    return made


def refuse_stopping() -> NoReturn:
    """Refuse a request that arrives while the sandbox stops."""
    raise refusal(500, "ServiceException", "The sandbox is stopping.") from None
