"""The sandbox from start to end: bundle, runtime, server, function.

What is slow is done once and kept under ``.build``: the bundle, and AWS's runtime client
in a folder of its own, so that a function never sees this virtual environment.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Final

from infra.bundle import OUT, BundleError, build
from infra.wheels import install_wheels, this_machine
from sandbox.deployment import Deployment, deploy
from sandbox.functions import service as functions
from sandbox.push import inbox
from sandbox.push import service as push
from sandbox.server import Server

_RUNTIME_PACKAGES: Final = ("awslambdaric", "simplejson", "snapshot-restore-py")
"""What Lambda's runtime brings that the bundle does not."""

Tell = Callable[[str], None]
"""Is told what is being done, for a person who waits."""


@contextmanager
def running_sandbox(
    port: int = 0, *, tell: Tell = lambda _: None, echo: Callable[[str, str], None] | None = None
) -> Iterator[Deployment]:
    """Run a sandbox with the function deployed, inside a ``with`` block.

    Parameters
    ----------
    port
        On 127.0.0.1; 0 takes a free one.
    tell
        Is told each step as it begins.
    echo
        Called with a function's name and each line of its log.

    Raises
    ------
    BundleError
        If the function or its runtime cannot be built.
    PortTakenError
        If something else listens on the port.
    """
    push.install()
    with Server(port, mounts={"/sandbox": inbox.inbox_app}) as server:
        tell("fetching AWS's Lambda runtime client")
        runtime = runtime_packages()
        tell("building the function's bundle")
        bundle = build(this_machine())
        tell("deploying")
        with functions.install(runtime, server.url, echo=echo):
            yield deploy(server.url, bundle.path)


def runtime_packages(out: Path = OUT) -> Path:
    """Install AWS's Lambda runtime client into a folder of its own, once.

    The versions are those of this environment, which ``requirements.txt`` pins.

    Raises
    ------
    BundleError
        If there is none for this system, or it cannot be fetched.
    """
    if sys.platform != "linux":
        raise BundleError(
            "the sandbox needs Linux: AWS publishes its Lambda runtime client for Linux only "
            "(on macOS, use a Linux virtual machine or container)"
        )
    pins = [f"{package}=={version(package)}" for package in _RUNTIME_PACKAGES]
    key = hashlib.sha256("\n".join([str(this_machine()), *pins]).encode()).hexdigest()[:16]
    folder = out / f"runtime-{key}"
    if not folder.is_dir():
        install_wheels(pins, this_machine(), folder)
    return folder
