"""The queue entry point: failed messages are returned, and no outcome is lost."""

from __future__ import annotations

import json
import time
from importlib.util import find_spec
from typing import Any

import pytest

from tests.support.account import Account
from tests.support.function_process import CONTEXT, run_program
from tests.support.invocation import PROJECT, ProcessQueue, Push, log_lines
from tests.support.loopback import Reply, refusing_url
from tests.support.provider import Json, Provider, accepted, results

THROTTLED = {"DeliveryStatus": "THROTTLED", "StatusCode": 429, "StatusMessage": "slow down"}


def failed(reason: str, code: int = 410) -> Json:
    return {
        "DeliveryStatus": "PERMANENT_FAILURE",
        "StatusCode": code,
        "StatusMessage": json.dumps({"pushProviderError": reason}),
    }


def to(*tokens: str, **more: Any) -> Json:
    return {
        "recipients": [{"token": token, "service": "APNS"} for token in tokens],
        "message": "m",
        **more,
    }


def event_of(detail: Any, **more: Any) -> Json:
    return {
        "version": "0",
        "id": "0b1f0a52-6f2b-4f7c-9a3d-000000000001",
        "detail-type": "Push Notification Requested",
        "source": "shop",
        "account": "123456789012",
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "region": "us-east-1",
        "resources": [],
        "detail": detail,
        **more,
    }


def test_messages_of_an_invocation_are_sent_in_order(
    account: Account, process_queue: ProcessQueue, provider: Provider
) -> None:
    for token in ("a", "b", "c"):
        account.send(to(token))

    answer = process_queue()

    assert answer == {"batchItemFailures": []}
    assert provider.tokens == ["a", "b", "c"]
    assert account.receive() == {"Records": []}


def test_a_message_may_be_an_event_that_holds_a_request(
    account: Account, process_queue: ProcessQueue, provider: Provider
) -> None:
    account.send(event_of(to("a")))

    process_queue()

    assert provider.tokens == ["a"]
    (report,) = account.sent_events("Push Report")
    assert report["detail"]["request_id"] == event_of({})["id"]


def test_a_poison_message_does_not_fail_the_others(
    account: Account, process_queue: ProcessQueue, provider: Provider
) -> None:
    for body in ("{", "[" * 100_000, '"text"', json.dumps(event_of(None)), "null"):
        account.send(body)
    account.send(to("a"))

    answer = process_queue()

    assert answer == {"batchItemFailures": []}
    assert provider.tokens == ["a"]
    assert [message["attributes"]["reason"] for message in account.dead_letter_messages()] == [
        "invalid"
    ] * 5


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ("{not JSON", "request: must be an object in JSON"),
        (json.dumps(to("a", ttll="KaNaRy")), "ttll: unknown field; did you mean ttl?"),
        (
            json.dumps(event_of(to("a", application_id="KaNaRy"))),
            "application_id: not a project that this function was deployed for; "
            "leave it out for its own project",
        ),
    ],
    ids=["no JSON", "invalid", "a foreign project"],
)
def test_an_unsendable_message_is_dead_lettered_unchanged_and_logged_without_its_content(
    account: Account,
    process_queue: ProcessQueue,
    provider: Provider,
    capsys: pytest.CaptureFixture[str],
    body: str,
    fault: str,
) -> None:
    account.send(body)

    assert process_queue() == {"batchItemFailures": []}

    (dead_letter_message,) = account.dead_letter_messages()
    assert dead_letter_message["text"] == body
    assert dead_letter_message["attributes"]["reason"] == "invalid"
    assert dead_letter_message["attributes"]["fault"] == fault
    (event,) = account.sent_events()
    assert event["detail-type"] == "Push Delivery Failed"
    path, message = fault.split(": ", 1)
    assert event["detail"]["faults"] == [{"path": path, "message": message}]
    assert "KaNaRy" not in json.dumps(event) + capsys.readouterr().out
    assert provider.calls == []


def test_a_request_that_became_valid_is_sent_once_although_it_was_dead_lettered_twice(
    account: Account,
    push: Push,
    process_queue: ProcessQueue,
    provider: Provider,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("APPLICATION_IDS", "another")
    account.send(to("a", application_id=PROJECT))
    event = account.receive()
    push(event)  # and the process dies before the message is deleted
    account.delete(event, push(event))
    assert len(account.dead_letter_messages()) == 2
    monkeypatch.setenv("APPLICATION_IDS", PROJECT)

    account.redrive()
    process_queue()

    assert provider.tokens == ["a"]


def test_a_message_delivered_twice_is_sent_once_and_reported_alike(
    account: Account, push: Push, provider: Provider
) -> None:
    provider.answer_each(lambda token, _: failed("Unregistered") if token == "b" else accepted("x"))
    account.send(to("a", "b"))
    event = account.receive()

    push(event)
    first = account.sent_events()
    push(event)

    assert sorted(provider.tokens) == ["a", "b"]
    again = account.sent_events()
    assert [event["detail"] for event in again] == [event["detail"] for event in first]


def test_a_message_whose_key_cannot_be_claimed_fails_and_returns(
    account: Account,
    push: Push,
    process_queue: ProcessQueue,
    provider: Provider,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    message_id = account.send(to("a"))
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", refusing_url())

    assert process_queue() == {"batchItemFailures": [{"itemIdentifier": message_id}]}

    assert provider.calls == []
    (line,) = log_lines(capsys.readouterr().out)
    assert (line["error"], line["message_id"]) == ("IdempotencyStoreUnavailable", message_id)
    assert account.sent_events() == []
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", account.url)
    account.wait()
    assert process_queue() == {"batchItemFailures": []}
    assert provider.tokens == ["a"]


def test_a_message_with_the_key_of_another_request_is_dead_lettered(
    account: Account, process_queue: ProcessQueue, provider: Provider
) -> None:
    account.send(to("a", idempotency_key="k"))
    process_queue()
    account.send(to("b", idempotency_key="k"))

    assert process_queue() == {"batchItemFailures": []}

    assert provider.tokens == ["a"]
    (message,) = account.dead_letter_messages()
    assert message["attributes"]["fault"].startswith(
        "idempotency_key: the key stands for another request"
    )
    (refused,) = account.sent_events("Push Delivery Failed")
    assert refused["detail"]["faults"][0]["path"] == "idempotency_key"


def test_if_the_service_hangs_the_answer_is_in_time_and_the_rest_is_not_started(
    account: Account, push: Push, provider: Provider
) -> None:
    provider.hang()
    ids = [account.send(to(token)) for token in ("a", "b", "c")]
    event = account.receive()
    began = time.monotonic()

    answer = push(event, seconds=9)

    assert time.monotonic() - began < 9
    assert [item["itemIdentifier"] for item in answer["batchItemFailures"]] == ids[1:]
    assert set(provider.tokens) == {"a"}


def test_an_internal_error_fails_one_message_and_its_log_holds_no_value(
    account: Account,
    push: Push,
    provider: Provider,
    capsys: pytest.CaptureFixture[str],
) -> None:
    provider.answer = lambda call: (
        Reply(200, b"[]")
        if "KaNaRy" in json.dumps(call)
        else results({token: accepted(token) for token in call["Addresses"]})
    )
    for body in (to("KaNaRy"), to("a")):
        account.send(body)
    event = account.receive()
    event["Records"][0]["attributes"]["SentTimestamp"] = "KaNaRy"  # which no queue sends

    answer = push(event)

    bad = event["Records"][0]["messageId"]
    assert answer == {"batchItemFailures": [{"itemIdentifier": bad}]}
    assert provider.tokens == ["a"]
    printed = capsys.readouterr().out
    assert "KaNaRy" not in printed
    (line,) = (line for line in log_lines(printed) if "stack" in line)
    assert line["error"] == "ValueError"
    assert any("queue.py" in place for place in line["stack"])


def test_our_own_event_never_causes_another_event(
    account: Account, push: Push, process_queue: ProcessQueue, provider: Provider
) -> None:
    own = event_of(to("a"), source="push-sender", **{"detail-type": "Push Delivery Failed"})
    account.send(own)

    assert process_queue() == {"batchItemFailures": []}
    assert push(own) is None

    assert (provider.calls, account.sent_events(), account.dead_letter_messages()) == ([], [], [])


def test_a_users_rule_may_pass_an_event_to_the_function(
    account: Account, push: Push, provider: Provider
) -> None:
    event = event_of(to("a"))

    report = push(event)
    again = push(event)

    assert provider.tokens == ["a"]
    assert report["summary"] == {"recipients": 1, "accepted": 1}
    assert (report["replayed"], again["replayed"]) == (False, True)
    assert report["idempotency_key"] == event["id"]


def test_an_unsendable_event_from_a_users_rule_is_dead_lettered_unchanged(
    account: Account, push: Push, process_queue: ProcessQueue, provider: Provider
) -> None:
    event = event_of({"message": "m"})

    assert push(event) is None

    (dead_letter_message,) = account.dead_letter_messages()
    assert json.loads(dead_letter_message["text"]) == event
    assert dead_letter_message["attributes"]["reason"] == "invalid"
    (refused,) = account.sent_events("Push Delivery Failed")
    assert refused["detail"]["faults"][0]["path"] == "recipients"


def test_a_message_with_half_a_surrogate_pair_is_dead_lettered(
    account: Account, push: Push, process_queue: ProcessQueue
) -> None:
    event = event_of(to("a", title="\ud800"))
    account.send(to("a", title="\ud800"))

    process_queue()
    push(event)

    assert [message["attributes"]["reason"] for message in account.dead_letter_messages()] == [
        "invalid"
    ] * 2
    assert json.loads(account.dead_letter_messages()[1]["text"]) == event


def test_a_message_of_maximum_size_is_dead_lettered_with_fewer_attributes(
    account: Account, process_queue: ProcessQueue
) -> None:
    body = "x" * 1_048_550
    account.send(body)

    assert process_queue() == {"batchItemFailures": []}

    (message,) = account.dead_letter_messages()
    assert message["text"] == body
    assert message["attributes"] == {"reason": "invalid"}


def test_without_a_dead_letter_queue_an_event_that_cannot_be_sent_fails_the_invocation(
    push: Push, provider: Provider
) -> None:
    with pytest.raises(Exception, match="recipients: is missing") as raised:
        push(event_of({"message": "m"}))

    assert type(raised.value).__name__ == "InvalidRequest"


def test_the_ttl_starts_when_the_event_reaches_the_bus(
    account: Account, process_queue: ProcessQueue, provider: Provider
) -> None:
    accepted_at = time.time() - 40
    written = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(accepted_at))
    account.send(event_of(to("a", ttl=100), time=written))
    account.send(event_of(to("b", ttl=30), time=written, id="another"))

    process_queue()

    (call,) = provider.calls
    assert 55 <= call["MessageConfiguration"]["APNSMessage"]["TimeToLive"] <= 60
    (lost,) = account.sent_events("Push Delivery Failed")
    assert lost["detail"]["failure"] == "expired"
    assert [one["token"] for one in lost["detail"]["recipients"]] == ["b"]


def test_messages_are_sent_without_a_queue_bus_or_table(push: Push, provider: Provider) -> None:
    provider.answer_each(lambda token, _: THROTTLED if token == "b" else accepted(token))
    record = {
        "messageId": "m-1",
        "receiptHandle": "r",
        "body": json.dumps(to("a", "b")),
        "attributes": {"SentTimestamp": str(round(time.time() * 1_000))},
        "messageAttributes": {},
        "eventSource": "aws:sqs",
    }

    assert push({"Records": [record]}) == {"batchItemFailures": []}

    assert provider.tokens.count("a") == 1


DOORS = (
    CONTEXT
    + """
import json, sys
from push_sender.handler import handler

handler(json.load(sys.stdin), Context())
print(json.dumps(sorted(sys.modules)))
"""
)


def test_a_direct_invocation_does_not_load_other_entry_points(
    account: Account, push: Push, provider: Provider
) -> None:
    process = run_program(DOORS, stdin=json.dumps(to("a")), AWS_ENDPOINT_URL_PINPOINT=provider.url)

    loaded = set(json.loads(process.stdout.splitlines()[-1]))
    assert "push_sender.entry_points.direct" in loaded
    others = {"entry_points.queue", "entry_points.event_bridge", "entry_points.direct_requeue"}
    others |= {"follow_up", "clients.queue_and_bus"}
    assert all(find_spec(f"push_sender.{name}") for name in others)
    assert not loaded & {f"push_sender.{name}" for name in others}
    assert not any(name.startswith("aws_lambda_powertools.utilities.batch") for name in loaded)


def test_a_message_without_users_loads_nothing_of_the_registry(
    account: Account, push: Push, provider: Provider
) -> None:
    account.send(to("a"))
    process = run_program(
        DOORS,
        stdin=json.dumps(account.receive()),
        **account.environment(),
        AWS_ENDPOINT_URL_PINPOINT=provider.url,
    )

    assert provider.tokens == ["a"]
    loaded = json.loads(process.stdout.splitlines()[-1])
    assert find_spec("push_sender.devices")
    assert not [name for name in loaded if name.startswith("push_sender.devices")]


AT_DEBUG = (
    CONTEXT
    + """
import json, logging, sys
logging.basicConfig(stream=sys.stdout, level=logging.DEBUG)
from push_sender.handler import handler

handler(json.load(sys.stdin), Context())
"""
)


def test_tokens_and_texts_from_the_queue_reach_no_log_at_any_level(
    account: Account, push: Push, provider: Provider
) -> None:
    answers = iter(
        [
            THROTTLED,
            failed("Unregistered"),
            failed("InvalidProviderToken"),
            {**accepted("x"), "UpdatedToken": "KaNaRy-new"},
            {"DeliveryStatus": "UNKNOWN_FAILURE", "StatusCode": 500, "StatusMessage": "KaNaRy"},
        ]
    )
    by_token: Json = {}
    provider.answer_each(lambda token, _: by_token.setdefault(token, next(answers, THROTTLED)))
    account.send(
        to(*(f"KaNaRy-{n}" for n in range(6)), title="KaNaRy", idempotency_key="KaNaRy-key")
    )
    account.send({"KaNaRy" * 8: "KaNaRy"})
    account.send("KaNaRy")
    account.send(event_of(to("KaNaRy-event"), id="KaNaRy with spaces"))
    account.send(to("KaNaRy-broken"))
    event = account.receive()
    event["Records"][-1]["attributes"]["SentTimestamp"] = "KaNaRy"  # and an error repeats it

    process = run_program(
        AT_DEBUG,
        stdin=json.dumps(event),
        **account.environment(),
        AWS_ENDPOINT_URL_PINPOINT=provider.url,
        AWS_LAMBDA_LOG_LEVEL="DEBUG",
        POWERTOOLS_LOG_LEVEL="DEBUG",
        POWERTOOLS_DEBUG="true",
    )

    assert "KaNaRy" not in process.stdout + process.stderr
    assert len(account.dead_letter_messages()) == 3
    assert len(account.requeued()) == 2
    assert "KaNaRy-new" in json.dumps(account.sent_events("Push Token Update"))
