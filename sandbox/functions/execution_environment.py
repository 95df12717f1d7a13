"""One of Lambda's execution environments: a process that runs a function.

The process is AWS's own runtime client in a bare interpreter. It runs one invocation at a time,
stays warm between them, and is killed when the function's timeout is over.
"""

from __future__ import annotations

import json
import math
import os
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock, Thread

from sandbox.functions.output import FunctionOutput
from sandbox.functions.platform_log import Report, end_lines, start_lines, timestamp
from sandbox.functions.runtime_api import Answer, Invocation, RuntimeApi
from sandbox.functions.settings import FunctionSettings

# Lambda gives the code outside the handler 10 s. It then starts again under the
# function's own limit. Here the same process continues under that limit.
INIT_SECONDS = 10.0

_BOOTSTRAP = Path(__file__).with_name("bootstrap.py")

# Waits until its standard input closes, which happens when this process ends for any reason. Then
# it kills its process group: itself, the function and all processes that the function started.
# PR_SET_PDEATHSIG is no alternative: Linux sends that signal at the end of the *thread* that
# started the process, and not to grandchildren.
_GUARD = ("/bin/sh", "-c", "read -r end; kill -KILL 0")

# An interpreter with a shared library can need these to start.
_INHERITED = ("LD_LIBRARY_PATH",)

LogSink = Callable[["ExecutionEnvironment", str], None]


@dataclass(frozen=True)
class Completion:
    """How an invocation ended."""

    answer: Answer
    log_tail: bytes


class EnvironmentClosedError(Exception):
    """The environment was closed during an invocation: the sandbox stops."""


class ExecutionEnvironment:
    """A process and its Runtime API.

    Parameters
    ----------
    settings
        The function's version to run.
    task_root
        The folder with its code, which other environments can share.
    runtime_packages
        The folder with `awslambdaric` and what it needs.
    variables
        The variables that the sandbox adds: credentials and the endpoint. The function's own
        variables override them, as they do in Lambda.
    log
        Called with each line of output.
    released
        Called once at the end, when no process uses `task_root` any more.
    """

    def __init__(
        self,
        settings: FunctionSettings,
        *,
        task_root: Path,
        runtime_packages: Path,
        variables: Mapping[str, str],
        log: LogSink,
        released: Callable[[], None] | None = None,
    ) -> None:
        self.settings = settings
        self.access_key_id = variables.get("AWS_ACCESS_KEY_ID", "")
        today = datetime.now(UTC).strftime("%Y/%m/%d")
        self.log_stream = f"{today}/[{settings.version}]{uuid.uuid4().hex}"
        self.idle_since = time.monotonic()
        self._closing = Lock()
        self._closed = False
        self._is_cold = True
        self._memory_peak = 0
        with ExitStack() as resources:
            if released is not None:
                resources.callback(released)
            self._scratch = tempfile.mkdtemp(prefix="push-sandbox-tmp-")
            resources.callback(shutil.rmtree, self._scratch, ignore_errors=True)
            read_end, write_end = os.pipe()
            self._output = FunctionOutput(read_end, lambda line: log(self, line))
            resources.callback(self._output.close)
            self._api = RuntimeApi()
            resources.callback(self._api.close)
            self._api.start()
            self._started_at = time.monotonic()
            self._guard = resources.enter_context(_guarded_group())
            try:
                self._process = subprocess.Popen(  # noqa: S603 - the function
                    [
                        getattr(sys, "_base_executable", sys.executable),
                        # Isolated: no site-packages, no PYTHON* variables, no bytecode written.
                        *("-I", "-S", "-B", "-X", "utf8", str(_BOOTSTRAP)),
                        *(str(task_root), str(runtime_packages), settings.handler),
                    ],
                    env=self._variables(task_root, runtime_packages, variables),
                    cwd=task_root,
                    stdin=subprocess.DEVNULL,
                    stdout=write_end,
                    stderr=subprocess.STDOUT,
                    process_group=self._guard,
                )
            finally:
                os.close(write_end)
            watcher = Thread(target=self._watch, daemon=True)
            watcher.start()
            self._resources = resources.pop_all()
        self._watcher = watcher

    @property
    def pid(self) -> int:
        """The function's process."""
        return self._process.pid

    @property
    def reusable(self) -> bool:
        """Whether the process waits for an invocation."""
        return self._api.reusable

    def invoke(self, invocation: Invocation) -> Completion:
        """Run one invocation until it succeeds, fails or times out.

        Raises
        ------
        EnvironmentClosedError
            If `close` was called during the invocation.
        """
        limit = self.settings.timeout
        ready = self._api.wait_until_ready(INIT_SECONDS + limit)
        init_ms = self._init_duration()
        self._sample_memory()
        for line in start_lines(self.settings, invocation.request_id):
            self._output.write(line)
        began = time.monotonic()
        answer = self._api.run(invocation, limit) if ready else None
        duration_ms = (time.monotonic() - began) * 1000
        self._sample_memory()
        if answer is None:
            answer = self._failure(invocation)
        if not self._api.reusable:
            self.close()
        report = Report(duration_ms, init_ms, self._memory_peak, failed=answer.failed)
        for line in end_lines(self.settings, invocation.request_id, report):
            self._output.write(line)
        self.idle_since = time.monotonic()
        return Completion(answer, self._output.take_tail())

    def close(self) -> None:
        """Kill the process and all that it started, and remove its files."""
        with self._closing:
            if self._closed:
                return
            self._closed = True
            self._api.end()
            # The guard leads the group and is not reaped yet, so no other process can
            # have its number.
            os.killpg(self._guard, signal.SIGKILL)
            self._watcher.join()
            self._resources.close()

    def _variables(
        self, task_root: Path, runtime_packages: Path, added: Mapping[str, str]
    ) -> dict[str, str]:
        """Return the environment of the process, without the sandbox's own variables."""
        return {
            **{name: os.environ[name] for name in _INHERITED if name in os.environ},
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "LANG": "en_US.UTF-8",
            "TZ": ":UTC",
            # Lambda gives each environment its own /tmp.
            "TMPDIR": self._scratch,
            **added,
            **self.settings.variables,
            **self.settings.reserved_variables(),
            "AWS_LAMBDA_LOG_STREAM_NAME": self.log_stream,
            "AWS_LAMBDA_RUNTIME_API": self._api.address,
            "LAMBDA_RUNTIME_DIR": str(runtime_packages),
            "LAMBDA_TASK_ROOT": str(task_root),
        }

    def _watch(self) -> None:
        """Read the output until the process ends."""
        exited = os.pidfd_open(self._process.pid)
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(exited, selectors.EVENT_READ)
                selector.register(self._output, selectors.EVENT_READ)
                while all(key.fileobj != exited for key, _ in selector.select()):
                    if not self._output.drain():
                        selector.unregister(self._output)
        finally:
            os.close(exited)
        self._output.drain()
        self._process.wait()
        self._api.end()

    def _failure(self, invocation: Invocation) -> Answer:
        """Return Lambda's error for a missing answer."""
        if self._closed:
            raise EnvironmentClosedError
        if self._api.init_error is not None:
            return self._api.init_error
        request_id, status = invocation.request_id, self._process.poll()
        if status is None:
            error, message = (
                "Sandbox.Timedout",
                f"Task timed out after {self.settings.timeout:.2f} seconds",
            )
            self._output.write(f"{timestamp()} {request_id} {message}")
        else:
            error = "Runtime.ExitError"
            if status == 0:
                message = "Runtime exited without providing a reason"
            else:
                message = f"Runtime exited with error: {_exit_reason(status)}"
            self._output.write(f"RequestId: {request_id} Error: {message}\n{error}")
        body = {"errorType": error, "errorMessage": f"RequestId: {request_id} Error: {message}"}
        return Answer(json.dumps(body).encode(), failed=True)

    def _init_duration(self) -> float | None:
        """Return the milliseconds of the cold start, once."""
        if not self._is_cold:
            return None
        self._is_cold = False
        ready_at = self._api.ready_at or time.monotonic()
        return (ready_at - self._started_at) * 1000

    def _sample_memory(self) -> None:
        """Record the peak memory of the process, while it runs."""
        try:
            status = Path(f"/proc/{self._process.pid}/status").read_text()
        except OSError:
            return
        for line in status.splitlines():
            if line.startswith("VmHWM:"):
                self._memory_peak = math.ceil(int(line.split()[1]) / 1024)


@contextmanager
def _guarded_group() -> Iterator[int]:
    """Create a process group that ends with the block, or with this process."""
    with subprocess.Popen(  # noqa: S603 - a constant
        _GUARD,
        env={},
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        process_group=0,
    ) as guard:
        yield guard.pid


def _exit_reason(status: int) -> str:
    if status > 0:
        return f"exit status {status}"
    return f"signal: {(signal.strsignal(-status) or str(-status)).lower()}"
