"""What many tests start from: a provider on loopback and the handler in front of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import pytest
from provider import Provider, running_provider

PROJECT = "11112222333344445555666677778888"
OTHER_PROJECT = "99990000aaaabbbbccccddddeeeeffff"


@dataclass
class Invocation:
    """A Lambda context with so many seconds left."""

    seconds: float
    aws_request_id: str = "6f1f2d3c-0000-4000-8000-000000000001"
    function_name: str = "push-sender"
    memory_limit_in_mb: int = 512
    invoked_function_arn: str = "arn:aws:lambda:us-east-1:123456789012:function:push-sender"

    def get_remaining_time_in_millis(self) -> int:
        return int(self.seconds * 1_000)


class Push(Protocol):
    """Invokes the handler with a request and the seconds that are left."""

    def __call__(self, event: Any, seconds: float = 29) -> dict[str, Any]: ...


@pytest.fixture(scope="session")
def _running_provider() -> Iterator[Provider]:
    with running_provider() as running:
        yield running


@pytest.fixture
def provider(_running_provider: Provider) -> Iterator[Provider]:
    yield _running_provider
    _running_provider.reset()


@pytest.fixture
def push(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> Push:
    monkeypatch.setenv("APPLICATION_IDS", f"{PROJECT},{OTHER_PROJECT}")
    monkeypatch.setenv("AWS_ENDPOINT_URL_PINPOINT", provider.url)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "made-up")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "made-up")

    def invoke(event: Any, seconds: float = 29) -> dict[str, Any]:
        from push_sender.handler import handler

        report = handler(event, Invocation(seconds))  # type: ignore[arg-type]  # a context's part
        copy: dict[str, Any] = json.loads(json.dumps(report))
        return copy

    return invoke


def log_lines(output: str) -> list[dict[str, Any]]:
    """Read the log records from what was printed, metrics left out."""
    return [line for line in _json_lines(output) if "_aws" not in line]


def metric_lines(output: str) -> list[dict[str, Any]]:
    """Read the metric records (EMF) from what was printed."""
    return [line for line in _json_lines(output) if "_aws" in line]


def _json_lines(output: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.splitlines() if line.startswith("{")]
