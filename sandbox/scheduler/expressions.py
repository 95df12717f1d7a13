"""Read when a one-time schedule is due.

As the user guide says ("Schedule types in EventBridge Scheduler"): a time that a clock change skips
never comes, and a time that one repeats comes once. The sandbox assumes that it is the first one.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo

from moto.scheduler.exceptions import ValidationException

_AT: Final = re.compile(r"at\((\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\)", re.ASCII)
_RECURRING: Final = re.compile(r"(rate|cron)\(")


def due_time(expression: str, time_zone: str) -> float | None:
    """Return when a schedule is due.

    Parameters
    ----------
    expression
        Such as ``at(2026-12-24T18:00:00)``.
    time_zone
        A name of the IANA's database.

    Returns
    -------
    float or None
        Unix seconds; None for a time that the time zone skips.

    Raises
    ------
    ValidationException
        If it is no time, a recurring schedule, or no time zone.
    """
    if recurring := _RECURRING.match(expression):
        raise ValidationException(
            f"The sandbox supports at(yyyy-mm-ddThh:mm:ss), and no {recurring[1]} expressions."
        )
    zone = _zone(time_zone)
    match = _AT.fullmatch(expression)
    try:
        wanted = datetime.fromisoformat(match[1] if match else "")
        moment = wanted.replace(tzinfo=zone).astimezone(UTC)
        exists = moment.astimezone(zone).replace(tzinfo=None) == wanted
    except (ValueError, OverflowError):
        raise ValidationException("Invalid Schedule Expression.") from None
    return moment.timestamp() if exists else None


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    # What a name does to the look-up in the folders of the database, such as "America" or "../x".
    except (KeyError, ValueError, OSError):
        raise ValidationException("Invalid ScheduleExpressionTimezone.") from None
