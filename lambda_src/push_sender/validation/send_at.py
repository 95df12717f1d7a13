"""The rules of ``send_at``, the time at which a request is sent."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from push_sender.request.errors import Finding
from push_sender.request.model import PushRequest

DAYS: Final = 366

_DAY_SECONDS: Final = 24 * 3_600


def seconds_until(request: PushRequest, now: float) -> float:
    """Return the seconds from a time (Unix seconds) to that of the request, which has one."""
    return datetime.fromisoformat(request.send_at or "").timestamp() - now


def findings(
    request: PushRequest, now: float | None, *, may_be_late: bool = False
) -> Iterator[Finding]:
    """Find what is wrong about the time of a request, which has one.

    Parameters
    ----------
    request
        The request.
    now
        The time in Unix seconds; None if the function cannot make schedules.
    may_be_late
        Whether the time may be over, because the request may have waited.
    """
    if now is None:
        message = "this function has no schedule group (SCHEDULE_GROUP); leave it out to send now"
        yield Finding("send_at", message)
        return
    seconds = seconds_until(request, now)
    if seconds <= 0 and not may_be_late:
        yield Finding("send_at", "is over; give a later time, or leave it out to send now")
    if seconds > DAYS * _DAY_SECONDS:
        yield Finding("send_at", f"is more than {DAYS} days ahead; give an earlier time")
