"""A sustained load without faults: nothing may grow, and a burst must drain.

    python -m soak.steady

Requests come at a steady rate at every door for some minutes, and once at ten times the rate
for a few seconds. Meanwhile the function's processes are looked at: memory, threads, open
connections, and what they log. In the end every recipient must have been sent to, once.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Final

from rich import box
from rich.console import Console
from rich.table import Table

from sandbox.environment import isolate
from soak.callers import Callers
from soak.environment import WORKERS, World, running_world
from soak.fast_queue import lapsing, oldest_seconds
from soak.faults import Faults
from soak.loopback import sockets_of
from soak.plan import ATTENDED, Asked, plan
from soak.run import look, settle
from soak.seeded_random import Chance
from soak.summary import Progress
from soak.verdict import Verdict, judge

RATE: Final = 5.0
BURST: Final = 10
_BURST_SECONDS: Final = 6.0
_LOOK_SECONDS: Final = 5.0
_WARM_SECONDS: Final = 60.0
_CALLERS: Final = 24
_DRAIN_MINUTES: Final = 10.0

_GROWTH: Final = 1.1
"""What counts as flat: the last third at most a tenth above the first."""

_SLACK: Final = {"memory_mb": 3.0, "threads": 2.0, "connections": 2.0, "log_kb": 0.5}
"""And so much by which a figure may differ by chance, each a process or a request."""


_FIGURES: Final = {
    "memory_mb": "resident memory, MB",
    "threads": "threads",
    "connections": "open connections",
    "log_kb": "log, kB a request",
}


@dataclass(frozen=True)
class Sample:
    """The function at one moment.

    Attributes
    ----------
    seconds
        Since the load began.
    processes
        How many there are.
    memory_mb, threads, connections
        Of the one with most: resident memory, threads, open sockets.
    log_kb
        Logged since the sample before, a request.
    waiting, oldest_seconds
        Messages in the queue, and the age of the oldest.
    """

    seconds: float
    processes: int
    memory_mb: float
    threads: int
    connections: int
    log_kb: float
    waiting: int
    oldest_seconds: float


@dataclass(frozen=True)
class Load:
    """What came of a load.

    Attributes
    ----------
    samples
        In order.
    drain_seconds
        From the end of the burst until the queue was empty again.
    verdict
        Where the recipients are.
    requests
        How many were asked.
    """

    samples: Sequence[Sample]
    drain_seconds: float
    verdict: Verdict
    requests: int

    def thirds(self, name: str) -> tuple[float, float]:
        """Give the median of a figure over the first and the last third, when warm."""
        warm = [each for each in self.samples if each.seconds >= _WARM_SECONDS] or self.samples
        values = [float(getattr(each, name)) for each in warm]
        part = max(len(values) // 3, 1)
        return median(values[:part]), median(values[-part:])

    def growing(self) -> list[str]:
        """Name the figures that do not stay flat."""
        return [
            name
            for name, slack in _SLACK.items()
            for first, last in [self.thirds(name)]
            if last > first * _GROWTH + slack
        ]


def load(minutes: float, rate: float, seed: int, tell: Callable[[str], None]) -> Load:
    """Run a load to its end.

    Parameters
    ----------
    minutes
        How long it lasts, the burst included, the end not.
    rate
        Requests a second.
    seed
        Of the requests.
    tell
        Is told how far it is.
    """
    chance = Chance(seed)
    steady = round(minutes * 60 * rate)
    everything = list(islice(_small(chance), steady + round(rate * BURST * _BURST_SECONDS)))
    requests, burst = everything[:steady], _unattended(everything[steady:])
    of_request = {
        recipient["token"]: asked.number
        for asked in (*requests, *burst)
        for recipient in asked.recipients
    }
    faults = Faults(chance, any_=False)
    with running_world(faults, of_request, remembers=False, tell=tell) as world:
        return _Driver(world, rate, tell).drive(requests, burst)


def _small(chance: Chance) -> Iterator[Asked]:
    """Plan requests of everyday size, without an end."""
    everyone = plan(10**7, chance, plain=True)
    return (asked for asked in everyone if len(asked.recipients) <= 100)


def _unattended(requests: Sequence[Asked]) -> Sequence[Asked]:
    """Leave those that nobody waits for: who waits comes at the rate of the answers."""
    return [asked for asked in requests if asked.door not in ATTENDED]


class _Driver:
    """Asks at a rate, and looks at the function meanwhile."""

    def __init__(self, world: World, rate: float, tell: Callable[[str], None]) -> None:
        self._world = world
        self._rate = rate
        self._tell = tell
        self._callers = Callers(world.deployment, world.ledger)
        self._queue = world.deployment.outputs["QueueArn"]
        self._began = self._look_at = time.monotonic()
        self._samples: list[Sample] = []
        self._asked = self._asked_before = self._logged_before = 0
        self._burst_ended: float | None = None
        self._drain_seconds = 0.0

    def drive(self, requests: Sequence[Asked], burst: Sequence[Asked]) -> Load:
        """Ask for everything, the burst in the middle, and wait until it is done."""
        half = len(requests) // 2
        with (
            lapsing(self._queue, lambda _: False),
            ThreadPoolExecutor(_CALLERS, thread_name_prefix="caller") as pool,
        ):
            under_way = [
                *self._ask(pool, requests[:half], self._rate),
                *self._ask(pool, burst, self._rate * BURST),
            ]
            self._burst_ended = time.monotonic()
            under_way += self._ask(pool, requests[half:], self._rate)
            for future in under_way:
                future.result()
            settle(self._world, time.monotonic() + _DRAIN_MINUTES * 60, self._tell, "draining")
        verdict = judge([*requests, *burst], self._world.ledger, self._world.dead_letters())
        return Load(self._samples, self._drain_seconds, verdict, self._asked)

    def _ask(
        self, pool: ThreadPoolExecutor, requests: Sequence[Asked], rate: float
    ) -> list[Future[None]]:
        began, under_way = time.monotonic(), []
        for number, asked in enumerate(requests):
            while (wait := began + number / rate - time.monotonic()) > 0:
                time.sleep(min(wait, 0.05))
            under_way.append(pool.submit(self._callers.ask, asked))
            self._asked += 1
            self._note_drained()
            if time.monotonic() >= self._look_at:
                self._look_at += _LOOK_SECONDS
                self._look((len(requests) - number) / rate)
        return under_way

    def _note_drained(self) -> None:
        """Note when the queue is as short as it is under the steady load."""
        if self._burst_ended and not self._drain_seconds and self._world.waiting() <= WORKERS:
            self._drain_seconds = time.monotonic() - self._burst_ended

    def _look(self, seconds_left: float) -> None:
        look(self._world)
        environments = self._world.functions.environments(self._world.function_name)
        seen = [found for each in environments if (found := _process(each.pid)) is not None]
        logged = self._world.ledger.log_bytes
        requests = max(self._asked - self._asked_before, 1)
        sample = Sample(
            seconds=round(time.monotonic() - self._began, 1),
            processes=len(seen),
            memory_mb=max((memory for memory, _, _ in seen), default=0.0),
            threads=max((threads for _, threads, _ in seen), default=0),
            connections=max((sockets for _, _, sockets in seen), default=0),
            log_kb=round((logged - self._logged_before) / 1_000 / requests, 2),
            waiting=self._world.waiting(),
            oldest_seconds=round(oldest_seconds(self._queue), 1),
        )
        self._asked_before, self._logged_before = self._asked, logged
        self._samples.append(sample)
        self._tell(
            f"{self._asked:,} asked; {seconds_left / 60:.1f} minutes of this part left; "
            f"{sample.processes} processes, {sample.memory_mb:.0f} MB, {sample.waiting} waiting, "
            f"the oldest for {sample.oldest_seconds:.0f} s"
        )


def _process(pid: int) -> tuple[float, int, int] | None:
    """Give a process's resident MB, threads and open sockets; None if it is gone."""
    place = Path(f"/proc/{pid}")
    try:
        status = dict(
            line.split(":", 1)
            for line in (place / "status").read_text().splitlines()
            if ":" in line
        )
        sockets = len(sockets_of(place))
    except FileNotFoundError:
        return None
    if "VmRSS" not in status:  # a zombie
        return None
    memory = int(status["VmRSS"].split()[0]) / 1_000
    return round(memory, 1), int(status["Threads"]), sockets


def _table(done: Load) -> Table:
    table = Table(box=box.MARKDOWN)
    for column in ("of a process of the function", "first third", "last third", "flat"):
        table.add_column(column, justify="left" if column.startswith("of") else "right")
    growing = done.growing()
    for name, told in _FIGURES.items():
        first, last = done.thirds(name)
        table.add_row(told, f"{first:,.1f}", f"{last:,.1f}", "no" if name in growing else "yes")
    return table


def main(arguments: list[str] | None = None) -> int:
    """Run a load; the exit status is 0 where all stayed flat and nothing was lost."""
    isolate()
    parser = argparse.ArgumentParser(prog="python -m soak.steady", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--rate", type=float, default=RATE, help="requests a second")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample there")
    options = parser.parse_args(arguments)
    progress = Progress()
    done = load(options.minutes, options.rate, options.seed, progress)
    progress.done()
    console = Console(width=120, highlight=False)
    console.print(_table(done))
    oldest = max(sample.oldest_seconds for sample in done.samples)
    accepted = done.verdict.recipients - len(done.verdict.breaches)
    console.print(
        f"{done.requests:,} requests, {done.verdict.recipients:,} recipients, {accepted:,} sent "
        f"once; the oldest message of the queue was {oldest:.0f} s old; the burst of {BURST} times "
        f"the rate was worked off {done.drain_seconds:.0f} s after its end.",
        markup=False,
    )
    flat = not done.growing() and not done.verdict.breaches
    sys.stdout.write("All stayed flat, and nothing was lost.\n" if flat else "NOT as promised.\n")
    if options.json:
        told = {
            "seed": options.seed,
            "rate": options.rate,
            "drain_seconds": round(done.drain_seconds, 1),
            "breaches": len(done.verdict.breaches),
            "samples": [asdict(sample) for sample in done.samples],
        }
        options.json.write_text(json.dumps(told, indent=1) + "\n")
    return 0 if flat else 1


if __name__ == "__main__":
    sys.exit(main())
