"""The sandbox's EventBridge Scheduler on loopback, behind a proxy that can misbehave."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from sandbox.clock import moved_ahead
from sandbox.scheduler.firing import firing_schedules
from tests.support.account import Account
from tests.support.loopback import LoopbackHandler, Reply, serving
from tests.support.service_sandbox import eventually

GROUP = "push-sender"
ROLE = "arn:aws:iam::123456789012:role/schedules"

Forward = Callable[[], Reply]


def refusing(status: int, code: str) -> Reply:
    """Refuse a call, in Scheduler's way."""
    body = json.dumps({"Message": "refused"}).encode()
    headers = {"x-amzn-ErrorType": code, "Content-Type": "application/json"}
    return Reply(status, body, headers)


class Scheduler:
    """A group of schedules, and every call to it.

    ``answer`` takes the method of a call (POST makes a schedule, GET reads one, DELETE deletes
    one) and a function that really asks Scheduler, and returns the reply to the caller.
    """

    def __init__(self, account: Account) -> None:
        self.url = ""
        self.calls: list[str] = []
        self.answer: Callable[[str, Forward], Reply]
        self._client = account.client("scheduler")
        account.client("iam").create_role(RoleName="schedules", AssumeRolePolicyDocument="{}")
        self.recover()

    def environment(self) -> dict[str, str]:
        """Give the function's environment variables for it."""
        return {
            "SCHEDULE_GROUP": GROUP,
            "SCHEDULE_ROLE_ARN": ROLE,
            "AWS_ENDPOINT_URL_SCHEDULER": self.url,
        }

    def begin(self) -> None:
        """Begin with an empty group and no calls."""
        self._client.create_schedule_group(Name=GROUP)
        self.calls.clear()
        self.recover()

    def recover(self) -> None:
        """Answer every call as Scheduler does."""
        self.answer = lambda method, forward: forward()

    def names(self) -> list[str]:
        """List the schedules."""
        listed = self._client.list_schedules(GroupName=GROUP)["Schedules"]
        return [each["Name"] for each in listed]

    def only(self) -> dict[str, Any]:
        """Read the only schedule."""
        (name,) = self.names()
        found = self._client.get_schedule(GroupName=GROUP, Name=name)
        return dict(found)

    def request(self) -> dict[str, Any]:
        """Read the request in the only schedule."""
        return dict(json.loads(self.only()["Target"]["Input"])["detail"])

    def delete_group(self) -> None:
        self._client.delete_schedule_group(Name=GROUP)

    def fire(self, seconds: float) -> None:
        """Move the time ahead until no schedule is left."""
        with firing_schedules(lambda *_: True), moved_ahead(seconds):
            eventually(lambda: not self.names())


@contextmanager
def running_scheduler(account: Account) -> Iterator[Scheduler]:
    """Run the proxy in front of an account's Scheduler on a free port of loopback."""
    scheduler = Scheduler(account)
    lock = threading.Lock()

    class Handler(LoopbackHandler):
        def reply(self, body: bytes) -> Reply:
            with lock:
                scheduler.calls.append(self.command)
            return scheduler.answer(self.command, lambda: self._forward(body))

        do_DELETE = LoopbackHandler.do_POST  # noqa: N815  http.server's name

        def _forward(self, body: bytes) -> Reply:
            connection = http.client.HTTPConnection(urlsplit(account.url).netloc, timeout=10)
            headers = {name: text for name, text in self.headers.items() if name.lower() != "host"}
            connection.request(self.command, self.path, body, headers)
            answer = connection.getresponse()
            kept = ("x-amzn-errortype", "content-type")
            found = {name: text for name in kept if (text := answer.getheader(name))}
            reply = Reply(answer.status, answer.read(), found)
            connection.close()
            return reply

    with serving(Handler) as scheduler.url:
        yield scheduler
