"""The commands for jobs, step by step."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from operations.account import OperationsError
from operations.jobs import failures, later, scheduled, schedules
from operations.jobs.costs import PUSH, estimate
from operations.jobs.executions import Execution, Jobs, find_jobs
from operations.jobs.input_files import Counted, InputFiles
from operations.jobs.later import Later, NewJob, new_jobs
from operations.jobs.meter import duration, filesize
from operations.jobs.moments import shown
from operations.jobs.page import Page, parts_in_words
from operations.jobs.preview import preview
from operations.jobs.request_file import read_request
from operations.jobs.schedules import JobSchedules
from operations.jobs.split import Split
from operations.jobs.where import Where
from operations.new_file import new_file
from push_sender.jobs.files import RANGE_ROWS
from push_sender.jobs.plan import JobInput, slot_seconds
from push_sender.request.errors import InvalidRequest

_POLL_SECONDS: Final = 1.0
_NAME_LENGTH: Final = 80

_SOME_SECONDS: Final = 10.0
"""A job of a few rows takes as long as Step Functions needs for its states."""

_NAME_OPTION: Final = "NAME= (--name)"
_LISTED: Final = 10
_UNSEEN_SECONDS: Final = 15.0
"""How long after its start an execution may be unknown: DescribeExecution is eventually
consistent (API Reference)."""


@dataclass(frozen=True, slots=True)
class Options:
    """What a job is asked to do.

    Attributes
    ----------
    files
        The rows.
    request
        The file with the request; None for an import.
    name
        The job's name; None for one of the file's name and the time.
    per_second, tolerated_failure_percentage, application_id
        As in the input of a job; None for the default.
    dry_run, ignore_opt_out
        As in the input of a job.
    is_confirmed
        Whether to start without a question.
    at, time_zone, local_time
        When to start, as in the command line; None for now.
    """

    files: Sequence[Path]
    request: Path | None
    name: str | None = None
    per_second: int | None = None
    tolerated_failure_percentage: float | None = None
    application_id: str | None = None
    dry_run: bool = False
    ignore_opt_out: bool = False
    is_confirmed: bool = False
    at: str | None = None
    time_zone: str | None = None
    local_time: bool = False


def run(where: Where, options: Options, page: Page) -> bool:
    """Upload files, start a job and watch it, or let it start later.

    Returns
    -------
    bool
        Whether it succeeded, or is scheduled.

    Raises
    ------
    OperationsError
        If the job cannot be started, or is not confirmed.
    """
    now = datetime.now(UTC)
    time_ = Later.of(options.at, options.time_zone, now, local_time=options.local_time)
    request = None if options.request is None else read_request(options.request)
    files = InputFiles(options.files)
    name = options.name
    if name is None:
        longest = _NAME_LENGTH if time_ is None else time_.longest_name
        name = _name(files.stem, datetime.now(), longest, is_dry=options.dry_run)
    elif time_ is not None:
        time_.check_name(name)
    document = _document(options, request, name, files)
    given = _checked(document, name)
    jobs = find_jobs(where.stack, where.sender)
    scheduler = None if time_ is None else _scheduler(where, jobs)
    if scheduler is not None:
        scheduler.target_input(name, document)
    has_registry = bool(jobs.stack.outputs.get("DevicesTableName"))
    if request is None and not has_registry:
        raise OperationsError(
            f"The stack {where.stack} has no registry of devices to import into. Deploy it with "
            "the setting devices true."
        )
    _check_free(where, jobs, name)
    with ExitStack() as temporary:
        split = None if time_ is None else time_.split(files.header, now, temporary)
        with page.reading(files.names) as on_rows:
            counted = files.count(on_rows, split.add if split else None)
        first = preview(
            files.layout,
            counted,
            request,
            given.project or jobs.stack.application_id,
            has_registry=has_registry,
            ignore_opt_out=options.ignore_opt_out,
        )
        facts = _facts(where, options, jobs, given, files, counted)
        if time_ is not None and scheduler is not None:
            new = new_jobs(document, time_, files, counted, split)
            page.preview({**facts, **_times(time_, split)}, first)
            return _schedule(where, options, jobs, scheduler, name, new, page)
    page.preview(facts, first)
    if not options.is_confirmed and not options.dry_run:
        _ask(page, options, counted.rows)
    _upload(jobs, files, counted, given.source.key, page)
    if not jobs.start(name, document):
        raise _exists(where, jobs.find(name))
    return _watch(where, jobs, name, page)


def _schedule(
    where: Where,
    options: Options,
    jobs: Jobs,
    scheduler: JobSchedules,
    name: str,
    new: Sequence[NewJob],
    page: Page,
) -> bool:
    """Upload the files of jobs and let them start later."""
    if options.local_time:
        page.planned([each.part for each in new])
        for each in new:
            _check_free(where, jobs, each.part.job)
    if options.dry_run:
        page.line("A dry run: nothing was uploaded, and no job is scheduled.")
        return True
    if not options.is_confirmed:
        _ask(page, options, sum(each.part.rows for each in new))
    try:
        later.schedule(jobs, scheduler, name, new, page, in_parts=options.local_time)
    except KeyboardInterrupt:
        page.line("This was stopped. No job is scheduled, and nothing will be sent.")
        raise
    first = f"at {shown(new[0].part.at)} UTC, or within a minute of that"
    if options.local_time:
        page.line(
            f"The job {name} is scheduled in {parts_in_words(len(new))}. The first starts {first}."
        )
    else:
        page.line(f"The job {name} is scheduled. It starts {first}.")
    page.hints(
        {
            "To look at it": where.command("status", name),
            "To cancel it": where.command("stop", name),
        }
    )
    return True


def status(where: Where, name: str | None, page: Page, *, follow: bool) -> bool:
    """Show a job, or the last ones; return whether it runs or succeeded."""
    jobs = find_jobs(where.stack, where.sender)
    if name is None:
        page.jobs(jobs.latest(_LISTED))
        if jobs.schedules and (names := jobs.schedules.names(_LISTED)):
            page.line()
            page.line(f"Scheduled: {', '.join(names)}{' …' if len(names) == _LISTED else ''}")
        return True
    if (execution := jobs.find(name)) is None:
        return scheduled.status(where, jobs, name, page, follow=follow)
    if follow and execution.is_running:
        return _watch(where, jobs, name, page)
    return _conclude(where, jobs, execution, page)


def stop(where: Where, name: str, page: Page) -> None:
    """Stop a job, or let it not start."""
    jobs = find_jobs(where.stack, where.sender)
    if (execution := jobs.find(name)) is None:
        scheduled.stop(where, jobs, name, page)
        return
    if not execution.is_running:
        page.line(f"The job {name} does not run: it {execution.state}.")
        return
    jobs.stop(name)
    page.line(
        f"The job {name} is stopped. No other child starts. Children that run now, of up to 1,000 "
        "rows each, end by themselves within five minutes."
    )
    page.hints(
        {
            "To see how far it came": where.command("status", name),
            "To continue it": where.command("redrive", name),
        }
    )


def redrive(where: Where, name: str, page: Page) -> bool:
    """Let a job continue that failed or was stopped, and watch it."""
    jobs = find_jobs(where.stack, where.sender)
    if (execution := jobs.find(name)) is None:
        scheduled.redrive(where, jobs, name, page)
        return True
    if execution.not_redrivable:
        raise OperationsError(_not_redrivable(where, execution))
    if (failure := jobs.failure(execution)).error in failures.FINAL:
        raise OperationsError(
            f"The job {name} failed as {failure.error}, and would again. "
            + failures.cure(failure.error, jobs.progress(name))
        )
    jobs.redrive(name)
    kept = (
        "Devices that are registered stay as they are"
        if execution.is_import
        else "Rows that were accepted get no second push"
    )
    page.line(f"The job {name} continues. {kept}.")
    return _watch(where, jobs, name, page)


def results(where: Where, name: str, output: Path | None, page: Page) -> None:
    """Write the rows that were not accepted, as JSON Lines."""
    jobs = find_jobs(where.stack, where.sender)
    execution = jobs.find(name)
    of_parts = None if execution else scheduled.results(jobs, name)
    rows = 0
    with new_file(output) as file:
        for line in of_parts or jobs.results(name):
            file.write(f"{line.decode()}\n")
            rows += 1
        file.flush()
    if not rows and execution is None and of_parts is None:
        raise OperationsError(scheduled.no_such_job(where, name))
    page.line(f"{rows:,} results of the job {name}.")
    if rows:
        page.line("They contain tokens and user ids.")
    if execution is not None and execution.is_running:
        page.line("The job still runs, so there may be more.")


def _watch(where: Where, jobs: Jobs, name: str, page: Page) -> bool:
    """Show the progress of a job until it ends."""
    page.line(f"The job {name} runs in AWS. After Ctrl-C it continues.")
    give_up = time.monotonic() + _UNSEEN_SECONDS
    try:
        with page.meter("Rows") as meter:
            while True:
                execution, progress = jobs.find(name), jobs.progress(name)
                if execution is None:
                    if time.monotonic() > give_up:
                        raise OperationsError(scheduled.no_such_job(where, name))
                elif not execution.is_running:
                    break
                meter.show(progress.done, progress.rows, progress.counts)
                time.sleep(_POLL_SECONDS)
    except KeyboardInterrupt:
        page.line(f"The job {name} runs on.")
        page.hints(
            {
                "To look again": where.command("status", name, " --follow"),
                "To stop it": where.command("stop", name),
                "To continue it after a stop": where.command("redrive", name),
            }
        )
        raise
    return _conclude(where, jobs, execution, page)


def _conclude(where: Where, jobs: Jobs, execution: Execution, page: Page) -> bool:
    """Show how a job is or ended, and what to do next."""
    progress = jobs.progress(execution.name)
    page.status(execution, progress)
    hints: dict[str, str] = {}
    name = execution.name
    if execution.status in ("FAILED", "TIMED_OUT"):
        failure = jobs.failure(execution)
        page.failure(failure, progress)
        if failure.error not in failures.FINAL and execution.not_redrivable is None:
            hints["To continue it"] = where.command("redrive", name)
    elif execution.status == "ABORTED" and execution.not_redrivable is None:
        page.line("Children that ran at the stop may still count, for up to five minutes.")
        hints["To continue it"] = where.command("redrive", name)
    elif execution.is_running:
        hints["To watch it"] = where.command("status", name, " --follow")
        hints["To stop it"] = where.command("stop", name)
    if number := progress.listed:
        done = "registered, or not as a whole" if execution.is_import else "accepted"
        which = " results" if execution.is_dry_run else f" that were not {done}"
        hints[f"To list the {number:,}{which}"] = where.command(
            "results", name, " --output rows.jsonl"
        )
    page.hints(hints)
    return execution.is_running or execution.status == "SUCCEEDED"


def _upload(jobs: Jobs, files: InputFiles, counted: Counted, key: str, page: Page) -> None:
    try:
        with page.meter("Uploading", filesize) as meter, files.joined(counted.size) as stream:
            jobs.upload(stream, key, lambda number: meter.add(number, counted.size))
    except KeyboardInterrupt:
        page.line("The upload was stopped. No job was started, and nothing was sent.")
        raise
    page.line(f"Uploaded {filesize(counted.size)} to {key}.")


def _document(
    options: Options, request: Mapping[str, Any] | None, name: str, files: InputFiles
) -> dict[str, Any]:
    """Write the input of a job."""
    folder = "uploads" if options.at is None else later.FOLDER
    given = {
        "request": request,
        "tokens_per_second": options.per_second,
        "tolerated_failure_percentage": options.tolerated_failure_percentage,
        "application_id": options.application_id,
        "dry_run": options.dry_run or None,
        "ignore_opt_out": options.ignore_opt_out or None,
    }
    return {
        "job": name,
        "action": "register_devices" if request is None else "send",
        "source": {"key": f"{folder}/{name}/{files.key_name}", "format": files.layout.format},
        **{member: value for member, value in given.items() if value is not None},
    }


def _checked(document: Mapping[str, Any], name: str) -> JobInput:
    """Check the input of a job as the function will."""
    try:
        return JobInput.of(document, name)
    except InvalidRequest as error:
        errors = (
            f"{_NAME_OPTION if each.path == 'job' else each.path}: {each.message}"
            for each in error.errors
        )
        raise OperationsError("\n".join(["The job cannot be started:", *errors])) from None


def _facts(
    where: Where,
    options: Options,
    jobs: Jobs,
    given: JobInput,
    files: InputFiles,
    counted: Counted,
) -> dict[str, str]:
    is_import = options.request is None
    unit = "rows" if is_import else "tokens"
    cost = estimate(counted.rows, is_import=is_import)
    dry = f", a dry run: nothing is {'registered' if is_import else 'sent'}"
    seconds = _seconds(counted.rows, given.pace)
    time_ = f"about {duration(seconds)}" if seconds >= _SOME_SECONDS else "a few seconds"
    project = given.project or jobs.stack.application_id
    return {
        "job": f"{given.job}{dry if options.dry_run else ''}",
        "does": "registers devices" if is_import else f"sends {options.request}",
        "rows": f"{counted.rows:,} of {', '.join(files.names)}",
        "project": f"{project} of {where.stack} in {jobs.account.region}",
        "time": f"{time_} at {given.pace:,} {unit} a second",
        "cost": _cost(cost, is_import=is_import, is_dry=options.dry_run),
    }


def _seconds(rows: int, pace: int) -> float:
    """Estimate the time of a job: the last child starts at the pace, and takes its slot."""
    last = min(rows, RANGE_ROWS)
    return (rows - last) / pace + slot_seconds(last, pace)


def _cost(cost: float, *, is_import: bool, is_dry: bool) -> str:
    if is_dry:
        return "below one dollar for a million rows"
    amount = f"about {cost:,.2f} US dollars" if cost >= 0.01 else "below 0.01 US dollars"
    price = "" if is_import else f", with {PUSH * 1e6:.2f} for a million pushes"
    return f"{amount}{price} (docs/costs.md)"


def _ask(page: Page, options: Options, rows: int) -> None:
    what = "Register" if options.request is None else "Send to"
    if options.at is not None:
        what = "Schedule a push to"
    if not sys.stdin.isatty():
        raise OperationsError(
            "There is no terminal to confirm at. Add YES=1 (--yes) to start the job."
        )
    page.question(f"{what} {rows:,} rows? [y/N]")
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise OperationsError("Nothing was uploaded, and nothing was sent.")


def _name(stem: str, now: datetime, longest: int, *, is_dry: bool) -> str:
    """Name a job after its file and the second."""
    suffix = f"-{now:%Y%m%d-%H%M%S}{'-dry' if is_dry else ''}"
    return stem[: longest - len(suffix)] + suffix


def _times(time_: Later, split: Split | None) -> dict[str, str]:
    """Write when a job starts."""
    times = {"starts": time_.shown()}
    if split is not None and (rows := split.times.without_zone) and time_.zone is not None:
        times["no zone"] = (
            f"rows without a time zone that is known: {rows:,}; {time_.zone.key} counts"
        )
    return times


def _scheduler(where: Where, jobs: Jobs) -> JobSchedules:
    if jobs.schedules is None:
        raise OperationsError(
            f"The stack {where.stack} has no schedules of jobs: it has no outputs "
            f"{' and '.join(schedules.OUTPUTS)}. Deploy this version: make deploy."
        )
    return jobs.schedules


def _check_free(where: Where, jobs: Jobs, name: str) -> None:
    if found := jobs.find(name):
        raise _exists(where, found)
    if scheduled.exists(jobs, name):
        raise OperationsError(
            f"There is a scheduled job {name} already:\n{where.command('status', name)}\n"
            "For a new job, give another NAME= (--name)."
        )


def _exists(where: Where, execution: Execution | None) -> OperationsError:
    if execution is None:
        return OperationsError(
            "A job with this name was started just now. Give another NAME= (--name)."
        )
    name = execution.name
    ways = {
        "RUNNING": ("status", " --follow"),
        "SUCCEEDED": ("results", ""),
    }
    verb, more = ways.get(execution.status, ("status", ""))  # which says whether to continue it
    return OperationsError(
        f"There is a job {name} already. It {execution.state}:\n"
        f"{where.command(verb, name, more)}\n"
        "For a new job, give another NAME= (--name)."
    )


def _not_redrivable(where: Where, execution: Execution) -> str:
    name = execution.name
    if execution.is_running:
        return f"The job {name} runs:\n{where.command('status', name, ' --follow')}"
    if execution.status == "SUCCEEDED":
        return (
            f"The job {name} succeeded, so there is nothing to continue. Its results list the rows "
            f"that were not accepted:\n{where.command('results', name)}"
        )
    return (
        f"The job {name} cannot be redriven: {execution.not_redrivable}. This is possible within "
        "14 days. Its results list the rows that were not accepted; the rows of children that "
        f"never started got nothing:\n{where.command('results', name)}"
    )
