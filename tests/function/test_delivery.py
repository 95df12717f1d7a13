"""Batches, retries and the deadline, against a provider that misbehaves."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from typing import Any

import pytest

from push_sender.send_messages.push_service import SendMessages
from push_sender.settings import Settings
from tests.support.invocation import Push
from tests.support.loopback import Reply
from tests.support.provider import Json, Provider, accepted, refused, results
from tests.support.senders import Clock, sender

THROTTLED = {"DeliveryStatus": "THROTTLED", "StatusCode": 429, "StatusMessage": "slow down"}
TEMPORARY = {"DeliveryStatus": "TEMPORARY_FAILURE", "StatusCode": 500, "StatusMessage": "later"}


def to(*tokens: str, service: str = "GCM", **more: Any) -> Json:
    """Request a push to some tokens."""
    return {
        "recipients": [{"token": token, "service": service} for token in tokens],
        "message": "m",
        **more,
    }


@pytest.mark.parametrize("count", [1, 99, 100, 101, 250, 5_000])
def test_recipients_are_sent_once_in_calls_of_100_and_reported_in_order(
    push: Push, provider: Provider, count: int
) -> None:
    tokens = [f"token-{n}" for n in range(count)]

    report = push(to(*tokens))

    assert len(provider.calls) == math.ceil(count / 100)
    assert max(len(call["Addresses"]) for call in provider.calls) <= 100
    assert Counter(provider.tokens) == Counter(tokens)
    assert [result["token"] for result in report["results"]] == tokens
    assert report["summary"] == {"recipients": count, "accepted": count}


def test_one_token_under_two_services_goes_into_two_calls(push: Push, provider: Provider) -> None:
    services = ["APNS", "APNS_SANDBOX", "GCM", "FCM"]

    report = push({"recipients": [{"token": "t", "service": s} for s in services], "message": "m"})

    channels = sorted(call["Addresses"]["t"]["ChannelType"] for call in provider.calls)
    assert channels == ["APNS", "APNS_SANDBOX", "GCM"]
    assert [result["service"] for result in report["results"]] == [
        "APNS",
        "APNS_SANDBOX",
        "GCM",
        "GCM",
    ]
    assert report["summary"] == {"recipients": 4, "accepted": 3, "duplicate": 1}


def test_an_equal_second_entry_of_a_recipient_is_a_duplicate_and_not_sent(
    push: Push, provider: Provider
) -> None:
    report = push(to("a", "b", "a"))

    assert sorted(provider.tokens) == ["a", "b"]
    assert [result["outcome"] for result in report["results"]] == [
        "accepted",
        "accepted",
        "duplicate",
    ]
    assert report["results"][2]["attempts"] == 0
    assert report["results"][2]["delivery_status"] is None


def test_recipients_with_personal_texts_share_calls_with_others(
    push: Push, provider: Provider
) -> None:
    push(
        {
            "recipients": [
                {"token": "plain", "service": "APNS"},
                {"token": "own", "service": "APNS", "title": "Hi", "substitutions": {"n": "Ann"}},
            ],
            "message": "m",
        }
    )

    assert [call["Addresses"] for call in provider.calls] == [
        {
            "plain": {"ChannelType": "APNS"},
            "own": {"ChannelType": "APNS", "TitleOverride": "Hi", "Substitutions": {"n": ["Ann"]}},
        }
    ]


def test_a_call_stays_under_the_size_limit_of_the_service(push: Push, provider: Provider) -> None:
    own = {"names": ["é" * 200_000]}  # 1.2 MB on the wire each
    recipients = [{"token": f"t{n}", "service": "GCM", "substitutions": own} for n in range(10)]

    report = push({"recipients": recipients, "message": "m"})

    assert report["summary"]["accepted"] == 10
    assert [len(call["Addresses"]) for call in provider.calls] == [5, 5]


def test_a_recipient_too_large_for_a_call_is_refused_before_anything_is_sent(
    push: Push, provider: Provider
) -> None:
    from push_sender.request.errors import InvalidRequest

    large = {"names": ["é" * 1_200_000]}
    recipients = [
        {"token": "small", "service": "GCM"},
        {"token": "large", "service": "GCM", "substitutions": large},
    ]

    with pytest.raises(InvalidRequest, match=r"^recipients\[1\]: larger than the 7 MB"):
        push({"recipients": recipients, "message": "m"})
    with pytest.raises(InvalidRequest, match=r"^request: larger than the 7 MB"):
        push(to("small", substitutions=large))
    larger = {"token": "x", "service": "APNS", "substitutions": large}
    with pytest.raises(InvalidRequest) as refused:
        push({"recipients": [*recipients, larger], "message": "m"})
    assert [error.path for error in refused.value.errors] == ["recipients[1]", "recipients[2]"]
    with pytest.raises(InvalidRequest, match=r"^recipient: larger than the 7 MB"):
        push({"recipient": recipients[1], "message": "m"})
    assert provider.calls == []


def test_only_throttled_addresses_are_retried(push: Push, provider: Provider) -> None:
    seen: Counter[str] = Counter()

    def one(token: str, _: Json) -> Json:
        seen[token] += 1
        return THROTTLED if token == "slow" and seen[token] < 3 else accepted(token)

    provider.answer_each(one)
    report = push(to("fast", "slow"))

    assert [sorted(call["Addresses"]) for call in provider.calls] == [
        ["fast", "slow"],
        ["slow"],
        ["slow"],
    ]
    assert [(r["outcome"], r["attempts"]) for r in report["results"]] == [
        ("accepted", 1),
        ("accepted", 3),
    ]


@pytest.mark.parametrize("answer", [THROTTLED, TEMPORARY])
def test_addresses_throttled_in_every_attempt_end_as_transient(
    push: Push, provider: Provider, answer: Json
) -> None:
    provider.answer_each(lambda *_: answer)

    (result,) = push(to("t"))["results"]

    assert result["outcome"] == "transient"
    assert result["attempts"] == len(provider.calls) == 4
    assert result["delivery_status"] == answer["DeliveryStatus"]


@pytest.mark.parametrize(
    ("status", "code", "reason"),
    [
        (500, "InternalServerErrorException", "InternalServerErrorException"),
        (429, "TooManyRequestsException", "TooManyRequestsException"),
        (503, "", None),
    ],
)
def test_the_sdk_does_not_retry(
    push: Push, provider: Provider, status: int, code: str, reason: str | None
) -> None:
    provider.answer = lambda _: refused(status, code)

    report = push(to(*(f"t{n}" for n in range(150))))

    assert Counter(provider.tokens) == {
        result["token"]: result["attempts"] for result in report["results"]
    }
    assert {result["attempts"] for result in report["results"]} == {4}
    assert report["summary"] == {"recipients": 150, "transient": 150}
    assert {result["reason"] for result in report["results"]} == {reason}


def test_a_broken_connection_is_retried_and_then_unknown(push: Push, provider: Provider) -> None:
    provider.answer = lambda _: Reply(cut_off=True)

    (result,) = push(to("t"))["results"]

    assert result["outcome"] == "unknown"
    assert result["attempts"] == len(provider.calls) == 4
    assert result["reason"] == "ConnectionClosedError"


def test_a_call_that_may_have_arrived_is_never_transient(push: Push, provider: Provider) -> None:
    provider.answer = lambda _: (
        Reply(cut_off=True) if len(provider.calls) == 1 else refused(500, "x")
    )

    (result,) = push(to("t"))["results"]

    assert (result["outcome"], result["status_code"]) == ("unknown", 500)


def test_a_call_that_may_have_arrived_ends_with_the_next_answer_of_the_provider(
    push: Push, provider: Provider
) -> None:
    provider.answer = lambda call: (
        Reply(cut_off=True)
        if len(provider.calls) == 1
        else results({token: accepted(token) for token in call["Addresses"]})
    )

    (result,) = push(to("t"))["results"]

    assert (result["outcome"], result["attempts"]) == ("accepted", 2)


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"Result": 7}', b"[]", b"null", b'"text"'])
def test_an_invalid_answer_leaves_every_address_unknown(
    push: Push, provider: Provider, body: bytes
) -> None:
    provider.answer = lambda _: Reply(body=body)

    report = push(to("a", "b"))

    assert report["summary"] == {"recipients": 2, "unknown": 2}
    assert len(provider.calls) == 1


def test_a_refused_connection_ends_as_transient(
    push: Push, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_PINPOINT", "http://127.0.0.1:9")

    (result,) = push(to("t"))["results"]

    assert (result["outcome"], result["reason"]) == ("transient", "EndpointConnectionError")
    assert result["attempts"] == 4


def test_missing_credentials_are_a_configuration_error(
    push: Push, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    monkeypatch.setenv("AWS_REGION", "eu-west-1")  # another environment, so another client

    (result,) = push(to("t"))["results"]

    assert (result["outcome"], result["reason"]) == ("misconfigured", "NoCredentialsError")
    assert provider.calls == []


def test_if_every_call_hangs_the_report_says_unknown_and_unsent(
    push: Push, provider: Provider
) -> None:
    # That it is back in time is seen in the sandbox, where Lambda ends who is late.
    provider.hang()

    report = push(to(*(f"t{n}" for n in range(2_000))), seconds=5)

    named = Counter(provider.tokens)
    assert report["summary"] == {"recipients": 2_000, "unknown": 1_600, "unsent": 400}
    for result in report["results"]:
        assert result["attempts"] == named[result["token"]]
        assert result["outcome"] == ("unknown" if result["attempts"] else "unsent")
        # The call itself may end at the deadline, just before it is given up.
        reasons = (None, "ReadTimeoutError") if result["attempts"] else ("deadline",)
        assert result["reason"] in reasons


@pytest.mark.parametrize(
    ("name", "value", "at_once"),
    [
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128", 4),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512", 16),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "10240", 50),  # as many as there are
        ("SEND_CONCURRENCY", "3", 3),
        ("AWS_REGION", "eu-west-1", 16),  # neither is there
    ],
)
def test_concurrency_follows_the_setting_or_the_memory(
    push: Push,
    provider: Provider,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    value: str,
    at_once: int,
) -> None:
    monkeypatch.setenv(name, value)
    provider.hang()

    more = range(min(at_once * 100 + 200, 5_000))
    summary = push(to(*map(str, more)), seconds=5)["summary"]

    assert summary["unknown"] == at_once * 100


def test_concurrency_stays_within_what_one_cpu_can_handle() -> None:
    settings = Settings.from_environment({"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "10240"})

    assert settings.send_concurrency == 55


def test_an_invalid_concurrency_setting_is_refused(
    push: Push, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEND_CONCURRENCY", "many")

    with pytest.raises(ValueError, match="SEND_CONCURRENCY must be a whole number from 1 up"):
        push(to("t"))


def test_an_answer_that_arrived_counts_although_the_deadline_passed(
    provider: Provider, push: Push
) -> None:
    from push_sender.delivery.batches import Batch
    from push_sender.delivery.run import Delivery, Order
    from push_sender.send_messages.writer import MessageWriter
    from push_sender.validation.check import check

    request, audience, contents = check(to("a", "b", ttl=60), ["project"])
    batches = [Batch(group, [p]) for group, both in audience.positions.items() for p in both]
    answered = threading.Barrier(3)
    late = threading.Event()

    class Client:
        def send_messages(self, **call: Any) -> Any:
            answered.wait()
            addresses = call["MessageRequest"]["Addresses"]
            return {"MessageResponse": {"Result": {t: accepted(t) for t in addresses}}}

    delivery = Delivery(
        SendMessages(Client()), concurrency=2, clock=lambda: 99.0 if late.is_set() else 0.0
    )
    writer = MessageWriter(request, contents, "project")
    deliveries = delivery.deliver(
        Order(batches, audience.recipients, writer, deadline=10.0, accepted_at=0.0)
    )
    threading.Thread(target=answered.wait).start()
    first = next(deliveries)
    time.sleep(1)  # the other answer arrives while we are busy, past the deadline
    late.set()

    outcomes = [v.outcome for d in (first, *deliveries) for v in d.results.values()]
    assert outcomes == ["accepted", "accepted"]


def test_hanging_calls_take_no_worker_from_the_next_invocation(
    push: Push, provider: Provider
) -> None:
    provider.hang()
    push(to(*(f"t{n}" for n in range(1_600))), seconds=1)
    answered = {token: accepted(token) for token in ("a", "b")}
    provider.answer = lambda _: results(answered)

    report = push(to("a", "b"), seconds=20)

    assert report["summary"] == {"recipients": 2, "accepted": 2}


def test_a_slowly_dripping_answer_is_abandoned_at_the_deadline(
    push: Push, provider: Provider
) -> None:
    class Dripping(bytes):
        """A body whose length is announced and hardly sent."""

        def __len__(self) -> int:
            return 10_000

    provider.answer = lambda _: Reply(body=Dripping(b'{"Result": {'))

    report = push(to("t"), seconds=5)

    assert report["summary"] == {"recipients": 1, "unknown": 1}


def test_with_no_time_left_nothing_is_sent(push: Push, provider: Provider) -> None:
    report = push(to("a", "b"), seconds=0.1)

    assert provider.calls == []
    assert [(r["outcome"], r["reason"], r["attempts"]) for r in report["results"]] == [
        ("unsent", "deadline", 0)
    ] * 2


def test_a_ttl_that_ended_during_the_wait_is_reported_and_not_sent(
    push: Push, provider: Provider
) -> None:
    clock = Clock()

    def let_it_run_out() -> None:
        clock.ahead = 100

    under_way = threading.Barrier(16, let_it_run_out)

    def slow(call: Json) -> Reply:
        under_way.wait(timeout=60)
        return results({token: accepted(token) for token in call["Addresses"]})

    provider.answer = slow
    event = to(*(f"t{n}" for n in range(1_700)), ttl=100)

    report = sender(clock=clock, concurrency=16).send(event, deadline=clock() + 1_000)

    assert report["summary"] == {"recipients": 1_700, "accepted": 1_600, "unsent": 100}
    unsent = [result for result in report["results"] if result["outcome"] == "unsent"]
    assert {result["reason"] for result in unsent} == {"expired"}
    assert not {result["token"] for result in unsent} & set(provider.tokens)


def test_a_retry_sends_the_rest_of_the_ttl(push: Push, provider: Provider) -> None:
    clock = Clock()

    def slow_then_throttled(call: Json) -> Reply:
        clock.ahead += 1_000
        return results(dict.fromkeys(call["Addresses"], THROTTLED))

    provider.answer = slow_then_throttled
    event = to("t", ttl=2_500, service="ADM")

    sender(clock=clock).send(event, deadline=clock() + 10_000)

    lives = [
        int(call["MessageConfiguration"]["ADMMessage"]["ExpiresAfter"]) for call in provider.calls
    ]
    # Besides the thousand seconds a try takes a moment, and longer on a busy machine.
    assert lives[0] == 2_500
    assert 1_400 < lives[1] <= 1_500
    assert 400 < lives[2] <= 500


def test_a_ttl_of_zero_is_sent_unchanged(push: Push, provider: Provider) -> None:
    report = push(to("t", ttl=0))

    assert report["summary"]["accepted"] == 1
    assert provider.calls[0]["MessageConfiguration"]["GCMMessage"]["TimeToLive"] == 0
