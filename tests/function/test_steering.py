"""Message attributes that steer delivery count only where this function wrote them."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from push_sender.follow_up.requeue import ATTEMPTS, derived_key, messages_of
from push_sender.follow_up.signed_attributes import Steering, proven
from push_sender.follow_up.submission import Submission
from push_sender.settings import Settings
from tests.support.account import Account
from tests.support.invocation import ProcessQueue, Push
from tests.support.provider import Json, Provider, accepted
from tests.support.reports import report_of_tokens

THROTTLED = {"DeliveryStatus": "THROTTLED", "StatusCode": 429, "StatusMessage": "slow down"}
RECIPIENTS = [{"token": "a", "service": "APNS"}]
KEY = b"key"


def to(*tokens: str, **more: Any) -> Json:
    recipients = [{"token": token, "service": "APNS"} for token in tokens]
    return {"recipients": recipients, "message": "m", **more}


def received(attributes: dict[str, str | int]) -> Json:
    return {name: {"stringValue": str(value)} for name, value in attributes.items()}


@pytest.mark.parametrize("prefix", ["", "push_sender."])
@pytest.mark.parametrize("proof", [{}, {"push_sender.proof": "0" * 32}], ids=["bare", "guessed"])
def test_a_producers_attributes_have_no_effect(
    account: Account, process_queue: ProcessQueue, provider: Provider, prefix: str, proof: Json
) -> None:
    provider.answer_each(lambda token, _: THROTTLED if token == "d" else accepted(token))
    ids = [
        account.send(to(token, ttl=600), **proof, **{f"{prefix}{name}": value})
        for token, name, value in (
            ("a", "request_id", "trace"),
            ("b", "request_id", "trace"),
            ("c", "accepted_at", round(time.time())),
            ("d", "attempt", ATTEMPTS),
        )
    ]

    assert process_queue() == {"batchItemFailures": []}

    assert set(provider.tokens) == {"a", "b", "c", "d"}
    assert account.dead_letter_messages() == []
    assert [one["attributes"]["push_sender.attempt"] for one in account.requeued()] == ["1"]
    reports = account.sent_events("Push Report")
    assert {report["detail"]["request_id"] for report in reports} == set(ids)


def test_attributes_of_the_function_have_no_effect_with_another_body(
    account: Account, process_queue: ProcessQueue, provider: Provider
) -> None:
    copied = Steering("theirs", 0, ATTEMPTS).attributes(json.dumps(to("a")), KEY)
    mine = account.send(to("b", ttl=600), **copied)

    process_queue()

    assert provider.tokens == ["b"]
    (report,) = account.sent_events("Push Report")
    assert report["detail"]["request_id"] == mine


@pytest.mark.parametrize(
    "steering", [Steering("id", 1_700_000_000_000), Steering("id", 0, 3)], ids=["first", "later"]
)
def test_a_proof_covers_the_body_the_key_and_all_attributes(
    steering: Steering,
) -> None:
    attributes = received(steering.attributes("body", KEY))

    assert proven("body", attributes, KEY) == steering
    assert proven("Body", attributes, KEY) is None
    assert proven("body", attributes, b"another") is None
    assert proven("body", received(steering.attributes("body", b"")), b"") is None
    for name in attributes:
        for value in ("x", "2", "", "é", None):
            changed = {**attributes, name: {"stringValue": value}}
            assert proven("body", changed, KEY) is None, (name, value)
        left = {other: value for other, value in attributes.items() if other != name}
        assert proven("body", left, KEY) is None, name


def test_an_attribute_of_another_data_type_has_no_effect() -> None:
    attributes = received(Steering("id", 1).attributes("body", KEY))
    for name in attributes:
        assert proven("body", {**attributes, name: {"binaryValue": "aWQ="}}, KEY) is None


def test_a_message_has_room_for_the_attributes_that_are_added_later() -> None:
    submission, report = Submission(to("a"), "id", 1), report_of_tokens(to("a"))
    split = messages_of(submission, report, [0], attempt=1, reason="transient")

    ((message, _),) = split.messages
    assert len(message.all_attributes(KEY)) <= 10 - len(("fault", "RequestID", "ErrorCode"))
    names = message.all_attributes(KEY)
    size = sum(
        len(name) + len("Number" if isinstance(value, int) else "String") + len(str(value))
        for name, value in names.items()
    )
    assert message.size == len(message.body) + size


def test_the_proofs_key_defaults_to_the_queues_and_then_to_none() -> None:
    queues = {"QUEUE_URL": "q", "DEAD_LETTER_QUEUE_URL": "d"}

    assert Settings.from_environment({**queues, "MESSAGE_KEY": "k"}).message_key == b"k"
    assert Settings.from_environment(queues).message_key == b"q d"
    assert Settings.from_environment({}).message_key == b""
    assert "secret" not in repr(Settings.from_environment({"MESSAGE_KEY": "secret"}))


def test_attempts_are_counted_without_a_configured_message_key(
    account: Account,
    process_queue: ProcessQueue,
    provider: Provider,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("MESSAGE_KEY")
    provider.answer_each(lambda token, _: THROTTLED)
    account.send(to("a"))

    for attempt in ("1", "2"):
        process_queue()
        (later,) = account.requeued()
        assert later["attributes"]["push_sender.attempt"] == attempt
        account.wait()


def old_attributes(attempt: int = 2) -> dict[str, str | int]:
    """Give what the version before wrote, of a request that is 500 s old."""
    accepted_at = round((time.time() - 500) * 1_000)
    return {"request_id": "first", "accepted_at": accepted_at, "attempt": attempt}


@pytest.mark.parametrize(
    ("key", "believed"),
    [
        (derived_key("order-1", RECIPIENTS), True),
        (derived_key(derived_key("order-1", RECIPIENTS), RECIPIENTS), True),
        (derived_key("o" * 256, RECIPIENTS), True),
        (derived_key("order-1", [{"token": "b", "service": "APNS"}]), False),
        ("order-1#1.2", False),
        ("order#1", False),
        (None, False),
    ],
    ids=["first", "later", "digest", "of others", "made up", "no part", "no key"],
)
def test_messages_requeued_by_the_previous_version_keep_their_meaning(
    account: Account,
    process_queue: ProcessQueue,
    provider: Provider,
    key: str | None,
    believed: bool,
) -> None:
    account.send(
        {"recipients": RECIPIENTS, "message": "m", "ttl": 600, "idempotency_key": key},
        **old_attributes(),
    )

    process_queue()

    (call,) = provider.calls
    left = call["MessageConfiguration"]["APNSMessage"]["TimeToLive"]
    assert (left <= 100) is believed
    (report,) = account.sent_events("Push Report")
    assert (report["detail"]["request_id"] == "first") is believed
    assert report["detail"]["attempt"] == (2 if believed else 0)


@pytest.mark.parametrize("recipients", ["a", [1], [{}], [{"token": "a", "service": []}], None])
def test_a_derived_key_without_recipients_is_a_validation_error(
    account: Account, process_queue: ProcessQueue, recipients: Any
) -> None:
    account.send(
        {"recipients": recipients, "message": "m", "idempotency_key": "order-1#1.2"},
        **old_attributes(),
    )

    assert process_queue() == {"batchItemFailures": []}

    (dead_letter_message,) = account.dead_letter_messages()
    assert dead_letter_message["attributes"]["reason"] == "invalid"


@pytest.mark.parametrize(
    ("sender", "believed"),
    [
        ("AROAEXAMPLE:push-sender", True),
        ("AROAEXAMPLE:push-sender-2", False),
        ("AIDAEXAMPLE", False),
        (None, False),
    ],
)
def test_messages_queued_over_http_by_the_previous_version_keep_their_meaning(
    account: Account,
    push: Push,
    provider: Provider,
    sender: str | None,
    believed: bool,
) -> None:
    message_id = account.send(to("a"), **old_attributes(attempt=0))
    event = account.receive()
    event["Records"][0]["attributes"]["SenderId"] = sender

    push(event)

    (report,) = account.sent_events("Push Report")
    assert report["detail"]["request_id"] == ("first" if believed else message_id)
