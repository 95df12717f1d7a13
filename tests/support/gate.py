"""A gate in front of the push service, which stops pushes on their way until it is opened."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable
from io import BytesIO
from typing import TYPE_CHECKING, Final

from sandbox.iam.requests import credential_of
from tests.support.service_sandbox import eventually

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_REFUSALS: Final = {
    "throttled": ("429 Too Many Requests", "TooManyRequestsException"),
    "refused": ("403 Forbidden", "ForbiddenException"),
    "held": ("503 Service Unavailable", "InternalServerErrorException"),
    "killed": ("503 Service Unavailable", "InternalServerErrorException"),
}


class Gate:
    """Decides about each call of SendMessages by the first word of its tokens, while it is closed.

    No provider gets the pushes of such a call. ``throttled-…`` and ``refused-…`` are refused at
    once. ``held-…`` waits until the gate opens, and is then to be repeated. ``killed-…`` kills the
    calling process.

    Attributes
    ----------
    kill
        Kills the process that has an access key.
    may_kill
        A process is killed when this is true.
    killed
        The access keys of the processes that were killed.
    held
        How many calls have been held.
    """

    def __init__(self) -> None:
        self._opened = threading.Event()
        self.may_kill: Callable[[], object] = lambda: True
        self.kill: Callable[[str], None] = lambda _: None
        self.close()

    def open(self) -> None:
        self._opened.set()

    def close(self) -> None:
        self._opened.clear()
        self.killed: set[str] = set()
        self.held = 0

    def guard(self, application: WSGIApplication) -> WSGIApplication:
        def guarded(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
            if self._opened.is_set() or not environ["PATH_INFO"].endswith("/messages"):
                return application(environ, start_response)
            body = environ["wsgi.input"].read()
            environ["wsgi.input"] = BytesIO(body)
            words = {token.partition("-")[0] for token in json.loads(body).get("Addresses", ())}
            if "killed" in words:
                eventually(self.may_kill)
                caller = credential_of(environ)
                self.kill(caller.access_key_id if caller else "")
                self.killed.add(caller.access_key_id if caller else "")
            if "held" in words:
                self.held += 1
                self._opened.wait()
            for status, code in (_REFUSALS[word] for word in words if word in _REFUSALS):
                start_response(status, [("x-amzn-ErrorType", code)])
                return [b"{}"]
            return application(environ, start_response)

        return guarded
