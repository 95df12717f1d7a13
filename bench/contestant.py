"""One side of the comparison in an interpreter of its own: our handler, or bare boto3.

    python -I -S -B contestant.py push-sender|push-sender-http|boto3 DIRECTORY_OF_PACKAGES

It sends one push at once and prints when its report was there and the CPU used by then, in
seconds: that line is the cold start. From then on each line ``REQUESTS RECIPIENTS`` on
standard input is a round, answered with its wall clock and its CPU in seconds. What a side
writes to standard output goes nowhere.

Nothing is imported before the first report but what the side itself needs.
"""

from __future__ import annotations

import os
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any, Protocol

    class Side(Protocol):
        """Something that sends pushes."""

        def arrive(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
            """Make what a request is when it reaches this side: before the clock starts."""

        def send(self, event: Mapping[str, Any]) -> Any:
            """Send a request and give back what the caller gets: this is what is timed."""

        def accepted(self, answer: Any) -> int:
            """Count the pushes that an answer says were accepted."""


# The message of AWS's own example.
TEXT = (
    "This is a sample message sent from Amazon Pinpoint by using the AWS SDK for Python (Boto 3)."
)
CONTENT = {
    "title": "Test message sent from Amazon Pinpoint.",
    "message": TEXT,
    "action": "URL",
    "url": "https://www.example.com",
    "priority": "normal",
    "ttl": 30,
    "silent": False,
}


class Context:
    """What the handler uses of Lambda's context."""

    aws_request_id = "6c1a2f7e-0d35-4c1b-9a52-7f0b8f1c2d3e"

    def get_remaining_time_in_millis(self) -> int:
        """Tell the milliseconds that the invocation has left."""
        return 29_000


class PushSender:
    """The function as Lambda runs it, from the parsed event to the report."""

    def __init__(self) -> None:
        from push_sender.handler import handler

        self._handler: Any = handler
        self._context = Context()

    def arrive(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """Leave it as it is: Lambda has parsed it."""
        return request

    def send(self, event: Mapping[str, Any]) -> Any:
        """Handle the request."""
        return self._handler(event, self._context)

    def accepted(self, answer: Any) -> int:
        """Read the summary."""
        return int(answer["summary"].get("accepted", 0))


class PushSenderHttp(PushSender):
    """The same behind API Gateway: a request as text within an event, and so its report."""

    def arrive(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """Wrap it as an HTTP API does."""
        import json

        http = {"method": "POST", "path": "/messages", "protocol": "HTTP/1.1"}
        return {
            "version": "2.0",
            "routeKey": "POST /messages",
            "rawPath": "/messages",
            "rawQueryString": "",
            "headers": {"content-type": "application/json"},
            "requestContext": {
                "http": http,
                "stage": "$default",
                "timeEpoch": int(time.time() * 1_000),
            },
            "body": json.dumps(request),
            "isBase64Encoded": False,
        }

    def accepted(self, answer: Any) -> int:
        """Read the summary of the report in the answer."""
        import json

        return super().accepted(json.loads(answer["body"]))


class Boto3:
    """What one writes without us: calls of 100 addresses each, on 8 threads where many."""

    THREADS = 8
    ADDRESSES = 100

    def __init__(self) -> None:
        import boto3

        self._client = boto3.client("pinpoint")
        self._pool: Any = None

    def arrive(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """Leave it as it is."""
        return request

    def send(self, event: Mapping[str, Any]) -> Any:
        """Make the calls and keep each address's result."""
        if "recipient" in event:
            return self._call([event["recipient"]["token"]])
        if self._pool is None:
            from concurrent.futures import ThreadPoolExecutor

            self._pool = ThreadPoolExecutor(self.THREADS)
        tokens = [recipient["token"] for recipient in event["recipients"]]
        starts = range(0, len(tokens), self.ADDRESSES)
        results: dict[str, Any] = {}
        for part in self._pool.map(
            self._call, [tokens[start : start + self.ADDRESSES] for start in starts]
        ):
            results.update(part)
        return results

    def accepted(self, answer: Any) -> int:
        """Count the results."""
        return sum(result["DeliveryStatus"] == "SUCCESSFUL" for result in answer.values())

    def _call(self, tokens: Sequence[str]) -> Any:
        response = self._client.send_messages(
            ApplicationId="bench",
            MessageRequest={
                "Addresses": {token: {"ChannelType": "GCM"} for token in tokens},
                "MessageConfiguration": {
                    "GCMMessage": {
                        "Title": "Test message sent from Amazon Pinpoint.",
                        "Body": TEXT,
                        "Action": "URL",
                        "Url": "https://www.example.com",
                        "Priority": "normal",
                        "TimeToLive": 30,
                        "SilentPush": False,
                    }
                },
            },
        )
        return response["MessageResponse"]["Result"]


SIDES: dict[str, type[Side]] = {
    "push-sender": PushSender,
    "push-sender-http": PushSenderHttp,
    "boto3": Boto3,
}


def make_event(recipients: int) -> dict[str, Any]:
    """Make a request of new objects, as a caller's JSON gives it."""
    everyone = [{"token": f"{n:064x}", "service": "GCM"} for n in range(recipients)]
    who = {"recipient": everyone[0]} if recipients == 1 else {"recipients": everyone}
    return {**who, **CONTENT}


def send_round(side: Side, requests: int, recipients: int) -> tuple[float, float]:
    """Send some requests, one after the other; give their wall clock and CPU in seconds."""
    events = [side.arrive(make_event(recipients)) for _ in range(requests)]
    answers = []
    wall, cpu = time.perf_counter(), time.process_time()
    for event in events:
        answers.append(side.send(event))
    spent = time.perf_counter() - wall, time.process_time() - cpu
    if sum(map(side.accepted, answers)) != requests * recipients:
        sys.exit("not every push was accepted, so the figures would mean nothing")
    return spent


def main() -> None:
    """Report the cold start, then play the rounds asked for."""
    _, name, packages = sys.argv
    sys.path.insert(0, packages)
    answers, sys.stdout = sys.stdout, open(os.devnull, "w")  # noqa: SIM115  kept open
    side = SIDES[name]()
    first = side.send(side.arrive(make_event(1)))
    # The clock is the system's own, so that the parent can take its own start from it.
    print(time.perf_counter(), time.process_time(), file=answers, flush=True)
    if side.accepted(first) != 1:
        sys.exit("the first push was not accepted")
    for line in sys.stdin:
        requests, recipients = map(int, line.split())
        print(*send_round(side, requests, recipients), file=answers, flush=True)


if __name__ == "__main__":
    main()
