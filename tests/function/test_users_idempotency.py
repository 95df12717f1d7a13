"""Keys of requests with users: a repetition sends to no other device, and to none twice."""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.devices import Registry
from tests.support.dynamodb import Table, running_table
from tests.support.invocation import PROJECT, Push
from tests.support.provider import Json, Provider, accepted, results


@pytest.fixture
def keys(registry: Registry, _dynamodb: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Table]:
    """Run a table of keys beside that of the registry: both through one address."""
    with running_table(_dynamodb, f"keys-{uuid.uuid4().hex}") as running:
        monkeypatch.setenv("IDEMPOTENCY_TABLE", running.name)
        yield running


def register(registry: Registry, user_id: str | None, *tokens: str, **more: Any) -> None:
    for token in tokens:
        body = {"token": token, "service": "GCM", "user_id": user_id, **more}
        assert registry.put(f"d-{token}", body).status in (200, 201)


def to(*users: str) -> Json:
    recipients = [{"user_id": user} for user in users]
    return {"recipients": recipients, "message": "m", "idempotency_key": "key"}


def sent(provider: Provider) -> list[str]:
    return [token for call in provider.calls for token in call["Addresses"]]


def outcomes(report: Json) -> dict[str | None, tuple[str, str | None]]:
    return {each["device_id"]: (each["outcome"], each["reason"]) for each in report["results"]}


def killed_after_one_batch(push: Push, provider: Provider, keys: Table, request: Json) -> str:
    """Send a request whose run is killed after its first batch; return the token it sent to."""

    def answer(call: Json) -> Any:
        return results({token: accepted(token) for token in call["Addresses"]})

    provider.answer = answer
    report = push(request)
    assert {each["outcome"] for each in report["results"]} == {"accepted"}
    # Put the records back into the state in which only the first batch was recorded.
    (record,) = [item for item in keys.items if "fingerprint" in item]
    for written_last in ("done", "outcomes", "parts"):
        record.pop(written_last, None)
    keys.put({**record, "lapses_at": {"N": "1000"}})
    first, *others = sorted(keys.batch_records, key=lambda item: int(item["part"]["N"]))
    for other in others:
        keys.delete(other)
    position = int(first["part"]["N"])
    provider.calls.clear()
    return str(report["results"][position]["token"])


@pytest.fixture
def two_services(registry: Registry) -> None:
    register(registry, "u-1", "a")
    register(registry, "u-1", "b", service="APNS")
    register(registry, "u-2", "c", service="ADM")


def test_a_repetition_replays_the_results_by_device(
    push: Push, registry: Registry, keys: Table, provider: Provider
) -> None:
    register(registry, "u-1", "a", "b")
    first = push(to("u-1"))

    again = push(to("u-1"))

    assert again["replayed"] is True
    assert outcomes(again) == outcomes(first)
    assert sorted(sent(provider)) == ["a", "b"]


def test_a_replay_names_no_device_that_came_later(
    push: Push, registry: Registry, keys: Table, provider: Provider
) -> None:
    register(registry, "u-1", "a")
    push(to("u-1"))
    register(registry, "u-1", "new")

    again = push(to("u-1"))

    assert (again["replayed"], list(outcomes(again))) == (True, ["d-a"])
    assert sent(provider) == ["a"]


def test_a_replay_keeps_the_outcome_of_a_device_that_left(
    push: Push, registry: Registry, keys: Table, provider: Provider
) -> None:
    register(registry, "u-1", "a", "b")
    push(to("u-1"))
    registry.delete("d-a")

    again = push(to("u-1"))

    gone, kept = again["results"]
    assert (gone["outcome"], gone["device_id"], gone["token"]) == ("accepted", None, None)
    assert (kept["outcome"], kept["device_id"], kept["token"]) == ("accepted", "d-b", "b")


def test_a_device_that_left_keeps_its_outcome_and_is_named_no_more(
    push: Push, registry: Registry, keys: Table, provider: Provider
) -> None:
    register(registry, "u-1", "a")
    throttled = {"DeliveryStatus": "THROTTLED", "StatusCode": 429, "StatusMessage": "slow"}
    provider.answer = lambda call: results({"a": throttled})
    assert outcomes(push(to("u-1"))) == {"d-a": ("transient", None)}
    register(registry, "u-2", "a")

    again = push(to("u-1"))

    assert again["replayed"] is True
    assert outcomes(again) == {None: ("transient", None)}
    assert again["results"][0]["token"] is None


def test_a_replay_keeps_the_results_without_a_call_though_the_devices_fit_since(
    push: Push, registry: Registry, keys: Table, provider: Provider
) -> None:
    register(registry, "u-1", "a", "b", service="ADM")
    register(registry, "u-1", "c")
    request = {**to("u-1", "u-1"), "ttl": 0}
    first = push(request)
    assert first["summary"] == {"recipients": 6, "accepted": 1, "rejected": 4, "duplicate": 1}
    register(registry, "u-1", "a", "b")  # as devices of FCM, which takes the ttl

    again = push(request)

    assert (again["replayed"], again["summary"]) == (True, first["summary"])
    assert sent(provider) == ["c"]


def test_a_device_that_left_and_came_back_between_three_runs_is_not_unknown(
    push: Push, registry: Registry, keys: Table, provider: Provider
) -> None:
    for name, service in (("a", "GCM"), ("b", "APNS"), ("c", "ADM")):
        register(registry, "u-1", name, service=service)
    done = killed_after_one_batch(push, provider, keys, to("u-1"))
    token, other = sorted({"a", "b", "c"} - {done})
    service = {"a": "GCM", "b": "APNS", "c": "ADM"}[token]
    register(registry, "u-9", token, service=service)

    second = push(to("u-1"))
    assert (sent(provider), second["summary"]["no_device"]) == ([other], 1)
    register(registry, "u-1", token, service=service)

    third = push(to("u-1"))
    assert (third["replayed"], third["summary"]) == (True, second["summary"])


@pytest.mark.usefixtures("two_services")
@pytest.mark.parametrize("change", ["nothing", "added", "removed", "moved", "replaced", "opted"])
def test_a_run_that_continues_a_killed_one_sends_only_what_is_left_of_its_list(
    push: Push, registry: Registry, keys: Table, provider: Provider, change: str
) -> None:
    done = killed_after_one_batch(push, provider, keys, to("u-1", "u-2"))
    left = {"a", "b", "c"} - {done}
    token = sorted(left)[0]
    service = {"a": "GCM", "b": "APNS", "c": "ADM"}[token]
    user = "u-2" if token == "c" else "u-1"
    match change:
        case "added":
            register(registry, "u-1", "another")
        case "removed":
            registry.delete(f"d-{token}")
        case "moved":
            register(registry, "u-9", token, service=service)
        case "replaced":
            body = {"token": "replacement", "service": service, "user_id": user}
            registry.put(f"d-{token}", body)
        case "opted":
            register(registry, user, token, service=service, opted_out=True)

    report = push(to("u-1", "u-2"))

    expected = {
        "nothing": left,
        "added": left,
        "removed": left - {token},
        "moved": left - {token},
        "replaced": left - {token} | {"replacement"},
        "opted": left - {token},
    }[change]
    assert sorted(sent(provider)) == sorted(expected)
    assert len(report["results"]) == 3
    gone = {"removed": "moved", "moved": "moved", "opted": "opted_out"}
    reasons = [each["reason"] for each in report["results"] if each["outcome"] == "no_device"]
    assert reasons == ([gone[change]] if change in gone else [])
    # A third time everything is replayed.
    provider.calls.clear()
    assert push(to("u-1", "u-2"))["replayed"] is True
    assert sent(provider) == []


def test_another_list_of_users_under_the_key_is_refused(
    push: Push, registry: Registry, keys: Table
) -> None:
    from push_sender.request.errors import IdempotencyConflict

    register(registry, "u-1", "a")
    push(to("u-1"))

    with pytest.raises(IdempotencyConflict):
        push(to("u-1", "u-2"))


def test_the_record_holds_neither_token_nor_user_nor_device(
    push: Push, registry: Registry, keys: Table
) -> None:
    # The provider of the tests makes message ids of tokens, so the token is another word.
    register(registry, "CANARY-user", "t")
    push(to("CANARY-user"))

    assert not {"CANARY-user", "d-t"} & set(re.findall(r"[\w-]+", keys.text()))


def test_5000_devices_take_forty_kilobytes() -> None:
    from push_sender.idempotency.targets import Targets

    devices = [[bytes([number % 256]) * 8 for number in range(25)] for _ in range(200)]
    targets = Targets(devices, list(range(0, 5_000, 100)))

    packed = targets.pack()

    assert len(packed) < 42_000
    assert Targets.unpack(packed) == targets


def test_a_claim_in_progress_is_not_shared(
    push: Push, registry: Registry, keys: Table, provider: Provider
) -> None:
    from push_sender.request.errors import IdempotencyInProgress

    register(registry, "u-1", "a")
    push(to("u-1"))
    record = keys.request_record
    record.pop("done")
    keys.put({**record, "lapses_at": {"N": str(round((time.time() + 20) * 1_000))}})

    with pytest.raises(IdempotencyInProgress):
        push(to("u-1"))


def fill(registry: Registry, users: int, devices: int = 25) -> None:
    """Write users with so many devices each, more than any test could register."""
    for user in range(users):
        entries = {
            f"d-{user}-{number}": {
                "token": f"t-{user}-{number}",
                "service": "GCM",
                "seen_at": "2026-11-27T00:00:00.000Z",
                "expiration": 4_000_000_000,
            }
            for number in range(devices)
        }
        item = {
            "id": {"S": f"U#{PROJECT}#u-{user}"},
            "etag": {"S": "any"},
            "expiration": {"N": "4000000000"},
            "value": {"S": json.dumps({"ref": "r", "devices": entries})},
        }
        registry.table.put(item)


def test_a_repetition_is_replayed_though_the_devices_are_too_many_since(
    push: Push, registry: Registry, keys: Table, provider: Provider
) -> None:
    from push_sender.request.errors import InvalidRequest

    request = to(*(f"u-{user}" for user in range(201)))
    fill(registry, 199)  # 4,975 devices, and two users without any
    first = push(request)
    assert first["summary"] == {"recipients": 4_977, "accepted": 4_975, "no_device": 2}
    provider.calls.clear()
    fill(registry, 201)

    again = push(request)

    assert (again["replayed"], again["summary"]) == (True, first["summary"])
    assert sent(provider) == []
    with pytest.raises(InvalidRequest, match="5,025"):
        push({**request, "idempotency_key": "another"})


@pytest.mark.parametrize("left", [(), ("a", "c")])
def test_a_run_that_is_killed_too_leaves_its_batches_for_the_next(
    push: Push, registry: Registry, keys: Table, provider: Provider, left: tuple[str, ...]
) -> None:
    register(registry, "u-1", "a", "b")
    register(registry, "u-1", "c", "d", service="APNS")

    def answer(call: Json) -> Any:
        if "d" in call["Addresses"]:
            time.sleep(0.3)  # so that the other batch is recorded meanwhile
        return results({token: accepted(token) for token in call["Addresses"]})

    provider.answer = answer
    push(to("u-1"))
    for record in keys.batch_records:  # as if the first run was killed before it recorded any
        keys.delete(record)
    keys.undo()
    for token in left:  # the first of their batches
        registry.delete(f"d-{token}")
    provider.calls.clear()
    assert push(to("u-1"))["replayed"] is False
    assert sorted(sent(provider)) == sorted({*"abcd"} - {*left})
    keys.undo()
    provider.calls.clear()

    push(to("u-1"))

    assert sorted(sent(provider)) == sorted({*"cd"} - {*left})


def test_the_first_run_without_any_device_is_no_replay(
    push: Push, registry: Registry, keys: Table
) -> None:
    assert push(to("u-1"))["replayed"] is False
    assert push(to("u-1"))["replayed"] is True


def test_a_replay_logs_and_counts_no_device_that_left(
    push: Push, registry: Registry, keys: Table, capsys: pytest.CaptureFixture[str]
) -> None:
    register(registry, "u-1", "a", "b")
    push(to("u-1", "u-2"))
    registry.delete("d-a")
    capsys.readouterr()

    push(to("u-1", "u-2"))

    assert "no_device" not in capsys.readouterr().out


@pytest.mark.usefixtures("two_services")
def test_a_run_that_continues_a_killed_one_logs_no_device_whose_outcome_is_known(
    push: Push,
    registry: Registry,
    keys: Table,
    provider: Provider,
    capsys: pytest.CaptureFixture[str],
) -> None:
    done = killed_after_one_batch(push, provider, keys, to("u-1", "u-2"))
    registry.delete(f"d-{done}")
    capsys.readouterr()

    push(to("u-1", "u-2"))

    assert "no_device" not in capsys.readouterr().out
