"""How often and how long the delivery retries an address.

``follow_up.requeue`` has the waits between the attempts of a message in the queue.
"""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how long to retry.

    Attributes
    ----------
    attempts
        Maximum number of calls for one address.
    backoff_seconds
        Upper bound of the first wait. It doubles with each try. Each wait is a random time
        between zero and the bound (full jitter).
    least_call_seconds
        No call starts with less than this left: its answer would be too late.
    """

    attempts: int = 4
    backoff_seconds: float = 0.25
    least_call_seconds: float = 0.25

    def wait_after(self, attempt: int) -> float:
        """Choose a random wait in seconds after a try, counted from 1."""
        bound = self.backoff_seconds * 2.0 ** (attempt - 1)
        return random.uniform(0, bound)  # noqa: S311  jitter, not a secret
