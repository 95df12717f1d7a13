"""The function of this repository, called as Lambda calls it."""

from __future__ import annotations

import json
import os
import time
from typing import Any

from push_sender.handler import handler


class Context:
    """The parts of Lambda's context that the handler uses."""

    aws_request_id = "6c1a2f7e-0d35-4c1b-9a52-7f0b8f1c2d3e"
    # The alias of the state machine, which other requests ignore.
    invoked_function_arn = "arn:aws:lambda:us-east-1:123456789012:function:push-sender:jobs"

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


class Users(Direct):
    """To half as many users, of whom each has two devices, except for a single recipient."""

    def prepare(self, request: dict[str, Any]) -> dict[str, Any]:
        """Put the users in the place of the tokens."""
        if "recipients" in request:
            users = range(len(request["recipients"]) // 2)
            request["recipients"] = [{"user_id": f"user-{n}"} for n in users]
        return request


class Parsed(Direct):
    """From the text of the event to the text of the report, as Lambda's runtime client does."""

    def prepare(self, request: dict[str, Any]) -> Any:
        """Write the event as text."""
        return json.dumps(request)

    def send(self, event: Any) -> Any:
        """Handle the request."""
        return json.dumps(super().send(json.loads(event)))

    def accepted(self, answer: Any) -> int:
        """Read the summary of the report in the text."""
        return super().accepted(json.loads(answer))


class Rows(Parsed):
    """The child of a job: it sends the first rows of the file ``JOB_FILE``.

    Its answer does not count. But it must write the list of the rows that were not accepted, and
    the simulated service only takes an empty one.
    """

    def __init__(self) -> None:
        super().__init__()
        self._path = os.environ["JOB_FILE"]
        with open(self._path, "rb") as file:
            self._lines = file.readlines()
        self._rows = 0

    def prepare(self, request: dict[str, Any]) -> Any:
        """Write the payload of the child's task, with the plan that the index step makes."""
        self._rows = len(request.pop("recipients", None) or [request.pop("recipient")])
        job = f"job-{time.time_ns()}"
        source = {"key": self._path.lstrip("/"), "format": "csv"}
        started_at = "2026-01-01T00:00:00.000Z"
        index = {
            "job_step": "index",
            "bucket": "jobs",
            "execution": {"name": job, "id": job, "started_at": started_at},
            "input": {"job": job, "source": source, "request": request},
            "pass": {"position": 0, "rows": 0},
        }
        plan = json.loads(super().send(super().prepare(index)))["plan"]
        header, *rows = self._lines
        end = len(header) + sum(map(len, rows[: self._rows]))
        place = {"start": len(header), "end": end, "first_row": 1, "wait": 0}
        child = {"job_step": "rows", "bucket": "jobs", "plan": plan, "range": place}
        return super().prepare(child)

    def accepted(self, answer: Any) -> int:
        """Count the rows of a child that did not fail."""
        return self._rows if "wait" in json.loads(answer) else 0
