"""The step of a child: its rows are sent, counted and listed."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # its stubs are not among the requirements
import pytest

from push_sender.jobs.errors import MostlyRefused, SourceChanged, SourceUnavailable
from push_sender.request.errors import InvalidRequest
from tests.support.devices import Registry
from tests.support.dynamodb import Table
from tests.support.invocation import log_lines
from tests.support.jobs import Forward, JobRunner, rows_of_tokens, sent_once
from tests.support.loopback import Reply
from tests.support.paths import REPOSITORY
from tests.support.provider import Json, Provider, accepted

SCHEMAS = {
    schema["title"]: schema
    for path in (REPOSITORY / "docs" / "events").glob("*.json")
    for schema in [json.loads(path.read_text())]
}

DEAD = {"DeliveryStatus": "PERMANENT_FAILURE", "StatusCode": 410, "StatusMessage": "Unregistered"}
REJECTED = {"DeliveryStatus": "PERMANENT_FAILURE", "StatusCode": 400, "StatusMessage": "bad"}


def test_each_row_of_a_file_is_sent_to_once_and_counted(
    jobs: JobRunner, provider: Provider
) -> None:
    tokens = [f"token-{n}" for n in range(2_500)]
    jobs.upload(rows_of_tokens(tokens))

    children = jobs.run()

    assert len(children) == 3
    assert sent_once(tokens, provider.tokens)
    assert jobs.summary() == {"accepted": 2_500, "rows": 2_500}
    assert jobs.item()["rows"] == 2_500
    assert jobs.lines() == []


def test_a_row_that_gets_no_push_is_listed_with_its_reason_and_holds_up_no_other(
    jobs: JobRunner, provider: Provider, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs.upload(
        "Address,ChannelType,OptOut,title\n"
        "good,GCM,NONE,\n"
        "mail@example.com,EMAIL,NONE,\n"
        "out,GCM,ALL,\n"
        ",GCM,NONE,\n"
        "odd,PIGEON,NONE,\n"
        "two words,GCM,NONE,\n"
        "good,GCM,NONE,other\n"
        "dead,APNS,NONE,\n"
    )
    provider.answer_each(lambda token, _: DEAD if token == "dead" else accepted(token))

    jobs.run()

    assert sent_once(["good", "dead"], provider.tokens)
    assert [(line["row"], line["token"], line["outcome"]) for line in jobs.lines()] == [
        (2, "mail@example.com", "skipped"),
        (3, "out", "skipped"),
        (4, None, "invalid_row"),
        (5, "odd", "invalid_row"),
        (6, "two words", "invalid_row"),
        (7, "good", "duplicate"),
        (8, "dead", "dead_token"),
    ]
    reasons = [line["reason"] for line in jobs.lines()]
    assert reasons[0] == "no_push_channel"
    assert reasons[1] == "opted_out"
    assert reasons[4] == "token: must be 1 to 2,048 printable ASCII characters without spaces"
    assert jobs.summary() == {
        "accepted": 1,
        "dead_token": 1,
        "duplicate": 1,
        "invalid_row": 3,
        "rows": 8,
        "skipped": 2,
    }
    (event,) = jobs.account.sent_events("Push Token Update")
    assert (event["detail"]["job"], event["detail"]["request_id"]) == ("spring", "job/spring/1")
    output = capsys.readouterr().out
    (line,) = [line for line in log_lines(output) if line["message"] == "job rows handled"]
    assert (line["job"], line["first_row"], line["replayed"]) == ("spring", 1, False)
    assert line["counts"] == {"rows": 8, **{k: v for k, v in jobs.summary().items() if k != "rows"}}
    assert not [word for word in ("two words", "mail@", "odd", "PIGEON") if word in output]


def test_the_events_of_requeued_rows_name_the_job(
    jobs: JobRunner, provider: Provider, process_queue: Any
) -> None:
    jobs.upload(rows_of_tokens(["late"]))
    throttled = {"DeliveryStatus": "THROTTLED", "StatusCode": 429, "StatusMessage": "slow"}
    provider.answer_each(lambda token, _: throttled)
    jobs.run()
    provider.answer_each(lambda token, _: DEAD)
    jobs.account.wait()

    process_queue()

    events = jobs.account.sent_events()
    for event in events:
        jsonschema.validate(event, SCHEMAS[event["detail-type"]])
    assert {event["detail-type"] for event in events} == {"Push Token Update", "Push Report"}
    assert {event["detail"]["job"] for event in events} == {"spring"}


def test_a_message_that_only_looks_like_rows_of_a_job_is_no_part_of_it(
    jobs: JobRunner, process_queue: Any
) -> None:
    request = {"recipient": {"token": "t", "service": "GCM"}, "message": "m"}
    envelope = {"id": "job/spring/1", "source": "shop", "detail-type": "Any", "detail": request}
    jobs.account.send(envelope)

    process_queue()

    (report,) = jobs.account.sent_events("Push Report")
    assert report["detail"]["request_id"] == "job/spring/1"
    assert "job" not in report["detail"]


def test_a_child_waits_for_the_rest_of_its_slot(jobs: JobRunner) -> None:
    jobs.upload(rows_of_tokens([f"t-{n}" for n in range(1_000)]))
    (child,) = jobs.children(jobs.begin(tokens_per_second=100))

    waits = jobs.child(child)["wait"], jobs.child({**child, "range": {**child["range"], "wait": 4}})

    assert 7 <= waits[0] <= 10
    assert waits[1]["wait"] <= 6


def test_a_dry_run_checks_everything_sends_nothing_and_keeps_no_key(
    jobs: JobRunner, provider: Provider
) -> None:
    jobs.upload(rows_of_tokens(["a", "b c", "d"]))

    jobs.run(dry_run=True)

    assert provider.calls == []
    assert jobs.summary() == {"invalid_row": 1, "rows": 3, "unsent": 2}
    assert [line["reason"] for line in jobs.lines()][::2] == ["dry_run", "dry_run"]
    assert not [item for item in jobs.items() if "fingerprint" in item]


def test_a_dry_run_has_room_for_the_largest_rows(jobs: JobRunner) -> None:
    """Its calls, which nobody reads, would pass what an answer may have."""
    text, request = "é" * 1_800, {"message": "m", "gcm": {"format": "fcm_v1"}}
    rows = [
        json.dumps({"token": f"t{n}", "service": "GCM", "data": {"k": text}}) for n in range(900)
    ]
    jobs.upload("\n".join(rows), "uploads/people.jsonl")

    for child in jobs.children(
        jobs.begin(dry_run=True, key="uploads/people.jsonl", request=request)
    ):
        jobs.child(child)

    assert jobs.summary() == {"rows": 900, "unsent": 900}


@pytest.mark.parametrize("beside", [["android,GCM"], []])
def test_rows_of_a_service_for_which_the_request_is_wrong_hold_up_no_other_service(
    jobs: JobRunner, provider: Provider, beside: list[str]
) -> None:
    rows = [*(f"android-{n},GCM" for n in range(1_000)), *beside, "iphone,APNS"]
    jobs.upload("token,service\n" + "\n".join(rows))
    request = {"title": "Hello", "apns": {"subtitle": "only in the native format"}}

    jobs.run(request=request)

    assert sent_once([row.partition(",")[0] for row in rows[:-1]], provider.tokens)
    assert jobs.summary() == {"accepted": len(rows) - 1, "invalid_row": 1, "rows": len(rows)}
    (line,) = jobs.lines(first_row=1_001)
    assert (line["row"], line["outcome"]) == (len(rows), "invalid_row")
    assert line["reason"].startswith("apns.subtitle: ")


@pytest.mark.parametrize(
    ("answers", "is_refused"),
    [("rrra", True), ("rraa", False), ("ra", False), ("r", True), ("a", False)],
)
def test_a_child_fails_if_over_half_is_refused(
    jobs: JobRunner, provider: Provider, answers: str, is_refused: bool
) -> None:
    jobs.upload(rows_of_tokens([f"{each}{n}" for n, each in enumerate(answers)]))
    provider.answer_each(lambda token, _: REJECTED if token[0] == "r" else accepted(token))
    (child,) = jobs.children(jobs.begin())

    if is_refused:
        with pytest.raises(MostlyRefused):
            jobs.child(child)
    else:
        jobs.child(child)

    assert jobs.summary()["rows"] == len(answers)
    assert len(jobs.lines()) == answers.count("r")


def test_a_file_that_was_changed_or_deleted_meanwhile_is_not_sent(
    jobs: JobRunner, provider: Provider
) -> None:
    jobs.upload(rows_of_tokens(["a"]))
    (child,) = jobs.children(jobs.begin())
    jobs.upload(rows_of_tokens(["b"]))
    with pytest.raises(SourceChanged):
        jobs.child(child)
    jobs.delete("uploads/people.csv")
    with pytest.raises(SourceChanged):
        jobs.child(child)

    assert provider.calls == []
    assert jobs.summary() == {}


def changed(**headers: str) -> Callable[[Reply], Reply]:
    """Change headers of an answer."""

    def change(reply: Reply) -> Reply:
        known = {name.lower(): text for name, text in reply.headers.items()}
        given = {name.lower(): text for name, text in headers.items()}
        return Reply(reply.status, reply.body, known | given)

    return change


def refused(code: str) -> Reply:
    """Refuse a call, in S3's way."""
    return Reply(403, f"<Error><Code>{code}</Code></Error>".encode())


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda _: Reply(500, b"<html>"), SourceUnavailable),
        (lambda _: Reply(503, b'<?xml version="1.0"?><Error><Code>SlowDown'), SourceUnavailable),
        (lambda _: Reply(cut_off=True), SourceUnavailable),
        (lambda _: Reply(200, b""), SourceUnavailable),
        (lambda _: Reply(200, b"{}" * 2_500_000), SourceUnavailable),
        (lambda reply: Reply(206, reply.body[:-1], reply.headers), SourceUnavailable),
        (changed(**{"Content-Range": "bytes 0-1/2"}), SourceUnavailable),
        (changed(**{"Content-Range": "odd"}), SourceUnavailable),
        (changed(ETag='"another"'), SourceChanged),
        (lambda _: refused("SignatureDoesNotMatch"), SourceUnavailable),
        (lambda _: refused("AccessDenied"), SourceChanged),
    ],
    ids=[
        "500", "not XML", "no answer", "no headers", "too large", "cut body", "another range",
        "odd range", "another ETag", "odd clock", "refused",
    ],
)  # fmt: skip
def test_an_odd_answer_of_s3_sends_nothing(
    jobs: JobRunner, provider: Provider, change: Callable[[Reply], Reply], error: type[Exception]
) -> None:
    jobs.upload(rows_of_tokens(["a", "b"]))
    (child,) = jobs.children(jobs.begin())
    jobs.proxy.answer = lambda operation, forward: (
        change(forward()) if operation == "GetObject" else forward()
    )

    with pytest.raises(error):
        jobs.child(child)

    assert provider.calls == []
    jobs.proxy.recover()
    jobs.child(child)
    assert jobs.summary() == {"accepted": 2, "rows": 2}


def test_a_hanging_s3_ends_the_step_in_time(jobs: JobRunner, provider: Provider) -> None:
    jobs.upload(rows_of_tokens(["a"]))
    (child,) = jobs.children(jobs.begin())

    def hang(_: str, __: Forward) -> Reply:
        time.sleep(4.2)  # longer than a call may take
        return Reply(cut_off=True)

    jobs.proxy.answer = hang
    with pytest.raises(SourceUnavailable):
        jobs.child(child, seconds=13)

    assert provider.calls == []


def test_a_transaction_that_conflicts_is_tried_again_until_it_counts(jobs: JobRunner) -> None:
    jobs.upload(rows_of_tokens(["a", "b"]))
    (child,) = jobs.children(jobs.begin())
    refusals = iter(["TransactionConflict", "ThrottlingError", "ConditionalCheckFailed"])

    def answer(operation: str, forward: Forward) -> Reply:
        if operation != "TransactWriteItems" or (code := next(refusals, None)) is None:
            return forward()
        body = {
            "__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException",
            "CancellationReasons": [{"Code": "None"}, {"Code": code}],
        }
        return Reply(400, json.dumps(body).encode())

    jobs.proxy.answer = answer
    jobs.child(child)

    assert jobs.summary() == {"accepted": 2, "rows": 2}
    assert jobs.proxy.calls.count("TransactWriteItems") == 4


def test_a_step_that_no_state_machine_asked_for_is_refused(jobs: JobRunner) -> None:
    payloads: list[Json] = [
        {"job_step": "other"},
        {"job_step": "rows"},
        {"job_step": "rows", "bucket": "b", "plan": {}, "range": {}},
        {"job_step": "rows", "bucket": "b", "plan": [], "range": None},
        {"job_step": "index", "bucket": "b"},
        {"job_step": "index", "bucket": 1, "execution": {}},
    ]
    for payload in payloads:
        with pytest.raises(InvalidRequest):
            jobs.child(payload)


def test_users_are_sent_to_on_all_their_devices_and_listed_with_them(
    jobs: JobRunner, provider: Provider, registry: Registry, table: Table
) -> None:
    for user, device, service in [("u1", "d1", "GCM"), ("u1", "d2", "APNS"), ("u2", "d3", "GCM")]:
        registry.put(device, {"token": f"token-{device}", "service": service, "user_id": user})
    jobs.account.table = table.name
    jobs.upload(
        "user_id,device_id,token,service\nu1,,,\nu2,d3,,\nu3,,,\nu1,,,\nu2,,,\n,,token-d9,GCM\nu1,d2,,\n"
    )
    provider.answer_each(lambda token, _: DEAD if token == "token-d2" else accepted(token))

    jobs.run()

    assert sent_once(["token-d1", "token-d2", "token-d3", "token-d9"], provider.tokens)
    lines = [
        (line["row"], line["user_id"], line["device_id"], line["outcome"], line["reason"])
        for line in jobs.lines()
    ]
    assert lines == [
        (1, "u1", "d2", "dead_token", "Unregistered"),
        (3, "u3", None, "no_device", "none_registered"),
        (4, "u1", None, "duplicate", None),
        (5, "u2", None, "invalid_row", "device_of_user_listed_before"),
        (7, "u1", "d2", "duplicate", None),
    ]
    assert jobs.summary()["rows"] == 7
    assert jobs.summary()["accepted"] == 3


def test_many_users_are_sent_in_parts_that_are_the_same_when_repeated(
    jobs: JobRunner, provider: Provider, registry: Registry, table: Table
) -> None:
    for n in (1, 199, 200, 201, 450):
        registry.put(f"d{n}", {"token": f"token-{n}", "service": "GCM", "user_id": f"u{n}"})
    jobs.account.table = table.name
    jobs.upload("user_id\n" + "".join(f"u{n}\n" for n in range(1, 451)))

    (child,) = jobs.run(request={"message": "m", "device_filter": {"services": ["GCM"]}})
    jobs.child(child)

    assert sent_once([f"token-{n}" for n in (1, 199, 200, 201, 450)], provider.tokens)
    assert jobs.summary() == {"accepted": 5, "no_device": 445, "rows": 450}
    assert len([item for item in jobs.items() if "fingerprint" in item]) == 3
