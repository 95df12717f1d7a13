"""Whatever a service answers is the result of that call, and of nothing else."""

from __future__ import annotations

import gzip
import itertools
import json
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from botocore.retries import standard

from push_sender.delivery.run import Delivery
from push_sender.outcomes.classification import classify_error
from push_sender.outcomes.outcome import Outcome
from push_sender.request.errors import IdempotencyStoreUnavailable
from push_sender.send_messages.client import pinpoint_client
from push_sender.send_messages.push_service import SendMessages
from push_sender.sender import Sender
from tests.support.account import Account
from tests.support.dynamodb import Table
from tests.support.function_process import function_environment
from tests.support.invocation import PROJECT, Push
from tests.support.loopback import Reply
from tests.support.provider import Json, Provider, accepted, refused, results
from tests.support.raw_http import answering, read_request, serving

THROTTLED = {"DeliveryStatus": "THROTTLED", "StatusCode": 429}


def to(count: int, **more: Any) -> Json:
    """Request a push to so many tokens."""
    recipients = [{"token": f"t{n}", "service": "GCM"} for n in range(count)]
    return {"recipients": recipients, "message": "m", **more}


def raw(status: int, body: bytes, headers: bytes = b"") -> bytes:
    """Write an answer as it goes over the wire."""
    head = b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n%b\r\n"
    return head % (status, len(body), headers) + body


def of_one(**result: Any) -> Reply:
    """Answer with a result of any form for the token t0."""
    return results({"t0": result})


ODD: dict[str, tuple[Reply, str]] = {
    **{
        f"{status} with {body!r}": (Reply(status, body), outcome)
        for status, outcome in ((503, "transient"), (403, "misconfigured"), (401, "misconfigured"))
        for body in (b"null", b'"busy"', b"[]", b"7", b"", b"<p>nicht verf\xfcgbar", b"[" * 9_000)
    },
    **{
        f"400 with {body!r}": (Reply(400, body), "rejected")
        for body in (
            b'{"message": 5}', b'{"Message": true}', b'{"message": {"a": 1}}', b'{"__type": 5}',
            b'{"code": []}', b'{"Code": {}}', b"null",
        )
    },
    **{
        f"200 with {body[:20]!r}": (Reply(200, body), "unknown")
        for body in (
            b"null", b"[]", b"5", b'"x"', b"", b"<html>", b'{"Result": null}', b'{"Result": []}',
            b'{"Result": {"\xff": {}}}', b"[" * 9_000, '{"Result": {}}'.encode("utf-16"),
            b'{"Result": {"t0": {"DeliveryStatus": "SUCCESSFUL", "StatusCode": ' + b"9" * 5_000,
        )
    },
    "a code that is none": (Reply(400, b"{}", {"x-amzn-ErrorType": ":http"}), "rejected"),
    "a status of another kind": (of_one(DeliveryStatus=["SUCCESSFUL"]), "unknown"),
    "a result of another kind": (results({"t0": 7}), "unknown"),
    "half a surrogate pair": (
        of_one(DeliveryStatus="SUCCESSFUL", StatusCode=200, MessageId="\ud800"),
        "accepted",
    ),
    "nested too deeply": (
        Reply(
            200,
            b'{"Result": {"t0": {"DeliveryStatus": "PERMANENT_FAILURE", "StatusMessage":'
            + b"[" * 9_000 + b"]" * 9_000 + b"}}}",
        ),
        "rejected",
    ),
    "not a number": (
        Reply(200, b'{"Result": {"t0": {"DeliveryStatus": "UNKNOWN", "StatusCode": NaN}}}'),
        "unknown",
    ),
}  # fmt: skip


def test_an_odd_answer_affects_only_its_call(push: Push, provider: Provider) -> None:
    replies = [reply for reply, _ in ODD.values()]
    usual = provider.answer

    def answer(call: Json) -> Reply:
        first = next(iter(call["Addresses"]))
        number = int(first[1:]) // 100
        if number >= len(replies):
            return usual(call)
        reply = replies[number]
        return replace(reply, body=reply.body.replace(b'"t0"', b'"%b"' % first.encode()))

    provider.answer = answer
    report = push(to(len(replies) * 100 + 200))

    firsts = report["results"][::100]
    outcomes = {name: result["outcome"] for name, result in zip(ODD, firsts, strict=False)}
    assert outcomes == {name: outcome for name, (_, outcome) in ODD.items()}
    assert [result["outcome"] for result in report["results"][-200:]] == ["accepted"] * 200
    json.dumps(report, ensure_ascii=False).encode()  # it can be written
    named = Counter(provider.tokens)
    for result in firsts:
        assert named[result["token"]] == result["attempts"]
        assert result["attempts"] == (4 if result["outcome"] == "transient" else 1)


@pytest.mark.parametrize(
    ("odd", "outcome"),
    [
        (Reply(503, b'"busy"'), "accepted"),  # tried again
        (Reply(200, gzip.compress(b"{}")[:-6], {"Content-Encoding": "gzip"}), "unknown"),
        (Reply(200, b'{"Result": {"\xff": {}}}'), "unknown"),
    ],
)
def test_an_odd_answer_does_not_affect_other_batches(
    push: Push, provider: Provider, odd: Reply, outcome: str
) -> None:
    usual = provider.answer
    met = threading.Event()

    def answer(call: Json) -> Reply:
        if "t0" in call["Addresses"] and not met.is_set():
            met.set()
            return odd
        return usual(call)

    provider.answer = answer
    report = push(to(2_000))

    outcomes = Counter(result["outcome"] for result in report["results"][100:])
    assert outcomes == {"accepted": 1_900}
    assert {result["outcome"] for result in report["results"][:100]} == {outcome}
    assert len(provider.calls) == (21 if outcome == "accepted" else 20)


class Failing:
    """An observer that cannot take note, as a log on a full disk."""

    def delivered(self, *_: object) -> None:
        raise OSError("no space left")

    def without_call(self, *_: object) -> None: ...

    def scheduled(self, *_: object) -> None: ...

    def not_remembered(self, reason: str) -> None: ...


def test_nothing_is_sent_after_an_exception(push: Push, provider: Provider) -> None:
    usual = provider.answer
    raised = threading.Event()

    def answer(call: Json) -> Reply:
        if len(provider.calls) > 1:
            raised.wait(10)
        return usual(call)

    provider.answer = answer
    delivery = Delivery(
        SendMessages(pinpoint_client("us-east-1", 2)), concurrency=2, clock=time.monotonic
    )
    sender = Sender(delivery, application_ids=[PROJECT], clock=time.monotonic, observer=Failing())

    with pytest.raises(OSError, match="no space left"):
        sender.send(to(1_000), deadline=time.monotonic() + 30)
    delivery._workers.shutdown(wait=False)
    raised.set()
    push(to(1))

    assert len(provider.calls) <= 4  # those under way when it was raised, and the one after


# --- what an earlier attempt may have done


@pytest.mark.parametrize(
    "second",
    [
        refused(403, "AccessDeniedException"),
        refused(400, "BadRequestException"),
        refused(404, "NotFoundException"),
        refused(429, "TooManyRequestsException"),
        Reply(503, b"null"),
        Reply(302, b""),
        of_one(DeliveryStatus="PERMANENT_FAILURE", StatusCode=400, StatusMessage="no"),
        of_one(DeliveryStatus="PERMANENT_FAILURE", StatusCode=403),
        of_one(DeliveryStatus="THROTTLED", StatusCode=429),
        results({}),
    ],
    ids=lambda reply: f"{reply.status} {reply.body[:80]!r}",
)
def test_no_later_refusal_overrides_an_earlier_unknown(
    push: Push, provider: Provider, account: Account, second: Reply
) -> None:
    lost = Reply(cut_off=True)
    provider.answer = lambda _: lost if len(provider.calls) == 1 else second

    report = push(to(1, idempotency_key="order-1", requeue=True))

    assert report["summary"] == {"recipients": 1, "unknown": 1}
    assert account.receive()["Records"] == []
    provider.reset()
    again = push(to(1, idempotency_key="order-1", requeue=True))
    assert (again["replayed"], provider.calls) == (True, [])


@pytest.mark.parametrize(
    ("second", "outcome"),
    [
        (accepted("t0"), "accepted"),
        ({"DeliveryStatus": "DUPLICATE", "StatusCode": 200}, "duplicate"),
        ({"DeliveryStatus": "OPT_OUT", "StatusCode": 200}, "opted_out"),
        (
            {"DeliveryStatus": "PERMANENT_FAILURE", "StatusCode": 410, "StatusMessage": "X"},
            "unknown",
        ),
        (
            {
                "DeliveryStatus": "PERMANENT_FAILURE",
                "StatusCode": 410,
                "StatusMessage": '{"pushProviderError": "Unregistered"}',
            },
            "dead_token",
        ),
    ],
)
def test_a_later_clear_answer_decides_the_outcome(
    push: Push, provider: Provider, second: Json, outcome: str
) -> None:
    lost = Reply(cut_off=True)
    provider.answer = lambda _: lost if len(provider.calls) == 1 else results({"t0": second})

    (result,) = push(to(1))["results"]

    assert (result["outcome"], result["attempts"]) == (outcome, 2)


# --- refusals of whole calls


def test_botocores_own_lists_of_throttling_and_transient_codes_are_transient() -> None:
    lists: Any = standard  # its stubs know none of them
    codes = {
        *lists.ThrottledRetryableChecker._THROTTLED_ERROR_CODES,
        *lists.TransientRetryableChecker._TRANSIENT_ERROR_CODES,
    }

    assert {classify_error(code, 400, None).outcome for code in codes} == {Outcome.TRANSIENT}


@pytest.mark.parametrize(
    ("status", "code", "outcome"),
    [
        *((status, "", "transient") for status in (408, 421, 425, 429, 500, 501, 502, 504, 599)),
        *((status, "", "misconfigured") for status in (300, 301, 302, 304, 307, 308)),
        *((status, "", "misconfigured") for status in (401, 402, 403, 404, 405, 407, 410, 451)),
        *((status, "", "rejected") for status in (400, 413, 422)),
        *((status, "", "unknown") for status in (101, 200, 204)),
        *((400, code, "transient") for code in ("Throttling", "RequestTimeout", "SlowDown")),
        *(
            (400, code, "misconfigured")
            for code in ("RequestExpired", "IncompleteSignatureException", "OptInRequired")
        ),
        (403, "RequestTimeTooSkewed", "misconfigured"),
        (400, "SomethingNewAboutTheMessage", "rejected"),
    ],
)
def test_only_errors_about_the_message_are_rejected(status: int, code: str, outcome: str) -> None:
    assert classify_error(code, status, None).outcome == outcome


# --- credentials


def test_expired_credentials_in_a_warm_process_are_renewed_and_the_call_retried(
    push: Push, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    signed: list[str] = []
    expired = raw(403, b"{}", b"x-amzn-ErrorType: ExpiredTokenException\r\n")

    def talk(connection: Any) -> None:
        while request := read_request(connection):
            head, _, body = request.partition(b"\r\n\r\n")
            signed.append("new" if b"Credential=new/" in head else "old")
            tokens = json.loads(body)["Addresses"]
            answer = json.dumps({"Result": {token: accepted(token) for token in tokens}})
            is_valid = signed[-1] == "new" or len(signed) == 1
            connection.sendall(raw(200, answer.encode()) if is_valid else expired)

    with serving(talk) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_PINPOINT", server.url)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "old")
        monkeypatch.setenv("AWS_SESSION_TOKEN", "old")
        assert push(to(1))["summary"]["accepted"] == 1

        (refused,) = push(to(1))["results"]
        assert (refused["outcome"], refused["reason"]) == ("misconfigured", "ExpiredTokenException")
        assert signed == ["old", "old"]  # with the same credentials it is not repeated

        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "new")
        monkeypatch.setenv("AWS_SESSION_TOKEN", "new")
        assert push(to(300))["summary"] == {"recipients": 300, "accepted": 300}
        assert push(to(1))["results"][0]["attempts"] == 1

    # Of three calls at once each was refused at most once; the last was signed anew at once.
    assert Counter(signed[2:])["new"] == 4
    assert Counter(signed[2:])["old"] <= 3


# --- the other services


ODD_ELSEWHERE = {
    "null": raw(503, b"null"),
    "text": raw(503, b'"busy"'),
    "no UTF-8": raw(503, gzip.compress(b"x")),
    "a page": raw(502, b"<html>nicht verf\xfcgbar"),
    "nothing": b"",
    "no HTTP": b"220 ready\r\n\r\n",
    "success that is null": raw(200, b"null"),
    "success that is a list": raw(200, b"[]"),
    "success of another shape": raw(200, b'{"Entries": 7, "Responses": 7}'),
    "success that is no UTF-8": raw(200, b"\xff"),
    "403": raw(403, b"[]"),
    "302": raw(302, b"", b"Location: http://127.0.0.1:1/\r\n"),
}


@pytest.mark.parametrize("name", ODD_ELSEWHERE)
def test_an_odd_last_answer_of_the_table_does_not_lose_the_report(
    push: Push, provider: Provider, table: Table, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    asked = itertools.count()

    def talk(connection: socket.socket) -> None:
        while read_request(connection):
            if next(asked) == 0:  # the claim
                connection.sendall(raw(200, b"{}"))
            else:
                connection.sendall(ODD_ELSEWHERE[name])
                connection.close()
                return

    with serving(talk) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", server.url)
        report = push(to(1, idempotency_key="k"), seconds=10)

    assert report["summary"] == {"recipients": 1, "accepted": 1}
    is_kept = name.startswith("success")
    assert [warning["path"] for warning in report["warnings"]] == ["idempotency_key"] * (
        not is_kept
    )


@pytest.mark.parametrize("name", ["null", "no UTF-8", "nothing", "success that is null", "403"])
def test_an_odd_answer_of_the_queue_does_not_lose_the_report(
    push: Push, provider: Provider, account: Account, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    provider.answer_each(lambda token, _: accepted(token) if token == "t0" else THROTTLED)
    with serving(answering(ODD_ELSEWHERE[name], then_close=True)) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", server.url)
        report = push(to(2, requeue=True), seconds=10)

    last = "requeued" if name.startswith("success") else "transient"
    assert [result["outcome"] for result in report["results"]] == ["accepted", last]


@pytest.mark.parametrize("name", ["null", "text", "no UTF-8", "nothing", "403"])
def test_if_the_claim_fails_nothing_is_sent(
    push: Push, provider: Provider, account: Account, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    with serving(answering(ODD_ELSEWHERE[name], then_close=True)) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", server.url)
        with pytest.raises(IdempotencyStoreUnavailable):
            push(to(1, idempotency_key="k"))

    assert provider.calls == []


@pytest.mark.parametrize("service", ["SQS", "EVENTBRIDGE"])
@pytest.mark.parametrize("name", ["null", "no UTF-8", "success that is null", "403"])
def test_a_message_never_returns_for_a_push_that_was_answered(
    push: Push,
    provider: Provider,
    account: Account,
    monkeypatch: pytest.MonkeyPatch,
    service: str,
    name: str,
) -> None:
    account.send(to(2))
    event = account.receive()
    with serving(answering(ODD_ELSEWHERE[name], then_close=True)) as server:
        monkeypatch.setenv(f"AWS_ENDPOINT_URL_{service}", server.url)
        push(event)
        push(event)

    assert Counter(provider.tokens) == {"t0": 1, "t1": 1}


# --- in time, whatever hangs


HANGING_NAMES = """
import json, sys, threading, time
started = time.monotonic()

class Context:
    aws_request_id = "request"
    def get_remaining_time_in_millis(self):
        return max(0, int((started + SECONDS - time.monotonic()) * 1000))

SECONDS = 1
from push_sender.handler import handler
everyone = [{"token": f"t{n}", "service": "GCM"} for n in range(int(sys.argv[1]))]
runs = []
for _ in range(3):
    started = time.monotonic()
    report = handler({"recipients": everyone, "message": "m"}, Context())
    left = Context().get_remaining_time_in_millis()
    look_ups = sum(thread.name == "names" for thread in threading.enumerate())
    runs.append([report["summary"], left > 0, look_ups])
print(json.dumps(runs), flush=True)
import os
os._exit(0)  # a look-up that hangs cannot be joined
"""


UNSHARE = shutil.which("unshare") or "unshare"


def _can_unshare() -> bool:
    try:
        return subprocess.run([UNSHARE, "-m", "true"], check=False).returncode == 0
    except OSError:
        return False


@pytest.mark.skipif(not _can_unshare(), reason="needs the right to make a mount namespace")
@pytest.mark.parametrize("recipients", [1, 150])
def test_a_report_is_in_time_while_name_resolution_hangs(tmp_path: Path, recipients: int) -> None:
    resolver = tmp_path / "resolv.conf"
    program = tmp_path / "program.py"
    program.write_text(HANGING_NAMES)
    script = (
        f"mount --bind {resolver} /etc/resolv.conf && exec {sys.executable} {program} {recipients}"
    )
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.77", 53))
        resolver.write_text("nameserver 127.0.0.77\noptions timeout:30\n")
        process = subprocess.run(
            [UNSHARE, "-m", "sh", "-c", script],
            env=function_environment(AWS_ENDPOINT_URL_PINPOINT="http://pinpoint.test"),
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )

    runs = json.loads(process.stdout.splitlines()[-1])
    for summary, is_in_time, _ in runs:
        assert summary == {"recipients": recipients, "unsent": recipients}
        assert is_in_time
    assert max(look_ups for *_, look_ups in runs) == 1
