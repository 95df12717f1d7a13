"""The time that DynamoDB's expiry goes by. A test can move it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

_ahead = [0.0]


def now() -> float:
    """Return the time in Unix seconds."""
    return time.time() + _ahead[0]


@contextmanager
def moved_ahead(seconds: float) -> Iterator[None]:
    """Move the time ahead inside the block, for DynamoDB only."""
    _ahead[0] += seconds
    try:
        yield
    finally:
        _ahead[0] -= seconds
