"""What the children of every job do: read their rows, count them, list what was not accepted."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, TypeVar

from push_sender.jobs.column_names import COLUMNS_OF
from push_sender.jobs.columns import Invalid, Skipped
from push_sender.jobs.files import Row, rows_of
from push_sender.jobs.objects import Objects
from push_sender.jobs.plan import Plan, RowRange
from push_sender.jobs.progress import Progress

SKIPPED: Final = "skipped"
INVALID_ROW: Final = "invalid_row"

Line = dict[str, Any]
"""A row that was not accepted: ``row``, ``token`` or ``user_id``, ``outcome``, ``reason``."""

_Made = TypeVar("_Made")


class Stores(NamedTuple):
    """Where a job keeps things.

    Attributes
    ----------
    bucket
        The stack's bucket.
    objects, progress
        The objects of S3, and the progress in the table of keys.
    """

    bucket: str
    objects: Objects
    progress: Progress


@dataclass(slots=True)
class Tally:
    """The rows of a child, as far as they are done.

    Attributes
    ----------
    rows
        The number of rows.
    counts
        The counts by outcome.
    lines
        The rows that were not accepted.
    """

    rows: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    lines: list[Line] = field(default_factory=list)

    def add(self, outcome: str, row: Line | None = None, reason: str | None = None) -> None:
        """Count an outcome, and list the row if there is one."""
        self.counts[outcome] += 1
        if row is not None:
            self.lines.append({**row, "outcome": outcome, "reason": reason})

    def take(
        self, rows: Iterable[Row], made_of: Callable[[Row], _Made | Skipped | Invalid]
    ) -> list[tuple[int, _Made]]:
        """Return what is made of the rows, with their numbers; count and list the others."""
        made = []
        for row in rows:
            self.rows += 1
            match made_of(row):
                case Skipped(reason):
                    self.add(SKIPPED, _named(row), reason)
                case Invalid(reason):
                    self.add(INVALID_ROW, _named(row), reason)
                case each:
                    made.append((row.number, each))
        return made

    def listed(self) -> list[Line]:
        """Return the rows that were not accepted, in the order of the file."""
        return sorted(self.lines, key=lambda line: line["row"])


def read_rows(plan: Plan, rows: RowRange, stores: Stores, *, last_start: float) -> Iterator[Row]:
    """Read the rows of a child.

    Raises
    ------
    SourceChanged, SourceUnavailable, InvalidRequest
        As ``Objects.read``.
    """
    source = plan.source
    body, _, _ = stores.objects.read(
        source.bucket, source.key, rows.start, rows.end, etag=source.etag, last_start=last_start
    )
    return rows_of(plan.layout, body, rows.first_row)


def finish(
    plan: Plan, rows: RowRange, tally: Tally, stores: Stores, *, last_start: float
) -> Mapping[str, int]:
    """Count the rows of a child and write its list, in place of those of an earlier run.

    Returns
    -------
    Mapping
        What was counted.

    Raises
    ------
    JobStoreUnavailable
        If one of both could not be written. The child must be repeated.
    """
    counts = {"rows": tally.rows, **tally.counts}
    stores.progress.count(plan.job, rows.first_row, counts, last_start=last_start)
    body = "".join(f"{json.dumps(line)}\n" for line in tally.listed())
    key = f"jobs/{plan.job}/rows/{rows.first_row:012}.jsonl"
    stores.objects.write(stores.bucket, key, body.encode(), last_start=last_start)
    return counts


def _named(row: Row) -> Line:
    """Name a row by its token or user, as far as it has one."""
    token, user_id = (_first(row, COLUMNS_OF[name]) for name in ("token", "user_id"))
    if token is None and user_id is not None:
        return {"row": row.number, "user_id": user_id}
    return {"row": row.number, "token": token}


def _first(row: Row, columns: Sequence[str]) -> str | None:
    fields = row.fields or {}
    return next((fields[column][0] for column in columns if column in fields), None)
