"""The results of a run: every measurement, and the figures with goals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from bench.ceiling import Ceiling
from bench.client_list import (
    BARE_BOTO3,
    BOTO3_THREADS,
    KEYED,
    KEYED_REQUEST,
    OURS,
    PLAIN_ROWS,
    REQUEST,
    USERS,
)
from bench.job_run import JobRun
from bench.packages import Zipped
from bench.processes import Cost
from bench.queue_run import QueueRun
from bench.samples import Samples

MS, US, MB = 1e3, 1e6, 1e-6

Measured = Mapping[str, Sequence[Cost]]
"""The costs of each client, round by round."""

THROUGHPUT = (0.05, 5_000)
"""The latency in seconds and the recipients of the figures with goals."""


ROWS_A_CHILD = 1_000


class Case(NamedTuple):
    """A request's recipients, and the service's latency for a call, in seconds."""

    latency: float
    recipients: int


class Peer(NamedTuple):
    """The costs of another library for a number of tokens."""

    tokens: int
    costs: Sequence[Cost]


class Goal(NamedTuple):
    """A limit for the ratio or for our own figure."""

    limit: float
    bound: Literal["at most", "at least"] = "at most"
    of: Literal["ratio", "ours"] = "ratio"


@dataclass(frozen=True)
class Figure:
    """One figure of both clients.

    Attributes
    ----------
    name, unit
        The name and the unit of the figure.
    ours, bare
        The measurements in that unit, round by round.
    goal
        The limit.
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
        """Our best round over bare boto3's best, with the least other load on the machine."""
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
        CPU of each further token, from 100 recipients to the maximum.
    exponent
        Of the growth in the same range: 1 if twice as many recipients cost twice as much.
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
        The start of a process over TLS, with the service at 50 ms, by step.
    keyed
        By recipients: a request without a key and with one, at 50 ms, while the table takes
        5 ms.
    users
        Requests to 1,000 users with two devices each, and to as many tokens.
    queue
        A hundred thousand recipients through the queue.
    rows
        Direct requests of 1,000 recipients, and the rows of ``children`` children of a job.
    job
        A file through the state machine.
    zipped
        The sizes of archives.
    ceilings
        The simulated service without a client.
    warm_pushes, children
        The number of warm pushes in a round, and of children or their requests.
    """

    cold: Measured
    warm: Measured
    many: Mapping[Case, Measured]
    peers: Mapping[str, Peer]
    tls: Mapping[str, Measured]
    keyed: Mapping[int, Measured]
    users: Measured
    queue: QueueRun
    rows: Measured
    job: JobRun
    zipped: Zipped
    ceilings: Mapping[str, Ceiling]
    warm_pushes: int
    children: int

    def figures(self) -> list[Figure]:
        """Compute the figures with goals."""
        cold, warm = self.cold, self.warm
        many, tokens = self.many[Case(*THROUGHPUT)], THROUGHPUT[1]
        return [
            Figure(
                "cold start to the first report",
                "ms",
                wall(cold[OURS], MS),
                wall(cold[BARE_BOTO3], MS),
                Goal(1.0),
            ),
            Figure(
                "one push, warm: CPU",
                "µs",
                cpu(warm[OURS], US / self.warm_pushes),
                cpu(warm[BARE_BOTO3], US / self.warm_pushes),
                Goal(1.2),
            ),
            Figure(
                "5,000 recipients, 50 ms a call",
                "tokens/s",
                rate(many[OURS], tokens),
                rate(many[BOTO3_THREADS], tokens),
                Goal(2.5, "at least"),
            ),
            Figure(
                "CPU a token",
                "µs",
                cpu(many[OURS], US / tokens),
                cpu(many[BOTO3_THREADS], US / tokens),
                Goal(0.75),
            ),
            Figure(
                "bundle for Lambda, zipped",
                "MB",
                Samples([self.zipped.bundle * MB]),
                Samples([self.zipped.whole * MB]),
                Goal(6, of="ours"),
            ),
        ]

    def own_figures(self) -> list[Figure]:
        """Compute the figures of keys and users, each beside a request without them."""
        return [
            Figure(
                "one push with a key: CPU",
                "ms",
                cpu(self.keyed[1][KEYED], MS),
                cpu(self.keyed[1][OURS], MS),
                Goal(2.0),
            ),
            Figure(
                "1,000 users with 2 devices each, beside 2,000 tokens",
                "s",
                wall(self.users[USERS], 1),
                wall(self.users[OURS], 1),
                Goal(1.0, of="ours"),
            ),
        ]

    def job_figures(self) -> list[Figure]:
        """Compute the figures of jobs with goals, each beside what it is measured against."""
        job, children = self.job, self.children * ROWS_A_CHILD
        asked = Samples([job.tokens_per_second])
        paces = job.paces().values
        row = cpu(self.rows[PLAIN_ROWS], US / children)
        return [
            Figure(
                "CPU of a row beside a direct request with a key",
                "µs",
                row,
                cpu(self.rows[KEYED_REQUEST], US / children),
                Goal(1.4),
            ),
            Figure(
                "CPU of a row beside a direct request",
                "µs",
                row,
                cpu(self.rows[REQUEST], US / children),
                Goal(1.4),
            ),
            Figure("slowest 30 s", "tokens/s", Samples([min(paces)]), asked, Goal(0.9, "at least")),
            Figure("fastest 30 s", "tokens/s", Samples([max(paces)]), asked, Goal(1.1)),
            *(
                Figure(
                    f"a direct push during {what}, beside an idle function",
                    "ms",
                    Samples([pushes.median * MS]),
                    Samples([job.idle_pushes.median * MS]),
                    Goal(1.2),
                )
                for what, pushes in (
                    ("the job", job.pushes),
                    ("a flood of the queue", job.flood_pushes),
                )
            ),
        ]

    def growth(self, name: str, latency: float) -> Growth:
        """Compute how the CPU of a client grows with the recipients."""
        medians = {
            case.recipients: cpu(measured[name], 1).median
            for case, measured in self.many.items()
            if case.latency == latency
        }
        most = max(medians)
        slope = (medians[most] - medians[100]) / (most - 100)
        exponent = math.log(medians[most] / medians[100]) / math.log(most / 100)
        return Growth(medians[1], slope, exponent)


def wall(costs: Sequence[Cost], scale: float) -> Samples:
    """Return wall clock times in a unit of ``1 / scale`` seconds."""
    return Samples([each.wall * scale for each in costs])


def cpu(costs: Sequence[Cost], scale: float) -> Samples:
    """Return CPU times in a unit of ``1 / scale`` seconds."""
    return Samples([each.cpu * scale for each in costs])


def rate(costs: Sequence[Cost], tokens: int) -> Samples:
    """Return tokens a second."""
    return Samples([tokens / each.wall for each in costs])


def peak(costs: Sequence[Cost]) -> Samples:
    """Return the peak memory, in MB."""
    return Samples([each.peak_bytes * MB for each in costs])
