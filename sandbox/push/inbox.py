"""What the sandbox's devices were sent.

Every inbox hangs on moto's own object for a Pinpoint project, so that accounts and regions
stay apart and moto's reset, or deleting the project, forgets it. It holds the last
``KEPT`` pushes of its project and counts those it dropped for them. Who reads it is told by
``listing`` and ``pages``.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, Final, NamedTuple

from moto.core.base_backend import backend_lock
from moto.pinpoint.models import App, pinpoint_backends

KEPT: Final = 10_000
_ATTRIBUTE: Final = "push_sandbox_inbox"


@dataclass(frozen=True, slots=True, kw_only=True)
class Push:
    """One address of one SendMessages call that the API accepted."""

    time: str
    door: str | None  # by which the event came that it was sent for, see sandbox.doors
    application_id: str
    request_id: str
    service: str
    token: str
    message: Mapping[str, Any]  # what the device would get, overrides applied
    request: Mapping[str, Any]  # the MessageRequest as the API understood it, shared by all of it
    answer: Mapping[str, Any] | None

    def as_json(self) -> dict[str, Any]:
        """Return the push with only the parts of the request that concern this address."""
        request = {key: self.request[key] for key in ("Context", "TraceId") if key in self.request}
        request["Address"] = self.request["Addresses"][self.token]
        request["MessageConfiguration"] = self.request["MessageConfiguration"]
        return {
            "time": self.time,
            "door": self.door,
            "application_id": self.application_id,
            "request_id": self.request_id,
            "service": self.service,
            "token": self.token,
            "message": self.message,
            "request": request,
            "answer": self.answer,
        }


class Numbers:
    """Numbers of pushes in the order of arrival, over all projects.

    They begin at the clock's microseconds: a reader that remembers the last number it saw
    can go on where it was after the sandbox has started anew, for no sandbox takes a million
    pushes a second.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = time.time_ns() // 1_000

    def last(self) -> int:
        """Return the last number that was taken."""
        return self._last

    def take(self, count: int) -> range:
        """Return the next numbers."""
        with self._lock:
            first = self._last + 1
            self._last += count
            return range(first, self._last + 1)


numbers: Final = Numbers()


class Contents(NamedTuple):
    """What an inbox holds at one moment.

    Attributes
    ----------
    pushes
        Copied, with their numbers.
    oldest
        The lowest number of all that is kept, whether it was asked for or not.
    kept
        How many pushes there are, and ``dropped`` how many had to make room for them.
    """

    pushes: list[tuple[int, Push]]
    calls: Counter[int]
    oldest: int | None
    kept: int
    dropped: int


class Inbox:
    """The pushes of one project, its calls by HTTP status, and the attempts of its tokens."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pushes: deque[tuple[int, Push]] = deque(maxlen=KEPT)
        self._dropped = 0
        self._calls: Counter[int] = Counter()
        self._attempts: Counter[tuple[str, str]] = Counter()

    def attempt(self, service: str, token: str) -> int:
        """Count one more attempt to reach a device; the first is 0."""
        with self._lock:
            self._attempts[service, token] += 1
            return self._attempts[service, token] - 1

    def called(self, status: int) -> None:
        """Count a call that was answered with this HTTP status."""
        with self._lock:
            self._calls[status] += 1

    def keep(self, pushes: list[Push]) -> None:
        """Take in the pushes of one call, and forget the oldest beyond ``KEPT``."""
        with self._lock:
            # Numbered under this lock: who knows a number finds the push when it gets the lock.
            numbered = zip(numbers.take(len(pushes)), pushes, strict=True)
            self._dropped += max(0, len(self._pushes) + len(pushes) - KEPT)
            self._pushes.extend(numbered)

    def clear(self) -> int:
        """Forget pushes, calls and attempts; return how many pushes there were."""
        with self._lock:
            count = len(self._pushes)
            self._pushes.clear()
            self._dropped = 0
            self._calls.clear()
            self._attempts.clear()
            return count

    def contents(self, since: int = 0) -> Contents:
        """Return what there is, of the pushes those with a number after ``since``."""
        with self._lock:
            newest_first = takewhile(lambda numbered: numbered[0] > since, reversed(self._pushes))
            pushes = list(newest_first)[::-1]
            oldest = self._pushes[0][0] if self._pushes else None
            return Contents(pushes, Counter(self._calls), oldest, len(self._pushes), self._dropped)


def inbox_of(app: App) -> Inbox:
    """Return the inbox of a project; the first push makes it."""
    inbox: Inbox = vars(app).setdefault(_ATTRIBUTE, Inbox())  # atomic, so no two threads make two
    return inbox


def every_inbox() -> Iterator[Inbox]:
    """Go through the inboxes of all projects, accounts and regions."""
    with backend_lock:
        backends = [backend for _, _, backend in pinpoint_backends.iter_backends()]
    for backend in backends:
        # The vars of a backend that is being reset are empty for a moment.
        for app in list(vars(backend).get("apps", {}).values()):
            yield inbox_of(app)
