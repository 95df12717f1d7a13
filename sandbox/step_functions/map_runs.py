"""A run of a Distributed Map: its items, their children, and what became of each.

A thread for each running child takes the place of moto's workers, which call themselves once an
item. A redrive continues the same run.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import Condition, Thread
from typing import Any, Final, NamedTuple

MOST_CHILDREN: Final = 100
"""How many children run at a time if the Map has no limit. AWS runs up to 10,000."""

NOT_STARTED: Final = "PENDING"
RUNNING: Final = "RUNNING"
SUCCEEDED: Final = "SUCCEEDED"
FAILED: Final = "FAILED"
TIMED_OUT: Final = "TIMED_OUT"
ABORTED: Final = "ABORTED"

_COUNTS: Final = {
    "pending": NOT_STARTED,
    "running": RUNNING,
    "succeeded": SUCCEEDED,
    "failed": FAILED,
    "timedOut": TIMED_OUT,
    "aborted": ABORTED,
}


class Ended(NamedTuple):
    """How a child ended."""

    status: str
    output: Any = None
    error: str | None = None
    cause: str | None = None


@dataclass
class Child:
    """An item and its child execution."""

    item: Any
    status: str = NOT_STARTED
    execution_arn: str = ""
    input: Any = None
    started_at: datetime | None = None
    stopped_at: datetime | None = None
    ended: Ended | None = None


class Limits(NamedTuple):
    """The limits of a run, which UpdateMapRun changes.

    Attributes
    ----------
    concurrency
        How many children may run at a time; 0 for no limit.
    failures, failure_percentage
        How many children may fail; None if the Map does not say.
    """

    concurrency: int = 0
    failures: int | None = None
    failure_percentage: float | None = None

    def exceeded_by(self, failed: int, total: int) -> bool:
        """Return whether so many failed children are too many."""
        if self.failures is None and self.failure_percentage is None:
            return failed > 0
        too_many = self.failures is not None and failed > self.failures
        percentage = self.failure_percentage
        return too_many or (percentage is not None and failed * 100 > percentage * total)


@dataclass
class MapRun:
    """A run of a Map, and of its redrives.

    Attributes
    ----------
    arn
        Its ARN.
    state_name
        The Map.
    children
        An entry for each item; None until the items are read.
    results_written
        How many results the ResultWriter has written.
    """

    arn: str
    state_name: str
    execution_arn: str
    limits: Limits
    children: list[Child] | None = None
    status: str = RUNNING
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    stopped_at: datetime | None = None
    redrive_count: int = 0
    redriven_at: datetime | None = None
    results_written: int = 0
    _changed: Condition = field(default_factory=Condition, repr=False)

    def redrive(self) -> None:
        """Continue the run: children that did not succeed will run again."""
        for child in self.children or []:
            if child.status != SUCCEEDED:
                child.status = NOT_STARTED
        self.status, self.stopped_at = RUNNING, None
        self.redrive_count += 1
        self.redriven_at = datetime.now(UTC)

    def end(self, status: str) -> None:
        """End the run."""
        self.status, self.stopped_at = status, datetime.now(UTC)

    def update(self, limits: Limits) -> None:
        """Change the limits while it runs."""
        with self._changed:
            self.limits = limits
            self._changed.notify_all()

    def wake(self) -> None:
        """Let the run see that its execution was stopped."""
        with self._changed:
            self._changed.notify_all()

    def run(
        self,
        prepare: Callable[[int, Child], None],
        start: Callable[[Child], Ended],
        is_stopped: Callable[[], bool],
    ) -> bool:
        """Run the children that have not run yet; return whether enough succeeded.

        If the execution is stopped or too many children fail, no other child starts, and the
        running ones end first: AWS cannot stop children of type EXPRESS.

        Parameters
        ----------
        prepare
            Writes the input of a child.
        start
            Runs a child to its end.
        is_stopped
            Returns whether the execution was stopped.
        """
        children = self.children or []
        waiting = iter([each for each in enumerate(children) if each[1].status == NOT_STARTED])
        failed = running = 0

        def ended(child: Child, result: Ended) -> None:
            nonlocal failed, running
            child.ended, child.status = result, result.status
            child.stopped_at = datetime.now(UTC)
            running -= 1
            failed += result.status != SUCCEEDED

        def run_child(child: Child) -> None:
            try:
                result = start(child)
            except Exception as error:  # noqa: BLE001  any defect must end the child, not hang the run
                result = Ended(FAILED, error="States.Runtime", cause=type(error).__name__)
            with self._changed:
                ended(child, result)
                self._changed.notify_all()

        with self._changed:
            try:
                while not is_stopped() and not self.limits.exceeded_by(failed, len(children)):
                    if running >= (self.limits.concurrency or MOST_CHILDREN):
                        self._changed.wait()
                        continue
                    if (following := next(waiting, None)) is None:
                        break
                    index, child = following
                    prepare(index, child)
                    child.status, child.started_at = RUNNING, datetime.now(UTC)
                    running += 1
                    Thread(target=run_child, args=(child,), name="child", daemon=True).start()
            finally:
                while running:
                    self._changed.wait()
        return not self.limits.exceeded_by(failed, len(children))

    def describe(self) -> dict[str, Any]:
        """Return what DescribeMapRun answers."""
        children = self.children or []
        statuses = Counter(child.status for child in children)
        counts = {name: statuses[status] for name, status in _COUNTS.items()}
        counts |= {"total": len(children), "resultsWritten": self.results_written}
        counts |= {"failuresNotRedrivable": 0, "pendingRedrive": 0}
        return {
            **self.listed(),
            "status": self.status,
            "maxConcurrency": self.limits.concurrency,
            "toleratedFailurePercentage": self.limits.failure_percentage or 0.0,
            "toleratedFailureCount": self.limits.failures or 0,
            "itemCounts": counts,
            "executionCounts": counts,
            "redriveCount": self.redrive_count,
            **({"redriveDate": self.redriven_at} if self.redriven_at else {}),
        }

    def listed(self) -> dict[str, Any]:
        """Return its entry in ListMapRuns."""
        machine = self.arn.replace(":mapRun:", ":stateMachine:").rpartition(":")[0]
        return {
            "executionArn": self.execution_arn,
            "mapRunArn": self.arn,
            "stateMachineArn": machine,
            "startDate": self.started_at,
            **({"stopDate": self.stopped_at} if self.stopped_at else {}),
        }


class MapRuns:
    """The runs of an execution."""

    def __init__(self) -> None:
        self.runs: list[MapRun] = []
        self._continued: MapRun | None = None

    def redrive(self, state_name: str) -> None:
        """Let a state that is entered again continue its run, if its items had been read."""
        own = [run for run in self.runs if run.state_name == state_name]
        self._continued = own[-1] if own and own[-1].children is not None else None

    def started(
        self,
        state_name: str,
        label: str | None,
        machine_arn: str,
        execution_arn: str,
        limits: Limits,
    ) -> MapRun:
        """Return a new run of a state, or the one that a redrive continues."""
        run, self._continued = self._continued, None
        if run is not None:
            run.redrive()
            return run
        map_runs = machine_arn.replace(":stateMachine:", ":mapRun:")
        arn = f"{map_runs}/{label or state_name}:{uuid.uuid4()}"
        run = MapRun(arn, state_name, execution_arn, limits)
        self.runs.append(run)
        return run
