"""One call of the SDK: whether it may still go out, and what any answer comes to.

Every call of every client is made here. Whatever it raises, in the transport, in botocore's
parsers or in our own reading of the answer, becomes one ``CallError`` of that call, judged
by the service's code or else by the HTTP status.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, Protocol, TypeVar

from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

from push_sender.outcomes.classification import judge_refusal
from push_sender.outcomes.outcome import Outcome

_CODE_CHARACTERS: Final = 100
"""Where a service's code is cut: it goes into logs, and an odd answer may hold anything."""

_UNREADABLE: Final = "ResponseParserError"

T = TypeVar("T")


class TooLateError(Exception):
    """The invocation has no time left for the call. Nothing of it was sent."""


class Permit(Protocol):
    """What the transport must know of the invocation that a call belongs to."""

    @property
    def deadline(self) -> float:
        """When the call must have ended, on ``time.monotonic``."""

    def connecting(self) -> None:
        """Take note that the call waits for a connection: nothing of it was sent yet."""

    def sending(self) -> None:
        """Take note that the call's first byte goes out now.

        Raises
        ------
        TooLateError
            If it may not go out any more.
        """


class _Always:
    """The permit of a call that only its own timeouts end."""

    deadline = math.inf

    def connecting(self) -> None: ...

    def sending(self) -> None: ...


class _ThisThread(threading.local):
    """What is known of the call that this thread is making."""

    permit: Permit = _Always()
    status: int | None = None


_this_thread: Final = _ThisThread()


@contextmanager
def permitted(permit: Permit) -> Iterator[None]:
    """Make this thread's calls within a permit."""
    usual = _this_thread.permit
    _this_thread.permit = permit
    try:
        yield
    finally:
        _this_thread.permit = usual


def permit_of_this_thread() -> Permit:
    """Give the permit of the call that this thread is making."""
    return _this_thread.permit


def answered(status: int | None) -> None:
    """Note the HTTP status of the call that this thread is making; None where none came yet."""
    _this_thread.status = status


class CallError(Exception):
    """A call that was refused, failed, or whose answer is of no use. It holds no text of it.

    Attributes
    ----------
    code
        The service's code, or the exception's name.
    status
        The HTTP status; None where none was read.
    verdict
        What it means for everything that the call was about.
    is_lost
        Whether the call may have had its effect and no status was read.
    may_have_arrived
        Whether the call may have had its effect: it is lost, its answer is of no use, or the
        service failed.
    """

    def __init__(
        self, code: str, status: int | None, message: object = None, *, is_lost: bool = False
    ) -> None:
        self.code = code[:_CODE_CHARACTERS]
        self.status = status
        self.verdict = judge_refusal(code, status, message)
        is_unknown = self.verdict.outcome is Outcome.UNKNOWN
        self.is_lost = is_lost and is_unknown
        self.may_have_arrived = is_unknown or (status is not None and status >= 500)
        super().__init__(self.code)

    @property
    def was_taken(self) -> bool:
        """Whether the service said that it did what was asked, in an answer that is unreadable."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def may_pass(self) -> bool:
        """Whether the same call may have another result soon."""
        passing = self.verdict.outcome in (Outcome.TRANSIENT, Outcome.UNKNOWN)
        return passing and not self.was_taken


def perform(call: Callable[[], T]) -> T:
    """Make a call and read its answer.

    Parameters
    ----------
    call
        Makes one call of a client, and may read the answer too.

    Raises
    ------
    CallError
        Whatever the call raised.
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
        failed = isinstance(error, HTTPClientError) and status is None
        raise CallError(type(error).__name__, status, str(error), is_lost=failed) from None
    except Exception as error:  # noqa: BLE001  botocore's parsers raise anything on an odd answer
        status = _this_thread.status
        name = type(error).__name__  # its text may hold a part of the answer
        code = name if status is None else _UNREADABLE
        raise CallError(code, status, name) from None


def _refused(response: Any) -> CallError:
    """Read what botocore made of a refusal, any part of which may be missing or odd."""
    error = response.get("Error") or {}
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", _this_thread.status)
    return CallError(str(error.get("Code")), status, error.get("Message"))
