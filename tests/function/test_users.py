"""Users as recipients: the devices that a send finds for them, and its report."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support.api_gateway import Http
from tests.support.devices import ANDROID, IOS, Registry, token_update
from tests.support.dynamodb import refusing
from tests.support.invocation import OTHER_PROJECT, PROJECT, Push, log_lines, metric_lines
from tests.support.provider import Json, Provider, accepted, results

RESULT = {
    *("token", "service", "outcome", "delivery_status", "status_code", "reason"),
    *("status_message", "message_id", "replacement_token", "attempts"),
}


def to(*recipients: Json | str, **more: Any) -> Json:
    """Request a push to users, or to recipients as they are."""
    each = [{"user_id": one} if isinstance(one, str) else one for one in recipients]
    return {"recipients": each, "message": "m", **more}


def register(registry: Registry, user_id: str | None, *tokens: str, **more: Any) -> None:
    """Register a device for each token, with the token's name as its id."""
    for token in tokens:
        body = {"token": token, "service": "GCM", "user_id": user_id, **more}
        assert registry.put(f"d-{token}", body).status in (200, 201)


def found(report: Json) -> list[tuple[Any, ...]]:
    """Give user, device, outcome and reason of each result."""
    return [
        (each.get("user_id"), each.get("device_id"), each["outcome"], each["reason"])
        for each in report["results"]
    ]


def sent(provider: Provider) -> list[str]:
    """Give every token that was sent to."""
    return [token for call in provider.calls for token in call["Addresses"]]


def test_every_device_of_a_user_gets_the_push(
    push: Push, registry: Registry, provider: Provider
) -> None:
    register(registry, "u-1", "b", "a")
    register(registry, "u-2", "c")

    report = push(to("u-1"))

    assert found(report) == [
        ("u-1", "d-a", "accepted", None),
        ("u-1", "d-b", "accepted", None),
    ]
    assert [each["token"] for each in report["results"]] == ["a", "b"]
    assert report["results"][0].keys() == RESULT | {"user_id", "device_id"}
    assert report["summary"] == {"recipients": 2, "accepted": 2}
    assert sorted(sent(provider)) == ["a", "b"]


def test_results_are_ordered_by_recipient_then_device(
    push: Push, registry: Registry, provider: Provider
) -> None:
    register(registry, "u-1", "z", "x")
    register(registry, "u-2", "y")

    report = push(to("u-2", {"token": "t", "service": "GCM"}, "u-1", "nobody"))

    assert [each["token"] for each in report["results"]] == ["y", "t", "x", "z", None]
    assert report["results"][1].keys() == RESULT
    assert report["results"][4]["service"] is None


@pytest.mark.parametrize(
    ("members", "device_filter", "reason"),
    [
        (None, None, "none_registered"),
        ({"opted_out": True}, None, "opted_out"),
        ({}, {"services": ["APNS"]}, "filtered"),
        ({"tags": ["beta"]}, {"tags": ["beta", "news"]}, "filtered"),
        ({"tags": ["beta"]}, {"exclude_tags": ["beta"]}, "filtered"),
        ({"service": "APNS_VOIP"}, None, "filtered"),
    ],
)
def test_a_user_without_a_fitting_device_has_one_result(
    push: Push,
    registry: Registry,
    provider: Provider,
    members: Json | None,
    device_filter: Json | None,
    reason: str,
) -> None:
    if members is not None:
        register(registry, "u-1", "a", **members)
    more = {} if device_filter is None else {"device_filter": device_filter}

    report = push(to("u-1", **more))

    assert found(report) == [("u-1", None, "no_device", reason)]
    assert report["results"][0]["attempts"] == 0
    assert provider.calls == []


def test_an_invalid_device_is_skipped_until_it_registers_again(
    push: Push, registry: Registry, provider: Provider
) -> None:
    register(registry, "u-1", "a")
    token = {"token": "a", "service": "GCM"}
    registry.invoke(token_update("invalid_token", token, time="2100-01-01T00:00:00Z"))

    assert found(push(to("u-1"))) == [("u-1", None, "no_device", "invalid")]

    register(registry, "u-1", "a")
    assert found(push(to("u-1"))) == [("u-1", "d-a", "accepted", None)]


@pytest.mark.parametrize(
    ("device_filter", "tokens"),
    [
        ({"services": ["APNS", "APNS_VOIP"]}, ["ios", "voip"]),
        ({"tags": ["beta"]}, ["android", "ios"]),
        ({"tags": ["beta"], "exclude_tags": ["news"]}, ["android"]),
        ({"seen_within_days": 1}, ["android", "ios"]),
        ({"services": ["FCM"]}, ["android"]),
    ],
)
def test_a_filter_narrows_the_devices_of_every_user(
    push: Push, registry: Registry, provider: Provider, device_filter: Json, tokens: list[str]
) -> None:
    register(registry, "u-1", "android", tags=["beta"])
    register(registry, "u-1", "ios", service="APNS", tags=["beta", "news"])
    register(registry, "u-1", "voip", service="APNS_VOIP")

    report = push(to("u-1", device_filter=device_filter))

    assert [each["token"] for each in report["results"]] == tokens

    own = push(
        to({"user_id": "u-1", "device_filter": device_filter}, device_filter={"tags": ["x"]})
    )
    assert [each["token"] for each in own["results"]] == tokens


@pytest.mark.parametrize(("days", "outcome"), [(1, "accepted"), (2, "no_device")])
def test_a_device_seen_first_on_the_earliest_day_may_have_been_seen_later_on_it(
    push: Push, registry: Registry, provider: Provider, days: int, outcome: str
) -> None:
    register(registry, "u-1", "a")
    (user,) = [item for item in registry.table.items if item["id"]["S"].startswith("U#")]
    today = datetime.now(UTC).date()
    seen_at = f"{today - timedelta(days=days)}T00:00:00.000Z"
    value = json.loads(user["value"]["S"])
    value["devices"]["d-a"]["seen_at"] = seen_at
    registry.table.put({**user, "value": {"S": json.dumps(value)}})

    report = push(to("u-1", device_filter={"seen_within_days": 1}))

    assert [each["outcome"] for each in report["results"]] == [outcome]


def test_a_pair_is_sent_only_while_the_device_is_the_users(
    push: Push, registry: Registry, provider: Provider
) -> None:
    register(registry, "u-1", "a", "b")
    pair = {"user_id": "u-1", "device_id": "d-a"}

    assert found(push(to(pair))) == [("u-1", "d-a", "accepted", None)]

    register(registry, "u-2", "a")
    assert found(push(to(pair))) == [("u-1", None, "no_device", "moved")]


def test_the_devices_language_counts_if_the_recipient_names_none(
    push: Push, registry: Registry, provider: Provider
) -> None:
    register(registry, "u-1", "a", language="de-AT")
    translations = {"de": {"message": "Hallo"}, "fr": {"message": "Salut"}}

    push(to("u-1", translations=translations))
    push(to({"user_id": "u-1", "language": "fr"}, translations=translations))

    bodies = [call["MessageConfiguration"]["GCMMessage"]["Body"] for call in provider.calls]
    assert bodies == ["Hallo", "Salut"]


def test_personal_fields_go_to_every_device_of_the_user(
    push: Push, registry: Registry, provider: Provider
) -> None:
    register(registry, "u-1", "a")
    register(registry, "u-1", "b", service="APNS")

    push(to({"user_id": "u-1", "title": "Ann"}))

    addresses = {
        token: address["TitleOverride"]
        for call in provider.calls
        for token, address in call["Addresses"].items()
    }
    assert addresses == {"a": "Ann", "b": "Ann"}


def test_a_personal_field_without_a_place_is_left_out_with_a_warning(
    push: Push, registry: Registry, provider: Provider
) -> None:
    register(registry, "u-1", "a")
    register(registry, "u-1", "b", service="APNS")
    recipient = {"user_id": "u-1", "subtitle": "s"}

    report = push(to(recipient, apns={"format": "native"}))

    assert report["summary"] == {"recipients": 2, "accepted": 2}
    (warning,) = report["warnings"]
    assert warning["path"] == "recipients[0].subtitle"


def test_a_field_that_is_left_out_for_many_users_has_one_warning(
    push: Push, registry: Registry, provider: Provider
) -> None:
    users = [f"u-{number}" for number in range(3)]
    for user in users:
        register(registry, user, f"{user}-a", f"{user}-b")

    report = push(
        to(*({"user_id": user, "subtitle": "s"} for user in users), apns={"format": "native"})
    )

    assert report["warnings"] == [
        {
            "path": "recipients[0].subtitle",
            "message": "left out for the devices whose service has no place for it (devices of "
            "other users: 4)",
        }
    ]


def test_a_device_that_cannot_get_the_message_is_rejected_without_a_call(
    push: Push, registry: Registry, provider: Provider
) -> None:
    register(registry, "u-1", "android")
    register(registry, "u-1", "adm", service="ADM")

    report = push(to("u-1", ttl=0))

    assert found(report) == [
        ("u-1", "d-adm", "rejected", "unfit"),
        ("u-1", "d-android", "accepted", None),
    ]
    assert "ttl" in report["results"][0]["status_message"]
    assert report["results"][0]["attempts"] == 0
    assert sent(provider) == ["android"]


def test_the_log_names_the_field_that_does_not_fit_a_device(
    push: Push, registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    register(registry, "u-1", "android")
    register(registry, "u-1", "adm", service="ADM")
    capsys.readouterr()

    push(to("u-1", ttl=0))

    lines = {line["message"]: line for line in log_lines(capsys.readouterr().out)}
    (without,) = lines["results without a call"]["results"]
    assert (without["outcome"], without["reason"], without["path"]) == ("rejected", "unfit", "ttl")
    (delivered,) = lines["batch delivered"]["results"]
    assert "path" not in delivered


def test_a_message_that_no_device_can_get_is_refused_before_the_look_up(
    push: Push, registry: Registry
) -> None:
    from push_sender.request.errors import InvalidRequest

    registry.table.calls.clear()
    with pytest.raises(InvalidRequest, match="message"):
        push({"recipients": [{"user_id": "u-1"}]})

    assert registry.table.calls == []


def test_a_token_met_twice_is_a_duplicate(
    push: Push, registry: Registry, provider: Provider
) -> None:
    register(registry, "u-1", "a")

    report = push(to({"token": "a", "service": "GCM", "title": "first"}, "u-1", "u-1"))

    outcomes = [each["outcome"] for each in report["results"]]
    assert outcomes == ["accepted", "duplicate", "duplicate"]
    assert sent(provider) == ["a"]


def test_a_dry_run_shows_the_calls_for_the_devices(
    push: Push, registry: Registry, provider: Provider
) -> None:
    register(registry, "u-1", "a", "b")

    report = push(to("u-1", "u-2", dry_run=True))

    assert found(report) == [
        ("u-1", "d-a", "unsent", "dry_run"),
        ("u-1", "d-b", "unsent", "dry_run"),
        ("u-2", None, "no_device", "none_registered"),
    ]
    (call,) = report["requests"]
    assert sorted(call["MessageRequest"]["Addresses"]) == ["a", "b"]
    assert provider.calls == []


def test_projects_have_users_of_their_own(
    push: Push, registry: Registry, provider: Provider
) -> None:
    register(registry, "u-1", "a")

    report = push(to("u-1", application_id=OTHER_PROJECT))

    assert found(report) == [("u-1", None, "no_device", "none_registered")]
    assert report["application_id"] != PROJECT


def test_a_thousand_users_are_found_in_ten_calls(
    push: Push, registry: Registry, provider: Provider
) -> None:
    register(registry, "u-7", "a")
    registry.table.calls.clear()

    report = push(to(*(f"u-{number}" for number in range(1_000))))

    assert registry.table.operations == ["BatchGetItem"] * 10
    assert report["summary"] == {"recipients": 1_000, "accepted": 1, "no_device": 999}


def test_more_devices_than_a_report_holds_are_refused_with_their_number(
    push: Push, registry: Registry, provider: Provider
) -> None:
    devices = {
        f"d-{number}": {
            "token": f"t-{number}",
            "service": "GCM",
            "seen_at": "2026-11-27T00:00:00.000Z",
            "expiration": 4_000_000_000,
        }
        for number in range(25)
    }
    for number in range(201):
        value = json.dumps({"ref": f"r-{number}", "devices": devices})
        registry.table.put(
            {
                "id": {"S": f"U#{PROJECT}#u-{number}"},
                "etag": {"S": "any"},
                "expiration": {"N": "4000000000"},
                "value": {"S": value},
            }
        )
    from push_sender.request.errors import InvalidRequest

    with pytest.raises(InvalidRequest, match="5,025") as refused:
        push(to(*(f"u-{number}" for number in range(201))))
    assert type(refused.value) is InvalidRequest  # callers match on the name

    answer = Http(push).post(to(*(f"u-{number}" for number in range(201))))
    assert (answer.status, answer.paths) == (400, ["recipients"])
    assert provider.calls == []


def test_without_a_registry_a_user_is_refused_with_the_cure(
    push: Push, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    from push_sender.request.errors import InvalidRequest

    monkeypatch.delenv("DEVICES_TABLE")

    with pytest.raises(InvalidRequest, match=r"recipients\[0\].user_id: needs the registry"):
        push(to("u-1"))


def test_a_registry_out_of_reach_sends_nothing(
    push: Push, registry: Registry, provider: Provider
) -> None:
    from push_sender.request.errors import RegistryUnavailable

    registry.table.answer = lambda *_: refusing(400, "AccessDeniedException")

    with pytest.raises(RegistryUnavailable, match="AccessDenied"):
        push(to("u-1"))
    answer = Http(push).post(to("u-1"))
    assert (answer.status, answer.body["type"]) == (
        503,
        "urn:push-sender:problem:registry-unavailable",
    )
    assert provider.calls == []


def test_the_log_has_random_references_and_neither_token_nor_user(
    push: Push, registry: Registry, provider: Provider, capsys: pytest.CaptureFixture[str]
) -> None:
    register(registry, "CANARY-user", "CANARY-a", "CANARY-b", tags=["CANARY"])
    capsys.readouterr()

    push(to("CANARY-user", "CANARY-nobody"))

    output = capsys.readouterr().out
    assert "CANARY" not in output
    lines = {line["message"]: line for line in log_lines(output)}
    delivered, without = lines["batch delivered"], lines["results without a call"]
    assert {line["user_ref"] for line in delivered["results"]} != {None}
    assert len({line["device_ref"] for line in delivered["results"]}) == 2
    assert without["results"] == [
        {
            "outcome": "no_device",
            "status_code": None,
            "reason": "none_registered",
            "user_ref": None,
            "device_ref": None,
        }
    ]
    counted = [line["no_device"] for line in metric_lines(output) if "no_device" in line]
    assert counted == [[1]]


def test_a_log_record_has_at_most_a_hundred_results(
    push: Push, registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    push(to(*(f"u-{number}" for number in range(250))))

    lines = [
        line
        for line in log_lines(capsys.readouterr().out)
        if line["message"] == "results without a call"
    ]
    assert [len(line["results"]) for line in lines] == [100, 100, 50]


def test_the_device_of_a_dead_token_leaves_by_the_event(
    push: Push, registry: Registry, provider: Provider
) -> None:
    register(registry, "u-1", "a")
    dead = {
        "DeliveryStatus": "PERMANENT_FAILURE",
        "StatusCode": 410,
        "StatusMessage": "Unregistered",
    }
    provider.answer = lambda call: results({"a": dead})

    report = push(to("u-1"))

    assert found(report) == [("u-1", "d-a", "dead_token", "Unregistered")]


def test_a_request_without_users_reads_no_registry(
    push: Push, registry: Registry, provider: Provider
) -> None:
    provider.answer = lambda call: results({token: accepted(token) for token in call["Addresses"]})
    registry.table.calls.clear()

    report = push(to({**IOS}, {**ANDROID}))

    assert registry.table.calls == []
    assert all(each.keys() == RESULT for each in report["results"])
