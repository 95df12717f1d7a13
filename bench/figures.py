"""The figures of the design, each taken of both sides in turn.

A round takes every side once, so that whatever else the machine does meets all of them
alike. A ratio is the median over the rounds of ours over bare boto3's in the same round.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from bench.processes import Contestant, Spent, contestant, service
from bench.samples import Samples

LATENCY_SECONDS = 0.05
RECIPIENTS = 5_000
PUSHES = 100
"""Warm pushes in a round."""

_OURS, _HTTP, _BARE = "push-sender", "push-sender-http", "boto3"
_WIDE = "push-sender, 32 calls at once"
_MS, _US = 1e3, 1e6

Progress = Callable[[int, int], None]
"""Told the rounds done, and the rounds in all."""


class Packages(NamedTuple):
    """The directories that the two sides import from."""

    ours: Path
    bare: Path


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
        None where the figure only helps to read another.
    """

    name: str
    unit: str
    ours: Samples
    bare: Samples
    goal: Goal | None = None

    @property
    def ratio(self) -> Samples:
        """Ours over bare boto3's, round by round."""
        return self.ours.over(self.bare)

    @property
    def reached(self) -> bool | None:
        """Whether the median reaches the goal; None without a goal."""
        if self.goal is None:
            return None
        value = (self.ratio if self.goal.of == "ratio" else self.ours).median
        at_most = self.goal.bound == "at most"
        return value <= self.goal.limit if at_most else value >= self.goal.limit


def cold_start(packages: Packages, rounds: int, progress: Progress) -> Iterator[Figure]:
    """Start an interpreter, load a side and send one push; each time anew."""

    def start(name: str, directory: Path) -> Callable[[], Spent]:
        def once() -> Spent:
            with contestant(name, directory, port) as side:
                return side.cold_start

        return once

    with service(latency=0) as port:
        taken = _in_turn(
            {
                _OURS: start(_OURS, packages.ours),
                _HTTP: start(_HTTP, packages.ours),
                _BARE: start(_BARE, packages.bare),
            },
            rounds,
            progress,
        )
    yield Figure(
        "cold start to the first report",
        "ms",
        _wall(taken[_OURS], _MS),
        _wall(taken[_BARE], _MS),
        Goal(1.3),
    )
    yield Figure("cold start, CPU of it", "ms", _cpu(taken[_OURS], _MS), _cpu(taken[_BARE], _MS))
    yield Figure("cold start over HTTP", "ms", _wall(taken[_HTTP], _MS), _wall(taken[_BARE], _MS))


def warm_push(packages: Packages, rounds: int, progress: Progress) -> Iterator[Figure]:
    """Send one push at a time in processes that are warm; the service answers at once."""
    with ExitStack() as stack:
        port = stack.enter_context(service(latency=0))
        sides = _running(stack, packages, port, (_OURS, _HTTP, _BARE))
        taken = _in_turn(
            {name: _player(side, PUSHES, 1) for name, side in sides.items()}, rounds, progress
        )
    yield Figure(
        "one push, warm: CPU",
        "µs",
        _cpu(taken[_OURS], _US / PUSHES),
        _cpu(taken[_BARE], _US / PUSHES),
        Goal(1.3),
    )
    yield Figure(
        "one push over HTTP, warm: CPU",
        "µs",
        _cpu(taken[_HTTP], _US / PUSHES),
        _cpu(taken[_BARE], _US / PUSHES),
    )


def throughput(packages: Packages, rounds: int, progress: Progress) -> Iterator[Figure]:
    """Send requests of 5,000 recipients to a service that takes 50 ms for each call."""
    with ExitStack() as stack:
        port = stack.enter_context(service(LATENCY_SECONDS))
        sides = _running(stack, packages, port, (_OURS, _WIDE, _BARE))
        taken = _in_turn(
            {name: _player(side, 1, RECIPIENTS) for name, side in sides.items()}, rounds, progress
        )
    ways = {_OURS: "16 calls at once", _WIDE: "32 calls at once"}
    for name, way in ways.items():
        yield Figure(
            f"tokens a second, {way}",
            "1/s",
            _rate(taken[name]),
            _rate(taken[_BARE]),
            Goal(2.1, "at least"),
        )
    for name, way in ways.items():
        yield Figure(
            f"CPU a token, {way}",
            "µs",
            _cpu(taken[name], _US / RECIPIENTS),
            _cpu(taken[_BARE], _US / RECIPIENTS),
            Goal(1.1),
        )


def zipped(ours_bytes: int, whole_bytes: int) -> Figure:
    """Set the bundle beside the same packages whole, both as they would be uploaded."""
    return Figure(
        "bundle for Lambda, zipped",
        "MB",
        Samples([ours_bytes / 1e6]),
        Samples([whole_bytes / 1e6]),
        Goal(6, of="ours"),
    )


def _running(
    stack: ExitStack, packages: Packages, port: int, names: Sequence[str]
) -> dict[str, Contestant]:
    ways: dict[str, tuple[str, Path, Mapping[str, str]]] = {
        _OURS: (_OURS, packages.ours, {}),
        _HTTP: (_HTTP, packages.ours, {}),
        _WIDE: (_OURS, packages.ours, {"SEND_CONCURRENCY": "32"}),
        _BARE: (_BARE, packages.bare, {}),
    }
    return {
        name: stack.enter_context(contestant(side, directory, port, settings))
        for name in names
        for side, directory, settings in (ways[name],)
    }


def _player(side: Contestant, requests: int, recipients: int) -> Callable[[], Spent]:
    return lambda: side.play(requests, recipients)


def _in_turn(
    sides: Mapping[str, Callable[[], Spent]], rounds: int, progress: Progress
) -> dict[str, list[Spent]]:
    """Take every side once a round, in an order that turns around with each round.

    A first round is not counted: it fills the disk's cache, the connections and the workers.
    """
    taken: dict[str, list[Spent]] = {name: [] for name in sides}
    order = list(sides)
    for number in range(rounds + 1):
        progress(number, rounds)
        for name in order:
            spent = sides[name]()
            if number:
                taken[name].append(spent)
        order.reverse()
    return taken


def _wall(taken: Sequence[Spent], scale: float) -> Samples:
    return Samples([spent.wall * scale for spent in taken])


def _cpu(taken: Sequence[Spent], scale: float) -> Samples:
    return Samples([spent.cpu * scale for spent in taken])


def _rate(taken: Sequence[Spent]) -> Samples:
    return Samples([RECIPIENTS / spent.wall for spent in taken])
