"""The step that begins a job: it checks the job, and finds the rows of its file.

It reads the file once, in as many passes as the time of the function needs, and writes the list
of ranges that the children get. A pass begins where the one before ended, and writes the whole
list anew, so that a repeated pass changes nothing.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Final, NamedTuple

from push_sender.jobs.child import SKIPPED, Stores, Tally
from push_sender.jobs.columns import Recipients, registration_of, unknown_columns
from push_sender.jobs.errors import JobStoreUnavailable, SourceChanged
from push_sender.jobs.files import ROW_BYTES, Layout, Range, Row, RowIndex, layout_of, rows_of
from push_sender.jobs.objects import READ_BYTES
from push_sender.jobs.plan import JobInput, Pass, Plan, PlannedSource, wait_before
from push_sender.jobs.recipients import leaving_out_refused, request_for, without_repeated
from push_sender.request.errors import Finding, InvalidRequest
from push_sender.sender import Sender
from push_sender.telemetry.log import Telemetry
from push_sender.validation.combinations import PROJECT_NOT_ALLOWED

_PASS_SECONDS: Final = 15.0
_WRITE_SECONDS: Final = 6.0
"""How long a pass reads, and the time kept to write the index."""

_LATE_SECONDS: Final = 2.0
"""A retry of a read may begin so long after the time of a pass."""

_LISTED: Final = 20

_NO_REGISTRY: Final = (
    "register_devices needs the registry of devices; deploy the stack with the setting devices"
)

Entry = dict[str, int]
"""An item of the index: ``start``, ``end``, ``first_row``, ``wait``."""


class _Execution(NamedTuple):
    """The execution of a job."""

    name: str
    id: str
    started_at: int

    @classmethod
    def of(cls, value: object) -> _Execution:
        match value:
            case {"name": str(name), "id": str(id_), "started_at": str(started_at)}:
                with suppress(ValueError):
                    moment = datetime.fromisoformat(started_at)
                    return cls(name, id_, round(moment.timestamp() * 1_000))
        raise InvalidRequest([Finding("execution", "must be that of the state machine")])


@dataclass(frozen=True, slots=True)
class IndexStep:
    """Begins jobs.

    Attributes
    ----------
    sender
        Checks requests.
    application_ids
        The projects that may be used; the first is the default.
    has_registry
        Whether there is a registry, which an import needs.
    stores
        Where the job keeps things.
    telemetry
        Logs what was found.
    """

    sender: Sender
    application_ids: Sequence[str]
    has_registry: bool
    stores: Stores
    telemetry: Telemetry

    def run(self, event: Mapping[str, Any], *, end: float) -> dict[str, Any]:
        """Make one pass over the file of a job.

        Parameters
        ----------
        event
            The payload of the task: ``execution``, ``input``, and ``pass``, what the pass before
            returned.
        end
            When everything must be done, on ``time.monotonic``.

        Returns
        -------
        dict
            Where the next pass begins, or that the index is complete, with the plan.

        Raises
        ------
        InvalidRequest
            If the job cannot be done as it stands.
        JobConflict
            If the name stands for another job.
        SourceChanged, SourceUnavailable, JobStoreUnavailable
            If the file or the index could not be read or written.
        """
        until = min(time.monotonic() + _PASS_SECONDS, end - _WRITE_SECONDS)
        execution = _Execution.of(event.get("execution"))
        given = JobInput.of(event.get("input"), execution.name)
        before = Pass.of(event.get("pass"))
        source, position = before.source, before.position
        last_start = end - _WRITE_SECONDS / 2
        if source is None:
            source, position = self._begin(given, execution, until + _LATE_SECONDS)
            entries: list[Entry] = []
        else:
            entries = self._written_before(given, before, last_start)
        index = RowIndex(_layout(source), position, before.rows + 1)
        found, is_complete = self._read(index, source, until)
        self._write(given, entries, found, last_start)
        reached = {"position": index.position, "rows": index.first_row - 1}
        if not is_complete:
            end = entries[-1]["end"]
            return {"is_complete": False, **reached, "end": end, "source": source.model_dump()}
        plan = Plan.made(given, source, self._project(given))
        self.stores.progress.complete(given.job, reached["rows"], last_start=last_start)
        self.telemetry.info("job indexed", job=given.job, rows=reached["rows"], ranges=len(entries))
        return {
            "is_complete": True,
            **reached,
            "index_key": _key(given.job),
            "children": plan.children,
            "tolerated_failure_percentage": given.tolerated_failure_percentage,
            "plan": plan.model_dump(),
        }

    def _begin(
        self, given: JobInput, execution: _Execution, last_start: float
    ) -> tuple[PlannedSource, int]:
        """Check a job against the first rows, and make its item. Return the file and its start."""
        bucket, key = given.source.bucket or self.stores.bucket, given.source.key
        data, etag, size = self.stores.objects.read(
            bucket, key, 0, READ_BYTES, etag=None, last_start=last_start
        )
        layout = layout_of(data[:ROW_BYTES], given.format, is_whole=size <= ROW_BYTES)
        source = PlannedSource.model_validate(
            {
                "bucket": bucket,
                "key": key,
                "etag": etag,
                "format": layout.format,
                "delimiter": layout.delimiter,
                "columns": _columns(layout, given),
            }
        )
        Plan.made(given, source, self._project(given))  # so that what is too large is refused now
        first_rows = _first_rows(layout, data, is_whole=size == len(data))
        self._check(given, first_rows)
        if unknown := unknown_columns(layout, first_rows, given.action):
            self.telemetry.warn("columns not used", job=given.job, columns=unknown[:_LISTED])
        facts = {
            "action": given.action,
            "execution": execution.id,
            "started_at": execution.started_at,
            "etag": etag,
            "bucket": self.stores.bucket,
        }
        self.stores.progress.start(given.job, facts, last_start=last_start)
        return source, layout.start

    def _project(self, given: JobInput) -> str:
        asked = given.project
        if asked is None and self.application_ids:
            return self.application_ids[0]
        if asked is None or asked not in self.application_ids:
            raise InvalidRequest([PROJECT_NOT_ALLOWED])
        return asked

    def _check(self, given: JobInput, rows: Sequence[Row]) -> None:
        """Check a job against the first rows: one of them must be of use."""
        tally = Tally()
        if given.action == "register_devices":
            if not self.has_registry:
                raise InvalidRequest([Finding("action", _NO_REGISTRY)])
            of_use: Sequence[object] = tally.take(
                rows, partial(registration_of, ignore_opt_out=given.ignore_opt_out)
            )
        else:
            request, project = given.request or {}, self._project(given)
            self._check_filter(request, project)
            made = tally.take(rows, _recipients(given).of)
            _, of_use = leaving_out_refused(
                without_repeated(made, tally),
                lambda some: self.sender.check(request_for(request, project, some)),
                tally,
            )
        if not of_use and not tally.counts[SKIPPED]:
            raise InvalidRequest(
                [
                    Finding(
                        "source",
                        f"row {line['row']:,} is of no use: {line['reason'] or line['outcome']}",
                    )
                    for line in tally.listed()[:_LISTED]
                ]
            )

    def _check_filter(self, request: Mapping[str, Any], project: str) -> None:
        """Check the filter of devices for a user: the first rows may have none."""
        if self.has_registry and request.get("device_filter") is not None:
            try:
                self.sender.check(request_for(request, project, [(0, {"user_id": "user"})]))
            except InvalidRequest as error:
                found = [each for each in error.errors if each.path.startswith("device_filter")]
                if found:
                    raise InvalidRequest(found) from None

    def _read(
        self, index: RowIndex, source: PlannedSource, until: float
    ) -> tuple[list[Range], bool]:
        """Find ranges until the time or the file ends; also return whether the file ended.

        However late it is, one part is read, which holds at least one range.
        """
        found: list[Range] = []
        at = index.position
        while True:
            data, _, size = self.stores.objects.read(
                source.bucket,
                source.key,
                at,
                at + READ_BYTES,
                etag=source.etag,
                last_start=until + _LATE_SECONDS,
            )
            at += len(data)
            found += index.feed(data)
            if at == size:
                return found + index.finish(), True
            if time.monotonic() > until:
                return found, False

    def _write(
        self, given: JobInput, entries: list[Entry], found: Sequence[Range], last_start: float
    ) -> None:
        """Add the ranges to what the passes before found, and write the index."""
        for each in found:
            wait = wait_before(len(entries), each.rows, given.pace)
            entries.append(
                {"start": each.start, "end": each.end, "first_row": each.first_row, "wait": wait}
            )
        body = json.dumps(entries, separators=(",", ":")).encode()
        key = _key(given.job)
        self.stores.objects.write(self.stores.bucket, key, body, last_start=last_start)

    def _written_before(self, given: JobInput, before: Pass, last_start: float) -> list[Entry]:
        """Read what the passes before found, up to the position of the last one."""
        key = _key(given.job)
        body, size, etag = b"", 1, None
        try:
            while len(body) < size:
                part, etag, size = self.stores.objects.read(
                    self.stores.bucket,
                    key,
                    len(body),
                    len(body) + READ_BYTES,
                    etag=etag,
                    last_start=last_start,
                )
                body += part
            entries: list[Entry] = [
                each for each in json.loads(body) if each["start"] < before.position
            ]
        except (InvalidRequest, SourceChanged, ValueError, TypeError, KeyError):
            raise JobStoreUnavailable("index") from None  # its text could hold anything
        if not entries or entries[-1]["end"] != before.end:
            raise JobStoreUnavailable("index")
        return entries


def _key(job: str) -> str:
    return f"jobs/{job}/index.json"


def _recipients(given: JobInput) -> Recipients:
    return Recipients(given.request or {}, ignore_opt_out=given.ignore_opt_out)


def _columns(layout: Layout, given: JobInput) -> list[str]:
    """Name the columns that the children read; the others have no name."""
    if given.action == "register_devices":
        return list(layout.columns)
    return _recipients(given).used(layout.columns)


def _layout(source: PlannedSource) -> Layout:
    return Layout(source.format, source.delimiter, tuple(source.columns), 0)


def _first_rows(layout: Layout, data: bytes, *, is_whole: bool) -> list[Row]:
    """Read the rows of the first range."""
    index = RowIndex(layout, layout.start, 1)
    ranges = index.feed(data[layout.start :])
    if is_whole:
        ranges += index.finish()
    if not ranges:
        raise InvalidRequest([Finding("source", f"has no rows in its first {len(data):,} bytes")])
    first = ranges[0]
    return list(rows_of(layout, data[first.start : first.end], first.first_row))
