"""What many tests start from: a provider on loopback and the handler in front of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.invocation import OTHER_PROJECT, PROJECT, Invocation, Push
from tests.provider import Provider, running_provider


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
