"""The command line: ``python -m sandbox demo`` and ``python -m sandbox up``."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Callable
from io import TextIOWrapper

from rich.console import Console

from infra.settings import SettingsError
from infra.wheels import BundleError
from sandbox import demo
from sandbox.running import running_sandbox
from sandbox.server import PortTakenError, ended_by_signals
from sandbox.stack.account import committed_context
from sandbox.stack.deployment import DeploymentError
from sandbox.stack.synthesis import SynthesisError

DEFAULT_PORT = 4580

_EXPECTED = (BundleError, DeploymentError, PortTakenError, SettingsError, SynthesisError)
"""What may go wrong without a fault of the sandbox: the message is enough."""


def main(arguments: list[str] | None = None) -> int:
    """Run a command, and give the process's exit status."""
    options = _parser().parse_args(arguments)
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # into a pipe or a file, too
    console = Console(highlight=False, soft_wrap=False)
    try:
        with ended_by_signals():
            return _demo(console) if options.command == "demo" else _up(console, options)
    except _EXPECTED as error:
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
    up.add_argument(
        "-c",
        "--context",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        type=_setting,
        help="a setting of the stack, as the CDK takes it; wins over the one in cdk.json",
    )
    return parser


def _setting(text: str) -> tuple[str, str]:
    key, separator, value = text.partition("=")
    if not separator:
        raise argparse.ArgumentTypeError("must be a key and a value: key=value")
    return key, value


def _demo(console: Console) -> int:
    started = time.monotonic()
    with running_sandbox(tell=_teller(console)) as sandbox:
        console.print(f"[dim]· ready after {time.monotonic() - started:.1f} s[/dim]\n")
        succeeded = demo.show(sandbox.deployment, console)
    console.print("\nTo go on, keep a sandbox running with [bold]make sandbox[/bold], and here:\n")
    commands = demo.commands(f"http://127.0.0.1:{DEFAULT_PORT}", sandbox.deployment)
    console.print(commands, markup=False, soft_wrap=True)
    return 0 if succeeded else 1


def _up(console: Console, options: argparse.Namespace) -> int:
    started = time.monotonic()
    with running_sandbox(
        options.port,
        context={**committed_context(), **dict(options.context)},
        watch=True,
        tell=_teller(console),
        echo=lambda _, line: console.print(line, style="dim", markup=False, soft_wrap=True),
    ) as sandbox:
        deployment = sandbox.deployment
        console.print(
            f"[green]Ready[/green] after {time.monotonic() - started:.1f} s on {deployment.url}."
            " Ctrl-C ends it and leaves nothing behind.\n\nIn another terminal, here:\n"
        )
        console.print(demo.commands(deployment.url, deployment), markup=False, soft_wrap=True)
        console.print(
            "\nA change in lambda_src is deployed as it is saved. The function's log follows."
        )
        while True:
            signal.pause()


def _teller(console: Console) -> Callable[[str], None]:
    return lambda step: console.print(f"[dim]· {step}[/dim]")


if __name__ == "__main__":
    sys.exit(main())
