"""Requests with ``send_at``: the schedule, what fires, what is refused, what fails, the cancel.

Scheduler is the sandbox's, which checks each call against botocore's model of the API.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from hashlib import sha256
from typing import Any

import pytest

from push_sender.request.errors import IdempotencyConflict, InvalidRequest, SchedulerUnavailable
from sandbox.services import patched_moto
from tests.support.account import Account, running_account
from tests.support.api_gateway import Answer, event, read
from tests.support.invocation import PROJECT, ProcessQueue, Push, log_lines
from tests.support.loopback import Reply
from tests.support.provider import Json, Provider
from tests.support.scheduler import GROUP, ROLE, Forward, Scheduler, refusing, running_scheduler

DAY = 86_400


@pytest.fixture(scope="module")
def _account() -> Iterator[tuple[Account, Scheduler]]:
    # One for all tests, so that the function keeps its clients.
    with (
        patched_moto(),
        running_account() as account,
        running_scheduler(account) as scheduler,
    ):
        yield account, scheduler


@pytest.fixture
def account(
    _account: tuple[Account, Scheduler], push: Push, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Account]:
    """Give ``push`` queues, a bus and a table of keys of the sandbox, all empty."""
    running, _ = _account
    for name, value in running.environment().items():
        monkeypatch.setenv(name, value)
    yield running
    running.empty()


@pytest.fixture
def scheduler(
    _account: tuple[Account, Scheduler], account: Account, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Scheduler]:
    """Give ``push`` a group of schedules, empty."""
    _, running = _account
    for name, value in running.environment().items():
        monkeypatch.setenv(name, value)
    running.begin()
    yield running
    running.delete_group()


def later(seconds: float = DAY, offset: float = 0) -> str:
    """Write a time from now on, with an offset of some hours."""
    zone = timezone(timedelta(hours=offset))
    return (
        (datetime.now(UTC) + timedelta(seconds=seconds)).astimezone(zone).isoformat("T", "seconds")
    )


def request(**fields: Any) -> Json:
    recipient = {"token": "a-token", "service": "GCM"}
    return {"recipients": [recipient], "message": "m", "send_at": later(), **fields}


def post(push: Push, **fields: Any) -> Answer:
    return read(push(event(json.dumps(request(**fields)))))


def cancel(push: Push, schedule_id: str) -> Answer:
    path = f"/schedules/{schedule_id}"
    return read(push(event(method="DELETE", path=path, content_type=None)))


def name_of(key: str) -> str:
    return sha256(f"{PROJECT}\0{key}".encode()).hexdigest()


# ------------------------------------------------------------------ what is made


def test_a_request_for_later_makes_a_schedule_and_sends_nothing(
    push: Push, provider: Provider, scheduler: Scheduler, capsys: pytest.CaptureFixture[str]
) -> None:
    send_at = later(offset=5.5)
    moment = datetime.fromisoformat(send_at).astimezone(UTC)

    report = push(request(send_at=send_at, idempotency_key="k", ttl=60))

    (result,) = report["results"]
    assert result == {
        "token": "a-token",
        "service": "GCM",
        "outcome": "scheduled",
        "attempts": 0,
        **dict.fromkeys(
            (
                *("delivery_status", "status_code", "reason", "status_message"),
                *("message_id", "replacement_token"),
            )
        ),
    }
    assert report["summary"] == {"recipients": 1, "scheduled": 1}
    assert (report["schedule_id"], report["replayed"]) == (name_of("k"), False)
    assert provider.calls == []
    made = scheduler.only()
    assert {name: made[name] for name in made.keys() - WHEN_MADE} == {
        "Name": name_of("k"),
        "GroupName": GROUP,
        "Description": made["Description"],
        "ScheduleExpression": f"at({moment:%Y-%m-%dT%H:%M:%S})",
        "ScheduleExpressionTimezone": "UTC",
        "FlexibleTimeWindow": {"Mode": "OFF"},
        "ActionAfterCompletion": "DELETE",
        "State": "ENABLED",
        "Target": {
            "Arn": "arn:aws:sqs:us-east-1:123456789012:requests",
            "RoleArn": ROLE,
            "DeadLetterConfig": {"Arn": "arn:aws:sqs:us-east-1:123456789012:dead-letters"},
            "RetryPolicy": {"MaximumEventAgeInSeconds": 86_400, "MaximumRetryAttempts": 185},
            "Input": made["Target"]["Input"],
        },
    }
    assert json.loads(made["Target"]["Input"]) == {
        "version": "0",
        "id": name_of("k"),
        "detail-type": "Push Notification Requested",
        "source": "push-sender.schedule",
        "time": f"{moment:%Y-%m-%dT%H:%M:%SZ}",
        "detail": {
            "recipients": [{"token": "a-token", "service": "GCM"}],
            "message": "m",
            "ttl": 60,
            "idempotency_key": "k",
        },
    }
    (line,) = log_lines(capsys.readouterr().out)
    assert (line["message"], line["schedule_id"]) == ("request scheduled", name_of("k"))
    assert "a-token" not in json.dumps(line)


WHEN_MADE = {"Arn", "CreationDate", "LastModificationDate", "ResponseMetadata", "ClientToken"}


def _direct(push: Push, account: Account, body: Json) -> None:
    assert push(body)["summary"]["scheduled"] == 1


def _http(push: Push, account: Account, body: Json) -> None:
    answer = read(push(event(json.dumps(body))))
    assert (answer.status, answer.body["summary"]["scheduled"]) == (200, 1)


def _queue(push: Push, account: Account, body: Json) -> None:
    account.send(body)
    assert push(account.receive())["batchItemFailures"] == []


def _respond_async(push: Push, account: Account, body: Json) -> None:
    assert read(push(event(json.dumps(body), prefer="respond-async"))).status == 202
    assert push(account.receive())["batchItemFailures"] == []


def _event(push: Push, account: Account, body: Json) -> None:
    assert push({"id": "e", "detail-type": "any", "detail": body})["summary"]["scheduled"] == 1


@pytest.mark.parametrize("enter", [_direct, _http, _queue, _respond_async, _event])
@pytest.mark.parametrize("requeue", [False, True])
def test_every_entry_point_makes_the_same_schedule(
    enter: Callable[[Push, Account, Json], None],
    requeue: bool,
    push: Push,
    account: Account,
    scheduler: Scheduler,
) -> None:
    enter(push, account, request(idempotency_key="k", requeue=requeue))

    assert scheduler.names() == [name_of("k")]


def test_the_report_of_a_queued_request_names_the_schedule(
    push: Push, account: Account, scheduler: Scheduler
) -> None:
    id_ = account.send(request())
    push(account.receive())

    (report,) = account.sent_events("Push Report")
    detail = report["detail"]
    assert detail["summary"] == {"recipients": 1, "scheduled": 1}
    # The key of a message without one is its id, so that a message that returns is scheduled once.
    assert (detail["idempotency_key"], detail["schedule_id"]) == (id_, name_of(id_))
    assert scheduler.names() == [name_of(id_)]


def test_a_schedule_for_users_holds_only_their_ids(
    push: Push, account: Account, scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEVICES_TABLE", "absent, so that a read fails")
    users = [{"user_id": "u-1"}, {"user_id": "u-2", "device_id": "d"}]

    report = push(request(recipients=users))

    members = ("user_id", "device_id", "token", "service", "outcome", "attempts")
    assert [[result[name] for name in members] for result in report["results"]] == [
        ["u-1", None, None, None, "scheduled", 0],
        ["u-2", "d", None, None, "scheduled", 0],
    ]
    assert report["warnings"] == []
    assert scheduler.request()["recipients"] == users


def test_a_dry_run_makes_no_schedule(push: Push, provider: Provider, scheduler: Scheduler) -> None:
    report = push(request(dry_run=True, idempotency_key="k"))

    assert report["summary"] == {"recipients": 1, "unsent": 1}
    assert len(report["requests"]) == 1
    assert "schedule_id" not in report
    assert (scheduler.calls, provider.calls) == ([], [])


# ------------------------------------------------------------------ keys


def test_the_same_request_under_the_same_key_has_one_schedule(
    push: Push, scheduler: Scheduler
) -> None:
    asked = request(idempotency_key="k", send_at=later(offset=1))
    same = datetime.fromisoformat(asked["send_at"]).astimezone(UTC).isoformat()

    first, again = push(asked), push({**asked, "send_at": same.replace("+00:00", "Z")})

    assert (first["replayed"], again["replayed"]) == (False, True)
    assert again["schedule_id"] == first["schedule_id"]
    assert again["results"] == first["results"]
    assert len(scheduler.names()) == 1


@pytest.mark.parametrize("other", [{"message": "other"}, {"send_at": later(2 * DAY)}])
def test_another_request_or_time_under_the_key_is_a_conflict(
    other: Json, push: Push, scheduler: Scheduler
) -> None:
    push(request(idempotency_key="k"))
    before = scheduler.only()["Target"]

    with pytest.raises(IdempotencyConflict):
        push(request(idempotency_key="k", **other))
    assert post(push, idempotency_key="k", **other).body["type"].endswith(":key-reused")

    assert scheduler.only()["Target"] == before


def test_requests_without_a_key_have_a_schedule_each(push: Push, scheduler: Scheduler) -> None:
    ids = {push(request())["schedule_id"] for _ in range(2)}

    assert len(ids) == 2
    assert set(scheduler.names()) == ids
    assert all(len(id_) == 64 for id_ in ids)


# ------------------------------------------------------------------ what fires


def test_what_fires_twice_is_sent_once_with_its_texts_unchanged(
    push: Push,
    provider: Provider,
    account: Account,
    scheduler: Scheduler,
    process_queue: ProcessQueue,
) -> None:
    text = "<aws.scheduler.execution-id> <aws.scheduler.scheduled-time> \ud800 <b> \\u003c ä"
    id_ = push(request(message=text.replace("\ud800", ""), data={"<k>": "<v>"}))["schedule_id"]
    scheduler.fire(DAY + 1)
    delivered = account.receive()

    for _ in range(2):
        assert push(delivered)["batchItemFailures"] == []

    (call,) = provider.calls
    assert call["MessageConfiguration"]["GCMMessage"]["Body"] == text.replace("\ud800", "")
    first, again = (report["detail"] for report in account.sent_events("Push Report"))
    assert first == again
    assert (first["request_id"], first["idempotency_key"]) == (id_, id_)
    assert first["summary"] == {"recipients": 1, "accepted": 1}


def test_a_repeated_message_that_comes_too_late_to_be_scheduled_is_not_sent_again(
    push: Push, provider: Provider, account: Account, scheduler: Scheduler
) -> None:
    """The invocation that made the schedule was killed, and its message returns after the push."""
    account.send(request(send_at=later(2)))
    returning = account.receive()
    push(returning)
    scheduler.fire(10)
    push(account.receive())
    time.sleep(2)  # until the time is over by the function's clock, which does not move
    push(returning)

    assert len(provider.calls) == 1


def fired(sent_at: datetime, **fields: Any) -> Json:
    """Make what Scheduler puts on the queue."""
    return {
        "version": "0",
        "id": "s",
        "detail-type": "Push Notification Requested",
        "source": "push-sender.schedule",
        "time": f"{sent_at:%Y-%m-%dT%H:%M:%SZ}",
        "detail": {**request(idempotency_key="k", **fields), "send_at": None},
    }


@pytest.mark.parametrize(("ago", "outcome"), [(60, "accepted"), (180, "unsent")])
def test_the_time_to_live_begins_at_the_time_of_the_schedule(
    ago: float, outcome: str, push: Push, account: Account, provider: Provider
) -> None:
    account.send(fired(datetime.now(UTC) - timedelta(seconds=ago), ttl=120))
    push(account.receive())

    (report,) = account.sent_events("Push Report")
    assert report["detail"]["summary"] == {"recipients": 1, outcome: 1}


@pytest.mark.parametrize("enter", ["queue", "event"])
@pytest.mark.parametrize(("ago", "outcome"), [(60, "accepted"), (180, "unsent")])
def test_a_request_that_comes_too_late_is_sent_at_once_with_a_ttl_since_its_time(
    enter: str,
    ago: float,
    outcome: str,
    push: Push,
    account: Account,
    scheduler: Scheduler,
) -> None:
    accepted_at = f"{datetime.now(UTC) - timedelta(seconds=999):%Y-%m-%dT%H:%M:%SZ}"
    envelope = {"id": "e", "detail-type": "any", "time": accepted_at}
    late = {**envelope, "detail": request(send_at=later(-ago), ttl=120)}
    if enter == "queue":
        account.send(late)
        push(account.receive())
    else:
        push(late)

    (report,) = account.sent_events("Push Report")
    assert report["detail"]["summary"] == {"recipients": 1, outcome: 1}
    assert scheduler.calls == []


# ------------------------------------------------------------------ what is refused

TIME = "must be a time with an offset, in whole seconds, as 2026-12-24T18:00:00+01:00"
OVER = "is over; give a later time, or leave it out to send now"
FAR = "is more than 366 days ahead; give an earlier time"

REFUSED: dict[str, tuple[Any, str]] = {
    "no offset": ("2099-12-24T18:00:00", TIME),
    "a space": ("2099-12-24 18:00:00Z", TIME),
    "a fraction": ("2099-12-24T18:00:00.5Z", TIME),
    "no seconds": ("2099-12-24T18:00Z", TIME),
    "a number": (1_900_000_000, "must be text, not a number"),
    "no such day": (
        "2099-02-30T18:00:00Z",
        "must be a time that exists, such as 2026-12-24T18:00:00+01:00",
    ),
    "a minute ago": (later(-60, offset=14), OVER),
    "the first year": ("0001-01-01T00:00:00+23:00", OVER),
    "two years ahead": (later(731 * DAY), FAR),
    "the last year": ("9999-12-31T23:59:59-23:00", FAR),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_time_that_cannot_be_scheduled_is_refused_with_the_cure(
    case: str, push: Push, account: Account, scheduler: Scheduler, provider: Provider
) -> None:
    send_at, message = REFUSED[case]
    body = request(send_at=send_at, titel="t")

    with pytest.raises(InvalidRequest) as refusal:
        push(body)
    assert set(str(refusal.value).splitlines()) == {
        f"send_at: {message}",
        "titel: unknown field; did you mean title?",
    }
    answer = post(push, send_at=send_at)
    assert (answer.status, answer.paths) == (400, ["send_at"])
    assert str(send_at) not in json.dumps(answer.body)

    assert (scheduler.calls, provider.calls) == ([], [])


@pytest.mark.parametrize("days", [365, 366])
def test_a_year_ahead_can_be_scheduled(days: int, push: Push, scheduler: Scheduler) -> None:
    assert push(request(send_at=later(days * DAY)))["summary"]["scheduled"] == 1


def test_a_queued_request_for_a_time_too_far_ahead_is_a_dead_letter(
    push: Push, account: Account, scheduler: Scheduler
) -> None:
    account.send(request(send_at=later(731 * DAY)))
    push(account.receive())

    (dead,) = account.dead_letter_messages()
    assert dead["attributes"]["reason"] == "invalid"
    assert dead["attributes"]["fault"] == f"send_at: {FAR}"


@pytest.mark.parametrize("enter", ["direct", "http", "respond-async"])
def test_a_request_of_300_kb_is_refused_and_the_error_names_jobs(
    enter: str, push: Push, account: Account, scheduler: Scheduler
) -> None:
    recipients = [{"token": f"{number:0163}", "service": "GCM"} for number in range(1_500)]
    if enter == "direct":
        with pytest.raises(InvalidRequest, match=r"send_at: .* 256 KB; split it, or use a job"):
            push(request(recipients=recipients))
    else:
        prefer: dict[str, Any] = {"prefer": enter} if enter == "respond-async" else {}
        body = json.dumps(request(recipients=recipients))
        answer = read(push(event(body, **prefer)))
        assert (answer.status, answer.paths) == (400, ["send_at"])

    assert scheduler.calls == []


def test_a_request_is_measured_as_scheduler_gets_it(push: Push, scheduler: Scheduler) -> None:
    recipients = [
        {"token": f"{number:03}", "service": "GCM", "title": "<" * 300} for number in range(141)
    ]
    push(request(recipients=recipients))
    fits = 1 + 262_144 - len(scheduler.only()["Target"]["Input"])

    assert push(request(recipients=recipients, message="m" * fits))["summary"]["scheduled"] == 141
    with pytest.raises(InvalidRequest, match="256 KB"):
        push(request(recipients=recipients, message="m" * (fits + 1)))


@pytest.mark.parametrize("missing", ["SCHEDULE_GROUP", "SCHEDULE_ROLE_ARN", "QUEUE_URL"])
def test_a_function_without_a_group_refuses_the_time(
    missing: str, push: Push, scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(missing)

    with pytest.raises(InvalidRequest, match=r"send_at: .*no schedule group \(SCHEDULE_GROUP\)"):
        push(request())
    assert cancel(push, "0" * 64).body["type"].endswith(":schedule-not-found")


# ------------------------------------------------------------------ what fails

FAILURES: dict[str, tuple[Callable[[], Reply], str]] = {
    "throttled": (lambda: refusing(429, "ThrottlingException"), "ThrottlingException"),
    "500": (lambda: refusing(500, "InternalServerException"), "InternalServerException"),
    "503": (lambda: Reply(503, b"<html>", {"Content-Type": "text/html"}), "503"),
    "no answer": (lambda: Reply(cut_off=True), "ConnectionClosedError"),
    "denied": (lambda: refusing(403, "AccessDeniedException"), "AccessDeniedException"),
    "quota": (lambda: refusing(402, "ServiceQuotaExceededException"), "ServiceQuotaExceeded"),
}
TEMPORARY = ("throttled", "500", "503", "no answer")


@pytest.mark.parametrize("case", TEMPORARY)
def test_a_temporary_failure_is_retried(case: str, push: Push, scheduler: Scheduler) -> None:
    def fail_once(_: str, forward: Forward) -> Reply:
        return FAILURES[case][0]() if len(scheduler.calls) == 1 else forward()

    scheduler.answer = fail_once

    assert push(request(idempotency_key="k"))["replayed"] is False
    assert scheduler.calls == ["POST", "POST"]


@pytest.mark.parametrize("case", FAILURES)
def test_a_failure_is_reported_at_every_entry_point_and_the_key_stays_free(
    case: str, push: Push, account: Account, scheduler: Scheduler, provider: Provider
) -> None:
    reply, code = FAILURES[case]
    scheduler.answer = lambda *_: reply()

    with pytest.raises(SchedulerUnavailable) as error:
        push(request(idempotency_key="k"))
    assert error.value.reason.startswith(code)
    answer = post(push, idempotency_key="k")
    assert (answer.status, answer.headers["retry-after"]) == (503, "5")
    assert answer.body["type"] == "urn:push-sender:problem:scheduler-unavailable"
    id_ = account.send(request(idempotency_key="k"))
    assert push(account.receive()) == {"batchItemFailures": [{"itemIdentifier": id_}]}

    scheduler.recover()
    assert push(request(idempotency_key="k", message="another"))["replayed"] is False
    assert provider.calls == []


def test_a_scheduler_that_hangs_takes_no_longer_than_the_invocation_has(
    push: Push, scheduler: Scheduler
) -> None:
    def hang(*_: object) -> Reply:
        time.sleep(2.5)  # longer than the client waits
        return Reply()

    scheduler.answer = hang
    with pytest.raises(SchedulerUnavailable, match="ReadTimeoutError"):
        push(request(), seconds=5)
    assert scheduler.calls == ["POST"]


def test_without_time_for_a_call_none_is_made(push: Push, scheduler: Scheduler) -> None:
    with pytest.raises(SchedulerUnavailable, match="deadline"):
        push(request(), seconds=2)
    assert scheduler.calls == []


def test_a_schedule_whose_answer_was_lost_is_not_called_a_replay(
    push: Push, scheduler: Scheduler
) -> None:
    def lose_one(_: str, forward: Forward) -> Reply:
        reply = forward()
        return Reply(cut_off=True) if len(scheduler.calls) == 1 else reply

    scheduler.answer = lose_one

    assert push(request(idempotency_key="k"))["replayed"] is False
    assert scheduler.calls == ["POST", "POST", "GET"]
    assert scheduler.names() == [name_of("k")]


@pytest.mark.parametrize(
    "body", [b"null", b"{}", b'{"Name":7,"Description":["x"]}', b'{"Name":"d\xe9', b"<html>"]
)
def test_an_answer_that_says_nothing_of_the_schedule_is_no_conflict(
    body: bytes, push: Push, scheduler: Scheduler
) -> None:
    asked = request(idempotency_key="k")
    push(asked)

    def answer_oddly(method: str, forward: Forward) -> Reply:
        return Reply(body=body) if method == "GET" else forward()

    scheduler.answer = answer_oddly
    with pytest.raises(SchedulerUnavailable):
        push(asked)

    scheduler.recover()
    assert push(asked)["replayed"] is True


def test_a_deleted_group_is_a_failure_of_the_service(push: Push, scheduler: Scheduler) -> None:
    scheduler.delete_group()

    with pytest.raises(SchedulerUnavailable, match="ResourceNotFoundException"):
        push(request())
    assert post(push).status == 503

    scheduler.begin()
    assert post(push).status == 200


def test_a_schedule_that_ends_during_the_look_up_can_be_asked_for_again(
    push: Push, scheduler: Scheduler
) -> None:
    push(request(idempotency_key="k"))

    def end(method: str, forward: Forward) -> Reply:
        return refusing(404, "ResourceNotFoundException") if method == "GET" else forward()

    scheduler.answer = end
    with pytest.raises(SchedulerUnavailable, match="ResourceNotFoundException"):
        push(request(idempotency_key="k"))


# ------------------------------------------------------------------ cancel


def test_a_cancelled_request_is_not_sent(push: Push, scheduler: Scheduler) -> None:
    id_ = push(request())["schedule_id"]

    first, again = cancel(push, id_), cancel(push, id_)

    assert (first.status, first.body) == (204, None)
    assert (again.status, again.body["type"]) == (
        404,
        "urn:push-sender:problem:schedule-not-found",
    )
    assert scheduler.names() == []


@pytest.mark.parametrize(
    "id_", ["job-spring", "A" * 64, "0" * 63, "0" * 65, "..", "a/b", "%00", ""]
)
def test_a_malformed_id_is_not_found_without_a_call(
    id_: str, push: Push, scheduler: Scheduler
) -> None:
    assert cancel(push, id_).status == 404
    assert scheduler.calls == []


@pytest.mark.parametrize("case", FAILURES)
def test_a_cancel_that_fails_is_answered_503(case: str, push: Push, scheduler: Scheduler) -> None:
    id_ = push(request())["schedule_id"]
    scheduler.answer = lambda *_: FAILURES[case][0]()

    answer = cancel(push, id_)
    assert (answer.status, answer.headers["retry-after"]) == (503, "5")
    assert answer.body["type"] == "urn:push-sender:problem:scheduler-unavailable"


def test_a_cancel_whose_answer_was_lost_is_answered_204(push: Push, scheduler: Scheduler) -> None:
    id_ = push(request())["schedule_id"]
    before = len(scheduler.calls)

    def lose_one(_: str, forward: Forward) -> Reply:
        reply = forward()
        return Reply(cut_off=True) if len(scheduler.calls) == before + 1 else reply

    scheduler.answer = lose_one
    assert cancel(push, id_).status == 204
