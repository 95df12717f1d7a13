"""When a job starts: a time of ``--at`` as a moment, in one time zone or in each row's own."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from functools import cache
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo, available_timezones

from operations.account import OperationsError

LONGEST: Final = timedelta(days=366)
"""How far ahead a job may be scheduled. As ``send_at`` of a request."""

_TIME: Final = re.compile(
    r"2\d{3}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?(?P<offset>Z|[+-]\d\d:\d\d)?", re.ASCII
)
_EXAMPLE: Final = "2026-12-24T18:00"
_NAMES_SHOWN: Final = 5
_TOO_FAR: Final = f"is more than {LONGEST.days} days ahead. Choose an earlier time"


class TimeError(ValueError):
    """A time zone skips or repeats a local time. The message has the cure.

    Attributes
    ----------
    is_repeated
        Whether the local time comes twice.
    """

    def __init__(self, message: str, *, is_repeated: bool) -> None:
        super().__init__(message)
        self.is_repeated = is_repeated


class When(NamedTuple):
    """What ``--at`` says.

    Attributes
    ----------
    moment
        In UTC; None for a local time.
    local
        Without an offset; None for a moment.
    """

    moment: datetime | None
    local: datetime | None


def read_time(text: str) -> When:
    """Read a time with an offset, or a local time.

    Raises
    ------
    OperationsError
        If it is no time.
    """
    if match := _TIME.fullmatch(text):
        try:
            time = datetime.fromisoformat(text)
            if match["offset"] is None:
                return When(None, time)
            return When(time.astimezone(UTC), None)
        except (ValueError, OverflowError):
            pass
    raise OperationsError(
        f"AT= (--at) must be a time such as {_EXAMPLE} with TIME_ZONE= (--time-zone), or one with "
        f"an offset, such as {_EXAMPLE}+01:00."
    )


def moment_in(local: datetime, zone: ZoneInfo) -> datetime:
    """Return the moment of a local time in a time zone, in UTC.

    Raises
    ------
    TimeError
        If the time zone skips or repeats it.

    Examples
    --------
    >>> moment_in(datetime(2026, 12, 24, 18), ZoneInfo("Europe/Berlin")).isoformat()
    '2026-12-24T17:00:00+00:00'
    """
    # A time that is skipped or repeated has two offsets (PEP 495).
    first, second = (_offset(local.replace(fold=fold), zone) for fold in (0, 1))
    if first == second:
        return (local - first).replace(tzinfo=UTC)
    change = _change(zone, local - max(first, second), local - min(first, second))
    before, after = change + first, change + second
    if first < second:
        raise TimeError(
            f"is skipped: the clock goes from {shown(before)} to {shown(after)}. Choose a time "
            "before or after that",
            is_repeated=False,
        )
    raise TimeError(
        f"comes twice: the clock goes back from {shown(before)} to {shown(after)}. Choose a "
        f"time before {shown(after)}, or {shown(before)} or later",
        is_repeated=True,
    )


def local_moment(local: datetime, zone: ZoneInfo) -> datetime:
    """Return the moment of the local time of ``--at`` in the time zone that was given.

    Raises
    ------
    OperationsError
        If the time zone skips or repeats it.
    """
    try:
        return moment_in(local, zone)
    except TimeError as error:
        times = (local.replace(tzinfo=zone, fold=fold).isoformat() for fold in (0, 1))
        cure = f", or give its offset: {' or '.join(times)}" if error.is_repeated else ""
        raise OperationsError(f"AT= (--at) {error}{cure} (time zone {zone.key}).") from None


def zone_named(name: str) -> ZoneInfo:
    """Find a time zone.

    Raises
    ------
    OperationsError
        If there is none of this name.
    """
    if name in zone_names():
        return ZoneInfo(name)
    meant = get_close_matches(name, zone_names(), 1)
    cure = f"Did you mean {meant[0]}?" if meant else "It needs a name such as Europe/Berlin."
    raise OperationsError(f"TIME_ZONE= (--time-zone) is no time zone. {cure}")


def check_moment(moment: datetime, now: datetime) -> None:
    """Refuse a moment at which no job can start.

    Raises
    ------
    OperationsError
        If it is over, or too far ahead.
    """
    if moment <= now:
        raise OperationsError(
            f"AT= (--at) is over: it was at {shown(moment)} UTC. Choose a later time, or "
            "leave AT= out to send now."
        )
    if moment > now + LONGEST:
        raise OperationsError(f"AT= (--at) {_TOO_FAR}.")


class LocalTimes:
    """The moments of one local time in the time zones of rows.

    Parameters
    ----------
    local
        The local time.
    default
        The time zone of rows that have none that is known; None if there is none.
    now
        Moments until then are over.

    Attributes
    ----------
    without_zone
        How many rows have no time zone that is known.
    """

    def __init__(self, local: datetime, default: ZoneInfo | None, now: datetime) -> None:
        self.without_zone = 0
        self._local = local
        self._default = default.key if default else None
        self._now = now
        self._found: dict[str, datetime | str] = {}

    def find(self, name: str | None) -> tuple[datetime, str] | None:
        """Return the moment of a row, and its time zone.

        Parameters
        ----------
        name
            The time zone as the row has it: any text, or None.

        Returns
        -------
        tuple or None
            None if there is no moment for the row; then ``check`` fails.
        """
        if name is None or name not in zone_names():
            self.without_zone += 1
            name = self._default
            if name is None:
                return None
        if name not in self._found:
            self._found[name] = self._moment(name)
        found = self._found[name]
        return None if isinstance(found, str) else (found, name)

    def check(self) -> None:
        """Refuse the time if there is no moment for a row.

        Raises
        ------
        OperationsError
            With every reason, and the time zones that it is about.
        """
        refused: dict[str, list[str]] = {}
        for name, found in self._found.items():
            if isinstance(found, str):
                refused.setdefault(found, []).append(name)
        errors = [
            f"AT= (--at) {reason} (time zone {names_in_words(names)})."
            for reason, names in refused.items()
        ]
        if self.without_zone and self._default is None:
            rows = "1 row has" if self.without_zone == 1 else f"{self.without_zone:,} rows have"
            errors.append(
                f"{rows} no time zone that is known. Give TIME_ZONE= (--time-zone) for such rows."
            )
        if errors:
            raise OperationsError("\n".join(errors))

    def _moment(self, name: str) -> datetime | str:
        try:
            moment = moment_in(self._local, ZoneInfo(name))
        except TimeError as error:
            return str(error)
        if moment <= self._now:
            latest = max(
                self._now.astimezone(ZoneInfo(each)).replace(tzinfo=None) for each in zone_names()
            )
            return (
                "is over for some rows. Choose a later time, which is over nowhere from "
                f"{latest + timedelta(minutes=2):%Y-%m-%dT%H:%M} on, or leave these rows out"
            )
        return _TOO_FAR if moment > self._now + LONGEST else moment


def names_in_words(names: Sequence[str]) -> str:
    """Write the first names, and how many others there are."""
    more = len(names) - _NAMES_SHOWN
    return ", ".join(names[:_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")


def shown(time: datetime) -> str:
    """Write a time as it stands, without its offset and without seconds that are 0."""
    text = f"{time:%Y-%m-%d %H:%M:%S}"
    return text[: -len(":00")] if time.second == 0 else text


@cache
def zone_names() -> frozenset[str]:
    """Return the names of all time zones."""
    return frozenset(available_timezones())


def _offset(local: datetime, zone: ZoneInfo) -> timedelta:
    return local.replace(tzinfo=zone).utcoffset() or timedelta()


def _change(zone: ZoneInfo, start: datetime, end: datetime) -> datetime:
    """Find when a time zone changes its offset between two moments, in UTC without an offset."""

    def offset(moment: datetime) -> timedelta | None:
        return moment.replace(tzinfo=UTC).astimezone(zone).utcoffset()

    before = offset(start)
    while end - start > timedelta(seconds=1):
        middle = start + (end - start) // 2
        start, end = (middle, end) if offset(middle) == before else (start, middle)
    return end.replace(microsecond=0)
