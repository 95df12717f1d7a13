"""A job at a local time: what became of its parts, all together."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from operations.jobs import failures
from operations.jobs.executions import Execution, Jobs, Progress
from operations.jobs.split import Part

SCHEDULED: Final = "SCHEDULED"
STARTING: Final = "STARTING"
CANCELLED: Final = "CANCELLED"
NOT_STARTED: Final = "NOT_STARTED"

_READ_AT_ONCE: Final = 8
_POLL_SECONDS: Final = 5.0
_STARTS_WITHIN: Final = timedelta(minutes=3)
"""Scheduler is precise to the minute, and an execution is visible some seconds after its start."""

_NOTHING: Final = Progress(None, 0, {})


class PartState(NamedTuple):
    """What became of a part.

    Attributes
    ----------
    status
        That of its execution, or SCHEDULED, STARTING, CANCELLED or NOT_STARTED.
    execution
        None if it has not started.
    progress
        Its counts.
    """

    part: Part
    status: str
    execution: Execution | None = None
    progress: Progress = _NOTHING


class Parts:
    """The parts of one job.

    Every method raises ``OperationsError`` if AWS does not answer as it should.

    Parameters
    ----------
    jobs
        The jobs of the stack.
    name
        The job's name.
    parts
        Its parts; not empty.
    """

    def __init__(self, jobs: Jobs, name: str, parts: Sequence[Part]) -> None:
        self.name = name
        self.parts = parts
        self._jobs = jobs

    @classmethod
    def find(cls, jobs: Jobs, name: str) -> Parts | None:
        """Find a job that has parts; None if there is none of this name."""
        parts = jobs.parts(name)
        return cls(jobs, name, parts) if parts else None

    def states(self) -> list[PartState]:
        """Read what became of each part."""
        with ThreadPoolExecutor(_READ_AT_ONCE) as threads:
            return list(threads.map(self._state, self.parts))

    def follow(self, show: Callable[[Progress], None]) -> list[PartState]:
        """Read until no part starts or runs any more."""
        while is_open(states := self.states()):
            show(total(states))
            time.sleep(_POLL_SECONDS)
        return states

    def stop(self) -> tuple[int, int]:
        """Stop all: return how many parts will not start, and how many ran."""
        # The schedules first: a part that starts meanwhile is found among those that run.
        waiting = [part for part in self.parts if self._is_cancelled(part)]
        for part in waiting:
            self._jobs.delete(part.key)  # nobody needs it any more
        running = [state for state in self.states() if state.status == "RUNNING"]
        for state in running:
            self._jobs.stop(state.part.job)
        return len(waiting), len(running)

    def redrive(self) -> tuple[list[str], dict[str, str]]:
        """Let the parts continue that failed or were stopped.

        Returns
        -------
        tuple
            The names of those that continue, and why others do not.
        """
        redriven, refused = [], {}
        for state in self.states():
            if state.execution is None or state.status in ("RUNNING", "SUCCEEDED"):
                continue
            name = state.part.job
            if reason := self._not_redrivable(state.execution):
                refused[name] = reason
            else:
                self._jobs.redrive(name)
                redriven.append(name)
        return redriven, refused

    def results(self) -> Iterator[bytes]:
        """Read the results that were not accepted, each as JSON with the name of its part."""
        for part in self.parts:
            for line in self._jobs.results(part.job):
                yield json.dumps({"job": part.job, **json.loads(line)}).encode()

    def _state(self, part: Part) -> PartState:
        execution = self._jobs.find(part.job)
        if execution is None and self._is_waiting(part):
            return PartState(part, SCHEDULED)
        # Between these two questions it may have started.
        execution = execution or self._jobs.find(part.job)
        if execution is not None:
            return PartState(part, execution.status, execution, self._jobs.progress(part.job))
        due_since = datetime.now(UTC) - part.at
        if due_since < timedelta():  # Scheduler deletes no schedule before its time
            return PartState(part, CANCELLED)
        return PartState(part, STARTING if due_since < _STARTS_WITHIN else NOT_STARTED)

    def _is_waiting(self, part: Part) -> bool:
        scheduler = self._jobs.schedules
        return scheduler is not None and scheduler.find(part.job) is not None

    def _is_cancelled(self, part: Part) -> bool:
        scheduler = self._jobs.schedules
        return scheduler is not None and scheduler.delete(part.job)

    def _not_redrivable(self, execution: Execution) -> str | None:
        if execution.not_redrivable:
            return execution.not_redrivable
        error = self._jobs.failure(execution).error
        return f"it failed as {error}, and would again" if error in failures.FINAL else None


def is_open(states: Sequence[PartState]) -> bool:
    """Return whether a part will start or runs."""
    return any(state.status in (SCHEDULED, STARTING, "RUNNING") for state in states)


def is_good(states: Sequence[PartState]) -> bool:
    """Return whether each part will start, runs or succeeded."""
    good = (SCHEDULED, STARTING, "RUNNING", "SUCCEEDED")
    return all(state.status in good for state in states)


def total(states: Sequence[PartState]) -> Progress:
    """Sum the counts of all parts."""
    counts: Counter[str] = Counter()
    for state in states:
        counts.update(state.progress.counts)
    return Progress(
        sum(state.part.rows for state in states),
        sum(state.progress.done for state in states),
        counts,
    )
