"""Invocations of the handler as by Lambda, and the reading of its output."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Protocol, Self

PROJECT = "11112222333344445555666677778888"
OTHER_PROJECT = "99990000aaaabbbbccccddddeeeeffff"


@dataclass
class Invocation:
    """A Lambda context with some seconds left."""

    seconds: float
    aws_request_id: str = "6f1f2d3c-0000-4000-8000-000000000001"
    function_name: str = "push-sender"
    memory_limit_in_mb: int = 512
    invoked_function_arn: str = "arn:aws:lambda:us-east-1:123456789012:function:push-sender:live"

    @classmethod
    def of(cls, event: Any, seconds: float) -> Self:
        """Make the context of an event: the state machine invokes the alias ``jobs``."""
        if not (isinstance(event, dict) and "job_step" in event):
            return cls(seconds)
        return cls(seconds, invoked_function_arn=cls.invoked_function_arn.replace("live", "jobs"))

    def get_remaining_time_in_millis(self) -> int:
        return int(self.seconds * 1_000)


class Push(Protocol):
    """Invokes the handler with a request and the seconds left."""

    def __call__(self, event: Any, seconds: float = 29) -> dict[str, Any]: ...


class ProcessQueue(Protocol):
    """Lets the handler process the messages of the queue, as Lambda does; gives its answer."""

    def __call__(self, seconds: float = 29) -> dict[str, Any]: ...


def log_lines(output: str) -> list[dict[str, Any]]:
    """Read the log records from what was printed, metrics left out."""
    return [line for line in _json_lines(output) if "_aws" not in line]


def metric_lines(output: str) -> list[dict[str, Any]]:
    """Read the metric records (EMF) from what was printed."""
    return [line for line in _json_lines(output) if "_aws" in line]


def _json_lines(output: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.splitlines() if line.startswith("{")]
