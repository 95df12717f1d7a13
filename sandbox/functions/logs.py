"""Write the functions' logs to memory, to moto's CloudWatch Logs, and to a callback."""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Callable
from contextlib import suppress
from threading import Lock

from moto.logs.models import logs_backends

from sandbox.functions.execution_environment import ExecutionEnvironment

# For people and tests; CloudWatch Logs keeps all lines.
_LINES_KEPT = 10_000


class FunctionLogs:
    """The last lines of each function.

    Parameters
    ----------
    echo
        Called with the function's name and each line.
    """

    def __init__(self, echo: Callable[[str, str], None] | None = None) -> None:
        self._echo = echo
        self._lock = Lock()
        self._lines: dict[str, deque[str]] = defaultdict(lambda: deque(maxlen=_LINES_KEPT))

    def of(self, function_name: str) -> list[str]:
        """Return the lines of a function; a stack trace is one entry with several lines."""
        with self._lock:
            return list(self._lines[function_name])

    def add(self, environment: ExecutionEnvironment, line: str) -> None:
        """Add a line of an environment."""
        settings, stream = environment.settings, environment.log_stream
        with self._lock:
            self._lines[settings.name].append(line)
            cloudwatch = logs_backends[settings.account_id][settings.region]
            # Each time, because group and stream can be deleted at any time.
            cloudwatch.ensure_log_group(settings.log_group)
            if stream not in cloudwatch.groups[settings.log_group].streams:
                cloudwatch.create_log_stream(settings.log_group, stream)
            event = {"timestamp": int(time.time() * 1000), "message": line}
            cloudwatch.put_log_events(settings.log_group, stream, [event])
            if self._echo is not None:
                with suppress(OSError, ValueError):  # the terminal was closed
                    self._echo(settings.name, line)
