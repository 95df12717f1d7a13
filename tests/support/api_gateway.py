"""Events of an API Gateway HTTP API (payload format 2.0), and the answers to them."""

from __future__ import annotations

import base64
import json
import time
from dataclasses import dataclass
from typing import Any

from tests.support.invocation import Push

Json = dict[str, Any]


@dataclass
class Answer:
    """The response of the function."""

    status: int
    headers: dict[str, str]
    body: Any

    @property
    def paths(self) -> list[str]:
        """The paths of a problem's errors."""
        return [fault["path"] for fault in self.body["faults"]]


def event(
    body: str | bytes | None = None,
    *,
    method: str = "POST",
    path: str = "/messages",
    content_type: str | None = "application/json",
    reached_at: float | None = None,
    **headers: Any,
) -> Json:
    """Make the event of a request; headers are given with underscores for hyphens."""
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    if content_type is not None:
        given["content-type"] = content_type
    made: Json = {
        "version": "2.0",
        "routeKey": f"{method} {path}",
        "rawPath": path,
        "rawQueryString": "",
        "headers": {"host": "abc.execute-api.us-east-1.amazonaws.com", **given},
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "abc",
            "authorizer": {"iam": {"userArn": "arn:aws:iam::123456789012:user/orders"}},
            "domainName": "abc.execute-api.us-east-1.amazonaws.com",
            "domainPrefix": "abc",
            "http": {
                "method": method,
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": "192.0.2.1",
                "userAgent": "tests",
            },
            "requestId": "JKJaXmPLvHcESHA=",
            "routeKey": f"{method} {path}",
            "stage": "$default",
            "time": "12/Mar/2020:19:03:58 +0000",
            "timeEpoch": int((time.time() if reached_at is None else reached_at) * 1_000),
        },
        "isBase64Encoded": isinstance(body, bytes),
    }
    if body is not None:
        made["body"] = base64.b64encode(body).decode() if isinstance(body, bytes) else body
    return made


def read(answer: Json) -> Answer:
    """Read the answer that the function gave."""
    assert answer["isBase64Encoded"] is False
    headers = {name.lower(): value for name, value in answer["headers"].items()}
    body = json.loads(answer["body"]) if answer.get("body") else None
    return Answer(answer["statusCode"], headers, body)


class Http:
    """Calls the handler as API Gateway does."""

    def __init__(self, push: Push) -> None:
        self._push = push

    def post(self, request: Any, *, seconds: float = 29, **headers: Any) -> Answer:
        """Post a request."""
        return self.ask(event(json.dumps(request), **headers), seconds=seconds)

    def ask(self, asked: Json, *, seconds: float = 29) -> Answer:
        """Invoke the handler with an event."""
        return read(self._push(asked, seconds))
