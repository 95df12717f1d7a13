"""Run the sandbox: bundle, stack, runtime, server, deployment.

Slow steps are done once and kept under ``.build``: the bundle, the synthesized stack, and AWS's
runtime client. The client has its own folder, so that a function does not see this virtual
environment.
"""

from __future__ import annotations

import compileall
import fcntl
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
from sandbox import clock_page, services
from sandbox.functions.credentials import role_credentials
from sandbox.functions.dead_letters import dead_letter_sender
from sandbox.functions.service import MAX_ENVIRONMENTS, LambdaService
from sandbox.http_apis.gateway import Gateway
from sandbox.http_apis.issuer_keys import OWN_ISSUER
from sandbox.http_apis.requests import PREFIX as HTTP_APIS
from sandbox.iam.service import Permissions
from sandbox.inbox import pages
from sandbox.issuer.issuer import Issuer
from sandbox.server import Server
from sandbox.stack.account import sandbox_context
from sandbox.stack.deployment import Deployment, deploy, replace_code
from sandbox.stack.synthesis import synthesize
from sandbox.stack.watching import watched

_RUNTIME_PACKAGES: Final = ("awslambdaric", "simplejson", "snapshot-restore-py")
"""The packages of Lambda's runtime that the bundle does not contain."""

OnProgress = Callable[[str], None]
"""Called with each step as it begins, for a person who waits."""


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A running sandbox.

    Attributes
    ----------
    deployment
        The stack in it.
    permissions
        The calls of roles, and whether they are allowed.
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
    max_environments: int = MAX_ENVIRONMENTS,
    on_progress: OnProgress = lambda _: None,
    echo: Callable[[str, str], None] | None = None,
    on_denied: Callable[[int, str], None] = lambda *_: None,
) -> Iterator[Sandbox]:
    """Run a sandbox with the stack deployed, inside a ``with`` block.

    Parameters
    ----------
    port
        On 127.0.0.1; 0 takes a free one.
    context
        The stack's settings. If they configure no channel, the stack gets all channels.
    source
        The folder of the function's source.
    watch
        Whether each change of ``source`` is deployed.
    max_environments
        How many copies of a function may run at a time.
    on_progress
        Called with each step as it begins.
    echo
        Called with a function's name and each line of its log.
    on_denied
        Called with the status and the failed check for each request that the HTTP API answers
        with 401 or 403.

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
    permissions = Permissions()
    gateway = Gateway(permissions.caller_refusal_reason, on_denied=on_denied)
    context = sandbox_context(context)
    with ExitStack() as running:
        running.enter_context(services.patched_moto())
        server = running.enter_context(
            Server(
                port,
                mounts={
                    "/sandbox": pages.application,
                    OWN_ISSUER: Issuer().application,
                    clock_page.PATH: clock_page.application,
                },
                guard=permissions.guard,
                unguarded={HTTP_APIS: gateway.application},
            )
        )
        with _one_process_at_a_time():
            on_progress("fetching AWS's Lambda runtime client")
            runtime = runtime_packages()
            on_progress("building the function's bundle")
            bundle = build(this_machine(), source=source)
            on_progress("synthesizing the stack")
            assembly = synthesize(context, bundle)
        on_progress("deploying it")
        functions = LambdaService(
            runtime,
            server.url,
            max_environments=max_environments,
            credentials=role_credentials,
            echo=echo,
            on_failed_event=dead_letter_sender(server.url, role_credentials),
            is_allowed=permissions.allow,
        )
        running.enter_context(services.running(functions))
        running.enter_context(gateway.serving(server.url, functions.invoke))
        deployment = deploy(server.url, assembly)
        if watch:
            redeploy = _redeploying(deployment, source, on_progress)
            running.enter_context(watched(source, redeploy))
        yield Sandbox(deployment, permissions, functions)


@contextmanager
def _one_process_at_a_time() -> Iterator[None]:
    """Let others that start now wait, and use what this process makes."""
    OUT.mkdir(exist_ok=True)
    with (OUT / "sandbox.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def runtime_packages(out: Path = OUT) -> Path:
    """Install AWS's Lambda runtime client into a folder of its own, once.

    The files are those that ``requirements.txt`` locks for this environment.

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
        compileall.compile_dir(folder, quiet=1)  # a function's process writes no bytecode
    return folder


def _redeploying(
    deployment: Deployment, source: Path, on_progress: OnProgress
) -> Callable[[], None]:
    """Make a function that deploys the source again and reports it."""

    def redeploy() -> None:
        try:
            bundle = build(this_machine(), source=source)
        except BundleError as error:
            on_progress(f"the change is not deployed: {error}")
            return
        replace_code(deployment, bundle)
        on_progress("the change in lambda_src is deployed")

    return redeploy
