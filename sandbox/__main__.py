"""The command line: ``python -m sandbox demo`` and ``python -m sandbox up``."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from io import TextIOWrapper

from rich.console import Console

from infra.wheels import BundleError
from sandbox import demo
from sandbox.running import running_sandbox
from sandbox.server import PortTakenError, ended_by_signals

DEFAULT_PORT = 4580


def main(arguments: list[str] | None = None) -> int:
    """Run a command, and give the process's exit status."""
    options = _parser().parse_args(arguments)
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # into a pipe or a file, too
    console = Console(highlight=False, soft_wrap=False)
    try:
        with ended_by_signals():
            return _demo(console) if options.command == "demo" else _up(console, options.port)
    except (BundleError, PortTakenError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0 if options.command == "up" else 130  # ended by Ctrl-C: how `up` is meant to end


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m sandbox",
        description="A local AWS for Push Sender, on loopback: no account, no Docker.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("demo", help="push the examples, show their reports, and end")
    up = commands.add_parser("up", help="keep running until Ctrl-C, for aws and boto3 to call")
    up.add_argument(
        "--port",
        type=int,
        default=DEFAULT_PORT,
        help="on 127.0.0.1, 0 for a free one (default: %(default)s)",
    )
    return parser


def _demo(console: Console) -> int:
    started = time.monotonic()
    with running_sandbox(tell=lambda step: console.print(f"[dim]· {step}[/dim]")) as deployment:
        console.print(f"[dim]· ready after {time.monotonic() - started:.1f} s[/dim]\n")
        succeeded = demo.show(deployment, console)
    console.print("\nTo go on, keep a sandbox running with [bold]make sandbox[/bold], and here:\n")
    console.print(demo.commands(f"http://127.0.0.1:{DEFAULT_PORT}"), markup=False, soft_wrap=True)
    return 0 if succeeded else 1


def _up(console: Console, port: int) -> int:
    started = time.monotonic()
    with running_sandbox(
        port,
        tell=lambda step: console.print(f"[dim]· {step}[/dim]"),
        echo=lambda _, line: console.print(line, style="dim", markup=False, soft_wrap=True),
    ) as deployment:
        console.print(
            f"[green]Ready[/green] after {time.monotonic() - started:.1f} s on {deployment.url}."
            " Ctrl-C ends it and leaves nothing behind.\n\nIn another terminal, here:\n"
        )
        console.print(demo.commands(deployment.url), markup=False, soft_wrap=True)
        console.print("\nThe function's log follows.")
        while True:
            signal.pause()


if __name__ == "__main__":
    sys.exit(main())
