"""A steady load without faults: the processes must not grow, and the queue must drain a burst.

    python -m soak.steady

Requests arrive at a steady rate through every entry point for some minutes, and once at ten times
the rate for a few seconds. The run samples the function's processes: memory, threads, open
connections, and the size of the log. At the end every recipient must have one push.
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
from soak.environment import WORKERS, SoakEnvironment, running_environment
from soak.faults import Faults
from soak.plan import CALLER_WAITS, PlannedRequest, plan
from soak.processes import usage_of
from soak.queues import fast_queue, oldest_seconds
from soak.run import poll, settle
from soak.seeded_random import SeededRandom
from soak.summary import Progress
from soak.verdict import Verdict, judge

RATE: Final = 5.0
BURST: Final = 10
_BURST_SECONDS: Final = 6.0
_SAMPLE_SECONDS: Final = 5.0
_WARM_SECONDS: Final = 60.0
_CALLERS: Final = 24
_DRAIN_MINUTES: Final = 10.0

_GROWTH: Final = 1.1
"""A figure is flat if its last third is at most a tenth above the first."""

_SLACK: Final = {"memory_mb": 3.0, "threads": 2.0, "connections": 2.0, "log_kb": 0.5}
"""The random variation that is allowed in addition, for a process or a request."""


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
        Their number.
    memory_mb, threads, connections
        The highest of any process: resident memory, threads, open sockets.
    log_kb
        The log of each request since the sample before.
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
    """The result of a load.

    Attributes
    ----------
    samples
        In order.
    drain_seconds
        From the end of the burst until the queue was empty again.
    verdict
        The places of the recipients.
    requests
        The number of requests.
    """

    samples: Sequence[Sample]
    drain_seconds: float
    verdict: Verdict
    requests: int

    def thirds(self, name: str) -> tuple[float, float]:
        """Return a figure's median over the first and the last third, after the warm-up."""
        warm = [each for each in self.samples if each.seconds >= _WARM_SECONDS] or self.samples
        values = [float(getattr(each, name)) for each in warm]
        part = max(len(values) // 3, 1)
        return median(values[:part]), median(values[-part:])

    def growing(self) -> list[str]:
        """Name the figures that are not flat."""
        return [
            name
            for name, slack in _SLACK.items()
            for first, last in [self.thirds(name)]
            if last > first * _GROWTH + slack
        ]


def load(minutes: float, rate: float, seed: int, on_progress: Callable[[str], None]) -> Load:
    """Run a load.

    Parameters
    ----------
    minutes
        How long to send, with the burst, without the time to drain.
    rate
        Requests a second.
    seed
        For the plan.
    on_progress
        Gets a line about the progress.
    """
    random = SeededRandom(seed)
    steady = round(minutes * 60 * rate)
    everything = list(islice(_small(random), steady + round(rate * BURST * _BURST_SECONDS)))
    requests, burst = everything[:steady], _without_waiting(everything[steady:])
    sizes = {planned.number: len(planned.recipients) for planned in (*requests, *burst)}
    faults = Faults(random, enabled=False)
    with running_environment(
        faults, sizes, keep_history=False, on_progress=on_progress
    ) as environment:
        return _Driver(environment, rate, on_progress).drive(requests, burst)


def _small(random: SeededRandom) -> Iterator[PlannedRequest]:
    """Plan an endless series of requests to at most 100 recipients."""
    requests = plan(10**7, random, plain=True)
    return (planned for planned in requests if len(planned.recipients) <= 100)


def _without_waiting(requests: Sequence[PlannedRequest]) -> Sequence[PlannedRequest]:
    """Select requests whose callers do not wait; a waiting caller limits the rate."""
    return [planned for planned in requests if planned.entry_point not in CALLER_WAITS]


class _Driver:
    """Sends requests at a rate, and samples the function meanwhile."""

    def __init__(
        self, environment: SoakEnvironment, rate: float, on_progress: Callable[[str], None]
    ) -> None:
        self._environment = environment
        self._rate = rate
        self._on_progress = on_progress
        self._callers = Callers(environment.deployment, environment.ledger)
        self._queue = environment.deployment.outputs["QueueArn"]
        self._began = self._sample_at = time.monotonic()
        self._samples: list[Sample] = []
        self._sent = self._sent_before = self._logged_before = 0
        self._burst_ended: float | None = None
        self._drain_seconds = 0.0

    def drive(self, requests: Sequence[PlannedRequest], burst: Sequence[PlannedRequest]) -> Load:
        """Send all requests, with the burst in the middle, and wait until they are processed."""
        half = len(requests) // 2
        with (
            fast_queue(self._queue, lambda _: False),
            ThreadPoolExecutor(_CALLERS, thread_name_prefix="caller") as pool,
        ):
            under_way = [
                *self._send(pool, requests[:half], self._rate),
                *self._send(pool, burst, self._rate * BURST),
            ]
            self._burst_ended = time.monotonic()
            under_way += self._send(pool, requests[half:], self._rate)
            for future in under_way:
                future.result()
            settle(
                self._environment,
                time.monotonic() + _DRAIN_MINUTES * 60,
                self._on_progress,
                "draining",
            )
        verdict = judge(
            [*requests, *burst], self._environment.ledger, self._environment.dead_letters()
        )
        return Load(self._samples, self._drain_seconds, verdict, self._sent)

    def _send(
        self, pool: ThreadPoolExecutor, requests: Sequence[PlannedRequest], rate: float
    ) -> list[Future[None]]:
        began, under_way = time.monotonic(), []
        for number, planned in enumerate(requests):
            while (wait := began + number / rate - time.monotonic()) > 0:
                time.sleep(min(wait, 0.05))
            under_way.append(pool.submit(self._callers.send, planned))
            self._sent += 1
            self._note_drained()
            if time.monotonic() >= self._sample_at:
                self._sample_at += _SAMPLE_SECONDS
                self._sample((len(requests) - number) / rate)
        return under_way

    def _note_drained(self) -> None:
        """Note when the queue is as short as under the steady load."""
        if self._burst_ended is None or self._drain_seconds:
            return
        if self._environment.message_count() <= WORKERS:
            self._drain_seconds = time.monotonic() - self._burst_ended

    def _sample(self, seconds_left: float) -> None:
        poll(self._environment)
        environments = self._environment.functions.environments(self._environment.function_name)
        seen = [found for each in environments if (found := usage_of(each.pid)) is not None]
        logged = self._environment.ledger.log_bytes
        requests = max(self._sent - self._sent_before, 1)
        sample = Sample(
            seconds=round(time.monotonic() - self._began, 1),
            processes=len(seen),
            memory_mb=max((memory for memory, _, _ in seen), default=0.0),
            threads=max((threads for _, threads, _ in seen), default=0),
            connections=max((sockets for _, _, sockets in seen), default=0),
            log_kb=round((logged - self._logged_before) / 1_000 / requests, 2),
            waiting=self._environment.message_count(),
            oldest_seconds=round(oldest_seconds(self._queue), 1),
        )
        self._sent_before, self._logged_before = self._sent, logged
        self._samples.append(sample)
        self._on_progress(
            f"{self._sent:,} sent; {seconds_left / 60:.1f} minutes of this part left; "
            f"{sample.processes} processes, {sample.memory_mb:.0f} MB, "
            f"{sample.waiting} messages waiting, the oldest for {sample.oldest_seconds:.0f} s"
        )


def _table(done: Load) -> Table:
    table = Table(box=box.MARKDOWN)
    for column in ("of the largest process of the function", "first third", "last third", "flat"):
        table.add_column(column, justify="left" if column.startswith("of") else "right")
    growing = done.growing()
    for name, label in _FIGURES.items():
        first, last = done.thirds(name)
        table.add_row(label, f"{first:,.1f}", f"{last:,.1f}", "no" if name in growing else "yes")
    return table


def main(arguments: list[str] | None = None) -> int:
    """Run a load; the exit status is 0 if all figures are flat and nothing was lost."""
    isolate()
    parser = argparse.ArgumentParser(prog="python -m soak.steady", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--rate", type=float, default=RATE, help="requests a second")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample to a file")
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
        f"once; the oldest message of the queue was {oldest:.0f} s old; the queue was empty "
        f"{done.drain_seconds:.0f} s after the burst of {BURST} times the rate.",
        markup=False,
    )
    flat = not done.growing() and not done.verdict.breaches
    sys.stdout.write(
        "All figures are flat, and nothing was lost.\n" if flat else "NOT as promised.\n"
    )
    if options.json:
        figures = {
            "seed": options.seed,
            "rate": options.rate,
            "drain_seconds": round(done.drain_seconds, 1),
            "breaches": len(done.verdict.breaches),
            "samples": [asdict(sample) for sample in done.samples],
        }
        options.json.write_text(json.dumps(figures, indent=1) + "\n")
    return 0 if flat else 1


if __name__ == "__main__":
    sys.exit(main())
