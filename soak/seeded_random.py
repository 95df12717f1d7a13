"""Chance by seed: the same for the same thing, in whatever order things happen."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TypeVar

_T = TypeVar("_T")


class Chance:
    """Draws that depend on a seed and on what they are about, and on nothing else.

    Parameters
    ----------
    seed
        Another seed, other draws.

    Examples
    --------
    >>> Chance(1).draw("call", "token-7") == Chance(1).draw("call", "token-7")
    True
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def draw(self, *about: object) -> float:
        """Draw a number from 0 up to 1, not included."""
        digest = hashlib.blake2b(repr((self.seed, *about)).encode(), digest_size=8).digest()
        return int.from_bytes(digest) / 2**64

    def choose(self, shares: Mapping[_T, float], *about: object) -> _T | None:
        """Choose by shares of 1; None for what is left of 1."""
        drawn = self.draw(*about)
        for choice, share in shares.items():
            drawn -= share
            if drawn < 0:
                return choice
        return None
