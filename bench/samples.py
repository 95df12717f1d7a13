"""Repeated measurements of one thing: never one number alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Samples:
    """Measurements of one thing in one unit, in the order taken."""

    values: Sequence[float]

    @property
    def median(self) -> float:
        """The middle one, which a few disturbed measurements do not move."""
        return median(self.values)

    def over(self, other: Samples) -> Samples:
        """Divide pair by pair."""
        pairs = zip(self.values, other.values, strict=True)
        return Samples([mine / theirs for mine, theirs in pairs])
