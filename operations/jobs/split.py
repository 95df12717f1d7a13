"""The rows of a job by the moment at which they are sent: a part of the job for each moment."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from tempfile import TemporaryFile
from typing import IO, Any, Self

from operations.account import OperationsError
from operations.jobs.moments import LocalTimes
from push_sender.jobs.columns import time_zone_of
from push_sender.jobs.files import Layout, rows_of, whole_rows


@dataclass(slots=True)
class SplitPart:
    """The rows of one moment.

    Attributes
    ----------
    moment
        In UTC.
    file
        The header, and the rows.
    zones
        How many rows there are of each time zone.
    size
        Bytes of the file.
    """

    moment: datetime
    file: IO[bytes]
    zones: Counter[str] = field(default_factory=Counter)
    size: int = 0

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return self.zones.total()


class Split:
    """Splits rows into temporary files.

    Parameters
    ----------
    header
        What stands before the rows of each file.
    times
        The moments of the rows.
    files
        Closes the files at its end.
    """

    def __init__(self, header: bytes, times: LocalTimes, files: ExitStack) -> None:
        self._files = files
        self.times = times
        self._header = header
        self._parts: dict[datetime, SplitPart] = {}

    def add(self, layout: Layout, data: bytes) -> None:
        """Take whole rows.

        Raises
        ------
        OperationsError
            If a temporary file cannot be written.
        """
        raw = data + b"\n"  # as rows_of reads it
        rows = zip(rows_of(layout, data, 1), whole_rows(layout, raw), strict=True)
        try:
            for row, (start, end) in rows:
                if found := self.times.find(time_zone_of(row)):
                    moment, zone = found
                    part = self._parts.get(moment) or self._new_part(moment)
                    part.zones[zone] += 1
                    part.size += part.file.write(raw[start:end])
        except OSError as error:
            raise _not_written(error) from error

    def parts(self) -> list[SplitPart]:
        """Return the parts, the first one first, each file at its beginning.

        Raises
        ------
        OperationsError
            If there is no moment for a row, or a file cannot be written.
        """
        self.times.check()
        try:
            for part in self._parts.values():
                part.file.seek(0)
        except OSError as error:  # the last bytes are written now
            raise _not_written(error) from error
        return [self._parts[moment] for moment in sorted(self._parts)]

    def _new_part(self, moment: datetime) -> SplitPart:
        file = self._files.enter_context(TemporaryFile())  # noqa: SIM115  ruff does not see the stack
        part = self._parts[moment] = SplitPart(moment, file, size=file.write(self._header))
        return part


def _not_written(error: OSError) -> OperationsError:
    return OperationsError(
        f"The temporary files of the parts cannot be written: {error.strerror}. Set TMPDIR to a "
        "folder that has room for a copy of the files."
    )


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a scheduled job, as ``parts.json`` in the bucket lists it.

    Attributes
    ----------
    job
        Its own name.
    at
        When it starts, in UTC.
    time_zones
        Of its rows, those with the most rows first.
    rows
        How many there are.
    key
        Of its file in the bucket.
    """

    job: str
    at: datetime
    time_zones: list[str]
    rows: int
    key: str

    @classmethod
    def read(cls, value: Any) -> Self:
        """Read a part from JSON.

        Raises
        ------
        ValueError, KeyError, TypeError
            If it is none.
        """
        at = datetime.fromisoformat(value["at"]).astimezone(UTC)
        zones = [str(zone) for zone in value["time_zones"]]
        return cls(str(value["job"]), at, zones, int(value["rows"]), str(value["key"]))

    def written(self) -> dict[str, Any]:
        """Return the part as JSON."""
        return {
            "job": self.job,
            "at": f"{self.at:%Y-%m-%dT%H:%M:%SZ}",
            "time_zones": self.time_zones,
            "rows": self.rows,
            "key": self.key,
        }
