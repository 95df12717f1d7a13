"""The command line ``python -m operations``: one command for each task of an operator."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from io import TextIOWrapper
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.text import Text

from operations.account import OperationsError
from operations.export import export_devices
from operations.jobs import command_line as jobs
from operations.key_policy.run import key_policy, place_of
from operations.next_steps import next_steps
from operations.redrive import redrive
from operations.smoke.page import Page
from operations.smoke.run import smoke
from operations.why.page import show
from operations.why.run import Question, why

WIDTH: Final = 100
_ENDED_BY_SIGPIPE: Final = 141
"""The exit status that a shell shows for a program whose reader has gone."""


def main(arguments: list[str] | None = None) -> int:
    """Run a command and return the exit status."""
    options = _parser().parse_args(arguments)
    if isinstance(sys.stdout, TextIOWrapper):
        # Each line at once, also into a pipe; and no error for characters a terminal lacks.
        sys.stdout.reconfigure(line_buffering=True, errors="replace")
    console = Console(highlight=False)
    if not console.is_terminal or console.width > WIDTH:
        console.width = WIDTH
    try:
        if options.command == "smoke":
            passed = smoke(options.stack, options.sender, Page(console), options.json, options.wait)
            return 0 if passed else 1
        if options.command == "redrive":
            return 0 if redrive(options.stack, options.sender, _printer(console)) else 1
        if options.command == "why":
            return _why(options, console)
        if options.command == "devices":
            export_devices(
                options.stack,
                options.sender,
                options.application_id,
                options.output,
                _printer(Console(stderr=True, highlight=False)),
            )
            return 0
        if options.command == "key-policy":
            place = place_of(
                options.stack, options.sender, options.key, options.account, options.name
            )
            print(key_policy(place, options.policy))
            return 0
        if options.command in jobs.COMMANDS:
            return jobs.execute(options, console)
        console.print(next_steps(options.outputs), markup=False, soft_wrap=True)
    except OperationsError as error:
        print(error, file=sys.stderr)
        return 1
    except BrokenPipeError:
        # The reader has enough. Python would report the error again when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _ENDED_BY_SIGPIPE
    except KeyboardInterrupt:
        return 130
    return 0


def _why(options: argparse.Namespace, console: Console) -> int:
    given = [each for each in (options.user, options.device, options.token) if each is not None]
    if len(given) != 1 or not given[0]:
        raise OperationsError("Give one of USER=, DEVICE= and TOKEN= (--user, --device, --token).")
    if options.application_id == "":
        raise OperationsError("PROJECT= (--application-id) is empty.")
    question = Question(
        options.user, options.device, options.token, options.since, options.application_id
    )
    with Console(stderr=True).status("") as status:  # only on a terminal
        findings = why(
            options.stack, options.sender, question, lambda line: status.update(Text(line))
        )
    if options.format == "json":
        print(json.dumps(findings.shown(), indent=2))
    else:
        show(findings, console)
    return 0


def _printer(console: Console) -> Callable[[str], None]:
    return lambda line: console.print(line, markup=False, soft_wrap=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m operations",
        description="For the operator of a deployed Push Sender, with their own AWS credentials.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    steps = commands.add_parser(
        "next-steps", help="print what a person needs after a deployment: names, ids, a first push"
    )
    steps.add_argument("outputs", type=Path, help="the file that cdk deploy --outputs-file wrote")
    test = commands.add_parser(
        "smoke",
        help="push to invented tokens through each entry point of a deployed stack, and compare",
        description="Pushes to invented tokens only. It registers invented devices and removes "
        "them. Exit status 0: the stack answered as the contract says; 1: it did not, or it could "
        "not be called.",
    )
    test.add_argument(
        "--wait",
        type=float,
        default=60,
        metavar="SECONDS",
        help="how long to wait for a queued request in the log (default: %(default)s)",
    )
    again = commands.add_parser(
        "redrive", help="move the dead-letter messages of a deployed stack back to its queue"
    )
    reason = commands.add_parser(
        "why", help="show a user's devices, and what happened to each push: why was there none?"
    )
    whom = reason.add_argument_group("whom it is about", "one of these")
    whom.add_argument("--user", metavar="ID", help="the user's id")
    whom.add_argument("--device", metavar="ID", help="a device's id")
    whom.add_argument("--token", help="a token; the log is searched by its digest")
    reason.add_argument(
        "--since",
        default="1d",
        metavar="TIME",
        help="how far back the log is read, such as 90m, 12h or 2d (default: %(default)s)",
    )
    reason.add_argument("--format", choices=("text", "json"), default="text")
    devices = commands.add_parser("devices", help="read the registry of devices")
    export = devices.add_subparsers(dest="devices_command", required=True).add_parser(
        "export", help="write all devices as JSON Lines: they contain tokens and user ids"
    )
    export.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="a new file, which only you can read (default: standard output)",
    )
    policy = commands.add_parser(
        "key-policy",
        help="print the statements that the policy of kms_key_arn needs",
        description="Of a deployed stack, or with --key of one that is not deployed yet; then "
        "nothing asks AWS.",
    )
    policy.add_argument("--key", metavar="ARN", help="the key, before the first deployment")
    policy.add_argument(
        "--account", metavar="ID", help="the stack's account, if the key is in another one"
    )
    policy.add_argument(
        "--name",
        help="the name of a PushSender in your own stack: push-sender, or push-sender-<stage>",
    )
    policy.add_argument(
        "--policy",
        type=Path,
        metavar="FILE",
        help="print this policy, with the statements in it",
    )
    job_commands = jobs.add_parsers(commands)
    for command in (reason, export):
        command.add_argument(
            "--application-id", metavar="ID", help="another project than the stack's own"
        )
    for command in (test, again, reason, export, policy, *job_commands):
        command.add_argument(
            "--stack", default="push-sender", help="its name (default: %(default)s)"
        )
        command.add_argument(
            "--sender",
            metavar="ID",
            help="which PushSender, if your own stack has several: the id at the start of its "
            "outputs' keys",
        )
    test.add_argument(
        "--json", type=Path, metavar="FILE", help="write everything to a file, for a bug report"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
