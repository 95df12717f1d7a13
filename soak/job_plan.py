"""The jobs of a run: files of rows with tokens and users, and what is to happen to each job."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, NamedTuple

from soak.phones import users_for, users_of_request
from soak.plan import SERVICES, EntryPoint, PlannedRequest, is_delivered_twice, request_for
from soak.seeded_random import SeededRandom


class JobKind(StrEnum):
    """What is to happen to a job."""

    REFUSED = "mostly refused, and redriven after a day"
    STOPPED = "stopped, and redriven"
    PLAIN = "left alone"


_KINDS: Final = (JobKind.REFUSED, JobKind.STOPPED, JobKind.PLAIN, JobKind.PLAIN)
_LEAST_ROWS: Final = {JobKind.REFUSED: 20, JobKind.STOPPED: 90, JobKind.PLAIN: 20}
_LEAST_JOBS: Final = 3
_ROWS: Final = 1_200
"""The rows of a job in a large run."""

_SHARE: Final = 1 / 7
"""Rows for each recipient of the other entry points, so that each of these has as many."""

_FILE_BYTES: Final = 10 * 2**20
_ROW_BYTES: Final = 60_000
"""A file is filled up to a number of bytes, so that it has several ranges of 2 MiB, as far as a
row may be so long."""

_FASTEST: Final = 20_000
_PACE_OF_STOPPED: Final = (20, 100)
"""Tokens a second: one child at a time, so that there is a middle in which to stop the job."""

_ROWS_FOR_USERS: Final = 0.2
_LEFT_OUT_ROWS: Final = 0.08
_ABSENT: Final = 0.75
"""The share of the rows of a refused job that have the service without channel."""

_LEFT_OUT: Final[Sequence[tuple[Mapping[str, str], str, str]]] = (
    ({"service": "GCM", "OptOut": "ALL"}, "skipped", "opted_out"),
    ({"service": "EMAIL"}, "skipped", "no_push_channel"),
    ({"service": "FAX"}, "invalid_row", "unknown_service"),
    ({"token": "", "service": "APNS"}, "invalid_row", "no_token"),
)
"""Rows that are no recipients: what they have, and how they are counted and why."""

_TOKEN: Final = "listed-"  # noqa: S105  how a token begins, no secret
_OTHER_TOKEN: Final = "forged-"  # noqa: S105  the same, in a changed file
_JOB_ID: Final = re.compile(r"job/([^/]+)(?:/.*)?", re.DOTALL)


class Row(NamedTuple):
    """A row of a file.

    Attributes
    ----------
    fields
        Its columns, as far as they are not empty.
    outcome, reason
        Of a row that is no recipient; None for the others.
    """

    fields: Mapping[str, str]
    outcome: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class PlannedJob(PlannedRequest):
    """A request that a job sends to the rows of a file.

    Attributes
    ----------
    name
        The job's.
    kind
        What is to happen to it.
    rows
        The rows of its file; those that are recipients are the request's, in their order.
    format
        ``csv`` or ``jsonl``.
    """

    name: str
    kind: JobKind
    rows: tuple[Row, ...]
    format: str

    @property
    def source_key(self) -> str:
        """The key of its file in the bucket."""
        return f"uploads/{self.name}.{self.format}"

    @property
    def input(self) -> dict[str, Any]:
        """The input of its execution."""
        request = {name: value for name, value in self.request.items() if name != "recipients"}
        pace = _FASTEST
        if self.kind is JobKind.STOPPED:
            least, most = _PACE_OF_STOPPED
            pace = min(max(len(self.rows) // 10, least), most)
        return {
            "job": self.name,
            "source": {"key": self.source_key},
            "request": request,
            "tokens_per_second": pace,
        }

    def file(self) -> bytes:
        """Write its file."""
        room = min(_ROW_BYTES, _FILE_BYTES // len(self.rows))
        rows = [
            {**row.fields, "note": "two\nlines, " + "-" * room} if number % 3 == 0
            else {**row.fields, "note": "-" * room}
            for number, row in enumerate(self.rows)
        ]  # fmt: skip
        if self.format == "jsonl":
            return "".join(json.dumps(row) + "\n" for row in rows).encode()
        text = io.StringIO()
        columns = ("token", "service", "user_id", "device_id", "language", "OptOut", "note")
        writer = csv.DictWriter(text, columns, restval="")
        writer.writeheader()
        writer.writerows(rows)
        return text.getvalue().encode()

    def changed_file(self) -> bytes:
        """Write a file of the same size that somebody put in its place: all tokens are others."""
        return self.file().replace(_TOKEN.encode(), _OTHER_TOKEN.encode())


def plan_jobs(recipients: int, first: int, random: SeededRandom) -> Iterator[PlannedJob]:
    """Plan the jobs beside the requests for a number of recipients.

    Parameters
    ----------
    recipients
        The number in all requests together.
    first
        The number of the first job among the requests.
    random
        The source of the choices.
    """
    wanted = int(recipients * _SHARE)
    jobs = max(wanted // _ROWS, _LEAST_JOBS)
    for place in range(jobs):
        kind = _KINDS[place % len(_KINDS)]
        size = max(wanted // jobs, _LEAST_ROWS[kind])
        number = first + place
        users = [] if kind is JobKind.REFUSED else _users(recipients, size, number, random)
        chosen = [*(_token(kind, number, at, random) for at in range(size - len(users))), *users]
        chosen.sort(key=lambda each: random.draw("row", number, *each.values()))
        request = request_for(number, chosen, EntryPoint.JOB, random)
        yield PlannedJob(
            number,
            EntryPoint.JOB,
            request,
            is_delivered_twice(number, random),
            name=f"soak-{random.seed}-{number}",
            kind=kind,
            rows=tuple(_rows(request["recipients"], number, random)),
            format=("csv", "jsonl")[(place + place // len(_KINDS)) % 2],
        )


def job_in(id_: str) -> str | None:
    """Return the job whose rows have an id or a key; None for another request."""
    found = _JOB_ID.fullmatch(id_)
    return found and found[1]


def id_of(job: PlannedJob) -> str:
    """Return what the keys of all rows of a job have in common."""
    return f"job/{job.name}"


def _users(recipients: int, size: int, number: int, random: SeededRandom) -> list[dict[str, Any]]:
    asked = int(size * _ROWS_FOR_USERS)
    return list(users_of_request(users_for(recipients), asked, number, random))


def _token(kind: JobKind, number: int, at: int, random: SeededRandom) -> dict[str, Any]:
    token = f"{_TOKEN}{number:05}-{at:05}"
    drawn = random.draw("service", token)
    if kind is JobKind.REFUSED and drawn < _ABSENT:
        return {"token": token, "service": "ADM"}
    return {"token": token, "service": SERVICES[int(drawn * len(SERVICES))]}


def _rows(
    recipients: Sequence[Mapping[str, str]], number: int, random: SeededRandom
) -> Iterator[Row]:
    """Write the recipients as rows, with rows between them that are none."""
    for at, recipient in enumerate(recipients):
        yield Row(recipient)
        if at < len(_LEFT_OUT) or random.draw("left out", number, at) < _LEFT_OUT_ROWS:
            fields, outcome, reason = _LEFT_OUT[at % len(_LEFT_OUT)]
            yield Row({"token": f"left-out-{number:05}-{at:05}", **fields}, outcome, reason)
