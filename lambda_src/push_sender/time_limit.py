"""A call in the caller's own thread that ends in time, whatever it waits for.

A thread for a single call costs a third of a push's CPU: two threads that take turns find
their caches cold (docs/performance.md). So the caller's own thread makes it, and a timer of
the system's breaks it off as Ctrl-C would; its connection is given up (``connections``).
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Final, NoReturn, TypeVar

_LEAST_SECONDS: Final = 0.001
"""No time at all would mean no timer."""

_AGAIN_SECONDS: Final = 0.25
"""The timer goes off again, should Python have been where an exception is dropped (a
``__del__``, a weak reference's callback) when it did first."""

_T = TypeVar("_T")


class TimeIsUp(BaseException):
    """Raised out of a call. No ``Exception``, or the SDK would make it one of its own errors."""


def is_possible() -> bool:
    """Tell whether a call here can be broken off.

    Python handles signals in its main thread alone, and a process has one timer, which may
    be in use by somebody else.
    """
    in_main_thread = threading.current_thread() is threading.main_thread()
    return in_main_thread and not any(signal.getitimer(signal.ITIMER_REAL))


def within(seconds: float, call: Callable[[], _T]) -> _T:
    """Make a call, in the main thread.

    Raises
    ------
    TimeIsUp
        If it did not end within so many seconds. It was broken off wherever it was.
    """
    usual = signal.signal(signal.SIGALRM, _break_off)
    try:
        signal.setitimer(signal.ITIMER_REAL, max(seconds, _LEAST_SECONDS), _AGAIN_SECONDS)
        try:
            return call()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)  # once more: the one above may be broken off, too
        signal.signal(signal.SIGALRM, usual)


def _break_off(number: int, frame: FrameType | None) -> NoReturn:
    raise TimeIsUp
