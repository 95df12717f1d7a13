"""boto3 without this project: as in AWS's example, and as well as possible."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import boto3

THREADS = 8
ADDRESSES = 100


class Single:
    """One call a token, one after the other, as in AWS's example."""

    def __init__(self) -> None:
        self._client: Any = boto3.client("pinpoint")

    def prepare(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return it unchanged."""
        return request

    def send(self, event: dict[str, Any]) -> Any:
        """Make the calls and keep each address's result."""
        results: dict[str, Any] = {}
        for token in tokens_of(event):
            results.update(self.call(event, [token]))
        return results

    def accepted(self, answer: Any) -> int:
        """Count the results."""
        return sum(result["DeliveryStatus"] == "SUCCESSFUL" for result in answer.values())

    def call(self, event: dict[str, Any], tokens: Sequence[str]) -> Any:
        """Make one call; return its results."""
        response = self._client.send_messages(
            ApplicationId="bench",
            MessageRequest={
                "Addresses": {token: {"ChannelType": "GCM"} for token in tokens},
                "MessageConfiguration": {
                    "GCMMessage": {
                        "Title": event["title"],
                        "Body": event["message"],
                        "Action": event["action"],
                        "Url": event["url"],
                        "Priority": event["priority"],
                        "TimeToLive": event["ttl"],
                        "SilentPush": event["silent"],
                    }
                },
            },
        )
        return response["MessageResponse"]["Result"]


class Threads(Single):
    """Calls of 100 addresses each, on 8 threads for several calls."""

    def __init__(self) -> None:
        super().__init__()
        self._pool = ThreadPoolExecutor(THREADS)

    def send(self, event: dict[str, Any]) -> Any:
        """Make the calls and keep each address's result."""
        tokens = tokens_of(event)
        if len(tokens) <= ADDRESSES:
            return self.call(event, tokens)
        parts = [tokens[start : start + ADDRESSES] for start in range(0, len(tokens), ADDRESSES)]
        results: dict[str, Any] = {}
        for part in self._pool.map(lambda part: self.call(event, part), parts):
            results.update(part)
        return results


def tokens_of(event: dict[str, Any]) -> list[str]:
    """List the tokens of a request."""
    everyone = event.get("recipients") or [event["recipient"]]
    return [recipient["token"] for recipient in everyone]
