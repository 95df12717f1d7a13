"""The execution environments of one function: warm ones are reused, others are started."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Condition

from sandbox.functions.execution_environment import ExecutionEnvironment
from sandbox.functions.settings import FunctionSettings


class ConcurrencyExhaustedError(Exception):
    """The function's concurrency limit is reached."""


class PoolClosedError(Exception):
    """The sandbox stops, and starts no more invocations."""


class EnvironmentPool:
    """All environments of one function, of all its versions."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._idle: list[ExecutionEnvironment] = []
        self._busy: list[ExecutionEnvironment] = []
        self._starting = 0
        self._closed = False

    @property
    def environments(self) -> list[ExecutionEnvironment]:
        """Those that are alive."""
        with self._changed:
            return [*self._busy, *self._idle]

    def acquire(
        self,
        settings: FunctionSettings,
        start: Callable[[], ExecutionEnvironment],
        limit: Callable[[], int],
        *,
        wait: bool = False,
    ) -> ExecutionEnvironment:
        """Take an environment for one invocation; `release` gives it back.

        Parameters
        ----------
        settings
            What the environment must have been started from.
        start
            Starts such an environment if none is idle.
        limit
            Returns how many invocations may run at the same time. It is called again during a
            wait, because the limit can change.
        wait
            Wait for a free place instead of raising, unless the limit is zero.

        Raises
        ------
        ConcurrencyExhaustedError
            If all places are taken.
        PoolClosedError
            If the pool was closed.
        """
        with self._changed:
            while not self._closed and len(self._busy) + self._starting >= (most := limit()):
                if not wait or not most:
                    raise ConcurrencyExhaustedError
                self._changed.wait(1.0)
            if self._closed:
                raise PoolClosedError
            unusable = self._take_idle(
                lambda environment: (
                    not environment.reusable or _replaced(environment.settings, settings)
                )
            )
            fitting = [idle for idle in self._idle if idle.settings == settings]
            if fitting:
                # The most recently used one, so that the others stay idle and are ended.
                environment = fitting[-1]
                self._idle.remove(environment)
                self._busy.append(environment)
            else:
                self._starting += 1
        for outdated in unusable:
            outdated.close()
        return environment if fitting else self._start(start)

    def release(self, environment: ExecutionEnvironment) -> None:
        """Return an environment back, to be reused if it can be."""
        with self._changed:
            self._busy.remove(environment)
            keep = environment.reusable and not self._closed
            if keep:
                self._idle.append(environment)
            self._changed.notify_all()
        if not keep:
            environment.close()

    def end_idle(self, seconds: float) -> None:
        """End the environments that were idle for longer than this."""
        oldest = time.monotonic() - seconds
        with self._changed:
            unusable = self._take_idle(lambda environment: environment.idle_since < oldest)
        for environment in unusable:
            environment.close()

    def close(self) -> None:
        """End all environments; running invocations raise EnvironmentClosedError."""
        with self._changed:
            self._closed = True
            environments = [*self._busy, *self._idle]
            self._idle.clear()
            self._changed.notify_all()
        for environment in environments:
            environment.close()

    def _start(self, start: Callable[[], ExecutionEnvironment]) -> ExecutionEnvironment:
        environment = None
        try:
            environment = start()
        finally:
            with self._changed:
                self._starting -= 1
                if environment is not None:
                    self._busy.append(environment)
                closed = self._closed
                self._changed.notify_all()
        if closed:
            environment.close()
        return environment

    def _take_idle(
        self, is_unusable: Callable[[ExecutionEnvironment], bool]
    ) -> list[ExecutionEnvironment]:
        taken = [environment for environment in self._idle if is_unusable(environment)]
        self._idle = [environment for environment in self._idle if environment not in taken]
        return taken


def _replaced(old: FunctionSettings, new: FunctionSettings) -> bool:
    return old.version == new.version and old != new
