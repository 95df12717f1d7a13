"""The log names who sent a request, and messages of the function have the sender's group."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

import pytest

from push_sender.follow_up.signed_attributes import Steering, proven
from tests.support.account import MESSAGE_KEY, Account
from tests.support.api_gateway import event as http_event
from tests.support.invocation import ProcessQueue, Push, log_lines
from tests.support.jobs import JobRunner, rows_of_tokens
from tests.support.provider import Json, Provider, accepted

THROTTLED = {"DeliveryStatus": "THROTTLED", "StatusCode": 429, "StatusMessage": "slow down"}
REQUEST = {"recipient": {"token": "t", "service": "GCM"}, "message": "m"}
USER = "u-123"
KEY = MESSAGE_KEY.encode()

ROLE = "arn:aws:sts::123456789012:assumed-role/orders"
APP = {"client_id": "shop", "azp": "other", "iss": "https://id.example.com/", "sub": USER}


def over_http(authorizer: Json | None, request: Json = REQUEST, **headers: Any) -> Json:
    made = http_event(json.dumps(request), **headers)
    made["requestContext"]["authorizer"] = authorizer
    return made


def of_jwt(**claims: Any) -> Json:
    return over_http({"jwt": {"claims": claims, "scopes": ["push:send"]}})


def of_arn(arn: Any) -> Json:
    return over_http({"iam": {"userArn": arn}})


def of_event(**members: Any) -> Json:
    return {"id": "e-1", "detail-type": "Push Notification Requested", "detail": REQUEST, **members}


def on_queue(account: Account, body: Any, sender_id: Any, **attributes: Any) -> Json:
    """Make Lambda's event for a message of a producer."""
    account.send(body)
    event = account.receive()
    event["Records"][0]["attributes"].update({"SenderId": sender_id, **attributes})
    return event


def senders(output: str) -> set[str | None]:
    """List the senders of the log records."""
    return {line.get("sender") for line in log_lines(output)}


@pytest.mark.parametrize(
    ("event", "sender"),
    [
        (REQUEST, None),
        ({**REQUEST, "requeue": True}, None),
        (of_arn("arn:aws:iam::123456789012:user/orders"), "arn:aws:iam::123456789012:user/orders"),
        (of_arn(f"{ROLE}/ann@example.com"), ROLE),
        (
            of_arn("arn:aws:sts::123456789012:federated-user/ann"),
            "arn:aws:sts::123456789012:federated-user",
        ),
        (of_arn(["an array"]), None),
        (of_jwt(**APP), "jwt/shop"),
        (of_jwt(**{**APP, "client_id": "a b"}), "jwt/other"),
        (of_jwt(iss=APP["iss"], sub=USER), "jwt/https://id.example.com/"),
        (of_jwt(client_id=["x" * 300], azp="x" * 300, sub=USER), None),
        (of_jwt(sub=USER), None),
        (over_http(None), None),
        (of_event(account="123456789012", source="shop"), "event/123456789012/shop"),
        (of_event(account={"a": 1}, source="two words"), "event/-/-"),
    ],
)
def test_each_log_record_names_who_sent_its_request(
    account: Account, push: Push, capsys: pytest.CaptureFixture[str], event: Any, sender: str | None
) -> None:
    push(event)

    output = capsys.readouterr().out
    assert senders(output) == {sender}
    assert USER not in output
    assert "ann" not in output

    push(REQUEST)
    assert senders(capsys.readouterr().out) == {None}, "of the invocation before"


@pytest.mark.parametrize(
    ("sender_id", "body", "sender"),
    [
        ("AIDAEXAMPLE", REQUEST, "AIDAEXAMPLE"),
        ("AROAEXAMPLE:ann@example.com", REQUEST, "AROAEXAMPLE"),
        ("AROAEXAMPLE:s", "not JSON", "AROAEXAMPLE"),
        ("AROAEXAMPLE:s", of_event(account="1" * 12, source="s"), f"AROAEXAMPLE/{'1' * 12}/s"),
        ("AROAEXAMPLE:s", of_event(account="1", source="x" * 256), "AROAEXAMPLE/-/-"),
        ("two words", REQUEST, None),
        (None, REQUEST, None),
    ],
)  # fmt: skip
def test_a_message_of_the_queue_is_of_its_sender_without_the_session(
    account: Account,
    push: Push,
    capsys: pytest.CaptureFixture[str],
    sender_id: Any,
    body: Any,
    sender: str | None,
) -> None:
    push(on_queue(account, body, sender_id))

    assert senders(capsys.readouterr().out) == {sender}


def test_each_message_of_an_invocation_has_its_own_sender(
    account: Account, push: Push, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(3):
        account.send(REQUEST)
    event = account.receive()
    for record, sender in zip(event["Records"], ("AIDAONE", None, "AIDATWO"), strict=True):
        record["attributes"]["SenderId"] = sender

    push(event)

    handled = [
        line.get("sender")
        for line in log_lines(capsys.readouterr().out)
        if line["message"] == "request handled"
    ]
    assert handled == ["AIDAONE", None, "AIDATWO"]


@pytest.mark.parametrize(
    ("event", "sender"),
    [
        (over_http({"iam": {"userArn": f"{ROLE}/s"}}, prefer="respond-async"), ROLE),
        (over_http({"iam": {"userArn": f"{ROLE}/s"}}, {**REQUEST, "requeue": True}), ROLE),
        ({**REQUEST, "requeue": True}, None),
        (of_event(account="123456789012", source="shop"), "event/123456789012/shop"),
    ],
    ids=["respond-async", "HTTP, requeue", "direct, requeue", "event"],
)
def test_a_message_that_the_function_wrote_names_the_first_sender(
    account: Account,
    push: Push,
    process_queue: ProcessQueue,
    provider: Provider,
    capsys: pytest.CaptureFixture[str],
    event: Json,
    sender: str | None,
) -> None:
    provider.answer_each(lambda token, _: THROTTLED)
    push(event)
    account.wait()
    capsys.readouterr()

    for _ in range(2):
        assert process_queue() == {"batchItemFailures": []}

        assert senders(capsys.readouterr().out) == {sender}
        account.wait()
        provider.answer_each(lambda token, _: accepted(token))


def test_the_rows_of_a_job_are_of_the_job_also_when_they_are_sent_later(
    jobs: JobRunner,
    provider: Provider,
    process_queue: ProcessQueue,
    capsys: pytest.CaptureFixture[str],
) -> None:
    provider.answer_each(lambda token, _: THROTTLED if token == "late" else accepted(token))
    jobs.upload(rows_of_tokens(["late", *(f"t{n}" for n in range(9))]))
    jobs.run()
    lines = log_lines(capsys.readouterr().out)
    assert {line.get("sender") for line in lines if line["message"] == "batch delivered"} == {
        "job/spring"
    }
    (later,) = jobs.account.requeued()
    assert later["group"] == "job/spring"

    jobs.account.wait()
    process_queue()

    assert senders(capsys.readouterr().out) == {"job/spring"}


@pytest.mark.parametrize("claimed", ["AIDAOTHER", f"AIDAOTHER {'0' * 32}", "é", f"é {'0' * 32}"])
def test_a_producer_cannot_name_another_sender(
    account: Account, push: Push, capsys: pytest.CaptureFixture[str], claimed: str
) -> None:
    text = json.dumps(REQUEST)
    steering = Steering("id", 1, 0, "AIDATHEIRS")
    of_another_message = steering.attributes("another body", KEY)["push_sender.sender"]
    signed = Steering("id", 1).attributes(text, KEY)  # a copy of a message without a sender
    for attributes in ({}, signed):
        for sender in (claimed, of_another_message):
            account.send(text, **{**attributes, "push_sender.sender": sender})
    event = account.receive()
    for record in event["Records"]:
        record["attributes"]["SenderId"] = "AIDAREAL"

    push(event)

    assert senders(capsys.readouterr().out) <= {"AIDAREAL", None}


def test_the_sender_is_signed_and_the_version_before_reads_the_rest() -> None:
    def received(attributes: dict[str, str | int]) -> Json:
        return {name: {"stringValue": str(value)} for name, value in attributes.items()}

    steering = Steering("id", 1, 2, "AIDAEXAMPLE")
    attributes = received(steering.attributes("body", KEY))
    without = received(Steering("id", 1, 2).attributes("body", KEY))

    assert proven("body", attributes, KEY) == steering
    assert proven("body", without, KEY) == Steering("id", 1, 2)
    assert attributes.pop("push_sender.sender")
    assert attributes == without


GROUPS = [
    (of_arn(f"{ROLE}/ann"), of_arn(f"{ROLE}/bob"), True),
    (of_arn(ROLE), of_arn("arn:aws:iam::123456789012:user/orders"), False),
    (of_jwt(**APP), of_jwt(**{**APP, "sub": "u-9"}), True),
    (of_jwt(**APP), of_jwt(**{**APP, "client_id": "till"}), False),
]


@pytest.mark.parametrize(("one", "other", "is_same"), GROUPS)
def test_what_one_caller_queues_is_one_group_that_names_nobody(
    account: Account, push: Push, one: Json, other: Json, is_same: bool
) -> None:
    groups = []
    for event in (one, other):
        push({**event, "headers": {**event["headers"], "prefer": "respond-async"}})
        (record,) = account.receive()["Records"]
        groups.append(record["attributes"]["MessageGroupId"])

    assert (groups[0] == groups[1]) is is_same
    for group in groups:
        assert group.startswith("caller/")
        assert len(group) == len("caller/") + 16
        assert not [name for name in ("orders", "shop", "ann", USER) if name in group]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("orders", "orders"),
        ("x" * 128, "x" * 128),
        (None, None),
        ("", None),
        ("x" * 129, None),
        (["a"], None),
    ],
)
def test_a_dead_letter_message_keeps_its_group_or_has_that_of_its_sender(
    account: Account, push: Push, given: Any, kept: str | None
) -> None:
    push(on_queue(account, "no request", "AIDAEXAMPLE", MessageGroupId=given))

    (dead,) = account.dead_letter_messages()
    digest = sha256(b"AIDAEXAMPLE").hexdigest()[:16]
    assert dead["group"] == (kept or f"caller/{digest}")


def test_a_requeued_message_keeps_its_group(
    account: Account, push: Push, provider: Provider
) -> None:
    provider.answer_each(lambda token, _: THROTTLED)
    push(on_queue(account, REQUEST, "AIDAEXAMPLE", MessageGroupId="orders"))

    (later,) = account.requeued()
    assert later["group"] == "orders"


def test_messages_of_the_version_before_without_group_and_sender_are_sent(
    account: Account, process_queue: ProcessQueue, provider: Provider,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    provider.answer_each(lambda token, _: THROTTLED)
    account.send_again(REQUEST, attempt=1)

    assert process_queue() == {"batchItemFailures": []}

    assert senders(capsys.readouterr().out) == {None}, "not the function itself"
    (later,) = account.requeued()
    assert (later["attributes"]["push_sender.attempt"], later["group"]) == ("2", "caller/unknown")
