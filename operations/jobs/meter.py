"""A meter of progress: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from threading import Lock
from typing import Final

from rich.console import Console, Group
from rich.filesize import decimal
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

_LINE_SECONDS: Final = 10.0
"""The time between two lines without a terminal."""

_RATE_SECONDS: Final = 30.0
"""The time over which the rate is measured. Each part of a job ends some seconds after another."""

_BAR_WIDTH: Final = 30


class Meter:
    """Shows how much of something is done, how fast that goes, and when it will be all.

    Parameters
    ----------
    console
        Where to.
    title
        What is done.
    shown
        Writes a number of what is counted.
    live
        The part of a terminal to write to again and again; None without a terminal.
    """

    def __init__(
        self, console: Console, title: str, shown: Callable[[float], str], live: Live | None
    ) -> None:
        self._console = console
        self._title = title
        self._shown = shown
        self._live = live
        self._seen: deque[tuple[float, int]] = deque()
        self._next_line = time.monotonic() + _LINE_SECONDS
        self._lock = Lock()
        self._added = 0

    def add(self, number: int, total: int) -> None:
        """Count on, from any thread."""
        with self._lock:
            self._added += number
            self.show(self._added, total)

    def show(self, done: int, total: int | None, counts: Mapping[str, int] | None = None) -> None:
        """Show how much is done, of how much (None: not yet known), and as what."""
        now = time.monotonic()
        self._seen.append((now, done))
        while self._seen[0][0] < now - _RATE_SECONDS:
            self._seen.popleft()
        details = ", ".join(f"{name} {number:,}" for name, number in sorted_counts(counts or {}))
        if self._live is not None:
            bar = ProgressBar(total, done, width=_BAR_WIDTH, pulse=total is None)
            grid = Table.grid(padding=(0, 1))
            grid.add_row(self._title, bar, Text(self._numbers(done, total)))
            self._live.update(Group(grid, Text(details, style="dim")) if details else grid)
        elif now >= self._next_line:
            self._next_line = now + _LINE_SECONDS
            line_text = f"{self._title}: {self._numbers(done, total)}"
            self._console.print(
                Text(f"{line_text}: {details}" if details else line_text), soft_wrap=True
            )

    def _numbers(self, done: int, total: int | None) -> str:
        if total is None:
            return self._shown(done) if done else "starting"
        shown = f"{self._shown(done)} of {self._shown(total)}"
        (since, before), (now, _) = self._seen[0], self._seen[-1]
        if done == before or now == since:
            return shown
        rate = (done - before) / (now - since)
        left = f", {duration((total - done) / rate)} left" if total > done else ""
        return f"{shown}, {self._shown(rate)}/s{left}"


@contextmanager
def metering(console: Console, title: str, shown: Callable[[float], str]) -> Iterator[Meter]:
    """Give a meter, whose bar stays on a terminal until the end."""
    if not console.is_terminal:
        yield Meter(console, title, shown, None)
        return
    with Live(console=console, refresh_per_second=4, transient=True) as live:
        yield Meter(console, title, shown, live)


def sorted_counts(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    """Sort counts, the largest one first."""
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def whole(number: float) -> str:
    """Write a number of rows."""
    return f"{number:,.0f}"


def filesize(number: float) -> str:
    """Write a number of bytes."""
    return decimal(int(number))


def duration(seconds: float) -> str:
    """Write a time as a person says it: ``42 s``, ``3 min 20 s``, ``2 h 5 min``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours:,} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
