"""The function of this repository, called as Lambda calls it."""

from __future__ import annotations

import json
import time
from typing import Any

from push_sender.handler import handler


class Context:
    """The parts of Lambda's context that the handler uses."""

    aws_request_id = "6c1a2f7e-0d35-4c1b-9a52-7f0b8f1c2d3e"

    def get_remaining_time_in_millis(self) -> int:
        """Return the milliseconds that are left."""
        return 29_000


class Direct:
    """From the parsed event to the report."""

    def __init__(self) -> None:
        self._context: Any = Context()

    def prepare(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return it unchanged; Lambda parses it."""
        return request

    def send(self, event: dict[str, Any]) -> Any:
        """Handle the request."""
        return handler(event, self._context)

    def accepted(self, answer: Any) -> int:
        """Read the summary."""
        return int(answer["summary"].get("accepted", 0))


class Http(Direct):
    """Behind API Gateway: request and report are text inside JSON."""

    def prepare(self, request: dict[str, Any]) -> dict[str, Any]:
        """Wrap it as an HTTP API does."""
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
        return super().accepted(json.loads(answer["body"]))
