"""What a person sees of a job: the preview, its progress, and how it ended."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from typing import Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from operations.jobs import failures
from operations.jobs.executions import STATES, Execution, Failure, Progress
from operations.jobs.meter import Meter, duration, metering, sorted_counts, whole
from operations.jobs.moments import names_in_words, shown
from operations.jobs.parts import CANCELLED, NOT_STARTED, SCHEDULED, STARTING, PartState
from operations.jobs.preview import FirstRows, in_words
from operations.jobs.split import Part
from operations.redaction import one_line, printable
from operations.why.meanings import OUTCOMES
from push_sender.jobs.child import SKIPPED

_MEANINGS: Final[Mapping[str, str]] = {
    **OUTCOMES,
    "dead_token": "The app is no longer on the device.",
    "invalid_token": "The token is malformed, or of the other APNs environment.",
    "misconfigured": "A channel, a credential, the project or a permission is wrong.",
    "duplicate": "The same rows have this token twice.",
    "unsent": "Nothing was done: a dry run, or the time or the ttl was over.",
    "requeued": "Throttled or failed for now: in the queue, to be sent later.",
    "skipped": "Opted out, inactive, or no push channel.",
    "invalid_row": "The row cannot be a recipient, or the message does not fit it.",
    "registered": "The device is now in the registry.",
    "known": "The registry had the device or the token already. Nothing was changed.",
    "failed": "It could not be registered now. Redrive the job.",
}
_STATES: Final[Mapping[str, str]] = {
    **STATES,
    SCHEDULED: "is scheduled",
    STARTING: "starts",
    CANCELLED: "was cancelled before its start",
    NOT_STARTED: "did not start: it was cancelled, or could not be started",
}
_STYLES: Final[Mapping[str, str]] = {
    "RUNNING": "bold",
    "SUCCEEDED": "bold green",
    "FAILED": "bold red",
    "TIMED_OUT": "bold red",
    "ABORTED": "bold yellow",
    STARTING: "bold",
    CANCELLED: "bold yellow",
    NOT_STARTED: "bold yellow",
}
_TEXT_LENGTH: Final = 60
_COLUMNS_SHOWN: Final = 20


class Page:
    """Writes to a console: a terminal, a pipe or a file."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def line(self, text: str = "", style: str = "") -> None:
        """Write a line, or a paragraph."""
        self._console.print(Text(text), style=style)

    def question(self, text: str) -> None:
        """Write a question; the answer follows on the same line."""
        self._console.print(Text(text), end=" ")

    @contextmanager
    def reading(self, names: Sequence[str]) -> Iterator[Callable[[int], None]]:
        """Show that files are read."""
        with self._console.status("") as status:

            def show(rows: int) -> None:
                status.update(Text(f"Reading {', '.join(names)}: {rows:,} rows"))

            yield show

    def preview(self, facts: Mapping[str, str], first: FirstRows) -> None:
        """Show what a job will do."""
        grid = Table.grid(padding=(0, 2))
        grid.add_column(no_wrap=True)
        grid.add_column(overflow="fold")
        for name, value in facts.items():
            grid.add_row(Text(name, style="bold"), Text(printable(value)))
        self._console.print(grid)
        self.line()
        if first.shown:
            self.line("The first rows as they will be used:", style="bold")
            self.line()
            headings = list(first.shown[0].cells)
            table = self._table("row", *headings)
            for row in first.shown:
                cells = (printable(row.cells[name], _TEXT_LENGTH) for name in headings)
                table.add_row(f"{row.number:,}", *map(Text, cells))
            self._console.print(table)
            self.line()
        looked_at = "All rows" if first.is_all else f"The first {first.rows:,} rows"
        self.line(f"{looked_at}: {first.good:,} good.")
        for outcome, reasons in first.reasons.items():
            text = f"{reasons.total():,} {outcome}: {printable(in_words(reasons))}."
            self.line(text, style="" if outcome == SKIPPED else "yellow")
        if columns := first.ignored_columns:
            more = f" and {len(columns) - _COLUMNS_SHOWN} more" * (len(columns) > _COLUMNS_SHOWN)
            shown = ", ".join(printable(name, 60) for name in columns[:_COLUMNS_SHOWN])
            self.line(f"Columns that a job does not use: {shown}{more}.", style="yellow")
        self.line()

    def status(self, execution: Execution, progress: Progress) -> None:
        """Show how a job is or ended, with its counts."""
        until = execution.ended_at or datetime.now(UTC)
        time_ = (
            f" after {duration((until - execution.started_at).total_seconds())}"
            if execution.started_at
            else ""
        )
        # The number is not known until the whole file was read.
        rows = "" if progress.rows is None else f": {progress.done:,} of {progress.rows:,} rows"
        style = _STYLES.get(execution.status, "")
        named = (f"{execution.name} {execution.state}", style)
        self._console.print(Text.assemble(named, f"{time_}{rows}"))
        self._counts(progress)
        self.line()

    def planned(self, parts: Sequence[Part]) -> None:
        """Show the parts of a job that will be scheduled."""
        self._parts([(part, "") for part in parts], "")
        self.line()

    def parts(self, name: str, states: Sequence[PartState], progress: Progress) -> None:
        """Show how the parts of a job are, and their counts together."""
        self.line(
            f"{name}, {parts_in_words(len(states))}: {progress.done:,} of {progress.rows:,} rows",
            "bold",
        )
        self.line()
        self._parts(
            [(each.part, _STATES.get(each.status, each.status)) for each in states],
            "status",
        )
        self._counts(progress)
        self.line()

    def _parts(self, rows: Iterable[tuple[Part, str]], last: str) -> None:
        table = self._table("job", "starts (UTC)", "rows", "time zones", *filter(None, [last]))
        table.columns[2].justify = "right"
        for part, status in rows:
            zones = names_in_words(part.time_zones)
            cells = (part.job, shown(part.at), f"{part.rows:,}", zones, *filter(None, [status]))
            table.add_row(*(Text(printable(cell)) for cell in cells))
        self._console.print(table)

    def _counts(self, progress: Progress) -> None:
        if progress.counts:
            self.line()
            table = self._table("outcome", "number", "meaning")
            table.columns[1].justify = "right"
            for name, number in sorted_counts(progress.counts):
                table.add_row(name, f"{number:,}", Text(_MEANINGS.get(name, ""), style="dim"))
            self._console.print(table)
        if progress.warnings:
            self.line()
            self.line(
                f"{progress.warnings:,} were registered without a part that breaks a limit: "
                "docs/devices.md, Import devices.",
                style="yellow",
            )

    def failure(self, failure: Failure, progress: Progress) -> None:
        """Show why a job failed, and what to do."""
        self.line(failure.error, style="bold red")
        for line in failure.message.splitlines():
            self._indented(one_line(line, 600))
        self.line(failures.cure(failure.error, progress))
        self.line()

    def hints(self, commands: Mapping[str, str]) -> None:
        """Show what to do next, each on a line that can be copied."""
        for what, command in commands.items():
            self.line(f"{what}:")
            self._console.print(Text(f"  {command}"), soft_wrap=True)

    def jobs(self, listed: Iterable[tuple[str, str, datetime | None]]) -> None:
        """List jobs."""
        table = self._table("job", "status", "started (UTC)")
        for name, status, started in listed:
            at = started.astimezone(UTC).isoformat(" ", "seconds")[:19] if started else "-"
            table.add_row(Text(printable(name, 80)), STATES.get(status, status), at)
        self._console.print(table)

    def meter(
        self, title: str, shown: Callable[[float], str] = whole
    ) -> AbstractContextManager[Meter]:
        """Give a meter of progress."""
        return metering(self._console, title, shown)

    def _table(self, *headings: str) -> Table:
        table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
        for heading in headings:
            table.add_column(heading, overflow="fold")
        return table

    def _indented(self, text: str) -> None:
        for line in Text(text).wrap(self._console, self._console.width - 2):
            line.rstrip()
            self._console.print(Text("  ") + line)


def parts_in_words(number: int) -> str:
    """Write how many parts there are."""
    return "1 part" if number == 1 else f"{number} parts"
