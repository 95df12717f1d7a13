"""The command line of jobs: ``job run|status|stop|redrive|results`` and ``import-devices``."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from operations.account import OperationsError
from push_sender.jobs.plan import MAX_TOKENS_PER_SECOND

COMMANDS: Final = ("job", "import-devices")


def add_parsers(commands: Any) -> list[argparse.ArgumentParser]:
    """Add the commands; return those that need a stack."""
    job = commands.add_parser(
        "job", help="send one request to each row of files: run, status, stop, redrive, results"
    )
    verbs = job.add_subparsers(
        dest="job_command", required=True, metavar="{run,status,stop,redrive,results}"
    )
    run = verbs.add_parser(
        "run",
        help="upload files, start a job and watch it, or let it start later",
        description="Shows what it will do, and asks. Ctrl-C ends the watching, not the job. Exit "
        "status 0: the job succeeded, or is scheduled; 1: it did not, or was not started.",
    )
    run.add_argument(
        "files",
        nargs="*",
        type=Path,
        metavar="FILE",
        help="CSV or JSON Lines with the same columns, each perhaps packed (.gz)",
    )
    run.add_argument(
        "--request",
        type=Path,
        metavar="FILE",
        help="a request in JSON, without recipients",
    )
    run.add_argument(
        "--tokens-per-second",
        dest="per_second",
        type=_between(20, MAX_TOKENS_PER_SECOND),
        metavar="NUMBER",
        help="the pace, 20 to 20,000 (default: 5,000)",
    )
    imports = commands.add_parser(
        "import-devices",
        help="register the devices of files, such as Pinpoint's exports",
        description="Registers devices that the registry does not have, and changes no other. "
        "Exit status as of job run.",
    )
    imports.add_argument(
        "files",
        nargs="*",
        type=Path,
        metavar="FILE",
        help="as job run; Pinpoint's exports as they are",
    )
    imports.add_argument(
        "--rows-per-second",
        dest="per_second",
        type=_between(20, MAX_TOKENS_PER_SECOND),
        metavar="NUMBER",
        help="the pace, 20 to 20,000 (default: 500)",
    )
    run.add_argument(
        "--at",
        metavar="TIME",
        help="start later, at most a year ahead: 2026-12-24T18:00 with --time-zone or "
        "--local-time, or with an offset 2026-12-24T18:00+01:00",
    )
    run.add_argument(
        "--time-zone",
        metavar="NAME",
        help="of --at, such as Europe/Berlin; with --local-time, of rows that have none",
    )
    run.add_argument(
        "--local-time",
        action="store_true",
        help="start for each row at the time of --at in the row's own time zone",
    )
    for command in (run, imports):
        _add_options(command)
    status = verbs.add_parser("status", help="show a job; without a name, list the last jobs")
    status.add_argument("name", nargs="?", metavar="NAME")
    status.add_argument("--follow", action="store_true", help="watch a job that runs")
    stop = verbs.add_parser(
        "stop",
        help="stop a job: children that run end, no other starts; a scheduled job does not start",
    )
    redrive = verbs.add_parser("redrive", help="continue a job that failed or was stopped")
    results = verbs.add_parser(
        "results",
        help="write the rows that were not accepted as JSON Lines: they contain tokens and user "
        "ids",
    )
    for command in (stop, redrive, results):
        command.add_argument("name", metavar="NAME")
    results.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="a new file, which only you can read (default: standard output)",
    )
    return [run, status, stop, redrive, results, imports]


def execute(options: argparse.Namespace, console: Console) -> int:
    """Run a command and return the exit status."""
    # Only these commands need the function's code and packages.
    from operations.jobs import run as jobs
    from operations.jobs.page import Page
    from operations.jobs.where import Where

    where, page = Where(options.stack, options.sender), Page(console)
    succeeded = True
    if options.command == "import-devices" or options.job_command == "run":
        _require_files(options)
        asked = jobs.Options(
            files=options.files,
            request=getattr(options, "request", None),
            name=options.name,
            per_second=options.per_second,
            tolerated_failure_percentage=options.tolerated_failure_percentage,
            application_id=options.application_id,
            dry_run=options.dry_run,
            ignore_opt_out=options.ignore_opt_out,
            is_confirmed=options.yes,
            at=getattr(options, "at", None),
            time_zone=getattr(options, "time_zone", None),
            local_time=getattr(options, "local_time", False),
        )
        succeeded = jobs.run(where, asked, page)
    elif options.job_command == "status":
        succeeded = jobs.status(where, options.name, page, follow=options.follow)
    elif options.job_command == "stop":
        jobs.stop(where, options.name, page)
    elif options.job_command == "redrive":
        succeeded = jobs.redrive(where, options.name, page)
    else:
        on_the_side = Page(Console(stderr=True, highlight=False))
        jobs.results(where, options.name, options.output, on_the_side)
    return 0 if succeeded else 1


def _require_files(options: argparse.Namespace) -> None:
    """Ask for the files in the words of ``make``, which nearly everybody uses."""
    if options.command == "import-devices":
        example = 'make import-devices FILE="exports/*.gz" (docs/devices.md)'
        given = {"FILE=": bool(options.files)}
    else:
        example = "make job FILE=people.csv REQUEST=push.json (--request; docs/jobs.md)"
        is_request = options.request not in (None, Path())
        given = {"FILE=": bool(options.files), "REQUEST=": is_request}
    if missing := [name for name, is_given in given.items() if not is_given]:
        verb = "is" if len(missing) == 1 else "are"
        raise OperationsError(f"{' and '.join(missing)} {verb} missing: {example}.")


def _add_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--name", help="the job's name (default: the file's name and the time)")
    command.add_argument(
        "--tolerated-failure-percentage",
        type=_between(0, 100),
        metavar="NUMBER",
        help="how many children, of 1,000 rows each, may fail before the job ends (default: 0)",
    )
    command.add_argument(
        "--dry-run", action="store_true", help="check every row and change nothing; asks nothing"
    )
    command.add_argument(
        "--ignore-opt-out",
        action="store_true",
        help="take rows as if their column OptOut were empty",
    )
    command.add_argument(
        "--application-id", metavar="ID", help="another project than the stack's own"
    )
    command.add_argument("--yes", action="store_true", help="start without a question")


def _between(least: int, most: int) -> Callable[[str], int]:
    """Read a whole number within limits."""

    def read(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = least - 1
        if not least <= number <= most:
            raise argparse.ArgumentTypeError(f"must be a whole number from {least} to {most:,}")
        return number

    return read
