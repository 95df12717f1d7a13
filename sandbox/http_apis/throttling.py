"""Throttling: a token bucket for each route, with a rate and a burst."""

from __future__ import annotations

from threading import Lock
from typing import Final, NamedTuple


class Limit(NamedTuple):
    """The limits: requests a second, and requests at once."""

    rate: float
    burst: float


ACCOUNT_LIMIT: Final = Limit(10_000, 5_000)
"""The default limits of a stage: those of an account in a region."""


class Throttle:
    """The buckets, each full until its first request."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._buckets: dict[str, tuple[float, float]] = {}

    def allows(self, bucket: str, limit: Limit, now: float) -> bool:
        """Take a token, and return whether there was one.

        Parameters
        ----------
        bucket
            The name of the bucket.
        limit
            The present limit; a change counts from the next request.
        now
            In seconds, of any clock.
        """
        with self._lock:
            tokens, then = self._buckets.get(bucket, (limit.burst, now))
            # A clock that is set back removes no tokens.
            tokens = min(limit.burst, tokens + max(0.0, now - then) * limit.rate)
            passes = tokens >= 1
            self._buckets[bucket] = (tokens - 1 if passes else tokens, now)
        return passes
