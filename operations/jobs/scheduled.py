"""The commands for a job that is no single execution: one that waits, or one that has parts."""

from __future__ import annotations

from collections.abc import Iterator

from operations.account import OperationsError
from operations.jobs import parts as of_parts
from operations.jobs.executions import Jobs
from operations.jobs.later import FOLDER
from operations.jobs.moments import shown
from operations.jobs.page import Page
from operations.jobs.parts import Parts, PartState
from operations.jobs.schedules import Waiting
from operations.jobs.where import Where

_FAILED_SHOWN = 3


def exists(jobs: Jobs, name: str) -> bool:
    """Return whether a job waits, or has parts."""
    return find_waiting(jobs, name) is not None or bool(jobs.parts(name))


def find_waiting(jobs: Jobs, name: str) -> Waiting | None:
    """Find a job that waits for its time."""
    return None if jobs.schedules is None else jobs.schedules.find(name)


def status(where: Where, jobs: Jobs, name: str, page: Page, *, follow: bool) -> bool:
    """Show a job; return whether it waits, runs or succeeded."""
    if waiting := find_waiting(jobs, name):
        page.line(f"The job {name} {_starts(waiting)}")
        page.hints({"To cancel it": where.command("stop", name)})
        return True
    if not_started := _not_started(jobs, name):
        page.line(not_started)
        return False
    parts = _parts(where, jobs, name)
    if not follow:
        return _conclude(where, name, parts.states(), page)
    page.line(f"The job {name} runs in AWS. After Ctrl-C it continues.")
    with page.meter("Rows") as meter:
        states = parts.follow(
            lambda progress: meter.show(progress.done, progress.rows, progress.counts)
        )
    return _conclude(where, name, states, page)


def stop(where: Where, jobs: Jobs, name: str, page: Page) -> None:
    """Cancel a job, and stop what runs of it."""
    waiting = find_waiting(jobs, name)
    if waiting and jobs.schedules and jobs.schedules.delete(name):
        key = str((waiting.input.get("source") or {}).get("key", ""))
        if key.startswith(f"{FOLDER}/{name}/"):  # a program may have named any file
            jobs.delete(key)
        page.line(f"The job {name} is cancelled. It had not started, so nothing was sent.")
        return
    if whole := _not_started(jobs, name):
        page.line(f"{whole} So there is nothing to stop.")
        return
    cancelled, stopped = _parts(where, jobs, name).stop()
    running = (
        " Children, of up to 1,000 rows each, that run now end by themselves within five minutes."
        if stopped
        else ""
    )
    page.line(
        f"Parts of the job {name}: {cancelled} cancelled before their start, {stopped} stopped."
        f"{running}"
    )
    page.hints({"To see how far it came": where.command("status", name)})


def redrive(where: Where, jobs: Jobs, name: str, page: Page) -> None:
    """Let the parts of a job continue that failed or were stopped."""
    if find_waiting(jobs, name):
        raise OperationsError(f"The job {name} has not started, so there is nothing to continue.")
    redriven, refused = _parts(where, jobs, name).redrive()
    for part, reason in refused.items():
        page.line(f"{part} cannot be redriven: {reason}.", "yellow")
    if not redriven:
        raise OperationsError(
            f"No part of the job {name} can be continued. This shows each:\n"
            f"{where.command('status', name)}"
        )
    page.line(
        f"{', '.join(redriven)} continue. Rows that were accepted get no second push.",
    )
    page.hints({"To watch it": where.command("status", name, " --follow")})


def results(jobs: Jobs, name: str) -> Iterator[bytes] | None:
    """Read the results of all parts; None if the job has none."""
    parts = Parts.find(jobs, name)
    return None if parts is None else parts.results()


def _not_started(jobs: Jobs, name: str) -> str | None:
    """Say that a part did not start, if the name is that of one; None otherwise."""
    whole, number = name.rpartition("-")[::2]
    if not number.isdecimal() or (parts := Parts.find(jobs, whole)) is None:
        return None
    reasons = {
        of_parts.CANCELLED: "was cancelled before its start",
        of_parts.NOT_STARTED: "did not start: it was cancelled, or could not be started",
    }
    for state in parts.states():
        if state.part.job == name and (reason := reasons.get(state.status)):
            return f"{name}, a part of the job {whole}, {reason}. Nothing of it was sent."
    return None


def _parts(where: Where, jobs: Jobs, name: str) -> Parts:
    if (parts := Parts.find(jobs, name)) is None:
        raise OperationsError(no_such_job(where, name))
    return parts


def no_such_job(where: Where, name: str) -> str:
    """Say that there is no job of a name."""
    return (
        f"There is no job {name}. Step Functions keeps ended jobs for 90 days. To list the last "
        f"ones:\n{where.command('status')}"
    )


def _starts(waiting: Waiting) -> str:
    if waiting.at is None:
        return "is scheduled."
    return f"is scheduled: it starts at {shown(waiting.at)} UTC, or within a minute of that."


def _conclude(where: Where, name: str, states: list[PartState], page: Page) -> bool:
    """Show the parts, their counts together, and what to do next."""
    progress = of_parts.total(states)
    page.parts(name, states, progress)
    failed = [each.part.job for each in states if each.status in ("FAILED", "TIMED_OUT")]
    stopped = [each.part.job for each in states if each.status == "ABORTED"]
    hints = {f"Why {job} failed": where.command("status", job) for job in failed[:_FAILED_SHOWN]}
    if failed or stopped:
        hints["To continue what failed or was stopped"] = where.command("redrive", name)
    if of_parts.is_open(states):
        hints["To watch it"] = where.command("status", name, " --follow")
        hints["To stop it, and cancel what has not started"] = where.command("stop", name)
    if number := progress.listed:
        hints[f"To list the {number:,} that were not accepted"] = where.command(
            "results", name, " --output rows.jsonl"
        )
    page.hints(hints)
    return of_parts.is_good(states)
