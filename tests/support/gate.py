"""A gate in front of the push service, which holds pushes in the middle until it is opened."""

from __future__ import annotations

import json
import threading
from collections import Counter
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
    "killed": ("500 Internal Server Error", "InternalServerErrorException"),  # nobody reads it
}


class Gate:
    """Decides about each call of SendMessages by the first word of its tokens, while it is closed.

    ``throttled-…`` and ``refused-…`` get an error for the whole call. ``held-…`` waits for the
    gate. ``killed-…`` kills the calling process before any provider has the push.
    """

    def __init__(self) -> None:
        self._opened = threading.Event()
        self._seen: Counter[str] = Counter()
        self.may_kill: Callable[[], object] = lambda: True
        self.kill: Callable[[str], None] = lambda _: None

    def open(self) -> None:
        self._opened.set()

    def close(self) -> None:
        self._opened.clear()
        self._seen.clear()

    def calls(self, word: str) -> int:
        """Count the calls that met the closed gate, by the word of their tokens."""
        return self._seen[word]

    def guard(self, application: WSGIApplication) -> WSGIApplication:
        def guarded(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
            if self._opened.is_set() or not environ["PATH_INFO"].endswith("/messages"):
                return application(environ, start_response)
            body = environ["wsgi.input"].read()
            environ["wsgi.input"] = BytesIO(body)
            words = {token.partition("-")[0] for token in json.loads(body).get("Addresses", ())}
            self._seen.update(words)
            if "killed" in words:
                eventually(self.may_kill)
                caller = credential_of(environ)
                self.kill(caller.access_key_id if caller else "")
            for word in words & _REFUSALS.keys():
                status, code = _REFUSALS[word]
                start_response(status, [("x-amzn-ErrorType", code)])
                return [b"{}"]
            if "held" in words:
                self._opened.wait()
            return application(environ, start_response)

        return guarded
