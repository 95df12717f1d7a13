"""Read the output of a function's process line by line, and keep the tail for Invoke."""

from __future__ import annotations

import os
from collections.abc import Callable
from threading import RLock

# The limit of X-Amz-Log-Result.
TAIL_BYTES = 4096

# The limit of an event in CloudWatch Logs; a longer line becomes several events.
_LINE_BYTES = 256 * 1024


class FunctionOutput:
    """The reading end of a process's stdout and stderr.

    `drain` reads everything that was printed so far. So the output of the process is in the log
    before the line that ends the invocation.
    """

    def __init__(self, descriptor: int, sink: Callable[[str], None]) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor: int | None = descriptor
        self._sink = sink
        # Reentrant: `write` completes an unfinished line first.
        self._lock = RLock()
        self._unfinished = b""
        self._tail = b""

    def fileno(self) -> int:
        """Return the descriptor, for a selector."""
        return -1 if self._descriptor is None else self._descriptor

    def drain(self) -> bool:
        """Read all output so far; return False if the output has ended."""
        with self._lock:
            while self._descriptor is not None:
                try:
                    data = os.read(self._descriptor, 65536)
                except BlockingIOError:
                    return True
                if not data:
                    return False
                *lines, self._unfinished = (self._unfinished + data).split(b"\n")
                for line in lines:
                    self._emit(line)
                while len(self._unfinished) > _LINE_BYTES:
                    line, self._unfinished = (
                        self._unfinished[:_LINE_BYTES],
                        self._unfinished[_LINE_BYTES:],
                    )
                    self._emit(line)
            return False

    def write(self, line: str) -> None:
        """Add a line of Lambda itself after the output so far."""
        with self._lock:
            self.drain()
            self._finish_line()
            self._emit(line.encode())

    def take_tail(self) -> bytes:
        """Return the last 4 KB since the last call."""
        with self._lock:
            tail, self._tail = self._tail, b""
            return tail

    def close(self) -> None:
        """Read the rest and close the descriptor."""
        with self._lock:
            if self._descriptor is not None:
                self.drain()
                self._finish_line()
                os.close(self._descriptor)
                self._descriptor = None

    def _finish_line(self) -> None:
        if self._unfinished:
            line, self._unfinished = self._unfinished, b""
            self._emit(line)

    def _emit(self, line: bytes) -> None:
        self._tail = (self._tail + line + b"\n")[-TAIL_BYTES:]
        text = line.decode(errors="replace").rstrip("\r")
        # The runtime client separates the lines of a stack trace by \r, so that they stay one
        # event. A terminal would show only the last of them.
        self._sink(text.replace("\r", "\n"))
