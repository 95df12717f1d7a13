"""Random draws that depend only on a seed and a subject, not on the order of events."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TypeVar

_T = TypeVar("_T")


class SeededRandom:
    """Draws random numbers.

    Parameters
    ----------
    seed
        The same seed gives the same draws.

    Examples
    --------
    >>> SeededRandom(1).draw("call", "token-7") == SeededRandom(1).draw("call", "token-7")
    True
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def draw(self, *subject: object) -> float:
        """Draw a number from 0 to 1 (excluded) for a subject."""
        digest = hashlib.blake2b(repr((self.seed, *subject)).encode(), digest_size=8).digest()
        return int.from_bytes(digest) / 2**64

    def choose(self, shares: Mapping[_T, float], *subject: object) -> _T | None:
        """Choose by shares of 1; None for the rest."""
        drawn = self.draw(*subject)
        for choice, share in shares.items():
            drawn -= share
            if drawn < 0:
                return choice
        return None
