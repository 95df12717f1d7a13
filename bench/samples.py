"""Repeated measurements of one thing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Samples:
    """Measurements of one thing in one unit, in their order."""

    values: Sequence[float]

    @property
    def median(self) -> float:
        """The median, which a few disturbed measurements do not change."""
        return median(self.values)

    def over(self, other: Samples) -> Samples:
        """Divide each value by the other's of the same round."""
        pairs = zip(self.values, other.values, strict=True)
        return Samples([mine / theirs for mine, theirs in pairs])
