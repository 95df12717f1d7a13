"""The registry's routes: register, read, delete, erase."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support import api_gateway
from tests.support.devices import ANDROID, IOS, Registry, check_invariants, values_of
from tests.support.dynamodb import refusing
from tests.support.invocation import OTHER_PROJECT, PROJECT, log_lines, metric_lines

FULL = {
    **IOS,
    "user_id": "u-123",
    "language": "de-AT",
    "time_zone": "Europe/Vienna",
    "app_version": "7.1",
    "tags": ["beta", "news"],
    "attributes": {"plan": "gold"},
    "opted_out": True,
}
DEVICE = "PUT /devices/{device_id}"
MY_DEVICE = "/my/devices/{device_id}"


def shift(registry: Registry, **back: float) -> None:
    """Move every time in the table into the past."""
    ago = timedelta(**back)

    def moved(value: Any) -> Any:
        if isinstance(value, dict):
            return {
                name: _earlier(each, ago) if name.endswith("_at") else moved(each)
                for name, each in value.items()
            }
        return value

    for item in registry.table.items:
        value = json.dumps(moved(json.loads(item["value"]["S"])))
        expiration = int(item["expiration"]["N"]) - round(ago.total_seconds())
        shifted = {"value": {"S": value}, "expiration": {"N": str(expiration)}}
        registry.table.put({**item, **shifted})


def _earlier(time: str, ago: timedelta) -> str:
    moved = datetime.fromisoformat(time) - ago
    return moved.astimezone(UTC).isoformat(timespec="milliseconds")[:23] + "Z"


def test_a_new_device_is_created_and_answered_in_full(registry: Registry) -> None:
    answer = registry.put("phone", FULL)

    assert answer.status == 201
    assert answer.headers["content-type"] == "application/json"
    times = [answer.body.pop(name) for name in ("created_at", "seen_at")]
    assert all(datetime.fromisoformat(time).tzinfo is not None for time in times)
    assert answer.body == {**FULL, "device_id": "phone", "invalid": False}
    assert registry.get("phone").body == {
        **answer.body,
        "created_at": times[0],
        "seen_at": times[1],
    }


def test_a_device_with_only_a_token_has_every_member(registry: Registry) -> None:
    answer = registry.put("phone", {"token": "t", "service": "FCM"})

    del answer.body["created_at"], answer.body["seen_at"]
    assert answer.body == {
        "device_id": "phone",
        "token": "t",
        "service": "GCM",
        "user_id": None,
        "language": None,
        "time_zone": None,
        "app_version": None,
        "tags": [],
        "attributes": {},
        "opted_out": False,
        "invalid": False,
    }


def test_a_member_left_out_is_kept_and_null_removes_it(registry: Registry) -> None:
    first = registry.put("phone", FULL).body

    answer = registry.put(
        "phone", {**IOS, "language": "pt", "time_zone": None, "attributes": {"seat": "4"}}
    )

    assert answer.status == 200
    changed = {"language": "pt", "time_zone": None, "attributes": {"seat": "4"}}
    assert answer.body == {**first, **changed, "seen_at": answer.body["seen_at"]}


def test_null_removes_every_member_that_is_not_required(registry: Registry) -> None:
    registry.put("phone", FULL)

    answer = registry.put("phone", {**IOS, **dict.fromkeys(FULL.keys() - IOS.keys())})

    assert {name: answer.body[name] for name in FULL.keys() - IOS.keys()} == {
        "user_id": None,
        "language": None,
        "time_zone": None,
        "app_version": None,
        "tags": [],
        "attributes": {},
        "opted_out": False,
    }
    check_invariants(registry.table.items)


@pytest.mark.parametrize("user_id", ["u-456", None])
def test_a_device_that_leaves_its_user_loses_what_was_said_about_the_user(
    registry: Registry, user_id: str | None
) -> None:
    registry.put("phone", FULL)

    answer = registry.put("phone", {**IOS, "user_id": user_id})

    assert answer.body["user_id"] == user_id
    assert (answer.body["tags"], answer.body["attributes"]) == ([], {})
    assert answer.body["opted_out"] is False
    assert answer.body["language"] == "de-AT"  # of the phone, not of the user
    assert registry.of_user("u-123") == []
    check_invariants(registry.table.items)


def test_a_device_without_a_user_keeps_its_tags_at_the_sign_in(registry: Registry) -> None:
    registry.put("phone", {**IOS, "tags": ["beta"]})

    answer = registry.put("phone", {**IOS, "user_id": "u-123"})

    assert answer.body["tags"] == ["beta"]
    assert registry.of_user("u-123") == ["phone"]


def test_a_moved_device_takes_the_members_of_the_same_registration(registry: Registry) -> None:
    registry.put("phone", FULL)

    answer = registry.put("phone", {**IOS, "user_id": "u-456", "tags": ["new"]})

    assert answer.body["tags"] == ["new"]


def test_a_token_that_another_device_holds_is_taken_over(registry: Registry) -> None:
    registry.put("old-installation", {**IOS, "user_id": "u-123"})

    answer = registry.put("new-installation", {**IOS, "user_id": "u-456"})

    assert answer.status == 201
    assert registry.get("old-installation").status == 404
    assert (registry.of_user("u-123"), registry.of_user("u-456")) == ([], ["new-installation"])
    check_invariants(registry.table.items)


def test_the_same_token_text_of_two_services_is_two_tokens(registry: Registry) -> None:
    registry.put("a", {"token": "same", "service": "APNS"})
    registry.put("b", {"token": "same", "service": "APNS_SANDBOX"})

    assert [registry.get(device).status for device in ("a", "b")] == [200, 200]


def test_a_user_has_at_most_25_devices_and_the_longest_unseen_leaves(registry: Registry) -> None:
    for number in range(25):
        registry.put(f"d-{number:02}", {**IOS, "token": f"t-{number}", "user_id": "u-123"})
        if number == 0:
            shift(registry, days=2)

    registry.put("d-00", {**IOS, "token": "t-0", "language": "de"})  # seen again
    registry.put("d-25", {**IOS, "token": "t-25", "user_id": "u-123"})

    devices = registry.of_user("u-123")
    assert len(devices) == 25
    assert registry.get("d-01").status == 404
    assert {"d-00", "d-25"} <= set(devices)
    check_invariants(registry.table.items)


def test_a_registration_makes_at_most_three_reads_and_one_transaction(registry: Registry) -> None:
    registry.put("phone", {**IOS, "token": "old", "user_id": "u-1"})
    registry.put("tablet", {**IOS, "token": "wanted", "user_id": "u-2"})
    for number in range(25):
        registry.put(f"d-{number}", {**ANDROID, "token": f"t-{number}", "user_id": "u-3"})
    registry.table.calls.clear()

    # A new token, which another user's device holds, for a user who has 25 devices.
    registry.put("phone", {**IOS, "token": "wanted", "user_id": "u-3"})

    assert registry.table.operations == [*["BatchGetItem"] * 3, "TransactWriteItems"]
    assert "phone" in registry.of_user("u-3")
    assert (registry.of_user("u-1"), registry.of_user("u-2")) == ([], [])
    check_invariants(registry.table.items)


def test_a_registration_that_changes_nothing_today_makes_one_read(registry: Registry) -> None:
    first = registry.put("phone", FULL)
    registry.table.calls.clear()

    answer = registry.put("phone", FULL)

    assert registry.table.operations == ["BatchGetItem"]
    assert (answer.status, answer.body) == (200, first.body)


def test_the_first_registration_of_another_day_writes_the_time(registry: Registry) -> None:
    registry.put("phone", IOS)
    shift(registry, days=1)
    yesterday = registry.get("phone").body

    answer = registry.put("phone", IOS)

    assert answer.body["seen_at"][:10] > yesterday["seen_at"][:10]
    assert answer.body["created_at"] == yesterday["created_at"]


def test_every_kind_of_a_device_is_read_with_few_calls(registry: Registry) -> None:
    registry.put("phone", {**IOS, "user_id": "u-123"})
    registry.table.calls.clear()

    registry.get("phone")
    registry.of_user("u-123")

    assert registry.table.operations == ["BatchGetItem"] * 3
    assert all(
        keys["ConsistentRead"]
        for _, call in registry.table.calls
        for keys in call["RequestItems"].values()
    )


def test_a_deleted_device_is_gone_with_its_token(registry: Registry) -> None:
    registry.put("phone", FULL)

    assert registry.delete("phone").status == 204
    assert [registry.get("phone").status, registry.delete("phone").status] == [404, 404]
    assert registry.of_user("u-123") == []
    assert not [id_ for id_ in values_of(registry.table.items) if not id_.startswith("U#")]


def test_an_erased_user_leaves_nothing(registry: Registry) -> None:
    registry.put("phone", FULL)
    registry.put("tablet", {**ANDROID, "user_id": "u-123"})
    shift(registry, days=271)  # an expired device that DynamoDB has not deleted yet
    registry.put("watch", {**ANDROID, "token": "watch", "user_id": "u-123"})
    registry.put("other", {**ANDROID, "token": "other", "user_id": "u-456"})

    assert registry.erase("u-123").status == 204
    assert registry.erase("u-123").status == 204

    assert "u-123" not in repr(registry.table.items)
    assert registry.of_user("u-456") == ["other"]
    check_invariants(registry.table.items)


def test_an_expired_device_does_not_count(registry: Registry) -> None:
    registry.put("phone", FULL)
    shift(registry, days=271)

    assert registry.get("phone").status == 404
    assert registry.of_user("u-123") == []
    assert registry.delete("phone").status == 404

    answer = registry.put("phone", IOS)

    assert (answer.status, answer.body["user_id"], answer.body["tags"]) == (201, None, [])
    assert registry.of_user("u-123") == []
    check_invariants(registry.table.items)


def test_a_device_is_registered_again_after_ttl_deleted_any_of_its_items(
    registry: Registry,
) -> None:
    for deleted in "DTU":
        registry.put("phone", FULL)
        shift(registry, days=271)
        for item in registry.table.items:
            if item["id"]["S"].startswith(deleted):
                registry.table.delete(item)

        assert registry.put("phone", {**ANDROID, "user_id": "u-456"}).status == 201
        assert registry.put("tablet", FULL).status == 201
        assert (registry.of_user("u-456"), registry.of_user("u-123")) == (["phone"], ["tablet"])
        assert [registry.erase(user).status for user in ("u-123", "u-456")] == [204, 204]
        assert not [item for item in registry.table.items if "u-123" in repr(item)]


def test_projects_have_devices_of_their_own(registry: Registry) -> None:
    registry.put("phone", {**IOS, "user_id": "u-123"})

    assert registry.get("phone", project=OTHER_PROJECT).status == 404
    assert registry.put("phone", IOS, project=OTHER_PROJECT).status == 201
    assert registry.of_user("u-123", project=OTHER_PROJECT) == []
    assert registry.erase("u-123", project=OTHER_PROJECT).status == 204
    assert registry.of_user("u-123") == ["phone"]


def test_a_project_that_is_not_allowed_is_refused(registry: Registry) -> None:
    for answer in (
        registry.put("phone", IOS, project="another"),
        registry.get("phone", project="another"),
        registry.erase("u-123", project=""),
    ):
        assert answer.status == 403
        assert answer.body["type"] == "urn:push-sender:problem:project-not-allowed"
    assert registry.table.items == []


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("token", ""),
        ("token", "with space"),
        ("token", None),
        ("service", "SMS"),
        ("user_id", ""),
        ("user_id", "a/b"),
        ("user_id", "u" * 129),
        ("user_id", 5),
        ("language", "not a tag"),
        ("language", "de_AT_1"),
        ("time_zone", "Mars/Olympus"),
        ("time_zone", "../../etc/passwd"),
        ("time_zone", "europe/berlin"),
        ("app_version", ""),
        ("app_version", "v" * 65),
        ("tags", "beta"),
        ("tags", [""]),
        ("tags", ["t" * 65]),
        ("tags", [str(number) for number in range(51)]),
        ("attributes", {"": "value"}),
        ("attributes", {"n" * 65: "value"}),
        ("attributes", {"name": "v" * 257}),
        ("attributes", {"name": 5}),
        ("attributes", {str(number): "" for number in range(21)}),
        ("opted_out", "yes"),
        ("color", "red"),
    ],
)
def test_a_malformed_member_is_refused_by_name(registry: Registry, member: str, value: Any) -> None:
    answer = registry.put("phone", {**FULL, member: value})

    assert answer.status == 400
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.body["type"] == "urn:push-sender:problem:invalid-device"
    assert [path.partition(".")[0].partition("[")[0] for path in answer.paths] == [member]
    assert registry.table.items == []


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("user_id", "auth0|5f7c8:a.b_c@d~e+f=g-h"),
        ("user_id", "u" * 128),
        ("time_zone", "America/Argentina/Buenos_Aires"),
        ("time_zone", "UTC"),
        ("tags", ["é" * 64] * 50),
        ("attributes", {f"name {number}": "é" * 256 for number in range(20)}),
        ("opted_out", False),
        ("language", "zh_Hans_TW"),
    ],
)
def test_a_member_at_its_limit_is_accepted(registry: Registry, member: str, value: Any) -> None:
    answer = registry.put("phone", {**FULL, member: value})

    assert answer.status == 201
    assert answer.body[member] == (value[:1] if member == "tags" else value)


def test_every_error_is_listed_at_once_and_no_value(registry: Registry) -> None:
    body = {"token": "CANARY \x00", "user_id": "CANARY/", "tags": 1, "CANARY colour": 1}

    answer = registry.put("not an id CANARY", body)

    assert answer.status == 400
    assert sorted(answer.paths) == sorted(
        ["device_id", "token", "service", "user_id", "tags", "(a name not shown)"]
    )
    assert "CANARY" not in json.dumps(answer.body)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '"text"', "NaN", '{"token":1,"token":2}', "[" * 9999]
)
def test_a_body_that_is_not_an_object_is_refused(registry: Registry, text: str) -> None:
    answer = registry.put("phone", None, text=text)

    assert (answer.status, answer.paths) == (400, ["request"])


def test_a_body_that_is_too_long_is_refused_unread(registry: Registry) -> None:
    answer = registry.put("phone", {**IOS, **{f"name{number}": 1 for number in range(99_999)}})

    assert (answer.status, answer.paths) == (400, ["request"])


@pytest.mark.parametrize("id_", ["", "a b", "a/b", "ü", "x" * 129, "a\n"])
def test_an_id_that_is_not_valid_is_refused(registry: Registry, id_: str) -> None:
    assert registry.get(id_).paths == ["device_id"]
    assert registry.erase(id_).paths == ["user_id"]


def test_an_app_registers_itself_for_the_user_of_its_jwt(registry: Registry) -> None:
    answer = registry.ask(f"PUT {MY_DEVICE}", IOS, device_id="phone", sub="u-123")

    assert (answer.status, answer.body["user_id"]) == (201, "u-123")
    assert registry.of_user("u-123") == ["phone"]

    answer = registry.ask(f"PUT {MY_DEVICE}", IOS, device_id="phone", sub="u-456")

    assert (answer.status, registry.of_user("u-123")) == (200, [])


def test_an_app_cannot_set_its_user_or_tags(registry: Registry) -> None:
    body = {**IOS, "service": "SMS", "user_id": "u-9", "tags": []}

    answer = registry.ask(f"PUT {MY_DEVICE}", body, device_id="phone", sub="u-123")

    assert (answer.status, answer.paths) == (400, ["user_id", "tags", "service"])


def test_an_app_deletes_only_its_own_device(registry: Registry) -> None:
    registry.put("phone", {**IOS, "user_id": "u-123"})

    for sub, status in (("u-456", 404), ("u-123", 204), ("u-123", 404)):
        answer = registry.ask(f"DELETE {MY_DEVICE}", device_id="phone", sub=sub)
        assert answer.status == status


def test_a_jwt_without_a_usable_subject_is_refused(registry: Registry) -> None:
    answer = registry.ask(f"PUT {MY_DEVICE}", IOS, device_id="phone", sub="CANARY /")

    assert (answer.status, answer.paths) == (400, ["sub"])


def test_a_table_that_refuses_is_a_problem_that_says_when_to_repeat(registry: Registry) -> None:
    registry.table.answer = lambda *_: refusing(400, "AccessDeniedException")

    answer = registry.put("phone", IOS)

    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert answer.body["type"] == "urn:push-sender:problem:registry-unavailable"
    assert "AccessDeniedException" in answer.body["detail"]


def test_a_lost_answer_is_repaired_by_a_retry_without_a_second_effect(registry: Registry) -> None:
    lost: list[str] = []

    def answer(operation: str, call: Any, forward: Any) -> Any:
        reply = forward()
        if operation == "TransactWriteItems" and not lost:
            lost.append(operation)
            return refusing(500, "InternalServerError")
        return reply

    registry.table.answer = answer

    assert registry.put("phone", IOS).status == 201
    transactions = [call for name, call in registry.table.calls if name == "TransactWriteItems"]
    assert len({call["ClientRequestToken"] for call in transactions}) == 1


def test_reads_that_dynamodb_leaves_out_are_made_again(registry: Registry) -> None:
    registry.put("phone", {**IOS, "user_id": "u-123"})
    left_out: list[str] = []

    def answer(operation: str, call: Any, forward: Any) -> Any:
        if len(left_out) < 2:
            left_out.append(operation)
            reply = forward()
            reply.body = json.dumps(
                {"Responses": {}, "UnprocessedKeys": call["RequestItems"]}
            ).encode()
            return reply
        return forward()

    registry.table.answer = answer

    assert registry.get("phone").status == 200


def test_tokens_and_ids_reach_no_log(
    registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = {"token": "CANARY-token", "service": "GCM", "user_id": "CANARY-user"}
    registry.put("CANARY-device", {**secret, "tags": ["CANARY-tag"], "attributes": {"a": "CANARY"}})
    registry.put("CANARY-other", {**secret, "user_id": "CANARY-2"})
    registry.put("CANARY-other", {"token": "CANARY \n"})
    registry.get("CANARY-device")
    registry.erase("CANARY-2")
    registry.ask(f"PUT {MY_DEVICE}", {"token": "t", "service": "GCM"}, device_id="x", sub="CANARY")
    registry.table.answer = lambda *_: refusing(500, "InternalServerError")
    registry.delete("CANARY-device", seconds=0.5)

    output = capsys.readouterr().out
    assert "CANARY" not in output
    assert "registry changed" in output


def test_every_write_logs_the_caller_a_reference_of_the_user_and_the_change(
    registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    registry.put("phone", {**IOS, "user_id": "u-123"})
    registry.put("tablet", {**IOS, "user_id": "u-123"})
    registry.put("tablet", {**IOS, "user_id": "u-456"})

    output = capsys.readouterr().out
    lines = [line for line in log_lines(output) if line["message"] == "registry changed"]
    assert [line["change"] for line in lines] == [
        "DeviceCreated",
        "TokenTakenOver",
        "DeviceCreated",
        "DeviceMoved",
    ]
    assert {line["caller"] for line in lines} == {"arn:aws:iam::123456789012:user/orders"}
    first, taken, second, moved = (line["user_ref"] for line in lines)
    assert first == second == taken != moved
    devices = [line["device_ref"] for line in lines]
    assert devices[1] == devices[0]
    assert len(set(devices)) == 3  # a moved device gets a new reference
    counted = [name for line in metric_lines(output) for name in line if name[0].isupper()]
    assert {"DeviceCreated", "TokenTakenOver", "DeviceMoved"} <= set(counted)


ODD_AUTHORIZERS = [None, {"iam": None}, {"jwt": None}, {"jwt": {"claims": None}}]


@pytest.mark.parametrize("authorizer", ODD_AUTHORIZERS)
@pytest.mark.parametrize(("route", "status"), [(DEVICE, 201), (f"PUT {MY_DEVICE}", 400)])
def test_an_authorizer_may_lack_any_member(
    registry: Registry, route: str, status: int, authorizer: Any
) -> None:
    event = api_gateway.event(json.dumps(IOS), method="PUT")
    event |= {"routeKey": route, "pathParameters": {"device_id": "phone"}}
    event["requestContext"]["authorizer"] = authorizer

    assert api_gateway.read(registry.invoke(event)).status == status


@pytest.mark.parametrize(
    ("route", "member"),
    [
        (DEVICE, "device_id"),
        ("GET /devices/{device_id}", "device_id"),
        ("DELETE /devices/{device_id}", "device_id"),
        ("GET /users/{user_id}/devices", "user_id"),
        ("DELETE /users/{user_id}", "user_id"),
    ],
)
def test_a_path_without_its_id_is_refused(registry: Registry, route: str, member: str) -> None:
    event = api_gateway.event(json.dumps(IOS))
    event |= {"routeKey": route, "pathParameters": None}

    answer = api_gateway.read(registry.invoke(event))

    assert (answer.status, answer.paths) == (400, [member])
    assert registry.table.items == []


def test_a_request_without_headers_is_refused(registry: Registry) -> None:
    event = api_gateway.event(json.dumps(IOS))
    event |= {"routeKey": DEVICE, "pathParameters": {"device_id": "phone"}, "headers": None}

    assert api_gateway.read(registry.invoke(event)).status == 415


def test_25_devices_with_the_largest_tags_fit_into_their_users_item(registry: Registry) -> None:
    for number in range(25):
        tags = [f"{tag:02}{'😀' * 62}" for tag in range(50)]
        device = {"token": f"{number:02}", "service": "GCM", "user_id": "u-1", "tags": tags}
        assert registry.put(f"d-{number}", device).status == 201


def test_a_tag_with_a_control_character_is_refused(registry: Registry) -> None:
    answer = registry.put("phone", {**IOS, "tags": ["a", "b\n"]})

    assert (answer.status, answer.paths) == (400, ["tags[1]"])


def test_an_event_of_another_kind_is_refused(registry: Registry) -> None:
    from push_sender.request.errors import InvalidRequest

    with pytest.raises(InvalidRequest, match="Push Token Update"):
        registry.invoke({"message": "m"})


def test_a_thousand_users_are_read_in_ten_calls(registry: Registry) -> None:
    from push_sender.clients.queue_and_bus import client
    from push_sender.devices.registry import Registry as Core
    from push_sender.devices.table import Table

    table = registry.table
    core = Core(Table(client("dynamodb", None), table.name), expiry_days=270)
    registry.put("phone", {**IOS, "user_id": "u-500"})
    table.calls.clear()

    found = core.users(PROJECT, [f"u-{n}" for n in range(1_000)], deadline=time.monotonic() + 20)

    assert table.operations == ["BatchGetItem"] * 10
    assert list(found) == ["u-500"]
    assert found["u-500"].devices["phone"]["token"] == IOS["token"]
