"""The upkeep of the registry by the events ``Push Token Update``."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from push_sender.request.errors import RegistryUnavailable
from tests.support.account import Account
from tests.support.api_gateway import Http
from tests.support.devices import ANDROID, IOS, Registry, check_invariants, token_update
from tests.support.dynamodb import refusing
from tests.support.invocation import OTHER_PROJECT, ProcessQueue, Push
from tests.support.provider import Json, Provider, accepted, results


def at(seconds: float) -> str:
    """Write the time so many seconds from now, as EventBridge does."""
    moment = datetime.now(UTC) + timedelta(seconds=seconds)
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


NOW = 0.0


def test_the_device_of_a_dead_token_is_deleted(registry: Registry) -> None:
    registry.put("phone", {**IOS, "user_id": "u-123"})
    registry.put("tablet", {**ANDROID, "user_id": "u-123"})

    registry.update("dead_token", IOS, time=at(NOW))

    assert registry.get("phone").status == 404
    assert registry.of_user("u-123") == ["tablet"]
    check_invariants(registry.table.items)


def test_a_replaced_token_takes_the_place_of_the_old_one(registry: Registry) -> None:
    registry.put("phone", {**IOS, "user_id": "u-123", "tags": ["beta"]})

    registry.update("replacement_token", {**IOS, "replacement_token": "new"}, time=at(NOW))

    device = registry.get("phone").body
    assert (device["token"], device["tags"], device["user_id"]) == ("new", ["beta"], "u-123")
    check_invariants(registry.table.items)


def test_a_device_whose_replaced_token_another_device_has_is_deleted(registry: Registry) -> None:
    registry.put("before", {**IOS, "user_id": "u-123"})
    registry.put("after", {**IOS, "token": "new", "user_id": "u-456"})

    registry.update("replacement_token", {**IOS, "replacement_token": "new"}, time=at(NOW))

    assert (registry.of_user("u-123"), registry.of_user("u-456")) == ([], ["after"])
    check_invariants(registry.table.items)


def test_a_token_replaced_by_itself_changes_nothing(registry: Registry) -> None:
    registry.put("phone", IOS)
    before = registry.table.items

    registry.update(
        "replacement_token", {**IOS, "replacement_token": IOS["token"]}, time="2100-01-01T00:00:00Z"
    )

    assert registry.table.items == before


def test_an_invalid_token_is_flagged_until_the_device_registers_again(registry: Registry) -> None:
    registry.put("phone", {**IOS, "user_id": "u-123"})

    registry.update("invalid_token", IOS, time=at(NOW))

    assert registry.get("phone").body["invalid"] is True
    assert registry.put("phone", IOS).body["invalid"] is False


@pytest.mark.parametrize("change", ["dead_token", "invalid_token", "replacement_token"])
def test_an_event_that_comes_twice_changes_once(registry: Registry, change: str) -> None:
    registry.put("phone", {**IOS, "user_id": "u-123"})
    event = token_update(change, {**IOS, "replacement_token": "new"}, time=at(NOW))

    registry.invoke(event)
    items = registry.table.items
    registry.invoke(event)

    assert registry.table.items == items


@pytest.mark.parametrize("change", ["dead_token", "invalid_token", "replacement_token"])
def test_a_device_registered_after_the_push_is_not_changed(registry: Registry, change: str) -> None:
    registry.put("phone", {**IOS, "user_id": "u-123"})
    items = registry.table.items

    registry.update(change, {**IOS, "replacement_token": "new"}, time=at(-2))

    assert registry.table.items == items


def test_an_event_about_a_token_that_moved_or_left_changes_nothing(registry: Registry) -> None:
    registry.put("phone", IOS)
    registry.put("phone", {**IOS, "token": "second"})

    registry.update("dead_token", IOS, time=at(NOW))

    assert registry.get("phone").body["token"] == "second"


def test_events_out_of_order_leave_no_dead_token(registry: Registry) -> None:
    registry.put("phone", IOS)

    # The second push found the replacement dead; its event comes first.
    registry.update("dead_token", {**IOS, "token": "new"}, time=at(NOW))
    registry.update("replacement_token", {**IOS, "replacement_token": "new"}, time=at(NOW))
    registry.update("dead_token", {**IOS, "token": "new"}, time=at(NOW))

    assert registry.get("phone").status == 404


def test_only_the_project_of_the_event_is_changed(registry: Registry) -> None:
    registry.put("phone", IOS)
    registry.put("phone", IOS, project=OTHER_PROJECT)

    registry.update("dead_token", IOS, time=at(NOW), project=OTHER_PROJECT)
    registry.update("dead_token", IOS, time=at(NOW), project="not ours")

    assert registry.get("phone").status == 200
    assert registry.get("phone", project=OTHER_PROJECT).status == 404


def test_the_same_token_of_another_service_is_not_changed(registry: Registry) -> None:
    registry.put("phone", IOS)

    registry.update("dead_token", {**IOS, "service": "APNS_SANDBOX"}, time=at(NOW))

    assert registry.get("phone").status == 200


def test_unknown_tokens_cost_one_read_for_a_hundred(registry: Registry) -> None:
    registry.put("phone", IOS)
    registry.table.calls.clear()
    tokens = [{**IOS, "token": f"t-{number}"} for number in range(199)]

    registry.update("dead_token", *tokens, IOS, time=at(NOW))

    assert registry.table.operations == [*["BatchGetItem"] * 4, "TransactWriteItems"]


@pytest.mark.parametrize("odd", [{"time": "yesterday"}, {"time": None}])
def test_an_event_without_a_usable_time_changes_nothing(registry: Registry, odd: Json) -> None:
    registry.put("phone", IOS)

    registry.invoke({**token_update("dead_token", IOS, time=at(NOW)), **odd})
    registry.update("moved_token", IOS, time=at(NOW))

    assert registry.get("phone").status == 200


def test_a_registry_that_fails_fails_the_invocation(registry: Registry) -> None:
    registry.put("phone", IOS)
    registry.table.answer = lambda *_: refusing(400, "AccessDeniedException")

    with pytest.raises(RegistryUnavailable, match="AccessDenied"):
        registry.update("dead_token", IOS, time=at(NOW))


REQUEST = {
    "recipients": [
        {"token": "dead", "service": "GCM"},
        {"token": "invalid", "service": "APNS"},
        {"token": "replaced", "service": "GCM"},
        {"token": "fine", "service": "GCM"},
    ],
    "message": "m",
}
CHANGES = {"dead_token": "dead", "invalid_token": "invalid", "replacement_token": "replaced"}


@pytest.fixture
def odd_tokens(provider: Provider) -> Provider:
    answers = {
        "dead": {
            "DeliveryStatus": "PERMANENT_FAILURE",
            "StatusCode": 410,
            "StatusMessage": "Unregistered",
        },
        "invalid": {
            "DeliveryStatus": "PERMANENT_FAILURE",
            "StatusCode": 400,
            "StatusMessage": json.dumps(
                {"errorMessage": "", "pushProviderError": "BadDeviceToken"}
            ),
        },
        "replaced": {**accepted("replaced"), "UpdatedToken": "new"},
        "fine": accepted("fine"),
    }
    provider.answer = lambda call: results({token: answers[token] for token in call["Addresses"]})
    return provider


@pytest.fixture
def with_registry(account: Account, monkeypatch: pytest.MonkeyPatch) -> Account:
    monkeypatch.setenv("DEVICES_TABLE", "devices")
    return account


def changes(events: list[Json]) -> dict[str, str]:
    updates = [event for event in events if event["detail-type"] == "Push Token Update"]
    return {
        event["detail"]["change"]: token["token"]
        for event in updates
        for token in event["detail"]["tokens"]
    }


@pytest.mark.parametrize("entry_point", ["direct", "direct with requeue", "http", "queue", "event"])
def test_the_events_leave_from_every_entry_point(
    entry_point: str,
    push: Push,
    odd_tokens: Provider,
    with_registry: Account,
    process_queue: ProcessQueue,
) -> None:
    before = time.time()
    match entry_point:
        case "direct":
            push(REQUEST)
        case "direct with requeue":
            push({**REQUEST, "requeue": True})
        case "http":
            assert Http(push).post(REQUEST).status == 200
        case "queue":
            with_registry.send(REQUEST)
            process_queue()
        case _:
            push({"detail-type": "Push Notification Requested", "detail": REQUEST, "source": "a"})

    events = with_registry.sent_events()
    assert changes(events) == CHANGES
    times = [datetime.fromisoformat(each["time"]).timestamp() for each in events]
    assert all(before - 60 < moment < time.time() + 1 for moment in times)


def test_a_dry_run_and_a_replay_send_no_event(
    push: Push, odd_tokens: Provider, with_registry: Account
) -> None:
    push({**REQUEST, "dry_run": True})
    assert changes(with_registry.sent_events()) == {}

    push({**REQUEST, "idempotency_key": "key"})
    assert changes(with_registry.sent_events()) == CHANGES

    assert push({**REQUEST, "idempotency_key": "key"})["replayed"] is True
    assert changes(with_registry.sent_events()) == {}


def test_without_a_registry_a_direct_push_sends_no_event(
    push: Push, odd_tokens: Provider, account: Account
) -> None:
    push(REQUEST)

    assert account.sent_events() == []


@pytest.mark.parametrize("over_http", [False, True])
def test_a_bus_that_refuses_is_a_warning_and_the_report_stands(
    over_http: bool,
    push: Push,
    odd_tokens: Provider,
    with_registry: Account,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_EVENTBRIDGE", "http://127.0.0.1:9")

    report: Any = Http(push).post(REQUEST).body if over_http else push(REQUEST)

    assert report["summary"]["dead_token"] == 1
    (warning,) = report["warnings"]
    assert warning["path"] == "results"
    assert "registry" in warning["message"]
