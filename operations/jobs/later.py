"""Start a job later: at one moment, or at a local time in parts, one for each moment of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import IO, Any, Final, NamedTuple, Self
from zoneinfo import ZoneInfo

from operations.account import OperationsError
from operations.jobs import moments, schedules
from operations.jobs.executions import Jobs, parts_key
from operations.jobs.input_files import Counted, InputFiles
from operations.jobs.meter import filesize
from operations.jobs.moments import LocalTimes, shown
from operations.jobs.page import Page
from operations.jobs.schedules import JobSchedules
from operations.jobs.split import Part, Split

FOLDER: Final = "scheduled"
"""Where the bucket keeps files of jobs that start later."""

_NUMBER: Final = "-00"


class Later(NamedTuple):
    """When a job starts.

    Attributes
    ----------
    moment
        In UTC; None for a local time in each row's own time zone.
    local
        The local time; None if the moment was given with its offset.
    zone
        The time zone of the local time, or of rows that have none that is known.
    """

    moment: datetime | None
    local: datetime | None
    zone: ZoneInfo | None

    @classmethod
    def of(
        cls, at: str | None, time_zone: str | None, now: datetime, *, local_time: bool
    ) -> Self | None:
        """Read the options; None if the job starts now.

        Raises
        ------
        OperationsError
            If they do not fit together, or no job can start then.
        """
        if at is None:
            if time_zone is not None or local_time:
                raise OperationsError(
                    "TIME_ZONE= (--time-zone) and LOCAL_TIME=1 (--local-time) need AT= (--at)."
                )
            return None
        moment, local = moments.read_time(at)
        zone = None if time_zone is None else moments.zone_named(time_zone)
        if local is None:
            if zone is not None or local_time:
                raise OperationsError(
                    "AT= (--at) has an offset, so it is the same moment for all rows. Leave the "
                    "offset out, or leave out TIME_ZONE= (--time-zone) and LOCAL_TIME=1 "
                    "(--local-time)."
                )
        elif not local_time:
            if zone is None:
                raise OperationsError(
                    "AT= (--at) has no offset: give TIME_ZONE= (--time-zone), or LOCAL_TIME=1 "
                    "(--local-time) for the time zone of each row."
                )
            moment = moments.local_moment(local, zone)
        if moment is not None:
            moments.check_moment(moment, now)
        return cls(moment, local, zone)

    @property
    def longest_name(self) -> int:
        """How long the name of the job can be."""
        return schedules.LONGEST_NAME - (len(_NUMBER) if self.moment is None else 0)

    def check_name(self, name: str) -> None:
        """Refuse a name that is too long for a schedule.

        Raises
        ------
        OperationsError
            If it is.
        """
        if len(name) > self.longest_name:
            raise OperationsError(
                f"The name of this job has {len(name)} characters. If it starts later, it can have "
                f"{self.longest_name}: give a shorter NAME= (--name)."
            )

    def split(self, header: bytes, now: datetime, files: ExitStack) -> Split | None:
        """Make what splits the rows into files; None for one moment."""
        if self.moment is not None or self.local is None:
            return None
        return Split(header, LocalTimes(self.local, self.zone, now), files)

    def shown(self) -> str:
        """Write the time, for a person."""
        if self.moment is None:
            return f"{shown(self.local)} in the time zone of each row" if self.local else ""
        utc = f"{shown(self.moment)} UTC"
        if self.local is None or self.zone is None:
            return utc
        return f"{shown(self.local)} in {self.zone.key}, {utc}"


class NewJob(NamedTuple):
    """A job that is going to be scheduled.

    Attributes
    ----------
    part
        Its name, moment, rows and key.
    document
        The input of its execution.
    stream, size
        Its file, and how many bytes it has.
    """

    part: Part
    document: Mapping[str, Any]
    stream: IO[bytes]
    size: int


def new_jobs(
    document: Mapping[str, Any],
    later: Later,
    files: InputFiles,
    counted: Counted,
    split: Split | None,
) -> list[NewJob]:
    """Plan the jobs: one for all rows, or one for the rows of each moment.

    Raises
    ------
    OperationsError
        If there is no moment for a row.
    """
    name, key = document["job"], document["source"]["key"]
    if later.moment is not None:
        whole = Part(name, later.moment, [], counted.rows, key)
        return [NewJob(whole, document, files.joined(counted.size), counted.size)]
    folder, _, file_name = key.rpartition("/")
    ending = file_name.rpartition(".")[2]
    jobs = []
    for number, rows in enumerate(split.parts() if split else (), start=1):
        job = f"{name}-{number:02}"
        zones = [zone for zone, _ in rows.zones.most_common()]
        part = Part(job, rows.moment, zones, rows.rows, f"{folder}/{job}.{ending}")
        source = {**document["source"], "key": part.key}
        jobs.append(NewJob(part, {**document, "job": job, "source": source}, rows.file, rows.size))
    return jobs


def schedule(
    jobs: Jobs,
    scheduler: JobSchedules,
    name: str,
    new: Sequence[NewJob],
    page: Page,
    *,
    in_parts: bool,
) -> None:
    """Upload the files and make the schedules: all of them, or none.

    Raises
    ------
    OperationsError
        If one of them cannot be made.
    """
    total = sum(each.size for each in new)
    made: list[str] = []

    def delete_schedules() -> None:
        for job in made:
            scheduler.delete(job)

    with ExitStack() as undo:
        with page.meter("Uploading", filesize) as meter:
            for each in new:
                undo.callback(jobs.delete, each.part.key)
                jobs.upload(each.stream, each.part.key, lambda number: meter.add(number, total))
        if in_parts:
            undo.callback(jobs.delete, parts_key(name))
            jobs.keep_parts(name, [each.part for each in new])
        moments.check_moment(new[0].part.at, datetime.now(UTC))
        undo.callback(delete_schedules)
        for each in new:
            made.append(each.part.job)
            if not scheduler.make(each.part.job, each.part.at, each.document):
                made.pop()  # it is somebody else's
                raise OperationsError(f"A job {each.part.job} was scheduled just now. {_ANOTHER}")
        undo.pop_all()
    page.line(f"Uploaded {filesize(total)} to {FOLDER}/{name}/.")


_ANOTHER = "Give another NAME= (--name)."
