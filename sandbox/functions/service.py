"""The Lambda service: it takes invocations, and runs them in processes as AWS does.

moto's own Invoke needs Docker. moto keeps functions, versions, aliases, roles and permissions.
``patches`` puts the service in the place of moto's Invoke.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Event, Lock, Timer
from types import TracebackType
from typing import Final, Self

from moto.awslambda.exceptions import LambdaClientError
from moto.awslambda.models import EventSourceMapping, LambdaFunction, lambda_backends
from moto.core.models import DEFAULT_ACCOUNT_ID

from sandbox.entry_points import ASYNCHRONOUS, DIRECT
from sandbox.functions import event_invoke_configs
from sandbox.functions.environments import Environments, unqualified_arn
from sandbox.functions.event_source_mappings import IsAllowed
from sandbox.functions.event_sources import EventSources
from sandbox.functions.execution_environment import ExecutionEnvironment
from sandbox.functions.invocations import (
    EVENT_LIMIT,
    REQUEST_LIMIT,
    FailedEvent,
    InvocationResult,
    new_invocation,
)
from sandbox.functions.logs import FunctionLogs
from sandbox.functions.refusals import THROTTLED, refuse_stopping
from sandbox.functions.runtime_api import Invocation

# An account may run 1,000 invocations at a time. A laptop cannot.
MAX_ENVIRONMENTS: Final = 10

# Lambda documents no time after which it ends an idle environment; minutes are usual.
IDLE_SECONDS: Final = 300.0

# Lambda runs a failed event again after one minute, and then after two.
RETRY_SECONDS: Final = (1.0, 2.0)

_logger = logging.getLogger(__name__)


def placeholder_credentials(role: str) -> Mapping[str, str]:
    """Return credentials that belong to no role, for functions whose permissions are not checked.

    Parameters
    ----------
    role
        The ARN of the function's role, which is ignored.
    """
    del role
    return {
        "AWS_ACCESS_KEY_ID": "ASIASANDBOXFUNCTION0",
        "AWS_SECRET_ACCESS_KEY": "sandbox",
        "AWS_SESSION_TOKEN": "sandbox",
    }


def everything_is_allowed(role: str, action: str, resource: str) -> bool:
    """Allow every role every action."""
    del role, action, resource
    return True


class LambdaService:
    """Runs functions inside its ``with`` block.

    Create it when the server listens. ``sandbox.services.serving`` starts it and makes moto's
    Lambda use it.

    Parameters
    ----------
    runtime_packages
        A folder into which `awslambdaric` was installed (`pip install --target`).
    endpoint_url
        The sandbox, where a function finds AWS.
    max_environments
        How many invocations of one function may run at a time, unless its reserved concurrency
        is lower. Further ones get TooManyRequestsException; asynchronous ones wait.
    idle_seconds
        After this time without an invocation a process is ended.
    credentials
        Returns the variables with the credentials of a role, by its ARN.
    echo
        Called with the function's name and each line of its log.
    on_failed_event
        Called with each asynchronous event whose function failed, also in its retries, or was
        stopped: the place for a dead-letter queue and a destination.
    retry_seconds
        How long a failed asynchronous event waits before its first and its second retry. How many
        it gets is set for its function or alias; two, if it is not set.
    is_allowed
        Returns whether a role is allowed an action on a resource. It is called for what Lambda
        does with a queue on behalf of a function's role.

    Raises
    ------
    FileNotFoundError
        If the folder has no runtime.

    Examples
    --------
    >>> with Server() as server, serving(LambdaService(Path("runtime"), server.url)) as functions:
    ...     boto3.client("lambda", endpoint_url=server.url).invoke(FunctionName="send")
    ...     functions.logs("send")
    """

    def __init__(
        self,
        runtime_packages: Path,
        endpoint_url: str,
        *,
        max_environments: int = MAX_ENVIRONMENTS,
        idle_seconds: float = IDLE_SECONDS,
        credentials: Callable[[str], Mapping[str, str]] = placeholder_credentials,
        echo: Callable[[str, str], None] | None = None,
        on_failed_event: Callable[[FailedEvent], None] | None = None,
        retry_seconds: tuple[float, float] = RETRY_SECONDS,
        is_allowed: IsAllowed = everything_is_allowed,
    ) -> None:
        if not (runtime_packages / "awslambdaric").is_dir():
            raise FileNotFoundError(
                f"{runtime_packages} holds no Lambda runtime: "
                "install it there with `pip install --target <folder> awslambdaric`."
            )
        self.is_allowed = is_allowed
        self._max_environments = max_environments
        self._on_failed_event = on_failed_event
        self._retry_seconds = retry_seconds
        self._retries: set[Timer] = set()
        self._lock = Lock()
        self._event_workers: dict[str, ThreadPoolExecutor] = {}
        self._closing = Event()
        self._logs = FunctionLogs(echo)
        self._environments = Environments(
            runtime_packages.resolve(),
            endpoint_url,
            max_environments=max_environments,
            idle_seconds=idle_seconds,
            credentials=credentials,
            log=self._logs.add,
        )
        self._event_sources = EventSources(self._run_batch, is_allowed, max_environments)

    def __enter__(self) -> Self:
        self._event_sources.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Kill all processes and remove all files. A second call does nothing."""
        with self._lock:
            if self._closing.is_set():
                return
            self._closing.set()
            workers = list(self._event_workers.values())
            retries = list(self._retries)
        for retry in retries:
            retry.cancel()
            retry.join()
        self._event_sources.stop()
        self._environments.close()
        for pool in workers:
            pool.shutdown(cancel_futures=True)
        self._event_sources.join()
        self._environments.remove_code()

    def logs(self, function_name: str) -> list[str]:
        """Return the last lines that a function, and Lambda for it, wrote."""
        return self._logs.of(function_name)

    def environments(self, function_name: str) -> list[ExecutionEnvironment]:
        """List the processes of a function that are alive, in all accounts and regions."""
        return self._environments.of(function_name)

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
        entry_point: str = DIRECT,
        wait: bool = False,
    ) -> InvocationResult:
        """Run a function and wait for its answer.

        Parameters
        ----------
        function_name
            Its name or ARN, with or without a qualifier.
        payload
            The event, as JSON; empty means an empty object.
        qualifier
            A version or an alias.
        account_id, region
            The function's.
        client_context
            JSON text for the function's context.
        trace_id
            The X-Ray header to pass on; if left out, a new one.
        entry_point
            One of ``sandbox.entry_points``.
        wait
            Wait for a free environment instead of refusing.

        Raises
        ------
        LambdaClientError
            The error of Invoke: the function does not exist, the payload is too large or not
            JSON, or too many invocations run.
        """
        function, arn = _find(function_name, qualifier, account_id, region)
        invocation = new_invocation(
            arn, payload, REQUEST_LIMIT, client_context, trace_id, entry_point
        )
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
        entry_point: str = ASYNCHRONOUS,
    ) -> str:
        """Run a function in the background, and return the request id.

        Parameters and errors are those of `invoke`. If too many invocations run, it waits. If the
        function's reserved concurrency is zero, the event fails without a try.
        """
        function, arn = _find(function_name, qualifier, account_id, region)
        invocation = new_invocation(
            arn, payload, EVENT_LIMIT, client_context, trace_id, entry_point
        )
        self._add_event(function, invocation, attempt=1)
        return invocation.request_id

    def _run(
        self, function: LambdaFunction, invocation: Invocation, *, wait: bool = False
    ) -> InvocationResult:
        completion = self._environments.run(function, invocation, wait=wait)
        return InvocationResult(
            request_id=invocation.request_id,
            executed_version=str(function.version),
            payload=completion.answer.payload,
            failed=completion.answer.failed,
            log_tail=completion.log_tail,
        )

    def _run_batch(
        self, mapping: EventSourceMapping, payload: bytes, entry_point: str
    ) -> InvocationResult:
        return self.invoke(
            mapping.function_arn,
            payload,
            account_id=mapping.account_id,
            region=mapping.region,
            entry_point=entry_point,
            wait=True,
        )

    def _add_event(self, function: LambdaFunction, invocation: Invocation, *, attempt: int) -> None:
        with self._lock:
            if self._closing.is_set():
                refuse_stopping()
            workers = self._event_workers.get(function.function_name)
            if workers is None:
                workers = ThreadPoolExecutor(self._max_environments, thread_name_prefix="events")
                self._event_workers[function.function_name] = workers
            workers.submit(
                self._run_event, function, invocation, attempt=attempt
            ).add_done_callback(_log_failure)

    def _run_event(self, function: LambdaFunction, invocation: Invocation, *, attempt: int) -> None:
        try:
            result = self._run(function, invocation, wait=True)
        except LambdaClientError as error:
            self._report_not_run(invocation, error)
            # Only a reserved concurrency of zero throttles an event that waits. Lambda then gives
            # it up without a retry (developer guide, "Configuring reserved concurrency").
            if error.error_type == THROTTLED:
                self._give_up(FailedEvent.not_run(invocation))
            return
        if not result.failed:
            return
        # Never the error's text: it can hold parts of the event.
        _logger.warning("event %s of %s failed", invocation.request_id, function.function_name)
        config = event_invoke_configs.config_of(invocation.function_arn)
        if attempt <= config.get("MaximumRetryAttempts", len(self._retry_seconds)):
            self._retry_later(invocation, attempt=attempt + 1)
        else:
            self._give_up(
                FailedEvent(
                    function_arn=invocation.function_arn,
                    request_id=invocation.request_id,
                    payload=invocation.payload,
                    answer=result.payload,
                    executed_version=result.executed_version,
                    attempts=attempt,
                )
            )

    def _give_up(self, event: FailedEvent) -> None:
        if self._on_failed_event is not None:
            self._on_failed_event(event)

    def _retry_later(self, invocation: Invocation, *, attempt: int) -> None:
        def retry() -> None:
            region, account_id = invocation.function_arn.split(":")[3:5]
            try:
                # Its alias can have another version by now.
                function, _ = _find(invocation.function_arn, None, account_id, region)
                self._add_event(function, invocation, attempt=attempt)
            except LambdaClientError as error:
                self._report_not_run(invocation, error)

        timer = Timer(self._retry_seconds[attempt - 2], retry)
        timer.daemon = True
        with self._lock:
            if not self._closing.is_set():
                self._retries = {other for other in self._retries if other.is_alive()} | {timer}
                timer.start()

    def _report_not_run(self, invocation: Invocation, error: LambdaClientError) -> None:
        if not self._closing.is_set():
            _logger.warning("event %s was not run: %s", invocation.request_id, error.error_type)


def _log_failure(event: Future[None]) -> None:
    """Log a failure of the sandbox in the background, which no caller sees."""
    if not event.cancelled() and (failure := event.exception()) is not None:
        _logger.error("an event could not be processed", exc_info=failure)


def _find(
    name: str, qualifier: str | None, account_id: str, region: str
) -> tuple[LambdaFunction, str]:
    """Return a function and the ARN that it is invoked by, or raise as moto does."""
    # A name, an ARN or the end of one, each with or without a qualifier.
    name, _, named = name.split(":function:")[-1].partition(":")
    qualifier = named or qualifier
    function = lambda_backends[account_id][region].get_function(name, qualifier)
    arn = unqualified_arn(function)
    return function, f"{arn}:{qualifier}" if qualifier else arn
