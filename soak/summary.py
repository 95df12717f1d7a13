"""How a run is told: a line of progress, a table, JSON, and the history of what broke."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, Final

from rich import box
from rich.console import Console
from rich.table import Table

from soak.callers import request_name
from soak.ledger import Ledger
from soak.plan import Asked, Door
from soak.verdict import Breach, Place, Verdict

_MOST_BREACHES: Final = 5
_MOST_LINES: Final = 40


def places_table(verdict: Verdict) -> Table:
    """Lay out how many recipients are where, by the door that they came by."""
    table = Table(box=box.MARKDOWN, title=f"Where {verdict.recipients:,} recipients are")
    table.add_column("place", no_wrap=True)
    for door in Door:
        table.add_column(door, justify="right")
    table.add_column("all", justify="right")
    for place in Place:
        counts = verdict.places.get(place)
        if counts:
            row = (f"{counts[door]:,}" if counts[door] else "" for door in Door)
            table.add_row(place, *row, f"{counts.total():,}")
    return table


def troubles_table(ledger: Ledger) -> Table:
    """Lay out what went wrong, and how often."""
    table = Table(box=box.MARKDOWN, title="What went wrong")
    table.add_column("fault", no_wrap=True)
    table.add_column("times", justify="right")
    for what, times in sorted(ledger.troubles.items()):
        table.add_row(what, f"{times:,}")
    return table


def show(verdict: Verdict, ledger: Ledger, requests: Mapping[int, Asked]) -> None:
    """Print what came of a run, and the shortest histories of what should not be."""
    console = Console(width=160, highlight=False)
    console.print(troubles_table(ledger))
    console.print(places_table(verdict))
    lost = sum(breach.what == "lost" for breach in verdict.breaches)
    console.print(f"Lost: {lost:,}. Sent twice: {verdict.twice.total():,}.", markup=False)
    for fault, pushes in sorted(verdict.twice.items()):
        console.print(f"  {pushes:,} because of: {fault}", markup=False)
    for breach in shortest(verdict, ledger):
        console.print(f"\n{breach.what}: {breach.token} of request {breach.request}", markup=False)
        console.print(f"  {breach.why}", markup=False)
        asked = requests[breach.request]
        key = "with a key" if asked.key else "without a key"
        times = "twice" if asked.twice else "once"
        console.print(
            f"  a request of {len(asked.recipients):,}, {key}, ttl {asked.ttl}, delivered {times}",
            markup=False,
        )
        for line in ledger.history(breach.token, request_name(asked))[:_MOST_LINES]:
            console.print(f"  {line}", markup=False)
    if len(verdict.breaches) > _MOST_BREACHES:
        console.print(f"\n… and {len(verdict.breaches) - _MOST_BREACHES:,} more", markup=False)


def shortest(verdict: Verdict, ledger: Ledger) -> list[Breach]:
    """Choose the breaches whose histories are shortest, each of another request first."""

    def length(breach: Breach) -> int:
        return len(ledger.history(breach.token, f"request-{breach.request}"))

    by_request: dict[tuple[str, int], Breach] = {}
    for breach in sorted(verdict.breaches, key=length):
        by_request.setdefault((breach.what, breach.request), breach)
    return list(by_request.values())[:_MOST_BREACHES]


def as_json(verdict: Verdict, ledger: Ledger, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Give a run's figures."""
    return {
        **facts,
        "recipients": verdict.recipients,
        "lost": sum(breach.what == "lost" for breach in verdict.breaches),
        "sent_twice": dict(verdict.twice),
        "breaches": [breach._asdict() for breach in verdict.breaches],
        "places": {str(place): dict(counts) for place, counts in verdict.places.items() if counts},
        "troubles": dict(ledger.troubles),
    }


class Progress:
    """One line that is written over, where somebody looks on; else one now and then."""

    def __init__(self) -> None:
        self._written_over = sys.stderr.isatty()
        self._last = ""

    def __call__(self, line: str) -> None:
        """Say how far it is."""
        if line == self._last:
            return
        self._last = line
        end = "" if self._written_over else "\n"
        start = "\r\033[K" if self._written_over else ""
        sys.stderr.write(f"{start}{line}{end}")
        sys.stderr.flush()

    def done(self) -> None:
        """Leave the line."""
        if self._written_over:
            sys.stderr.write("\n")
