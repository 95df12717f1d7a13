"""The output of a run: progress, tables, JSON, and the histories of breaches."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final

from rich import box
from rich.console import Console
from rich.table import Table

from soak.job_plan import PlannedJob
from soak.ledger import Ledger
from soak.plan import EntryPoint, PlannedRequest, request_name
from soak.verdict import Breach, Place, Verdict

_MOST_BREACHES: Final = 5
_MOST_LINES: Final = 40


def places_table(verdict: Verdict) -> Table:
    """Make the table of places by entry point."""
    table = Table(box=box.MARKDOWN, title=f"Where {verdict.recipients:,} recipients are")
    table.add_column("place", no_wrap=True)
    for entry_point in EntryPoint:
        table.add_column(entry_point, justify="right")
    table.add_column("all", justify="right")
    for place in Place:
        counts = verdict.places.get(place)
        if counts:
            row = (
                f"{counts[entry_point]:,}" if counts[entry_point] else ""
                for entry_point in EntryPoint
            )
            table.add_row(place, *row, f"{counts.total():,}")
    return table


def faults_table(ledger: Ledger) -> Table:
    """Make the table of faults and how often they happened."""
    table = Table(box=box.MARKDOWN, title="What failed")
    table.add_column("fault", no_wrap=True)
    table.add_column("times", justify="right")
    for what, times in sorted(ledger.fault_counts.items()):
        table.add_row(what, f"{times:,}")
    return table


def show(verdict: Verdict, ledger: Ledger, requests: Mapping[int, PlannedRequest]) -> None:
    """Print the result of a run, and the shortest histories of breaches."""
    console = Console(width=160, highlight=False)
    console.print(faults_table(ledger))
    console.print(places_table(verdict))
    lost = sum(breach.what == "lost" for breach in verdict.breaches)
    console.print(f"Lost: {lost:,}. Sent twice: {verdict.sent_twice.total():,}.", markup=False)
    console.print(_of_users(verdict, ledger, requests.values()), markup=False)
    console.print(_of_jobs(ledger, requests.values()), markup=False)
    console.print(_for_later(requests.values()), markup=False)
    for fault, pushes in sorted(verdict.sent_twice.items()):
        console.print(f"  {pushes:,} because of: {fault}", markup=False)
    for breach in shortest(verdict, ledger):
        console.print(f"\n{breach.what}: {breach.token} of request {breach.request}", markup=False)
        console.print(f"  {breach.why}", markup=False)
        planned = requests[breach.request]
        key = "with a key" if planned.key else "without a key"
        times = "twice" if planned.delivered_twice else "once"
        console.print(
            f"  a request to {len(planned.recipients):,}, {key}, ttl {planned.ttl}, "
            f"delivered {times}",
            markup=False,
        )
        for line in ledger.history(*{breach.token, request_name(planned)})[:_MOST_LINES]:
            console.print(f"  {line}", markup=False)
    if len(verdict.breaches) > _MOST_BREACHES:
        console.print(f"\n… and {len(verdict.breaches) - _MOST_BREACHES:,} more", markup=False)


def _of_users(verdict: Verdict, ledger: Ledger, requests: Iterable[PlannedRequest]) -> str:
    """Write how many users and devices took part."""
    users = [each["user_id"] for planned in requests for each in planned.users]
    ownership, missing = ledger.ownership, verdict.places[Place.NO_DEVICE].total()
    return (
        f"Users: {len(set(users)):,}, as recipients {len(users):,} times. "
        f"Devices: {ownership.devices:,}, moved to another user {ownership.moved:,} times. "
        f"Addresses of users pushed to: {len(ledger.pushed):,}. no_device: {missing:,}."
    )


def _of_jobs(ledger: Ledger, requests: Iterable[PlannedRequest]) -> str:
    """Write how many rows the jobs have, and how these were counted."""
    jobs = [planned for planned in requests if isinstance(planned, PlannedJob)]
    counts = Counter[str]()
    for job in jobs:
        if end := ledger.job_ends.get(job.number):
            counts.update(end.counts)
    rows = counts.pop("rows", 0)
    counted = ", ".join(f"{name} {times:,}" for name, times in counts.most_common())
    return f"Jobs: {len(jobs):,}, their rows: {rows:,}. Counted: {counted}."


def _for_later(requests: Iterable[PlannedRequest]) -> str:
    """Write how many requests were scheduled."""
    sizes = [len(planned.recipients) for planned in requests if planned.is_for_later]
    return f"Sent later: {len(sizes):,} requests to {sum(sizes):,} recipients."


def shortest(verdict: Verdict, ledger: Ledger) -> list[Breach]:
    """Choose the breaches with the shortest histories, one for each kind and request."""

    def length(breach: Breach) -> int:
        return len(ledger.history(breach.token, f"request-{breach.request}"))

    by_request: dict[tuple[str, int], Breach] = {}
    for breach in sorted(verdict.breaches, key=length):
        by_request.setdefault((breach.what, breach.request), breach)
    return list(by_request.values())[:_MOST_BREACHES]


def as_json(verdict: Verdict, ledger: Ledger, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run's figures."""
    return {
        **facts,
        "recipients": verdict.recipients,
        "devices": ledger.ownership.devices,
        "devices_moved": ledger.ownership.moved,
        "lost": sum(breach.what == "lost" for breach in verdict.breaches),
        "sent_twice": dict(verdict.sent_twice),
        "breaches": [breach._asdict() for breach in verdict.breaches],
        "places": {str(place): dict(counts) for place, counts in verdict.places.items() if counts},
        "troubles": dict(ledger.fault_counts),
    }


class Progress:
    """Shows one line of progress, overwritten in a terminal."""

    def __init__(self) -> None:
        self._written_over = sys.stderr.isatty()
        self._last = ""

    def __call__(self, line: str) -> None:
        """Show a line, if it is new."""
        if line == self._last:
            return
        self._last = line
        end = "" if self._written_over else "\n"
        start = "\r\033[K" if self._written_over else ""
        sys.stderr.write(f"{start}{line}{end}")
        sys.stderr.flush()

    def done(self) -> None:
        """End the line."""
        if self._written_over:
            sys.stderr.write("\n")
