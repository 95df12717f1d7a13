"""Make one call of the SDK, within its time, and turn any failure into a ``CallError``.

Every call of every client is made here. An exception of the transport, of botocore's parsers
or of our own code that reads the answer becomes one ``CallError``. Its outcome follows from
the service's code, or else from the HTTP status.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, Protocol, TypeVar

from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

from push_sender.outcomes.classification import classify_error
from push_sender.outcomes.outcome import Outcome

_CODE_CHARACTERS: Final = 100
"""Limit of a service's code: it is logged, and an odd answer may hold anything."""

_UNREADABLE: Final = "ResponseParserError"

T = TypeVar("T")


class TooLateError(Exception):
    """The invocation has no time left for the call. Nothing was sent."""


class Permit(Protocol):
    """What the transport needs to know of the invocation that makes a call."""

    @property
    def deadline(self) -> float:
        """When the call must end, on ``time.monotonic``."""

    def connecting(self) -> None:
        """Record that the call waits for a connection: nothing was sent yet."""

    def sending(self) -> None:
        """Record that the call's first byte is sent now.

        Raises
        ------
        TooLateError
            If it is too late to send it.
        """


class _Unlimited:
    """The permit of a call that only its own timeouts limit."""

    deadline = math.inf

    def connecting(self) -> None: ...

    def sending(self) -> None: ...


class _ThisThread(threading.local):
    """State of the call that this thread is making."""

    permit: Permit = _Unlimited()
    status: int | None = None


_this_thread: Final = _ThisThread()


@contextmanager
def permitted(permit: Permit) -> Iterator[None]:
    """Apply a permit to this thread's calls."""
    usual = _this_thread.permit
    _this_thread.permit = permit
    try:
        yield
    finally:
        _this_thread.permit = usual


def permit_of_this_thread() -> Permit:
    """Return the permit of the call that this thread is making."""
    return _this_thread.permit


def record_status(status: int | None) -> None:
    """Record the HTTP status of the call that this thread is making; None if it has none yet."""
    _this_thread.status = status


class CallError(Exception):
    """A call that was refused or failed, or whose answer is unusable. It holds no text of it.

    Attributes
    ----------
    code
        The service's code, or the exception's name.
    status
        The HTTP status; None if none was read.
    result
        What the error means for each address of the call.
    is_lost
        Whether the call may have had its effect, and no status was read.
    may_have_arrived
        Whether the call may have had its effect: no status was read, the answer is unusable,
        or the service failed.
    """

    def __init__(
        self, code: str, status: int | None, message: object = None, *, is_lost: bool = False
    ) -> None:
        self.code = code[:_CODE_CHARACTERS]
        self.status = status
        self.result = classify_error(code, status, message)
        is_unknown = self.result.outcome is Outcome.UNKNOWN
        self.is_lost = is_lost and is_unknown
        self.may_have_arrived = is_unknown or (status is not None and status >= 500)
        super().__init__(self.code)

    @property
    def has_success_status(self) -> bool:
        """Whether the service reported success, in an answer that cannot be read."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def is_retryable(self) -> bool:
        """Whether a retry of the call may succeed."""
        is_temporary = self.result.outcome in (Outcome.TRANSIENT, Outcome.UNKNOWN)
        return is_temporary and not self.has_success_status


def perform(call: Callable[[], T]) -> T:
    """Make a call and read its answer.

    Parameters
    ----------
    call
        Makes one call of a client; may also read the answer.

    Raises
    ------
    CallError
        If the call raised anything else.
    TooLateError
        If the invocation had no time left. Nothing was sent.
    """
    _this_thread.status = None
    try:
        return call()
    except TooLateError:
        raise
    except ClientError as error:
        raise _refused(error.response) from None
    except BotoCoreError as error:
        status = _this_thread.status
        is_lost = isinstance(error, HTTPClientError) and status is None
        raise CallError(type(error).__name__, status, str(error), is_lost=is_lost) from None
    except Exception as error:  # noqa: BLE001  an odd answer makes botocore's parsers raise anything
        status = _this_thread.status
        name = type(error).__name__  # the error's text may hold a part of the answer
        code = name if status is None else _UNREADABLE
        raise CallError(code, status, name) from None


def _refused(response: Any) -> CallError:
    """Read botocore's response to a refused call; any part of it may be missing or odd."""
    error = response.get("Error") or {}
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", _this_thread.status)
    return CallError(str(error.get("Code")), status, error.get("Message"))
