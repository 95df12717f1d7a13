"""The time by which items of tables expire and schedules fire. Tests and people can move it.

The processes of functions keep the time of this machine.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

_ahead = [0.0]


def now() -> float:
    """Return the time in Unix seconds."""
    return time.time() + _ahead[0]


def ahead() -> float:
    """Return by how many seconds the time is ahead of this machine's."""
    return _ahead[0]


def move(seconds: float) -> None:
    """Set the time this many seconds ahead of this machine's."""
    _ahead[0] = seconds


@contextmanager
def moved_ahead(seconds: float) -> Iterator[None]:
    """Move the time further ahead inside the block. Its end undoes all moves in the block."""
    before = ahead()
    move(before + seconds)
    try:
        yield
    finally:
        move(before)
