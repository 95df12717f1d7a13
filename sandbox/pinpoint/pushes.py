"""The pushes that the sandbox's devices got.

An inbox is kept on moto's own object for a Pinpoint project. So accounts and regions stay separate,
and moto's reset or the deletion of the project removes the inbox. It has the last ``KEPT`` pushes
of its project, the number of older ones that it dropped, and the refused calls. Calls for a project
that does not exist are kept on moto's object for the region.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, Final, NamedTuple, TypeVar

from moto.core.base_backend import backend_lock
from moto.pinpoint.models import App, PinpointBackend, pinpoint_backends

KEPT: Final = 10_000
REFUSALS_KEPT: Final = 1_000
_ATTRIBUTE: Final = "push_sandbox_inbox"
_Kept = TypeVar("_Kept")


@dataclass(frozen=True, slots=True, kw_only=True)
class Push:
    """One address of one SendMessages call that the API accepted."""

    time: str
    entry_point: str | None  # of the event that it was sent for, see sandbox.entry_points
    application_id: str
    request_id: str
    service: str
    token: str
    message: Mapping[str, Any]  # for the device, with overrides applied
    request: Mapping[str, Any]  # the MessageRequest as the API read it, shared by all its pushes
    answer: Mapping[str, Any] | None

    def as_json(self) -> dict[str, Any]:
        """Return the push with only the parts of the request that concern this address."""
        request = {key: self.request[key] for key in ("Context", "TraceId") if key in self.request}
        request["Address"] = self.request["Addresses"][self.token]
        request["MessageConfiguration"] = self.request["MessageConfiguration"]
        return {
            "time": self.time,
            "entry_point": self.entry_point,
            "application_id": self.application_id,
            "request_id": self.request_id,
            "service": self.service,
            "token": self.token,
            "message": self.message,
            "request": request,
            "answer": self.answer,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """One SendMessages call that the API refused as a whole: no device got a push.

    Attributes
    ----------
    status, code, reason
        The answer.
    addresses
        Token and service of each address, as far as the request could be read.
    """

    time: str
    entry_point: str | None
    application_id: str
    request_id: str
    status: int
    code: str
    reason: str
    addresses: tuple[tuple[str, str], ...]


class Numbers:
    """Numbers of pushes in the order of arrival, over all projects.

    They begin at the clock's microseconds. So a reader with the last number can continue after
    the sandbox was restarted, because no sandbox gets a million pushes a second.
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
    """The content of an inbox at one moment.

    Attributes
    ----------
    pushes, refusals
        Copied, with their numbers.
    oldest
        The lowest number that is kept, also if it was not asked for.
    kept
        The number of pushes; ``dropped`` is the number of older ones that were removed.
    """

    pushes: list[tuple[int, Push]]
    refusals: list[tuple[int, Refusal]]
    calls: Counter[int]
    oldest: int | None
    kept: int
    dropped: int


class Inbox:
    """The pushes of one project, its calls by HTTP status, and the attempts of its tokens."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pushes: deque[tuple[int, Push]] = deque(maxlen=KEPT)
        self._refusals: deque[tuple[int, Refusal]] = deque(maxlen=REFUSALS_KEPT)
        self._dropped = 0
        self._calls: Counter[int] = Counter()
        self._attempts: Counter[tuple[str, str]] = Counter()

    def attempt(self, service: str, token: str) -> int:
        """Count an attempt to reach a device, and return its number; the first is 0."""
        with self._lock:
            self._attempts[service, token] += 1
            return self._attempts[service, token] - 1

    def count_call(self, status: int) -> None:
        """Count a call by its HTTP status."""
        with self._lock:
            self._calls[status] += 1

    def keep(self, pushes: list[Push]) -> None:
        """Add the pushes of one call, and drop the oldest beyond ``KEPT``."""
        with self._lock:
            # Numbered under this lock, so that a reader with a number finds the push.
            numbered = zip(numbers.take(len(pushes)), pushes, strict=True)
            self._dropped += max(0, len(self._pushes) + len(pushes) - KEPT)
            self._pushes.extend(numbered)

    def refuse(self, refusal: Refusal) -> None:
        """Add a refused call."""
        with self._lock:
            self._refusals.append((numbers.take(1)[0], refusal))

    def clear(self) -> int:
        """Remove everything, and return how many pushes there were."""
        with self._lock:
            count = len(self._pushes)
            self._pushes.clear()
            self._refusals.clear()
            self._dropped = 0
            self._calls.clear()
            self._attempts.clear()
            return count

    def forget(self, is_push: Callable[[Push], bool], is_refusal: Callable[[Refusal], bool]) -> int:
        """Remove some pushes and refusals, but no counts; return how many pushes."""
        with self._lock:
            kept = [each for each in self._pushes if not is_push(each[1])]
            count = len(self._pushes) - len(kept)
            self._pushes = deque(kept, maxlen=KEPT)
            refusals = [each for each in self._refusals if not is_refusal(each[1])]
            self._refusals = deque(refusals, maxlen=REFUSALS_KEPT)
            return count

    def contents(self, since: int = 0) -> Contents:
        """Return the content, with pushes and refusals that have a number after ``since``."""
        with self._lock:
            oldest = min(
                (kept[0][0] for kept in (self._pushes, self._refusals) if kept), default=None
            )
            return Contents(
                _after(since, self._pushes),
                _after(since, self._refusals),
                Counter(self._calls),
                oldest,
                len(self._pushes),
                self._dropped,
            )


def _after(since: int, numbered: deque[tuple[int, _Kept]]) -> list[tuple[int, _Kept]]:
    newest_first = takewhile(lambda each: each[0] > since, reversed(numbered))
    return list(newest_first)[::-1]


def inbox_of(owner: App | PinpointBackend) -> Inbox:
    """Return the inbox of a project, or of calls to unknown projects; the first call creates it."""
    inbox: Inbox = vars(owner).setdefault(_ATTRIBUTE, Inbox())  # atomic
    return inbox


def every_inbox() -> Iterator[Inbox]:
    """Yield the inboxes of all projects, accounts and regions."""
    with backend_lock:
        backends: list[Any] = [backend for _, _, backend in pinpoint_backends.iter_backends()]
    for backend in backends:
        if _ATTRIBUTE in vars(backend):
            yield inbox_of(backend)
        # While moto resets a backend, its vars are empty for a moment.
        for app in list(vars(backend).get("apps", {}).values()):
            yield inbox_of(app)
