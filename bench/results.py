"""What a run came to: every measurement, and the figures of the design made of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from bench.ceiling import Ceiling
from bench.lineup import BARE, GOOD, OURS
from bench.packages import Zipped
from bench.processes import Spent
from bench.queue_run import QueueRun
from bench.samples import Samples

MS, US, MB = 1e3, 1e6, 1e-6

Taken = Mapping[str, Sequence[Spent]]
"""What each side took, round by round."""

THROUGHPUT = (0.05, 5_000)
"""Seconds of latency and recipients of the design's figures."""


class Case(NamedTuple):
    """A request to many, and how long the service takes for a call, in seconds."""

    latency: float
    recipients: int


class Peer(NamedTuple):
    """What another library took for so many tokens."""

    tokens: int
    spent: Sequence[Spent]


class Goal(NamedTuple):
    """What the design asks for: at most or at least so much, of the ratio or of ours."""

    limit: float
    bound: Literal["at most", "at least"] = "at most"
    of: Literal["ratio", "ours"] = "ratio"


@dataclass(frozen=True)
class Figure:
    """One thing measured of both sides.

    Attributes
    ----------
    name, unit
        What was measured, and in what.
    ours, bare
        The measurements in that unit, round by round.
    goal
        What the design asks for.
    """

    name: str
    unit: str
    ours: Samples
    bare: Samples
    goal: Goal

    @property
    def ratio(self) -> Samples:
        """Ours over bare boto3's, round by round."""
        return self.ours.over(self.bare)

    @property
    def best(self) -> float:
        """Our best round over bare boto3's: what is left where nobody else had the machine."""
        choose = max if self.goal.bound == "at least" else min
        return choose(self.ours.values) / choose(self.bare.values)

    @property
    def reached(self) -> bool:
        """Whether the median reaches the goal."""
        value = (self.ratio if self.goal.of == "ratio" else self.ours).median
        at_most = self.goal.bound == "at most"
        return value <= self.goal.limit if at_most else value >= self.goal.limit


class Growth(NamedTuple):
    """How the CPU of a request grows with its recipients.

    Attributes
    ----------
    one
        CPU of a request to one recipient, in seconds.
    token
        And of each further token, from 100 recipients to the most.
    exponent
        Of the recipients, in the same range: 1 where twice as many cost twice as much.
    """

    one: float
    token: float
    exponent: float


@dataclass(frozen=True)
class Results:
    """Everything that was measured.

    Attributes
    ----------
    cold, warm
        A process's start to its first report; and ``warm_pushes`` pushes one after the other.
    many
        One request of each size at each latency.
    peers
        Other libraries and ours at 50 ms.
    tls
        A process's beginning over TLS, with the service at 50 ms, by what it does.
    keyed
        By recipients: a request without a key and with one, at 50 ms, while the table takes
        5 ms.
    queue
        A hundred thousand recipients through the queue.
    zipped
        Archives.
    ceilings
        The service by itself.
    warm_pushes
        How many there are in a round.
    """

    cold: Taken
    warm: Taken
    many: Mapping[Case, Taken]
    peers: Mapping[str, Peer]
    tls: Mapping[str, Taken]
    keyed: Mapping[int, Taken]
    queue: QueueRun
    zipped: Zipped
    ceilings: Mapping[str, Ceiling]
    warm_pushes: int

    def figures(self) -> list[Figure]:
        """Give the figures of the design."""
        cold, warm = self.cold, self.warm
        many, tokens = self.many[Case(*THROUGHPUT)], THROUGHPUT[1]
        return [
            Figure(
                "cold start to the first report",
                "ms",
                wall(cold[OURS], MS),
                wall(cold[BARE], MS),
                Goal(1.3),
            ),
            Figure(
                "one push, warm: CPU",
                "µs",
                cpu(warm[OURS], US / self.warm_pushes),
                cpu(warm[BARE], US / self.warm_pushes),
                Goal(1.3),
            ),
            Figure(
                "5,000 recipients, 50 ms a call",
                "tokens/s",
                rate(many[OURS], tokens),
                rate(many[GOOD], tokens),
                Goal(2.1, "at least"),
            ),
            Figure(
                "CPU a token",
                "µs",
                cpu(many[OURS], US / tokens),
                cpu(many[GOOD], US / tokens),
                Goal(1.1),
            ),
            Figure(
                "bundle for Lambda, zipped",
                "MB",
                Samples([self.zipped.bundle * MB]),
                Samples([self.zipped.whole * MB]),
                Goal(6, of="ours"),
            ),
        ]

    def growth(self, name: str, latency: float) -> Growth:
        """Tell how the CPU of a side grows with the recipients."""
        medians = {
            case.recipients: cpu(taken[name], 1).median
            for case, taken in self.many.items()
            if case.latency == latency
        }
        most = max(medians)
        slope = (medians[most] - medians[100]) / (most - 100)
        exponent = math.log(medians[most] / medians[100]) / math.log(most / 100)
        return Growth(medians[1], slope, exponent)


def wall(spent: Sequence[Spent], scale: float) -> Samples:
    """Give wall clocks in a unit of ``1 / scale`` seconds."""
    return Samples([each.wall * scale for each in spent])


def cpu(spent: Sequence[Spent], scale: float) -> Samples:
    """Give CPU times in a unit of ``1 / scale`` seconds."""
    return Samples([each.cpu * scale for each in spent])


def rate(spent: Sequence[Spent], tokens: int) -> Samples:
    """Give tokens a second."""
    return Samples([tokens / each.wall for each in spent])


def peak(spent: Sequence[Spent]) -> Samples:
    """Give the most memory held, in MB."""
    return Samples([each.peak_bytes * MB for each in spent])
