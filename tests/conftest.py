"""What many tests start from: a provider on loopback and the handler in front of it."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from sandbox.environment import isolate
from sandbox.server import Server
from tests.account import Account, running_account
from tests.invocation import OTHER_PROJECT, PROJECT, Invocation, Push, WorkOff
from tests.provider import Provider, running_provider
from tests.table import Table, dynamodb_client, running_table

# What a test sees is not the account, the proxy or the terminal of who runs it.
isolate()
for _name in ("CLICOLOR_FORCE", "COLUMNS", "FORCE_COLOR", "LINES", "NO_COLOR", "PY_COLORS"):
    os.environ.pop(_name, None)


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


@pytest.fixture
def account(push: Push, monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    """Give ``push`` queues, a bus and a table of keys, all empty."""
    with running_account() as running:
        for name, value in running.environment().items():
            monkeypatch.setenv(name, value)
        yield running


@pytest.fixture
def work_off(account: Account, push: Push) -> WorkOff:
    """Do Lambda's part of the queue door: receive, invoke, delete what did not fail."""

    def once(seconds: float = 29) -> dict[str, Any]:
        event = account.receive()
        answer = push(event, seconds)
        account.delete(event, answer)
        return answer

    return once


@pytest.fixture(scope="module")
def _dynamodb() -> Iterator[Any]:
    # Not for the whole session: the next of the sandbox's servers empties moto's account.
    with Server(port=0) as server:
        yield dynamodb_client(server.url)


@pytest.fixture
def table(push: Push, _dynamodb: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Table]:
    """Give ``push`` a table of keys, new and empty."""
    with running_table(_dynamodb, f"keys-{uuid.uuid4().hex}") as running:
        monkeypatch.setenv("IDEMPOTENCY_TABLE", running.name)
        monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", running.url)
        yield running
