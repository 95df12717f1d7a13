"""What the sandbox's devices were sent, and the pages that list and clear it.

Every inbox hangs on moto's own object for a Pinpoint project, so that accounts and regions
stay apart and moto's reset, or deleting the project, forgets it. It holds the last
``KEPT`` pushes of its project. ``inbox_app`` is a WSGI application for the paths under
``/sandbox/``; it needs no signature and is meant for a server on loopback alone.
"""

from __future__ import annotations

import itertools
import json
import re
import threading
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from moto.core.base_backend import backend_lock
from moto.pinpoint.models import App, pinpoint_backends
from werkzeug.wrappers import Request, Response

from sandbox.push import devices

KEPT: Final = 10_000
_ATTRIBUTE: Final = "push_sandbox_inbox"
_order: Final = itertools.count()


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


class Inbox:
    """The pushes of one project, its calls by HTTP status, and the attempts of its tokens."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pushes: deque[tuple[int, Push]] = deque(maxlen=KEPT)
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
            self._pushes.extend((next(_order), push) for push in pushes)

    def clear(self) -> int:
        """Forget pushes, calls and attempts; return how many pushes there were."""
        with self._lock:
            count = len(self._pushes)
            self._pushes.clear()
            self._calls.clear()
            self._attempts.clear()
            return count

    def contents(self) -> tuple[list[tuple[int, Push]], Counter[int]]:
        """Return a copy of the pushes, each with its place in the order, and of the calls."""
        with self._lock:
            return list(self._pushes), Counter(self._calls)


def inbox_of(app: App) -> Inbox:
    """Return the inbox of a project; the first push makes it."""
    inbox: Inbox = vars(app).setdefault(_ATTRIBUTE, Inbox())  # atomic, so no two threads make two
    return inbox


def _every_inbox() -> Iterator[Inbox]:
    with backend_lock:
        backends = [backend for _, _, backend in pinpoint_backends.iter_backends()]
    for backend in backends:
        # The vars of a backend that is being reset are empty for a moment.
        for app in list(vars(backend).get("apps", {}).values()):
            yield inbox_of(app)


class BadQueryError(ValueError):
    """A query that the page does not understand; the text says what it takes."""


def _listing(query: Mapping[str, str]) -> dict[str, Any]:
    filters = ("token", "service", "application_id", "door")
    unknown = set(query) - {*filters, "limit"}
    limit = query.get("limit", "all")
    if unknown or not re.fullmatch(r"all|[0-9]{1,9}", limit):
        raise BadQueryError(f"takes {', '.join(filters)}, and limit as a whole number")
    pushes: list[tuple[int, Push]] = []
    calls: Counter[int] = Counter()
    for inbox in _every_inbox():
        some, counted = inbox.contents()
        pushes += some
        calls += counted
    wanted = [(key, query[key]) for key in filters if key in query]
    pushes = [
        (place, push)
        for place, push in pushes
        if all(getattr(push, key) == value for key, value in wanted)
    ]
    pushes.sort(key=lambda placed: placed[0])
    newest = pushes if limit == "all" else pushes[max(0, len(pushes) - int(limit)) :]
    return {
        "messages": [push.as_json() for _, push in newest],
        "calls": {str(status): calls[status] for status in sorted(calls)},
    }


def _clearing(query: Mapping[str, str]) -> dict[str, Any]:
    if query:
        raise BadQueryError("clears everything and takes no filter")
    return {"cleared": sum(inbox.clear() for inbox in _every_inbox())}


def _tokens(query: Mapping[str, str]) -> dict[str, Any]:
    if query:
        raise BadQueryError("takes no filter")
    return {"tokens": devices.table()}


_PAGES: Final = {
    "/sandbox/messages": {"GET": _listing, "DELETE": _clearing},
    "/sandbox/tokens": {"GET": _tokens},
}


@Request.application
def inbox_app(request: Request) -> Response:
    """Answer the paths under ``/sandbox/``, in JSON."""
    # A server that mounts this under /sandbox has put that part into the root path.
    path = request.root_path + request.path
    methods = _PAGES.get(path)
    if methods is None:
        return _json({"message": f"There are: {', '.join(_PAGES)}"}, 404)
    page = methods.get(request.method)
    if page is None:
        allowed = ", ".join(methods)
        return _json({"message": f"Takes: {allowed}"}, 405, {"Allow": allowed})
    try:
        return _json(page(request.args), 200)
    except BadQueryError as fault:
        return _json({"message": f"{request.method} {path} {fault}"}, 400)


def _json(body: object, status: int, headers: Mapping[str, str] | None = None) -> Response:
    text = json.dumps(body, indent=2) + "\n"
    return Response(text, status, headers, content_type="application/json")
