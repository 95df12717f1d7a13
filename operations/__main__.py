"""The command line ``python -m operations``: ``next-steps``, ``smoke`` and ``redrive``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from io import TextIOWrapper
from pathlib import Path
from typing import Final

from rich.console import Console

from operations.account import OperationsError
from operations.next_steps import next_steps
from operations.redrive import redrive
from operations.smoke.page import Page
from operations.smoke.run import smoke

WIDTH: Final = 100


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
        console.print(next_steps(options.outputs), markup=False, soft_wrap=True)
    except OperationsError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
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
    for command in (test, again):
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
