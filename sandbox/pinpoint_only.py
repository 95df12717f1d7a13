"""Only SendMessages and the inbox, for any program that pushes.

It builds no bundle, stack or CDK app, so it starts at once. Any application id is a project from
its first use on, with every channel enabled.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from rich.console import Console

from sandbox import terminal
from sandbox.inbox import pages
from sandbox.patches import applied
from sandbox.pinpoint import service as push
from sandbox.pinpoint.patches import PATCHES
from sandbox.server import Server


@contextmanager
def running_pinpoint(port: int = 0) -> Iterator[Server]:
    """Run the push service inside a ``with`` block.

    Parameters
    ----------
    port
        On 127.0.0.1; 0 takes a free one.

    Raises
    ------
    PortTakenError
        If something else listens on the port.
    """
    push.options.any_project = True
    try:
        with (
            applied(PATCHES),
            Server(port, mounts={pages.PAGE.rstrip("/"): pages.application}) as server,
        ):
            yield server
    finally:
        push.options.any_project = False


def up(console: Console, port: int) -> NoReturn:
    """Run until a signal ends it."""
    with running_pinpoint(port) as server:
        console.print(
            f"The inbox is at [bold]{server.url}{pages.PAGE}[/bold]\n\n"
            "[green]Ready.[/green] Ctrl-C ends it.\n\n"
            "The pushes of any program that uses Pinpoint appear there, with any\n"
            "application id. Start the program in a shell with these settings:\n"
        )
        console.print(commands(server.url), markup=False, soft_wrap=True)
        push.options.on_arrival = terminal.arrivals(console)
        while True:
            signal.pause()


def commands(url: str) -> str:
    """Write the shell commands that make programs push to this sandbox."""
    return f"""\
export AWS_ENDPOINT_URL_PINPOINT={url} AWS_REGION=us-east-1 AWS_DEFAULT_REGION=us-east-1
export AWS_ACCESS_KEY_ID=sandbox AWS_SECRET_ACCESS_KEY=sandbox"""
