"""Requeued recipients: delayed, split, under a new key, and finally a dead-letter message."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from typing import Any

import pytest

from push_sender.follow_up.requeue import ATTEMPTS, DELAY_SECONDS, derived_key, messages_of
from push_sender.follow_up.submission import Submission
from tests.support.account import Account, running_service
from tests.support.function_process import CONTEXT
from tests.support.invocation import ProcessQueue, Push, log_lines, metric_lines
from tests.support.loopback import refusing_url
from tests.support.paths import LAMBDA_SOURCE
from tests.support.provider import Json, Provider, accepted, refused
from tests.support.reports import report_of_tokens

THROTTLED = {"DeliveryStatus": "THROTTLED", "StatusCode": 429, "StatusMessage": "slow down"}
MISCONFIGURED = {
    "DeliveryStatus": "PERMANENT_FAILURE",
    "StatusCode": 400,
    "StatusMessage": '{"pushProviderError":"InvalidProviderToken"}',
}
DERIVED = re.compile(r"(?P<root>.+)#(?P<generation>\d+)\.(?P<part>\d+)")


def to(*tokens: str, service: str = "APNS", **more: Any) -> Json:
    return {
        "recipients": [{"token": token, "service": service} for token in tokens],
        "message": "m",
        **more,
    }


def answering(provider: Provider, answers: Json) -> None:
    """Answer for some tokens, and accept all others."""
    provider.answer_each(lambda token, _: answers.get(token) or accepted(token))


def work_off_to_the_end(account: Account, process_queue: ProcessQueue) -> list[Json]:
    """Process the queue until it is empty, and list everything that was requeued."""
    seen: list[Json] = []
    while True:
        assert process_queue() == {"batchItemFailures": []}
        waiting = account.requeued()
        if not waiting:
            return seen
        seen.extend(waiting)
        assert len(seen) < 20, "it never ends"
        account.wait()


def test_only_throttled_recipients_are_requeued_with_a_delay_and_a_new_key(
    account: Account, process_queue: ProcessQueue, provider: Provider
) -> None:
    answering(provider, {"b": THROTTLED})
    request = to("a", "b", "c", idempotency_key="order-1", ttl=600, collapse_id="c")
    request["recipients"][1]["title"] = "own"
    before = time.time() * 1_000
    account.send(request)

    process_queue()

    (later,) = account.requeued()
    key = later["body"].pop("idempotency_key")
    assert later["body"] == {
        "recipients": [{"token": "b", "service": "APNS", "title": "own"}],
        "message": "m",
        "ttl": 600,
        "collapse_id": "c",
    }
    found = DERIVED.fullmatch(key)
    assert found is not None
    assert (found["root"], found["generation"]) == ("order-1", "1")
    assert later["attributes"]["push_sender.attempt"] == "1"
    assert (
        before - 1_000 <= int(later["attributes"]["push_sender.accepted_at"]) <= time.time() * 1_000
    )
    assert DELAY_SECONDS[0] / 2 <= later["delay"] <= DELAY_SECONDS[0]

    provider.reset()
    account.wait()
    process_queue()

    assert provider.tokens == ["b"]
    assert account.requeued() == []


def test_delays_grow_to_fifteen_minutes_and_then_the_request_is_dead_lettered(
    account: Account, process_queue: ProcessQueue, provider: Provider
) -> None:
    answering(provider, {"b": THROTTLED})
    account.send(to("a", "b", idempotency_key="order-1"))

    waits = work_off_to_the_end(account, process_queue)

    assert [int(one["attributes"]["push_sender.attempt"]) for one in waits] == list(
        range(1, ATTEMPTS + 1)
    )
    for one, bound in zip(waits, DELAY_SECONDS, strict=True):
        assert bound / 2 <= one["delay"] <= bound <= 900
    keys = [one["body"]["idempotency_key"] for one in waits]
    assert [DERIVED.fullmatch(key)["generation"] for key in keys] == [  # type: ignore[index]  # as above
        str(number) for number in range(1, ATTEMPTS + 1)
    ]
    (message,) = account.dead_letter_messages()
    assert message["attributes"]["reason"] == "transient"
    assert "push_sender.attempt" not in message["attributes"]
    body = json.loads(message["text"])
    assert body["recipients"] == [{"token": "b", "service": "APNS"}]
    assert body["idempotency_key"] not in [*keys, "order-1"]
    assert provider.tokens.count("a") == 1


@pytest.mark.parametrize(
    ("failure", "reason"), [(THROTTLED, "transient"), (MISCONFIGURED, "misconfigured")]
)
def test_a_redrive_within_a_day_sends_duplicate_dead_letter_messages_once(
    account: Account,
    push: Push,
    process_queue: ProcessQueue,
    provider: Provider,
    failure: Json,
    reason: str,
) -> None:
    answering(provider, {"b": failure})
    account.send_again(to("a", "b", idempotency_key="order-1"), attempt=ATTEMPTS)
    process_queue()
    (message,) = account.dead_letter_messages()
    assert message["attributes"]["reason"] == reason
    provider.reset()
    account.redrive()
    event = account.receive()

    push(event)
    account.delete(event, push(event))  # SQS delivered it twice
    account.sqs.send_message(QueueUrl=account.dead_letter_queue, MessageBody=message["text"])
    account.redrive()  # and a copy of it lay there, too
    process_queue()

    assert provider.tokens == ["b"]


def test_a_redriven_message_that_fails_again_restarts_its_attempts(
    account: Account, process_queue: ProcessQueue, provider: Provider
) -> None:
    answering(provider, {"b": THROTTLED})
    account.send_again(to("b"), attempt=ATTEMPTS)
    process_queue()
    account.redrive()

    process_queue()

    (later,) = account.requeued()
    assert later["attributes"]["push_sender.attempt"] == "1"
    assert account.dead_letter_messages() == []
    provider.reset()
    account.wait()
    process_queue()
    assert provider.tokens == ["b"]


def test_a_dead_letter_message_can_be_invoked_directly(
    account: Account, push: Push, process_queue: ProcessQueue, provider: Provider
) -> None:
    answering(provider, {"b": MISCONFIGURED})
    account.send(to("a", "b"))
    process_queue()
    (message,) = account.dead_letter_messages()
    provider.reset()

    report = push(json.loads(message["text"]))

    assert report["summary"] == {"recipients": 1, "accepted": 1}
    assert report["replayed"] is False


def test_misconfigured_and_throttled_recipients_are_put_away_under_different_keys(
    account: Account, process_queue: ProcessQueue, provider: Provider
) -> None:
    answering(provider, {"b": THROTTLED, "c": MISCONFIGURED})
    account.send(to("a", "b", "c"))

    process_queue()

    (later,), (message,) = account.requeued(), account.dead_letter_messages()
    assert [one["token"] for one in later["body"]["recipients"]] == ["b"]
    dead = json.loads(message["text"])
    assert [one["token"] for one in dead["recipients"]] == ["c"]
    assert dead["idempotency_key"] != later["body"]["idempotency_key"]


def test_recipients_unsent_at_the_deadline_are_requeued(
    account: Account,
    process_queue: ProcessQueue,
    provider: Provider,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SEND_CONCURRENCY", "1")
    provider.hang()
    account.send(to(*(f"t{n}" for n in range(150))))

    process_queue(seconds=5)

    (later,) = account.requeued()
    assert len(later["body"]["recipients"]) == 50  # the others were on their way
    failed = account.sent_events("Push Delivery Failed")
    assert [event["detail"]["failure"] for event in failed] == ["unknown"]
    assert len(failed[0]["detail"]["recipients"]) == 100


@pytest.mark.parametrize(
    "ttl", [{"ttl": 0}, {"ttl": 60, "apns": {"ttl": 0}}], ids=["of all", "of the service"]
)
def test_a_ttl_of_zero_is_never_requeued(
    account: Account, process_queue: ProcessQueue, provider: Provider, ttl: Json
) -> None:
    answering(provider, {"a": THROTTLED})
    account.send(to("a", **ttl))

    process_queue()

    assert (account.requeued(), account.dead_letter_messages()) == ([], [])
    (failed,) = account.sent_events("Push Delivery Failed")
    assert failed["detail"]["failure"] == "transient"


def test_the_ttl_of_requeued_recipients_keeps_running(
    account: Account, process_queue: ProcessQueue, provider: Provider
) -> None:
    accepted_at = round((time.time() - 500) * 1_000)
    account.send_again(to("a", ttl=600), attempt=2, accepted_at=accepted_at, request_id="first")
    account.send_again(to("b", ttl=300), attempt=2, accepted_at=accepted_at)

    process_queue()

    (call,) = provider.calls
    age = time.time() - accepted_at / 1_000  # at most, for it was sent before now
    assert 600 - age <= call["MessageConfiguration"]["APNSMessage"]["TimeToLive"] <= 100
    reports = account.sent_events("Push Report")
    assert reports[0]["detail"]["request_id"] == "first"
    # The last one: an event may arrive twice if the bus was slow to answer.
    assert reports[-1]["detail"]["summary"] == {"recipients": 1, "unsent": 1}


def test_requests_too_large_for_a_message_are_split_by_batches() -> None:
    everyone = [
        {"token": f"{n:04}{'t' * 1_500}", "service": "GCM" if n % 2 else "APNS"}
        for n in range(2_000)
    ]
    request = {"recipients": everyone, "message": "m"}

    split = messages_of(
        Submission(request, "id", 0), report_of_tokens(request), range(2_000), attempt=1
    )

    assert split.too_large == []
    assert max(dead_letter_message.size for dead_letter_message, _ in split.messages) <= 1_048_576
    assert sorted(at for _, positions in split.messages for at in positions) == list(range(2_000))
    bodies = [json.loads(dead_letter_message.body) for dead_letter_message, _ in split.messages]
    for body in bodies:
        services = Counter(one["service"] for one in body["recipients"])
        assert all(number % 100 == 0 for number in services.values())
    assert len(bodies) == 4
    assert len({body["idempotency_key"] for body in bodies}) == 4


def test_a_batch_larger_than_a_message_is_split_and_too_large_recipients_are_dropped() -> None:
    everyone = [
        {"token": f"t{n}", "service": "GCM", "context": {"c": "\u00fc\uffff" * 5_000}}
        for n in range(100)
    ]
    everyone[7]["context"] = {"c": "x" * 1_048_576}
    request = {"recipients": everyone, "message": "m"}

    split = messages_of(
        Submission(request, "id", 0), report_of_tokens(request), range(100), attempt=1
    )

    assert split.too_large == [7]
    assert max(dead_letter_message.size for dead_letter_message, _ in split.messages) <= 1_048_576
    result = [
        one
        for dead_letter_message, _ in split.messages
        for one in json.loads(dead_letter_message.body)["recipients"]
    ]
    assert result == [*everyone[:7], *everyone[8:]]
    assert "\uffff" not in split.messages[0][0].body, "SQS refuses it"


def test_splitting_is_deterministic() -> None:
    request = to("a", "b", "c")
    copy, report = json.loads(json.dumps(request)), report_of_tokens(request)
    first = messages_of(Submission(request, "id", 1), report, [0, 2], attempt=1)
    again = messages_of(Submission(copy, "id", 1), report, [0, 2], attempt=1)

    assert first == again


def test_derived_keys_fit_the_limit_and_differ_from_all_ancestors() -> None:
    recipients = [{"token": "t", "service": "GCM"}]
    for key in ("order", "o" * 256, "a#1.2#3.4", "#", "ü" * 256):
        keys = [key]
        for _ in range(50):
            keys.append(derived_key(keys[-1], recipients))
        assert len(set(keys)) == len(keys)
        assert max(map(len, keys)) <= 256
        assert DERIVED.fullmatch(keys[-1])["generation"] == "50" or "#" in key  # type: ignore[index]  # as above


def test_the_same_recipients_of_two_parts_of_a_request_get_different_keys() -> None:
    recipients = [{"token": "t", "service": "GCM"}]

    assert derived_key("order#1.2", recipients) != derived_key("order#1.3", recipients)


def test_direct_requeue_queues_unsent_recipients_and_reports_it(
    account: Account, push: Push, process_queue: ProcessQueue, provider: Provider
) -> None:
    answering(provider, {"b": THROTTLED, "c": MISCONFIGURED})

    report = push(to("a", "b", "c", requeue=True))

    assert [result["outcome"] for result in report["results"]] == [
        "accepted",
        "requeued",
        "misconfigured",
    ]
    assert report["summary"] == {
        "recipients": 3,
        "accepted": 1,
        "misconfigured": 1,
        "requeued": 1,
    }
    assert report["warnings"] == []
    assert (account.dead_letter_messages(), account.sent_events()) == ([], [])
    (later,) = account.requeued()
    assert later["body"]["idempotency_key"].startswith("6f1f2d3c-0000-4000-8000-000000000001#1.")
    provider.reset()
    account.wait()
    process_queue()
    assert provider.tokens == ["b"]


def test_a_repeated_direct_requeue_sends_nothing_twice(
    account: Account, push: Push, process_queue: ProcessQueue, provider: Provider
) -> None:
    answering(provider, {"b": THROTTLED})
    request = to("a", "b", requeue=True, idempotency_key="order-1")

    first, again = push(request), push(request)

    assert (first["replayed"], again["replayed"]) == (False, True)
    assert again["summary"] == first["summary"] == {"recipients": 2, "accepted": 1, "requeued": 1}
    provider.reset()
    account.wait()
    process_queue()
    assert provider.tokens == ["b"]


def test_direct_requeue_without_a_queue_gives_a_warning(push: Push, provider: Provider) -> None:
    answering(provider, {"a": THROTTLED})

    report = push(to("a", requeue=True))

    assert report["summary"] == {"recipients": 1, "transient": 1}
    assert [warning["path"] for warning in report["warnings"]] == ["requeue"]


def test_direct_requeue_with_an_unreachable_queue_keeps_the_outcome_and_warns(
    account: Account, push: Push, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", refusing_url())
    answering(provider, {"a": THROTTLED})
    began = time.monotonic()

    report = push(to("a", requeue=True), seconds=10)

    assert time.monotonic() - began < 10
    assert report["summary"] == {"recipients": 1, "transient": 1}
    (warning,) = report["warnings"]
    assert "out of reach" in warning["message"]


def test_a_request_too_large_for_one_message_is_requeued_in_several_messages(
    account: Account, push: Push, process_queue: ProcessQueue, provider: Provider
) -> None:
    provider.answer = lambda _: refused(429, "TooManyRequestsException")
    tokens = [f"{n:04}{'t' * 1_000}" for n in range(1_500)]

    report = push(to(*tokens, requeue=True), seconds=20)

    assert report["summary"] == {"recipients": 1_500, "requeued": 1_500}
    assert len(account.requeued()) == 2
    provider.reset()
    account.wait()
    process_queue()
    assert sorted(provider.tokens) == tokens


def test_if_requeuing_fails_the_message_fails_and_its_repetition_sends_nothing_again(
    account: Account,
    push: Push,
    process_queue: ProcessQueue,
    provider: Provider,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    moved = {**accepted("c"), "UpdatedToken": "new-place"}
    answering(provider, {"b": THROTTLED, "c": moved})
    message_id = account.send(to("a", "b", "c"))
    refusal = {"__type": "com.amazonaws.sqs#AccessDeniedException", "message": "KaNaRy"}
    with running_service(lambda _operation, _body: (403, refusal)) as refusing:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", refusing.url)

        assert process_queue() == {"batchItemFailures": [{"itemIdentifier": message_id}]}

    printed = capsys.readouterr().out
    assert "KaNaRy" not in printed
    (line,) = (line for line in log_lines(printed) if "message_id" in line)
    assert (line["error"], line["reason"]) == ("QueueUnavailable", "AccessDeniedException")
    # A repetition does not see the new token, so its event was sent before.
    (result,) = account.sent_events()
    assert result["detail"]["tokens"][0]["replacement_token"] == "new-place"
    calls = len(provider.calls)
    monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", account.url)
    account.wait()
    assert process_queue() == {"batchItemFailures": []}
    assert len(provider.calls) == calls
    assert len(account.requeued()) == 1


def test_requeued_and_dead_lettered_recipients_are_counted(
    account: Account,
    process_queue: ProcessQueue,
    provider: Provider,
    capsys: pytest.CaptureFixture[str],
) -> None:
    answering(provider, {"b": THROTTLED, "c": MISCONFIGURED, "d": MISCONFIGURED})
    account.send(to("a", "b", "c", "d"))

    process_queue()

    (record,) = (
        line for line in metric_lines(capsys.readouterr().out) if "push_service" not in line
    )
    assert record["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [["service"]]
    assert (record["PushesRequeued"], record["PushesDeadLettered"]) == ([1], [2])


DIES = (
    CONTEXT
    + """
import json, os, signal, sys
from push_sender.handler import handler

# Ended from outside by the service that it calls: nothing in here knows of it.
handler(json.load(sys.stdin), Context())
"""
)


@pytest.mark.parametrize("target", ["SQS", "EVENTBRIDGE"])
def test_after_a_kill_between_two_effects_no_push_is_repeated(
    account: Account, push: Push, process_queue: ProcessQueue, provider: Provider, target: str
) -> None:
    answering(provider, {"b": THROTTLED, "c": MISCONFIGURED})
    account.send(to("a", "b", "c", "d"))
    event = account.receive()
    process: list[subprocess.Popen[bytes]] = []

    def kill(_operation: str, _body: Json) -> tuple[int, Json]:
        process[0].send_signal(signal.SIGKILL)
        return 500, {}

    with running_service(kill) as deadly:
        environment = {
            **os.environ,
            "PYTHONPATH": str(LAMBDA_SOURCE),
            f"AWS_ENDPOINT_URL_{target}": deadly.url,
        }
        process.append(
            subprocess.Popen([sys.executable, "-c", DIES], stdin=subprocess.PIPE, env=environment)
        )
        process[0].communicate(json.dumps(event).encode(), timeout=60)
    assert process[0].returncode == -signal.SIGKILL
    calls = len(provider.calls)
    assert len(account.requeued()) == (0 if target == "SQS" else 1)

    account.delete(event, push(event))

    assert len(provider.calls) == calls
    sent = provider.tokens
    assert (sent.count("a"), sent.count("d")) == (1, 1)
    assert account.sent_events("Push Report")
    provider.reset()
    account.wait()
    account.redrive()
    process_queue()
    assert sorted(provider.tokens) == ["b", "c"]
