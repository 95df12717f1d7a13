"""Results of users when no caller waits: requeued by their ids, split, and reported by events."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # its stubs are not among the requirements
import pytest

from push_sender.entry_points import event_bridge, queue
from push_sender.follow_up.destinations import FollowUp
from push_sender.follow_up.events import EventBus
from push_sender.follow_up.queue_messages import Queue
from push_sender.follow_up.requeue import (
    ATTEMPTS,
    derived_key,
    halves_of,
    has_derived_key,
    messages_of,
)
from push_sender.follow_up.submission import Submission
from push_sender.report import Report
from push_sender.request.errors import RegistryUnavailable, TooManyDevices
from push_sender.sender import Sender
from push_sender.telemetry.log import shared_telemetry
from tests.support.account import MESSAGE_KEY, Account
from tests.support.invocation import Invocation, ProcessQueue, log_lines
from tests.support.paths import REPOSITORY
from tests.support.provider import Json, Provider
from tests.support.reports import report_of, report_of_tokens, result

CONTEXT: Any = Invocation(29)
KEY = MESSAGE_KEY.encode()
LATER = math.inf
SCHEMAS = {
    schema["title"]: schema
    for path in sorted((REPOSITORY / "docs" / "events").glob("*.json"))
    for schema in [json.loads(path.read_text())]
}


@pytest.fixture
def follow_up(account: Account) -> FollowUp:
    return FollowUp(
        queue=Queue(account.sqs, account.queue, KEY),
        dead_letters=Queue(account.sqs, account.dead_letter_queue, KEY),
        bus=EventBus(account.events, "default"),
        telemetry=shared_telemetry(),
    )


def of(user_id: str, device_id: str | None, outcome: str = "transient", **members: Any) -> Json:
    """Make the result of a user. Its token must not get into a message."""
    if device_id is not None:
        members = {"token": f"KaNaRy-{user_id}-{device_id}", "service": "APNS", **members}
    return result(outcome, **members, user_id=user_id, device_id=device_id)


def to_users(*user_ids: str, **more: Any) -> Json:
    return {"recipients": [{"user_id": user_id} for user_id in user_ids], "message": "m", **more}


def recipients_in(message: Json) -> list[Json]:
    found: list[Json] = json.loads(message["text"])["recipients"]
    return found


MIXED: Json = {
    "recipients": [
        {"token": "a", "service": "APNS"},
        {"token": "b", "service": "FCM", "title": None, "language": "de"},
        {"token": "a", "service": "GCM", "title": "own", "context": {"k": "ü\uffff"}},
        {"token": "b", "service": "GCM", "title": None, "language": "de"},
        {"service": "APNS", "token": "c", "badge": 3},
    ],
    "message": "m",
    "translations": {"de": {"message": "n"}},
    "requeue": True,
    "idempotency_key": "order-1",
}
MANY: Json = {
    "recipients": [
        {
            "token": f"{n:04}{'t' * 1_500}",
            "service": "GCM" if n % 2 else "APNS",
            "language": "de" if n % 3 else "fr",
        }
        for n in range(2_000)
    ],
    "message": "m",
    "idempotency_key": "o" * 256,
}


@pytest.mark.parametrize(
    ("request_", "positions", "digest"),
    [
        (MIXED, [0, 1, 2, 4], "5e7d257b2d9913e48d9423cf112be9ae81bbb0e29e973044886c904ab2020d87"),
        (
            {"recipient": MIXED["recipients"][0], "message": "m"},
            [0],
            "b7e71ee0e3429e3f7d0d3e55acab6a38e6f838cf3ab0bd5de99fefe2ba1c5ac7",
        ),
        (MANY, range(2_000), "7606a276954dec16020f585f610ccaaa53c5aff77bb95721bc2a002398eb98f7"),
    ],
    ids=["mixed", "one", "many"],
)
def test_messages_without_users_are_those_of_the_version_before(
    request_: Json, positions: Sequence[int], digest: str
) -> None:
    """The digests are those of the version that knew no users: messages in flight stay valid."""
    submission = Submission(request_, "id", 7)

    split = messages_of(submission, report_of_tokens(request_), positions, attempt=1)

    bodies = "\n".join(message.body for message, _ in split.messages)
    assert sha256(bodies.encode()).hexdigest() == digest
    assert sorted(at for _, group in split.messages for at in group) == list(positions)


def test_the_devices_of_users_are_requeued_by_their_ids_and_without_tokens(
    account: Account, follow_up: FollowUp
) -> None:
    request = {
        "recipients": [
            {"user_id": "u-1", "title": "own", "device_filter": {"tags": ["beta"]}},
            {"token": "t", "service": "FCM", "badge": None},
            {"user_id": "u-2", "device_id": "phone", "token": None, "language": "de"},
            {"user_id": "u-3"},
        ],
        "device_filter": {"exclude_tags": ["old"]},
        "message": "m",
        "idempotency_key": "order-1",
    }
    results = [
        of("u-1", "phone"),
        of("u-1", "tablet", "accepted"),
        of("u-1", "watch", "unsent", reason="deadline"),
        result(token="t", service="GCM"),
        of("u-2", "phone"),
        of("u-3", None, "no_device", reason="none_registered"),
    ]

    follow_up.handle(Submission(request, "id", 7), report_of(results), last_start=LATER)

    (later,) = account.requeued()
    key = later["body"].pop("idempotency_key")
    assert later["body"] == {
        "message": "m",
        "recipients": [
            {"user_id": "u-1", "device_id": "phone", "title": "own"},
            {"user_id": "u-1", "device_id": "watch", "title": "own"},
            {"token": "t", "service": "FCM", "badge": None},
            {"user_id": "u-2", "device_id": "phone", "language": "de"},
        ],
    }
    assert key.startswith("order-1#1.")
    (report,) = account.sent_events()
    assert report["detail"]["summary"] == {
        "recipients": 6,
        "accepted": 1,
        "no_device": 1,
        "requeued": 4,
    }


def test_dead_letter_messages_of_users_and_their_redrive_hold_no_token(
    account: Account, follow_up: FollowUp
) -> None:
    results = [
        of("u-1", "phone", "misconfigured"),
        of("u-1", "tablet"),
        of("u-2", "phone", "misconfigured", service="GCM"),
    ]
    submission = Submission(to_users("u-1", "u-2"), "id", 7, ATTEMPTS)

    follow_up.handle(submission, report_of(results), last_start=LATER)

    messages = {
        message["attributes"]["reason"]: message for message in account.dead_letter_messages()
    }
    assert recipients_in(messages["transient"]) == [{"user_id": "u-1", "device_id": "tablet"}]
    assert recipients_in(messages["misconfigured"]) == [
        {"user_id": "u-1", "device_id": "phone"},
        {"user_id": "u-2", "device_id": "phone"},
    ]
    account.redrive()
    redriven = account.receive()["Records"]
    assert len(redriven) == 2
    assert "KaNaRy" not in json.dumps(redriven)


def test_a_redriven_device_is_requeued_as_it_is(account: Account, follow_up: FollowUp) -> None:
    recipients = [{"user_id": "u-1", "device_id": "phone", "badge": 3}]
    request = {"recipients": recipients, "message": "m", "idempotency_key": "order-1#1.2"}

    follow_up.handle(
        Submission(request, "id", 7), report_of([of("u-1", "phone")]), last_start=LATER
    )

    (later,) = account.requeued()
    assert later["body"]["recipients"] == recipients
    assert later["body"]["idempotency_key"].startswith("order-1#2.")


def test_a_part_has_the_same_key_after_a_device_left() -> None:
    request = to_users("u-1", "u-2", idempotency_key="order-1")
    before = [of("u-1", "phone"), of("u-1", "tablet"), of("u-2", "phone")]
    after = [of("u-1", None, token=None, service=None), *before[1:]]

    keys, devices = [], []
    for results in (before, after):
        split = messages_of(Submission(request, "id", 7), report_of(results), range(3), attempt=1)
        ((message, _),) = split.messages
        body = json.loads(message.body)
        keys.append(body["idempotency_key"])
        devices.append([(each["user_id"], each["device_id"]) for each in body["recipients"]])

    assert keys[0] == keys[1]
    assert devices[1] == [("u-1", "tablet"), ("u-2", "phone")] == devices[0][1:]
    other = messages_of(Submission(request, "id", 7), report_of(before), [0, 2], attempt=1)
    assert json.loads(other.messages[0][0].body)["idempotency_key"] != keys[0]


def test_the_devices_of_users_are_in_parts_of_a_hundred_by_their_order() -> None:
    request = to_users(*(f"u-{n}" for n in range(75)))
    results = [
        of(f"u-{n}", device_id, service=service)
        for n in range(75)
        for device_id, service in (("phone", "APNS"), ("tablet", "GCM"))
    ]

    split = messages_of(Submission(request, "id", 7), report_of(results), range(150), attempt=1)

    ((message, positions),) = split.messages
    devices = [each["device_id"] for each in json.loads(message.body)["recipients"]]
    assert devices == ["phone", "tablet"] * 75
    assert positions == list(range(150))


def test_the_ttl_of_the_devices_service_decides_whether_it_is_requeued(
    account: Account, follow_up: FollowUp
) -> None:
    request = to_users("u-1", ttl=60, apns={"ttl": 0})
    results = [of("u-1", "phone"), of("u-1", "tablet", service="GCM")]

    follow_up.handle(Submission(request, "id", 7), report_of(results), last_start=LATER)

    (later,) = account.requeued()
    assert [each["device_id"] for each in later["body"]["recipients"]] == ["tablet"]
    (failed,) = account.sent_events("Push Delivery Failed")
    assert [each["device_id"] for each in failed["detail"]["recipients"]] == ["phone"]


def test_a_user_too_large_for_a_message_is_reported_with_the_ids_of_the_device(
    account: Account, follow_up: FollowUp
) -> None:
    request = to_users("u-1")
    request["recipients"][0]["context"] = {"k": "x" * 1_048_576}

    follow_up.handle(
        Submission(request, "id", 7), report_of([of("u-1", "phone")]), last_start=LATER
    )

    (failed,) = account.sent_events("Push Delivery Failed")
    jsonschema.validate(failed, SCHEMAS["Push Delivery Failed"])
    assert failed["detail"]["failure"] == "too_large"
    (recipient,) = failed["detail"]["recipients"]
    assert (recipient["user_id"], recipient["device_id"]) == ("u-1", "phone")


def test_events_about_users_name_the_device_and_follow_their_schemas(
    account: Account, follow_up: FollowUp
) -> None:
    results = [
        of("u-1", "a", "dead_token", status_code=410, reason="Unregistered"),
        of("u-1", "b", "invalid_token", status_code=400, reason="BadDeviceToken"),
        of("u-1", "c", "accepted", status_code=200, replacement_token="new-place"),
        of("u-1", "d", "rejected", status_code=413, reason="PayloadTooLarge"),
        of("u-1", "e", "unknown"),
        of("u-1", "f", "unsent", reason="expired"),
        of("u-1", "g", "duplicate"),
        of("u-2", None, "no_device", reason="opted_out"),
        result("dead_token", token="t", service="GCM"),
    ]
    request = to_users("u-1", "u-2")
    request["recipients"].append({"token": "t", "service": "GCM"})

    follow_up.handle(Submission(request, "id", 7), report_of(results), last_start=LATER)

    events = account.sent_events()
    for event in events:
        jsonschema.validate(event, SCHEMAS[event["detail-type"]])
    entries = {
        detail.get("change") or detail.get("failure"): detail.get("tokens") or detail["recipients"]
        for detail in (event["detail"] for event in events)
        if "summary" not in detail
    }
    common = {"service": "APNS", "status_code": None, "reason": None, "user_id": "u-1"}
    assert entries == {
        "dead_token": [
            {
                **common,
                "token": "KaNaRy-u-1-a",
                "status_code": 410,
                "reason": "Unregistered",
                "device_id": "a",
            },
            {"token": "t", "service": "GCM", "status_code": None, "reason": None},
        ],
        "invalid_token": [
            {
                **common,
                "token": "KaNaRy-u-1-b",
                "status_code": 400,
                "reason": "BadDeviceToken",
                "device_id": "b",
            }
        ],
        "replacement_token": [
            {
                **common,
                "token": "KaNaRy-u-1-c",
                "status_code": 200,
                "device_id": "c",
                "replacement_token": "new-place",
            }
        ],
        "rejected": [
            {
                **common,
                "token": "KaNaRy-u-1-d",
                "status_code": 413,
                "reason": "PayloadTooLarge",
                "device_id": "d",
            }
        ],
        "unknown": [{**common, "token": "KaNaRy-u-1-e", "device_id": "e"}],
        "expired": [
            {**common, "token": "KaNaRy-u-1-f", "reason": "expired", "device_id": "f"},
        ],
    }
    (report,) = (event["detail"] for event in events if event["detail-type"] == "Push Report")
    assert report["summary"]["no_device"] == 1
    assert "u-1" not in json.dumps(report)


@pytest.mark.parametrize("member", ["user_id", "device_id"])
def test_a_schema_refuses_a_user_without_a_device_and_a_device_without_a_user(
    account: Account, follow_up: FollowUp, member: str
) -> None:
    report = report_of([of("u-1", "phone", "dead_token"), of("u-1", "tablet", "rejected")])
    follow_up.handle(Submission(to_users("u-1"), "id", 7), report, last_start=LATER)
    events = [event for event in account.sent_events() if event["detail-type"] != "Push Report"]
    assert len(events) == 2

    for event in events:
        (entry,) = event["detail"].get("tokens") or event["detail"]["recipients"]
        del entry[member]
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(event, SCHEMAS[event["detail-type"]])


def test_a_caller_who_waits_gets_the_results_of_users_requeued_and_the_registry_its_events(
    account: Account, follow_up: FollowUp
) -> None:
    submission = Submission(to_users("u-1"), "id", 7)
    report = report_of([of("u-1", "a"), of("u-1", "b", "dead_token"), of("u-1", "c", "accepted")])

    assert follow_up.requeue(submission, report, last_start=LATER)
    follow_up.update_tokens(submission, report, last_start=LATER)

    assert report["summary"] == {"recipients": 3, "accepted": 1, "dead_token": 1, "requeued": 1}
    (later,) = account.requeued()
    assert later["body"]["recipients"] == [{"user_id": "u-1", "device_id": "a"}]
    (update,) = account.sent_events()
    (token,) = update["detail"]["tokens"]
    assert (token["token"], token["device_id"]) == ("KaNaRy-u-1-b", "b")


@pytest.mark.parametrize(
    "outcome", ["transient", "misconfigured", "dead_token", "invalid_token", "rejected", "unknown"]
)
def test_nothing_follows_for_a_device_that_left_before_a_repetition(
    account: Account, follow_up: FollowUp, outcome: str
) -> None:
    """Else its message would go to the other devices of the user, and its event has no token."""
    gone = of("u-1", None, outcome, token=None, service=None)
    report = report_of([gone, of("u-1", "phone", "accepted")])
    submission = Submission(to_users("u-1"), "id", 7)

    follow_up.handle(submission, report, last_start=LATER)

    assert not follow_up.requeue(submission, report, last_start=LATER)
    assert (account.requeued(), account.dead_letter_messages()) == ([], [])
    (event,) = account.sent_events()
    ended = "no_device" if outcome in ("transient", "misconfigured") else outcome
    assert event["detail-type"] == "Push Report"
    assert event["detail"]["summary"] == {"recipients": 2, "accepted": 1, ended: 1}


@pytest.mark.parametrize("outcome", ["transient", "misconfigured"])
def test_without_queues_no_event_names_a_device_that_left(account: Account, outcome: str) -> None:
    bus = EventBus(account.events, "default")
    follow_up = FollowUp(queue=None, dead_letters=None, bus=bus, telemetry=shared_telemetry())
    gone = of("u-1", None, outcome, token=None, service=None)

    follow_up.handle(Submission(to_users("u-1"), "id", 7), report_of([gone]), last_start=LATER)

    assert [event["detail-type"] for event in account.sent_events()] == ["Push Report"]


PAIR: Json = {"user_id": "u-1", "device_id": "GCM"}


@pytest.mark.parametrize(
    "other",
    [
        {"token": "u-1", "service": "GCM"},
        {"user_id": "u-1"},
        {"user_id": "u-1", "device_id": "phone"},
        {"user_id": "u-2", "device_id": "GCM"},
    ],
)
def test_another_recipient_gives_another_derived_key(other: Json) -> None:
    assert derived_key("order-1", [PAIR]) != derived_key("order-1", [other])


def test_a_derived_key_does_not_depend_on_personal_fields_or_null_members() -> None:
    same = {**PAIR, "title": "t", "token": None, "service": None}

    assert derived_key("order-1", [PAIR]) == derived_key("order-1", [same])


@pytest.mark.parametrize("recipients", [[PAIR], [{"user_id": "u-1"}, PAIR]])
def test_a_derived_key_of_users_is_recognised(recipients: list[Json]) -> None:
    key = derived_key("order-1", recipients)

    assert has_derived_key({"recipients": recipients, "idempotency_key": key})
    others = [*recipients, {"user_id": "u-2", "device_id": "GCM"}]
    assert not has_derived_key({"recipients": others, "idempotency_key": key})


def test_a_split_request_keeps_everything_except_its_recipients_and_its_key(
    account: Account, follow_up: FollowUp
) -> None:
    users: list[Json] = [
        {"user_id": "u-1", "device_filter": {"tags": ["beta"]}, "title": None},
        {"user_id": "u-2", "badge": 3},
        {"token": "t", "service": "FCM"},
    ]
    shared = {"message": "m", "ttl": 600, "device_filter": {"exclude_tags": ["old"]}}
    request = {"recipients": users, **shared, "idempotency_key": "order-1"}

    assert follow_up.split(Submission(request, "first", 7, 2), last_start=LATER)

    records = account.receive()["Records"]
    bodies = [json.loads(record["body"]) for record in records]
    assert [body["recipients"] for body in bodies] == [users[:1], users[1:]]
    for record, body in zip(records, bodies, strict=True):
        key, recipients = body.pop("idempotency_key"), body.pop("recipients")
        assert key == derived_key("order-1", recipients)
        assert body == shared
        attributes = record["messageAttributes"]
        assert attributes["push_sender.request_id"]["stringValue"] == "first"
        assert attributes["push_sender.accepted_at"]["stringValue"] == "7"
        assert attributes["push_sender.attempt"]["stringValue"] == "2"
    assert account.requeued() == []  # neither message is delayed


@pytest.mark.parametrize(
    "without_choice",
    [
        {"token": "t", "service": "FCM", "user_id": None},
        {"user_id": "u-2", "device_id": "phone"},
    ],
)
def test_a_half_in_which_no_user_has_devices_to_choose_has_no_filter(without_choice: Json) -> None:
    recipients = [{"user_id": "u-1"}, without_choice]
    request = {"recipients": recipients, "device_filter": {"tags": ["beta"]}, "message": "m"}

    first, second = halves_of(Submission(request, "id", 7))

    assert json.loads(first.body)["device_filter"] == request["device_filter"]
    assert "device_filter" not in json.loads(second.body)


def test_recipients_that_are_the_same_stay_together_when_a_request_is_split() -> None:
    request = to_users("u-1", "u-2", "u-1", "u-3", "u-1", "u-4")

    first, second = halves_of(Submission(request, "id", 7))

    users = [
        [each["user_id"] for each in json.loads(half.body)["recipients"]]
        for half in (first, second)
    ]
    assert users == [["u-1", "u-2", "u-1", "u-1"], ["u-3", "u-4"]]


def test_a_request_that_is_split_twice_is_sent_once(
    account: Account, follow_up: FollowUp, process_queue: ProcessQueue, provider: Provider
) -> None:
    tokens = [{"token": token, "service": "APNS"} for token in "abc"]
    submission = Submission({"recipients": tokens, "message": "m"}, "id", 1_700_000_000_000)

    for _ in range(2):  # the function was killed after the first time
        assert follow_up.split(submission, last_start=LATER)
    assert process_queue() == {"batchItemFailures": []}

    assert sorted(provider.tokens) == ["a", "b", "c"]
    reports = account.sent_events("Push Report")
    assert len({report["detail"]["idempotency_key"] for report in reports}) == 2


@pytest.mark.parametrize(
    "recipients", [{"recipient": {"user_id": "u-1"}}, {"recipients": [{"user_id": "u-1"}] * 2}]
)
def test_one_recipient_cannot_be_split(
    account: Account, follow_up: FollowUp, recipients: Json
) -> None:
    submission = Submission({**recipients, "message": "m"}, "id", 7)

    assert not follow_up.split(submission, last_start=LATER)

    assert account.receive() == {"Records": []}


def test_without_a_queue_nothing_is_split() -> None:
    follow_up = FollowUp(queue=None, dead_letters=None, bus=None, telemetry=shared_telemetry())

    assert not follow_up.split(Submission(to_users("u-1", "u-2"), "id", 7), last_start=LATER)


class FailingSender(Sender):
    """A sender that raises one error, in place of a registry with thousands of devices."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def send(self, *_: Any, **_options: Any) -> Report:
        raise self._error


TOO_MANY = TooManyDevices(5_001)
FAULT = str(TOO_MANY)

Enter = Callable[[Account, Sender, FollowUp, Json], Any]


def enter_by_queue(account: Account, sender: Sender, follow_up: FollowUp, request: Json) -> Any:
    account.send(request)
    event = account.receive()
    answer: Any = queue.push(event, CONTEXT, sender, follow_up, shared_telemetry(), KEY)
    account.delete(event, answer)
    return answer


def enter_by_event(_: Account, sender: Sender, follow_up: FollowUp, request: Json) -> Any:
    event = {"detail-type": "x", "source": "shop", "id": "e", "detail": request}
    return event_bridge.push(event, CONTEXT, sender, follow_up, shared_telemetry())


ENTRY_POINTS: Mapping[str, Enter] = {"queue": enter_by_queue, "EventBridge": enter_by_event}


@pytest.mark.parametrize("enter", ENTRY_POINTS.values(), ids=ENTRY_POINTS.keys())
def test_a_request_with_too_many_devices_is_split_where_no_caller_waits(
    account: Account, follow_up: FollowUp, enter: Enter
) -> None:
    answer = enter(account, FailingSender(TOO_MANY), follow_up, to_users("u-1", "u-2", "u-3"))

    assert answer in (None, {"batchItemFailures": []})
    halves = [json.loads(record["body"]) for record in account.receive()["Records"]]
    assert [half["recipients"] for half in halves] == [
        [{"user_id": "u-1"}],
        [{"user_id": "u-2"}, {"user_id": "u-3"}],
    ]
    assert (account.dead_letter_messages(), account.sent_events()) == ([], [])


@pytest.mark.parametrize("enter", ENTRY_POINTS.values(), ids=ENTRY_POINTS.keys())
def test_a_request_with_too_many_devices_that_cannot_be_split_is_dead_lettered(
    account: Account, follow_up: FollowUp, enter: Enter
) -> None:
    enter(account, FailingSender(TOO_MANY), follow_up, to_users("u-1"))

    (message,) = account.dead_letter_messages()
    assert message["attributes"]["fault"] == FAULT
    assert account.receive() == {"Records": []}
    (event,) = account.sent_events()
    path, text = FAULT.split(": ", 1)
    assert event["detail"]["faults"] == [{"path": path, "message": text}]


def test_a_message_returns_while_the_registry_is_out_of_reach(
    account: Account, follow_up: FollowUp, capsys: pytest.CaptureFixture[str]
) -> None:
    sender = FailingSender(RegistryUnavailable("ThrottlingException"))

    answer = enter_by_queue(account, sender, follow_up, to_users("u-1"))

    assert len(answer["batchItemFailures"]) == 1
    (line,) = log_lines(capsys.readouterr().out)
    assert line["message"] == "message returned to the queue"
    assert (line["error"], line["reason"]) == ("RegistryUnavailable", "ThrottlingException")
    assert account.dead_letter_messages() == []


def test_an_event_fails_the_invocation_while_the_registry_is_out_of_reach(
    account: Account, follow_up: FollowUp
) -> None:
    sender = FailingSender(RegistryUnavailable("ThrottlingException"))

    with pytest.raises(RegistryUnavailable):
        enter_by_event(account, sender, follow_up, to_users("u-1"))

    assert account.dead_letter_messages() == []
