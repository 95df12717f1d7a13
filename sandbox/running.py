"""The sandbox from start to end: bundle, stack, runtime, server, deployment.

What is slow is done once and kept under ``.build``: the bundle, the synthesized stack, and
AWS's runtime client in a folder of its own, so that a function never sees this virtual
environment.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from infra.bundle import OUT, SOURCE, BundleError, build
from infra.bundle.wheels import install_wheels, this_machine
from infra.install.locks import EVERYTHING, entries
from sandbox import cloudformation
from sandbox import sqs as queues
from sandbox.dynamodb import patches as tables
from sandbox.functions import service as functions
from sandbox.functions.dead_letters import dead_letter_sender
from sandbox.functions.service import LambdaService
from sandbox.http_apis.front_door import FrontDoor
from sandbox.http_apis.requests import PREFIX as HTTP_APIS
from sandbox.iam.service import Permissions
from sandbox.iam.sessions import role_credentials
from sandbox.inbox import pages
from sandbox.pinpoint import service as push
from sandbox.server import Server
from sandbox.stack.account import sandbox_context
from sandbox.stack.deployment import Deployment, deploy, replace_code
from sandbox.stack.synthesis import synthesize
from sandbox.stack.watching import watched

_RUNTIME_PACKAGES: Final = ("awslambdaric", "simplejson", "snapshot-restore-py")
"""What Lambda's runtime brings that the bundle does not."""

Tell = Callable[[str], None]
"""Is told what is being done, for a person who waits."""


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A running sandbox.

    Attributes
    ----------
    deployment
        The stack in it.
    permissions
        What roles asked for, and whether they may.
    functions
        The processes of functions.
    """

    deployment: Deployment
    permissions: Permissions
    functions: LambdaService


@contextmanager
def running_sandbox(
    port: int = 0,
    *,
    context: Mapping[str, Any] = MappingProxyType({}),
    source: Path = SOURCE,
    watch: bool = False,
    max_environments: int = functions.MAX_ENVIRONMENTS,
    tell: Tell = lambda _: None,
    echo: Callable[[str, str], None] | None = None,
    on_denied: Callable[[str], None] = lambda _: None,
) -> Iterator[Sandbox]:
    """Run a sandbox with the stack deployed, inside a ``with`` block.

    Parameters
    ----------
    port
        On 127.0.0.1; 0 takes a free one.
    context
        The stack's settings; without a channel among them, it gets all channels.
    source
        The function's.
    watch
        Whether a change of ``source`` is deployed as it comes.
    max_environments
        How many copies of a function may run at a time.
    tell
        Is told each step as it begins.
    echo
        Called with a function's name and each line of its log.
    on_denied
        Called with the check that failed, for each request that the HTTP API answers 403.

    Raises
    ------
    BundleError
        If the function or its runtime cannot be built.
    DeploymentError
        If CloudFormation refuses the stack.
    PortTakenError
        If something else listens on the port.
    SettingsError
        If the settings are not usable.
    SynthesisError
        If the CDK refuses the stack.
    """
    push.install()
    queues.install()
    tables.install()
    cloudformation.install()
    permissions = Permissions()
    front_door = FrontDoor(permissions.caller_refusal_reason, on_denied=on_denied)
    context = sandbox_context(context)
    with ExitStack() as running:
        server = running.enter_context(
            Server(
                port,
                mounts={"/sandbox": pages.application},
                guard=permissions.guard,
                unguarded={HTTP_APIS: front_door.application},
            )
        )
        tell("fetching AWS's Lambda runtime client")
        runtime = runtime_packages()
        tell("building the function's bundle")
        bundle = build(this_machine(), source=source)
        tell("synthesizing the stack")
        assembly = synthesize(context, bundle)
        tell("deploying it")
        lambdas = running.enter_context(
            functions.install(
                runtime,
                server.url,
                max_environments=max_environments,
                credentials=role_credentials,
                echo=echo,
                on_failed_event=dead_letter_sender(server.url, role_credentials),
                may=permissions.allow,
            )
        )
        running.enter_context(front_door.opened(server.url, lambdas.invoke))
        deployment = deploy(server.url, assembly)
        if watch:
            running.enter_context(watched(source, _redeploying(deployment, source, tell)))
        yield Sandbox(deployment, permissions, lambdas)


def runtime_packages(out: Path = OUT) -> Path:
    """Install AWS's Lambda runtime client into a folder of its own, once.

    The files are those of this environment, which ``requirements.txt`` locks.

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
    lock = "\n".join(entries(EVERYTHING.read_text(), *_RUNTIME_PACKAGES))
    key = hashlib.sha256(f"{this_machine()}\n{lock}".encode()).hexdigest()[:16]
    folder = out / f"runtime-{key}"
    if not folder.is_dir():
        install_wheels(lock, this_machine(), folder, name=EVERYTHING.name)
    return folder


def _redeploying(deployment: Deployment, source: Path, tell: Tell) -> Callable[[], None]:
    """Make what deploys the function anew, and says so."""

    def redeploy() -> None:
        try:
            bundle = build(this_machine(), source=source)
        except BundleError as error:
            tell(f"the change is not deployed: {error}")
            return
        replace_code(deployment, bundle)
        tell("the change in lambda_src is deployed")

    return redeploy
