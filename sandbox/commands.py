"""The commands that run the full sandbox with the stack in it: ``demo`` and ``up``."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, NoReturn

from rich.console import Console

from infra.bundle.wheels import BundleError
from infra.settings import SettingsError
from sandbox import demo, terminal
from sandbox.inbox.pages import PAGE
from sandbox.pinpoint.service import options
from sandbox.running import running_sandbox
from sandbox.stack.account import committed_context
from sandbox.stack.deployment import DeploymentError
from sandbox.stack.synthesis import SynthesisError

EXPECTED: Final = (BundleError, DeploymentError, SettingsError, SynthesisError)
"""Errors that are no defect of the sandbox, besides a taken port: the message is enough."""


def demonstrate(console: Console, usual_port: int) -> int:
    """Push the examples, show their reports, and return the exit status."""
    started = time.monotonic()
    with running_sandbox(on_progress=_progress_printer(console)) as sandbox:
        console.print(f"[dim]· ready after {time.monotonic() - started:.1f} s[/dim]\n")
        succeeded = demo.show(sandbox.deployment, console)
    console.print("\nTo go on, run [bold]make sandbox[/bold] in another terminal, and here:\n")
    next_steps = demo.next_steps(f"http://127.0.0.1:{usual_port}", sandbox.deployment)
    console.print(next_steps, markup=False, soft_wrap=True)
    return 0 if succeeded else 1


def up(console: Console, port: int, context: Mapping[str, Any]) -> NoReturn:
    """Keep the sandbox running until a signal ends it."""
    started = time.monotonic()
    with running_sandbox(
        port,
        context={**committed_context(), **context},
        watch=True,
        on_progress=_progress_printer(console),
        echo=terminal.function_log(console),
        on_denied=terminal.denials(console),
    ) as sandbox:
        deployment = sandbox.deployment
        console.print(
            f"\nThe inbox, which shows each push: [bold]{deployment.url}{PAGE}[/bold]\n\n"
            f"[green]Ready[/green] after {time.monotonic() - started:.1f} s on {deployment.url}."
            " Ctrl-C ends it and leaves nothing behind.\n\nIn another terminal, here:\n"
        )
        console.print(demo.next_steps(deployment.url, deployment), markup=False, soft_wrap=True)
        console.print(
            f"\nWhen you save a change in lambda_src, it is deployed. {terminal.HINT}\n",
            markup=False,
        )
        options.on_arrival = terminal.arrivals(console)
        while True:
            signal.pause()


def _progress_printer(console: Console) -> Callable[[str], None]:
    return lambda step: console.print(f"[dim]· {step}[/dim]")
