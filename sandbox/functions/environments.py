"""The execution environments of all functions: started, reused, and ended when they are idle."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Final

from moto.awslambda.models import LambdaFunction, lambda_backends
from moto.awslambda.utils import make_function_arn

from sandbox.entry_points import record_entry_point
from sandbox.functions.environment_pool import (
    ConcurrencyExhaustedError,
    EnvironmentPool,
    PoolClosedError,
)
from sandbox.functions.execution_environment import (
    Completion,
    EnvironmentClosedError,
    ExecutionEnvironment,
    LogSink,
)
from sandbox.functions.kept_settings import logging_config
from sandbox.functions.refusals import THROTTLED, refusal, refuse_stopping
from sandbox.functions.runtime_api import Invocation
from sandbox.functions.settings import FunctionSettings
from sandbox.functions.unpacked_code import UnpackedCode

_IDLE_CHECK_SECONDS: Final = 15.0


class Environments:
    """The environments of all functions.

    Parameters
    ----------
    runtime_packages
        The folder with `awslambdaric` and what it needs.
    endpoint_url
        The sandbox, where a function finds AWS.
    max_environments
        How many invocations of one function may run at a time.
    idle_seconds
        After this time without an invocation an environment is ended.
    credentials
        Returns the variables with the credentials of a role, by its ARN.
    log
        Called with each environment and line of its output.
    """

    def __init__(
        self,
        runtime_packages: Path,
        endpoint_url: str,
        *,
        max_environments: int,
        idle_seconds: float,
        credentials: Callable[[str], Mapping[str, str]],
        log: LogSink,
    ) -> None:
        self._runtime_packages = runtime_packages
        self._endpoint_url = endpoint_url
        self._max_environments = max_environments
        self._idle_seconds = idle_seconds
        self._credentials = credentials
        self._log = log
        self._folder = Path(tempfile.mkdtemp(prefix="push-sandbox-code-"))
        self._code = UnpackedCode(self._folder)
        self._lock = Lock()
        self._pools: dict[str, EnvironmentPool] = {}
        self._closing = Event()
        self._idle_check = Thread(target=self._end_idle, daemon=True)
        self._idle_check.start()

    def close(self) -> None:
        """End all environments and remove all files."""
        with self._lock:
            self._closing.set()
            pools = list(self._pools.values())
        for pool in pools:
            pool.close()
        self._idle_check.join()

    def remove_code(self) -> None:
        """Remove the unpacked code, after the last invocation has ended."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def of(self, function_name: str) -> list[ExecutionEnvironment]:
        """List the environments of a function that are alive, in all accounts and regions."""
        with self._lock:
            pools = list(self._pools.items())
        return [
            environment
            for arn, pool in pools
            if arn.endswith(f":{function_name}")
            for environment in pool.environments
        ]

    def run(
        self, function: LambdaFunction, invocation: Invocation, *, wait: bool = False
    ) -> Completion:
        """Run an invocation in a free environment.

        Parameters
        ----------
        function
            The version to run.
        invocation
            The event.
        wait
            Wait for a free environment instead of refusing, unless the function's reserved
            concurrency is zero.

        Raises
        ------
        LambdaClientError
            If too many invocations run, the code is no zip, or the sandbox stops.
        """
        with self._lock:
            if self._closing.is_set():
                refuse_stopping()
            pool = self._pools.setdefault(unqualified_arn(function), EnvironmentPool())
        settings = _settings(function)
        try:
            environment = pool.acquire(
                settings,
                partial(self._start, settings, function.code_bytes),
                partial(self._limit, function),
                wait=wait,
            )
        except ConcurrencyExhaustedError:
            raise refusal(429, THROTTLED, "Rate Exceeded.") from None
        except PoolClosedError:
            refuse_stopping()
        except zipfile.BadZipFile:
            raise refusal(
                502, "InvalidZipFileException", "Lambda could not unzip the deployment package."
            ) from None
        try:
            with record_entry_point(invocation.entry_point, environment.access_key_id):
                return environment.invoke(invocation)
        except EnvironmentClosedError:
            refuse_stopping()
        finally:
            pool.release(environment)

    def _start(self, settings: FunctionSettings, archive: bytes) -> ExecutionEnvironment:
        # First, because it can fail, and the code that is taken below must be given back.
        credentials = self._credentials(settings.role)
        folder = self._code.take(settings.code_sha256, archive)
        return ExecutionEnvironment(
            settings,
            task_root=folder,
            runtime_packages=self._runtime_packages,
            variables={**credentials, "AWS_ENDPOINT_URL": self._endpoint_url},
            log=self._log,
            released=partial(self._code.give_back, folder),
        )

    def _limit(self, function: LambdaFunction) -> int:
        latest = lambda_backends[function.account_id][function.region].get_function(
            function.function_name
        )
        if latest.reserved_concurrency is None:
            return self._max_environments
        return min(self._max_environments, int(latest.reserved_concurrency))

    def _end_idle(self) -> None:
        while not self._closing.wait(min(_IDLE_CHECK_SECONDS, self._idle_seconds)):
            with self._lock:
                pools = list(self._pools.values())
            for pool in pools:
                pool.end_idle(self._idle_seconds)


def unqualified_arn(function: LambdaFunction) -> str:
    """Return a function's ARN without a version or alias."""
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
        logging=logging_config(function),
    )
