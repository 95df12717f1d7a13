"""A push service on loopback that answers SendMessages as a test tells it to.

It speaks HTTP for itself, so that it can misbehave: hang, drip, break off, talk nonsense.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.support.loopback import LoopbackHandler, Reply, serving

Json = dict[str, Any]


def accepted(token: str) -> Json:
    """Answer for an address that the provider took."""
    return {
        "DeliveryStatus": "SUCCESSFUL",
        "StatusCode": 200,
        "StatusMessage": "sent",
        "MessageId": f"id-{token[:8]}",
    }


def results(by_token: Json) -> Reply:
    """Answer with a result for each token."""
    body = {"ApplicationId": "project", "RequestId": "request", "Result": by_token}
    return Reply(body=json.dumps(body).encode())


def refused(status: int, code: str, message: str = "refused") -> Reply:
    """Refuse the whole call, in the service's way."""
    body = json.dumps({"Message": message, "RequestID": "request"}).encode()
    return Reply(status, body, {"x-amzn-ErrorType": code})


class Provider:
    """The service: every call it got, and how it answers the next.

    ``answer`` takes a call's MessageRequest and gives a reply; ``answer_each`` sets it
    from a function of one token and its address.
    """

    def __init__(self) -> None:
        self.url = ""
        self.calls: list[Json] = []
        self.application_ids: list[str] = []
        self.answer: Callable[[Json], Reply]
        self._released = threading.Event()
        self._lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        """Forget the calls, let go of those that hang, and accept everything again."""
        self._released.set()
        self._released = threading.Event()
        self.calls = []
        self.application_ids = []
        self.answer_each(lambda token, _: accepted(token))

    def answer_each(self, one: Callable[[str, Json], Any]) -> None:
        """Answer every call with what a function says of each of its addresses."""
        self.answer = lambda call: results(
            {token: one(token, address) for token, address in call["Addresses"].items()}
        )

    def hang(self) -> None:
        """Answer nothing until the test is over."""
        released = self._released

        def wait(_: Json) -> Reply:
            released.wait()
            return Reply(cut_off=True)

        self.answer = wait

    @property
    def tokens(self) -> list[str]:
        """Every token that some call named, once for each call."""
        return [token for call in self.calls for token in call["Addresses"]]

    def take(self, path: str, call: Json) -> Reply:
        with self._lock:
            self.calls.append(call)
            self.application_ids.append(path.split("/")[3])
        return self.answer(call)


@contextmanager
def running_provider() -> Iterator[Provider]:
    """Run a provider on a free port of loopback."""
    provider = Provider()

    class Handler(LoopbackHandler):
        def reply(self, body: bytes) -> Reply:
            return provider.take(self.path, json.loads(body))

    with serving(Handler) as provider.url:
        try:
            yield provider
        finally:
            provider.reset()
