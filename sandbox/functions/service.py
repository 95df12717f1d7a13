"""Lambda's Invoke for moto's functions: in processes, as AWS runs them.

`install` puts it in the place of moto's own way, which needs Docker. moto keeps
what it is good at: functions, versions, aliases, roles, permissions.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Event, Lock, Thread
from types import TracebackType
from typing import Self

from moto.awslambda.exceptions import LambdaClientError
from moto.awslambda.models import EventSourceMapping, LambdaFunction, lambda_backends
from moto.awslambda.utils import make_function_arn
from moto.core.models import DEFAULT_ACCOUNT_ID

from sandbox import sqs as queues
from sandbox.entry_points import ASYNCHRONOUS, DIRECT, came_by
from sandbox.functions import patches
from sandbox.functions.event_source_mappings import May
from sandbox.functions.event_sources import EventSources
from sandbox.functions.execution_environment import (
    EnvironmentClosedError,
    ExecutionEnvironment,
)
from sandbox.functions.fleet import (
    Bundles,
    ConcurrencyExhaustedError,
    FleetClosedError,
    FunctionFleet,
)
from sandbox.functions.logs import FunctionLogs
from sandbox.functions.requests import (
    EVENT_LIMIT,
    REQUEST_LIMIT,
    new_invocation,
    refusal,
    refuse_stopping,
)
from sandbox.functions.runtime_api import Answer, Invocation
from sandbox.functions.settings import FunctionSettings

# An account may run 1,000 copies of its functions at a time, a laptop may not.
MAX_ENVIRONMENTS = 10

# Lambda names no time after which it ends an idle environment; minutes are usual.
IDLE_SECONDS = 300.0

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class InvocationResult:
    """What Invoke answers."""

    request_id: str
    executed_version: str
    payload: bytes
    failed: bool
    """Whether the payload is a function error."""
    log_tail: bytes


@dataclass(frozen=True)
class FailedEvent:
    """An asynchronous invocation that ended with a function error."""

    function_arn: str
    request_id: str
    payload: bytes
    """The event as it came: what a dead-letter queue is to receive."""
    answer: Answer


def made_up_credentials(role: str) -> Mapping[str, str]:
    """Give a function's process credentials that mean nothing to anybody.

    Parameters
    ----------
    role
        The ARN of the function's role, for a successor that makes real ones.
    """
    del role
    return {
        "AWS_ACCESS_KEY_ID": "ASIASANDBOXFUNCTION0",
        "AWS_SECRET_ACCESS_KEY": "sandbox",
        "AWS_SESSION_TOKEN": "sandbox",
    }


def may_do_all(role: str, action: str, resource: str) -> bool:
    """Let every role do everything."""
    del role, action, resource
    return True


def install(
    runtime_packages: Path,
    endpoint_url: str,
    *,
    max_environments: int = MAX_ENVIRONMENTS,
    idle_seconds: float = IDLE_SECONDS,
    credentials: Callable[[str], Mapping[str, str]] = made_up_credentials,
    echo: Callable[[str, str], None] | None = None,
    on_failed_event: Callable[[FailedEvent], None] | None = None,
    may: May = may_do_all,
) -> LambdaService:
    """Let moto's Lambda run functions, until the service that is returned is closed.

    Call it once the server listens, and before its first request to Lambda.

    Parameters
    ----------
    runtime_packages
        A folder into which `awslambdaric` was installed (`pip install --target`).
    endpoint_url
        Where a function finds AWS: the sandbox.
    max_environments
        How many invocations of one function may run at a time, unless less is
        reserved for it. More get TooManyRequestsException; asynchronous ones wait.
    idle_seconds
        After this time without work a process is ended.
    credentials
        Gives the variables with the credentials of a role, by its ARN.
    echo
        Called with the function's name and each line of its log as it comes.
    on_failed_event
        Called with an asynchronous event whose function failed: the place for
        retries and a dead-letter queue.
    may
        Tells whether a role may do an action on a resource: asked for what Lambda
        does with a queue in the name of a function's role.

    Examples
    --------
    >>> with Server() as server, install(Path("runtime"), server.url) as functions:
    ...     boto3.client("lambda", endpoint_url=server.url).invoke(FunctionName="send")
    ...     functions.logs("send")
    """
    if not (runtime_packages / "awslambdaric").is_dir():
        raise FileNotFoundError(
            f"{runtime_packages} holds no Lambda runtime: "
            "install it there with `pip install --target <folder> awslambdaric`."
        )
    return LambdaService(
        runtime_packages.resolve(),
        endpoint_url,
        max_environments=max_environments,
        idle_seconds=idle_seconds,
        credentials=credentials,
        echo=echo,
        on_failed_event=on_failed_event,
        may=may,
    )


class LambdaService:
    """The functions' processes and logs; made by `install`."""

    def __init__(
        self,
        runtime_packages: Path,
        endpoint_url: str,
        *,
        max_environments: int,
        idle_seconds: float,
        credentials: Callable[[str], Mapping[str, str]],
        echo: Callable[[str, str], None] | None,
        on_failed_event: Callable[[FailedEvent], None] | None,
        may: May,
    ) -> None:
        self._runtime_packages = runtime_packages
        self._endpoint_url = endpoint_url
        self._max_environments = max_environments
        self._idle_seconds = idle_seconds
        self._credentials = credentials
        self._on_failed_event = on_failed_event
        self._folder = Path(tempfile.mkdtemp(prefix="push-sandbox-code-"))
        self._bundles = Bundles(self._folder)
        self._lock = Lock()
        self._fleets: dict[str, FunctionFleet] = {}
        self._event_workers: dict[str, ThreadPoolExecutor] = {}
        self._logs = FunctionLogs(echo)
        self._closing = Event()
        queues.install()
        self._undo = patches.replace(self, may)
        self._event_sources = EventSources(self._run_batch, may, max_environments)
        self._tidying = Thread(target=self._tidy, daemon=True)
        self._tidying.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Kill all processes, remove all files, and give moto its own way back."""
        if self._closing.is_set():
            return
        with self._lock:
            self._closing.set()
            fleets, workers = list(self._fleets.values()), list(self._event_workers.values())
        self._event_sources.stop()
        self._undo()
        for fleet in fleets:
            fleet.close()
        for pool in workers:
            pool.shutdown(cancel_futures=True)
        self._event_sources.join()
        self._tidying.join()
        shutil.rmtree(self._folder, ignore_errors=True)

    def logs(self, function_name: str) -> list[str]:
        """Give the last lines that a function, and Lambda for it, wrote."""
        return self._logs.of(function_name)

    def environments(self, function_name: str) -> list[ExecutionEnvironment]:
        """Give the processes of a function that are alive, in all accounts and regions."""
        with self._lock:
            fleets = list(self._fleets.items())
        return [
            environment
            for arn, fleet in fleets
            if arn.endswith(f":{function_name}")
            for environment in fleet.environments
        ]

    def invoke(
        self,
        function_name: str,
        payload: bytes,
        *,
        qualifier: str | None = None,
        account_id: str = DEFAULT_ACCOUNT_ID,
        region: str = "us-east-1",
        client_context: str | None = None,
        trace_id: str | None = None,
        door: str = DIRECT,
        wait: bool = False,
    ) -> InvocationResult:
        """Run a function and wait for its answer.

        Parameters
        ----------
        function_name
            Its name or ARN, with or without a qualifier.
        payload
            The event, as JSON; nothing means an empty object.
        qualifier
            A version or an alias.
        account_id, region
            Where the function is.
        client_context
            JSON text for the function's context.
        trace_id
            The X-Ray header to pass on; left out, a new one.
        door
            By which the event came, see ``sandbox.entry_points``.
        wait
            Wait for a free place instead of refusing.

        Raises
        ------
        LambdaClientError
            The error that Invoke answers with: no such function, a payload that
            is too large or not JSON, too many invocations at a time.
        """
        function, arn = _find(function_name, qualifier, account_id, region)
        invocation = new_invocation(arn, payload, REQUEST_LIMIT, client_context, trace_id, door)
        return self._run(function, invocation, wait=wait)

    def invoke_later(
        self,
        function_name: str,
        payload: bytes,
        *,
        qualifier: str | None = None,
        account_id: str = DEFAULT_ACCOUNT_ID,
        region: str = "us-east-1",
        client_context: str | None = None,
        trace_id: str | None = None,
        door: str = ASYNCHRONOUS,
    ) -> str:
        """Take an event to run it in the background, and give its request id.

        Parameters and errors are those of `invoke`, except that it waits for its
        turn where that is refused.
        """
        function, arn = _find(function_name, qualifier, account_id, region)
        invocation = new_invocation(arn, payload, EVENT_LIMIT, client_context, trace_id, door)
        with self._lock:
            if self._closing.is_set():
                refuse_stopping()
            workers = self._event_workers.get(function.function_name)
            if workers is None:
                workers = ThreadPoolExecutor(self._max_environments, thread_name_prefix="events")
                self._event_workers[function.function_name] = workers
            workers.submit(self._run_event, function, invocation).add_done_callback(_report_fault)
        return invocation.request_id

    def _run(
        self, function: LambdaFunction, invocation: Invocation, *, wait: bool = False
    ) -> InvocationResult:
        with self._lock:
            if self._closing.is_set():
                refuse_stopping()
            fleet = self._fleets.setdefault(_unqualified_arn(function), FunctionFleet())
        settings = _settings(function)
        try:
            environment = fleet.acquire(
                settings,
                partial(self._start, settings, function.code_bytes),
                partial(self._concurrency, function),
                wait=wait,
            )
        except ConcurrencyExhaustedError:
            raise refusal(429, "TooManyRequestsException", "Rate Exceeded.") from None
        except FleetClosedError:
            refuse_stopping()
        except zipfile.BadZipFile:
            raise refusal(
                502, "InvalidZipFileException", "Lambda could not unzip the deployment package."
            ) from None
        try:
            with came_by(invocation.door, environment.access_key_id):
                completion = environment.invoke(invocation)
        except EnvironmentClosedError:
            refuse_stopping()
        finally:
            fleet.release(environment)
        return InvocationResult(
            request_id=invocation.request_id,
            executed_version=str(function.version),
            payload=completion.answer.payload,
            failed=completion.answer.failed,
            log_tail=completion.log_tail,
        )

    def _run_batch(
        self, mapping: EventSourceMapping, payload: bytes, door: str
    ) -> InvocationResult:
        return self.invoke(
            mapping.function_arn,
            payload,
            account_id=mapping.account_id,
            region=mapping.region,
            door=door,
            wait=True,
        )

    def _run_event(self, function: LambdaFunction, invocation: Invocation) -> None:
        try:
            result = self._run(function, invocation, wait=True)
        except LambdaClientError as error:
            if not self._closing.is_set():
                _logger.warning("event %s was not run: %s", invocation.request_id, error.error_type)
            return
        if not result.failed:
            return
        # Never what the error says: it may hold what was in the event.
        _logger.warning("event %s of %s failed", invocation.request_id, function.function_name)
        if self._on_failed_event is not None:
            answer = Answer(result.payload, failed=True)
            self._on_failed_event(
                FailedEvent(
                    invocation.function_arn, invocation.request_id, invocation.payload, answer
                )
            )

    def _start(self, settings: FunctionSettings, archive: bytes) -> ExecutionEnvironment:
        # First, because it may fail, and what is taken below has to be given back.
        credentials = self._credentials(settings.role)
        bundle = self._bundles.take(settings.code_sha256, archive)
        return ExecutionEnvironment(
            settings,
            task_root=bundle,
            runtime_packages=self._runtime_packages,
            variables={
                **credentials,
                "AWS_ENDPOINT_URL": self._endpoint_url,
            },
            log=self._logs.add,
            released=partial(self._bundles.give_back, bundle),
        )

    def _concurrency(self, function: LambdaFunction) -> int:
        latest = lambda_backends[function.account_id][function.region].get_function(
            function.function_name
        )
        if latest.reserved_concurrency is None:
            return self._max_environments
        return min(self._max_environments, int(latest.reserved_concurrency))

    def _tidy(self) -> None:
        while not self._closing.wait(min(15.0, self._idle_seconds)):
            with self._lock:
                fleets = list(self._fleets.values())
            for fleet in fleets:
                fleet.end_idle(self._idle_seconds)


def _report_fault(event: Future[None]) -> None:
    """Show a fault of the sandbox that nobody waits for."""
    if not event.cancelled() and (fault := event.exception()) is not None:
        _logger.error("an event could not be dealt with", exc_info=fault)


def _find(
    name: str, qualifier: str | None, account_id: str, region: str
) -> tuple[LambdaFunction, str]:
    """Give a function and its ARN as it was invoked, or raise as moto does."""
    # A name, an ARN or the end of one, each with or without a qualifier.
    name, _, named = name.split(":function:")[-1].partition(":")
    qualifier = named or qualifier
    function = lambda_backends[account_id][region].get_function(name, qualifier)
    arn = _unqualified_arn(function)
    return function, f"{arn}:{qualifier}" if qualifier else arn


def _unqualified_arn(function: LambdaFunction) -> str:
    return str(make_function_arn(function.region, function.account_id, function.function_name))


def _settings(function: LambdaFunction) -> FunctionSettings:
    return FunctionSettings(
        account_id=function.account_id,
        region=function.region,
        name=function.function_name,
        version=str(function.version),
        handler=str(function.handler),
        runtime=str(function.run_time),
        role=function.role,
        memory=int(function.memory_size),
        timeout=float(function.timeout),
        code_sha256=function.code_sha_256,
        variables={key: str(value) for key, value in function.environment_vars.items()},
        logging=patches.logging_config(function),
    )
