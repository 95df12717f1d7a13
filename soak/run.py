"""One run, from the first request to the verdict."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from infra.bundle import SOURCE
from sandbox import clock
from soak.ageing import age_items
from soak.callers import Callers, UnexpectedError
from soak.environment import SoakEnvironment, running_environment
from soak.faults import Faults
from soak.job_plan import PlannedJob
from soak.jobs import Jobs, OverdueError
from soak.ledger import Ledger
from soak.phones import phones, users_for
from soak.plan import PlannedRequest
from soak.queues import fast_queue
from soak.registrar import Registrar
from soak.verdict import Verdict, judge

CALLER_THREADS: Final = 8
"""How many callers send at once."""

JOB_THREADS: Final = 3
"""How many jobs run at once."""

_SCHEDULED_HOURS: Final = 2
"""How far ahead the requests for later are scheduled: longer than any run."""

_HOURS_LATER: Final = 25.0
"""When the failed jobs are redriven: the keys of other requests have been forgotten by then."""

_POLL_SECONDS: Final = 0.5
_QUIET_POLLS: Final = 4


def later() -> str:
    """Return the `send_at` of the requests of a run that begins now."""
    moment = datetime.now(UTC) + timedelta(hours=_SCHEDULED_HOURS)
    return moment.isoformat(timespec="seconds")


class TimeIsUpError(Exception):
    """A run did not end within its time limit."""


@dataclass(frozen=True)
class Outcome:
    """The result of a run, and how long it took."""

    verdict: Verdict
    ledger: Ledger
    seconds: float


def run(
    requests: Sequence[PlannedRequest],
    faults: Faults,
    *,
    minutes: float,
    source: Path = SOURCE,
    on_progress: Callable[[str], None] = lambda _: None,
) -> Outcome:
    """Send all requests, wait until everything is processed, and judge.

    Parameters
    ----------
    requests
        The plan.
    faults
        What fails meanwhile.
    minutes
        The time limit, without the start of the sandbox.
    source
        The folder of the function.
    on_progress
        Gets a line about the progress.

    Raises
    ------
    TimeIsUpError
        If the run does not end in time.
    UnexpectedError
        If the function has a connection to another machine.
    """
    delivered_twice = {
        name
        for planned in requests
        if planned.delivered_twice
        for name in (planned.request["title"], getattr(planned, "name", None))
    }
    jobs = [planned for planned in requests if isinstance(planned, PlannedJob)]

    def is_delivered_twice(body: Any) -> bool:
        request = body.get("detail", body)
        # The end of a job has the job's name.
        return isinstance(request, dict) and not delivered_twice.isdisjoint(
            (request.get("title"), request.get("name"))
        )

    sizes = {planned.number: len(planned.recipients) for planned in requests}
    with running_environment(faults, sizes, source=source, on_progress=on_progress) as environment:
        began = time.monotonic()
        end = began + minutes * 60
        queue = environment.deployment.outputs["QueueArn"]
        owned = list(phones(users_for(sum(sizes.values())), faults.random))
        registrar = Registrar(environment.deployment, owned, faults.random)
        try:
            with (
                fast_queue(queue, is_delivered_twice),
                registrar.at_work(),
                ExitStack() as running,
            ):
                runner = Jobs(environment.deployment, environment.ledger, end)
                _send_all(environment, requests, runner, end, on_progress)
                settle(environment, end, on_progress, "processing the queue")
                if any(planned.is_for_later for planned in requests):
                    on_progress(f"{_SCHEDULED_HOURS} hours later; the schedules fire")
                    environment.ledger.due = time.monotonic()
                    running.enter_context(clock.moved_ahead(_SCHEDULED_HOURS * 3_600))
                    settle(environment, end, on_progress, "processing what was scheduled")
                environment.provider.fix_everything()
                dead_letters = _redrive_all(environment, end, on_progress)
                if jobs:
                    on_progress(f"{_HOURS_LATER:.0f} hours later; redriving the failed jobs")
                    age_items(environment.deployment.outputs["TableName"], _HOURS_LATER)
                    runner.redrive(jobs)
                    settle(environment, end, on_progress, "processing the redriven jobs")
                    dead_letters = _redrive_all(environment, end, on_progress)
                    for job in jobs:
                        runner.read(job)
        except (OverdueError, TimeIsUpError) as error:
            raise TimeIsUpError(f"{error}{_so_far(requests, environment.ledger)}") from error
        verdict = judge(requests, environment.ledger, dead_letters)
        return Outcome(verdict, environment.ledger, time.monotonic() - began)


def _redrive_all(
    environment: SoakEnvironment, end: float, on_progress: Callable[[str], None]
) -> Sequence[str]:
    """Redrive the dead-letter messages until none is left, or the same ones are again."""
    dead_letters, before = environment.dead_letters(), set[str]()
    while dead_letters and set(dead_letters) != before:
        before = set(dead_letters)
        on_progress("the failures ended; redriving the dead-letter messages")
        environment.redrive()
        settle(environment, end, on_progress, "processing the redriven messages")
        dead_letters = environment.dead_letters()
    return dead_letters


def _so_far(requests: Sequence[PlannedRequest], ledger: Ledger) -> str:
    """Count the breaches of a run that did not end, without recipients that may be in flight."""
    found = Counter(breach.what for breach in judge(requests, ledger, ()).breaches)
    del found["lost"]
    return "".join(f", {times:,} {what}" for what, times in sorted(found.items()))


def poll(environment: SoakEnvironment) -> int:
    """Record new events, and check that nothing leaves this machine.

    Raises
    ------
    UnexpectedError
        If the function has a connection to another machine.
    """
    if outside_connections := environment.outside_connections():
        raise UnexpectedError(f"the function has connections to {', '.join(outside_connections)}")
    return environment.read_events()


def _send_all(
    environment: SoakEnvironment,
    requests: Sequence[PlannedRequest],
    jobs: Jobs,
    end: float,
    on_progress: Callable[[str], None],
) -> None:
    callers = Callers(environment.deployment, environment.ledger)
    done = 0
    with (
        ThreadPoolExecutor(CALLER_THREADS, thread_name_prefix="caller") as pool,
        ThreadPoolExecutor(JOB_THREADS, thread_name_prefix="job") as pool_of_jobs,
    ):
        under_way: list[Future[None]] = [
            pool_of_jobs.submit(jobs.send, planned)
            if isinstance(planned, PlannedJob)
            else pool.submit(callers.send, planned)
            for planned in requests
        ]
        try:
            while under_way:
                time.sleep(_POLL_SECONDS)
                poll(environment)
                for future in [each for each in under_way if each.done()]:
                    under_way.remove(future)
                    future.result()
                done = len(requests) - len(under_way)
                left = end - time.monotonic()
                on_progress(
                    f"{done:,} of {len(requests):,} requests sent, {environment.message_count():,} "
                    f"in the queue; at most {left / 60:.0f} minutes left"
                )
                if left < 0:
                    raise TimeIsUpError(f"{len(under_way):,} requests have no answer")
        finally:
            for each in (pool, pool_of_jobs):
                each.shutdown(wait=False, cancel_futures=True)


def settle(
    environment: SoakEnvironment, end: float, on_progress: Callable[[str], None], what: str
) -> None:
    """Wait until the queue has been empty for a while, and no more events arrive.

    Once the time of the schedules has come, none of them may be left.
    """
    quiet = 0
    is_due = environment.ledger.due != math.inf
    while quiet < _QUIET_POLLS:
        time.sleep(_POLL_SECONDS)
        events, message_count = poll(environment), environment.message_count()
        is_busy = bool(events or message_count) or environment.working()
        quiet = 0 if is_busy or (is_due and environment.schedule_count()) else quiet + 1
        left = end - time.monotonic()
        on_progress(f"{what}: {message_count:,} messages; at most {left / 60:.0f} minutes left")
        if left < 0:
            raise TimeIsUpError(f"{message_count:,} messages are not processed")
