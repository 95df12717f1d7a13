"""The execution environments of one function: warm ones reused, the rest started.

How a process runs is not told here, nor which functions there are.
"""

from __future__ import annotations

import io
import shutil
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from threading import Condition, Lock

from sandbox.functions.execution_environment import ExecutionEnvironment
from sandbox.functions.settings import FunctionSettings


class ConcurrencyExhaustedError(Exception):
    """As many invocations are running as may run at the same time."""


class FleetClosedError(Exception):
    """The sandbox stops; no more invocations are begun."""


class FunctionFleet:
    """All environments of one function, whatever their version."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._idle: list[ExecutionEnvironment] = []
        self._busy: list[ExecutionEnvironment] = []
        self._starting = 0
        self._closed = False

    @property
    def environments(self) -> list[ExecutionEnvironment]:
        """All that are alive, for people and tests to look at."""
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
            Makes such an environment, where none is idle.
        limit
            How many invocations may run at the same time; asked again while
            waiting, because it may be changed.
        wait
            Wait for a free place instead of raising.

        Raises
        ------
        ConcurrencyExhaustedError
            If all places are taken.
        FleetClosedError
            If the fleet was closed.
        """
        with self._changed:
            while not self._closed and len(self._busy) + self._starting >= limit():
                if not wait:
                    raise ConcurrencyExhaustedError
                self._changed.wait(1.0)
            if self._closed:
                raise FleetClosedError
            useless = self._take_idle(
                lambda environment: (
                    not environment.reusable or _replaced(environment.settings, settings)
                )
            )
            fitting = [idle for idle in self._idle if idle.settings == settings]
            if fitting:
                # The one that worked last: so the others grow old and are ended.
                environment = fitting[-1]
                self._idle.remove(environment)
                self._busy.append(environment)
            else:
                self._starting += 1
        for outdated in useless:
            outdated.close()
        return environment if fitting else self._start(start)

    def release(self, environment: ExecutionEnvironment) -> None:
        """Give an environment back, to be reused if it can be."""
        with self._changed:
            self._busy.remove(environment)
            keep = environment.reusable and not self._closed
            if keep:
                self._idle.append(environment)
            self._changed.notify_all()
        if not keep:
            environment.close()

    def end_idle(self, seconds: float) -> None:
        """End those that have waited for longer than this."""
        oldest = time.monotonic() - seconds
        with self._changed:
            useless = self._take_idle(lambda environment: environment.idle_since < oldest)
        for environment in useless:
            environment.close()

    def close(self) -> None:
        """End all of them; invocations that run end with EnvironmentClosedError."""
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
        self, useless: Callable[[ExecutionEnvironment], bool]
    ) -> list[ExecutionEnvironment]:
        taken = [environment for environment in self._idle if useless(environment)]
        self._idle = [environment for environment in self._idle if environment not in taken]
        return taken


def _replaced(old: FunctionSettings, new: FunctionSettings) -> bool:
    return old.version == new.version and old != new


class Bundles:
    """The functions' code, unpacked once for all environments that run it.

    Parameters
    ----------
    folder
        Where it is unpacked; whoever made the folder removes it.
    """

    # So many stay although nothing runs them: a function that is idle for long,
    # or was killed, starts again without unpacking. More would fill the disk of
    # somebody who changes code all day.
    UNUSED_KEPT = 4

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = Lock()
        self._users: dict[Path, int] = {}

    def take(self, sha256: str, archive: bytes) -> Path:
        """Give the folder with this code, to be given back when nothing runs from it.

        Raises
        ------
        zipfile.BadZipFile
            If it is no zip.
        """
        # The sum is base64, some of whose characters a file's name cannot have.
        target = self._folder / sha256.translate(str.maketrans("/+", "_-", "="))
        with self._lock:
            if not target.exists():
                unfinished = self._folder / "unfinished"
                shutil.rmtree(unfinished, ignore_errors=True)
                with zipfile.ZipFile(io.BytesIO(archive)) as bundle:
                    bundle.extractall(unfinished)
                unfinished.rename(target)
            # Last in the order of use.
            self._users[target] = self._users.pop(target, 0) + 1
        return target

    def give_back(self, target: Path) -> None:
        """Note that one user fewer runs this code."""
        with self._lock:
            self._users[target] -= 1
            unused = [folder for folder, users in self._users.items() if not users]
            for folder in unused[: -self.UNUSED_KEPT]:
                del self._users[folder]
                shutil.rmtree(folder, ignore_errors=True)
