"""Throttling: a bucket of tokens for each route, filled at a rate and as large as a burst."""

from __future__ import annotations

from threading import Lock
from typing import Final, NamedTuple


class Limit(NamedTuple):
    """How much is let through: requests a second, and how many at once."""

    rate: float
    burst: float


ACCOUNT_LIMIT: Final = Limit(10_000, 5_000)
"""What a stage has that sets nothing: the usual limits of an account in a region."""


class Throttle:
    """The buckets, each full until its first request."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._buckets: dict[str, tuple[float, float]] = {}

    def lets_through(self, bucket: str, limit: Limit, now: float) -> bool:
        """Take a token, if there is one.

        Parameters
        ----------
        bucket
            Which.
        limit
            That holds now: a changed one counts from the next request on.
        now
            In seconds, of any clock.
        """
        with self._lock:
            tokens, then = self._buckets.get(bucket, (limit.burst, now))
            # A clock that is set back takes nothing away.
            tokens = min(limit.burst, tokens + max(0.0, now - then) * limit.rate)
            passes = tokens >= 1
            self._buckets[bucket] = (tokens - 1 if passes else tokens, now)
        return passes
