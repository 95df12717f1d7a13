"""A request that has waited before it came: its key, and what is left of its time."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from push_sender.report import Report
from tests.function.test_idempotency import to
from tests.support.dynamodb import Table
from tests.support.invocation import Push
from tests.support.provider import Json, Provider
from tests.support.senders import sender_with

Send = Callable[..., Report]


@pytest.fixture
def send(push: Push, table: Table) -> Send:
    """Send as a door does that knows more of a request than its text."""
    sender = sender_with(table)

    def send(event: Json, **known: object) -> Report:
        return sender.send(event, deadline=time.monotonic() + 20, **known)  # type: ignore[arg-type]  # passed on

    return send


def test_a_request_without_a_key_gets_the_one_of_its_entry_point(
    send: Send, provider: Provider
) -> None:
    first = send(to("a", key=None), default_key="message-1")
    again = send(to("a", key=None), default_key="message-1")
    other = send(to("a", key=None), default_key="message-2")

    assert [one["idempotency_key"] for one in (first, again, other)] == [
        "message-1",
        "message-1",
        "message-2",
    ]
    assert [one["replayed"] for one in (first, again, other)] == [False, True, False]
    assert len(provider.calls) == 2


def test_a_requests_own_key_wins_and_both_forms_are_one_key(send: Send, provider: Provider) -> None:
    send(to("a", key="own"), default_key="message-1")

    assert send(to("a", key="own"), default_key="message-2")["replayed"] is True
    assert send(to("a", key=None), default_key="own")["replayed"] is True
    assert len(provider.calls) == 1


def test_the_provider_gets_the_rest_of_the_ttl(send: Send, provider: Provider) -> None:
    send(to("a", key=None, ttl=60), age=20.5)

    assert provider.calls[0]["MessageConfiguration"]["GCMMessage"]["TimeToLive"] in (39, 40)


def test_a_request_whose_ttl_ended_before_it_arrived_is_expired_and_stays_so(
    send: Send, provider: Provider
) -> None:
    first = send(to("a", "b", ttl=60), age=60)
    again = send(to("a", "b", ttl=60), age=0)

    assert provider.calls == []
    assert first["summary"] == again["summary"] == {"recipients": 2, "unsent": 2}
    assert {(r["reason"], r["attempts"]) for r in again["results"]} == {("expired", 0)}
    assert (first["replayed"], again["replayed"]) == (False, True)


@pytest.mark.parametrize("ttl", [0, None])
def test_a_request_without_a_ttl_never_expires(
    send: Send, provider: Provider, ttl: int | None
) -> None:
    report = send(to("a", ttl=ttl), age=10**6)

    assert report["summary"] == {"recipients": 1, "accepted": 1}
