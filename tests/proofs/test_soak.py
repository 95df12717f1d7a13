"""The soak: a short run, and the verdict on breaches that are made on purpose."""

from __future__ import annotations

import json
import os
import socket
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from queue import SimpleQueue
from threading import Event
from typing import Any
from urllib.parse import urlsplit

import pytest

from infra.bundle import SOURCE
from push_sender.clients.queue_and_bus import client
from push_sender.clients.s3 import s3_client
from push_sender.follow_up.queue_messages import Queue, QueueMessage
from push_sender.idempotency.store import RequestRecord, Store, dynamodb_client
from push_sender.jobs.errors import SourceUnavailable
from push_sender.jobs.objects import Objects
from soak.answers import CALL_ANSWERS, S3_ANSWERS, SERVICE_ANSWERS, Answer
from soak.breaks import BREAKS
from soak.faults import (
    REFUSED,
    SERVICE_REFUSED,
    SERVICE_UNREADABLE,
    UNREADABLE,
    Behaviour,
    CallFault,
    Faults,
    ServiceFault,
)
from soak.job_plan import JobKind, PlannedJob, Row, plan_jobs
from soak.job_verdict import errors_of
from soak.ledger import Acceptance, JobEnd, Ledger, PhonePush
from soak.phones import Phone, phones, user_id, users_for
from soak.plan import CALLER_WAITS, EntryPoint, PlannedRequest, plan
from soak.processes import outside_connections
from soak.run import later, run
from soak.seeded_random import SeededRandom
from soak.server import Connection, serving
from soak.services import Services
from soak.summary import shortest
from soak.verdict import Place, Verdict, judge
from tests.support.invocation import Push

TOKEN = "device-0000000"


def test_a_short_run_with_faults_finds_each_recipient_in_one_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Few at once, because each copy of the function takes a while to start.
    monkeypatch.setattr("soak.run.CALLER_THREADS", 3)
    monkeypatch.setattr("soak.environment.WORKERS", 3)
    random = SeededRandom(25)
    requests = list(plan(100, random, later=later()))
    requests += plan_jobs(100, len(requests), random)

    # A killed process takes half a minute, until its claim lapses.
    outcome = run(requests, Faults(random, killed=False), minutes=5)

    assert outcome.verdict.breaches == []
    tokens = sum(len(planned.tokens) for planned in requests)
    assert outcome.verdict.recipients > tokens, "nothing was sent to users"
    assert {push.request for push in outcome.ledger.pushed} <= {
        planned.number for planned in requests if planned.users
    }
    assert outcome.ledger.ownership.moved > 0
    assert {planned.entry_point for planned in requests} == set(EntryPoint)
    scheduled = {token for each in requests if each.is_for_later for token in each.tokens}
    assert scheduled & outcome.ledger.accepted.keys(), "nothing was sent later"
    assert outcome.verdict.places[Place.ACCEPTED].total() > 100
    assert sum(outcome.ledger.fault_counts.values()) > 20, "too few faults for a test"
    ended = {job.kind: outcome.ledger.job_ends[job.number].statuses for job in jobs_of(requests)}
    assert (ended[JobKind.REFUSED][0], ended[JobKind.REFUSED][-1]) == ("FAILED", "SUCCEEDED")
    assert (ended[JobKind.STOPPED][0], ended[JobKind.STOPPED][-1]) == ("ABORTED", "SUCCEEDED")


def test_an_answer_to_a_client_that_has_gone_counts_as_not_received() -> None:
    received: SimpleQueue[bool] = SimpleQueue()
    has_gone = Event()

    def answer(handler: BaseHTTPRequestHandler, body: bytes, connection: Connection) -> None:
        if body == b"impatient":
            has_gone.wait(timeout=10)
        received.put(connection.write(Answer(200, b"{}")) and connection.client_waits())

    with serving(answer) as url:
        address = urlsplit(url).netloc
        patient, impatient = HTTPConnection(address), HTTPConnection(address)
        patient.request("POST", "/", b"patient")
        assert patient.getresponse().read() == b"{}"
        assert received.get(timeout=10) is True
        impatient.request("POST", "/", b"impatient")
        impatient.close()
        has_gone.set()
        assert received.get(timeout=10) is False
        patient.close()


def test_a_connection_beyond_this_machine_is_detected(tmp_path: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()),
    ):
        assert outside_connections([os.getpid()]) == []
    # As Linux writes it: own connections to loopback and beyond, and one of another process.
    own, net = tmp_path / "7" / "fd", tmp_path / "net"
    own.mkdir(parents=True)
    net.mkdir()
    for number in (11, 12, 14):
        (own / str(number)).symlink_to(f"socket:[{number}]")
    head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt"
    line = "   0: 0100007F:B641 {}:01BB 01 00000000:00000000 00:00000000 00000000  0  0 {} 1"
    v4 = [line.format("0100007F", 11), line.format("010200C0", 12), line.format("020200C0", 13)]
    v6 = [line.format("B80D0120000000000000000001000000", 14)]
    (net / "tcp").write_text("\n".join([head, *v4]))
    (net / "tcp6").write_text("\n".join([head, *v6]))

    assert outside_connections([7, 8], tmp_path) == ["192.0.2.1", "2001:db8::1"]


def test_the_same_seed_gives_the_same_plan() -> None:
    one, other, third = (list(plan(1_000, SeededRandom(seed))) for seed in (3, 3, 4))

    assert one == other != third
    assert sum(len(planned.recipients) for planned in one) == 1_000
    tokens = [token for planned in one for token in planned.tokens]
    users = [each["user_id"] for planned in one for each in planned.users]
    assert len(set(tokens)) + len(users) == 1_000
    assert 0 < len(set(users)) < len(users)


def test_the_users_of_a_request_share_no_phone() -> None:
    users = users_for(20_000)
    sharing = [phone.users for phone in phones(users, SeededRandom(3)) if len(phone.users) > 1]

    assert sharing
    for planned in plan(20_000, SeededRandom(3)):
        asked = {each["user_id"] for each in planned.users}
        assert not any({user_id(one), user_id(other)} <= asked for one, other in sharing)


def jobs_of(requests: list[PlannedRequest]) -> list[PlannedJob]:
    return [each for each in requests if isinstance(each, PlannedJob)]


def test_the_jobs_of_a_plan_have_rows_of_every_kind_in_files_of_both_formats() -> None:
    jobs = list(plan_jobs(1_000, 7, SeededRandom(3)))

    assert {job.kind for job in jobs} == set(JobKind)
    assert {job.format for job in jobs} == {"csv", "jsonl"}
    assert {row.reason for job in jobs for row in job.rows if row.outcome} == {
        "opted_out",
        "no_push_channel",
        "unknown_service",
        "no_token",
    }
    for job in jobs:
        assert [row.fields for row in job.rows if not row.outcome] == list(job.recipients)
        assert bool(job.users) == (job.kind is not JobKind.REFUSED)
        changed = job.changed_file()
        assert len(changed) == len(job.file()) > 2**21, "one child"
        assert not any(token.encode() in changed for token in job.tokens[:100])
        assert "idempotency_key" not in job.input["request"]


JOB = PlannedJob(
    0,
    EntryPoint.JOB,
    {
        "recipients": [
            {"token": TOKEN, "service": "GCM"},
            {"token": "device-0000001", "service": "GCM"},
        ],
        "message": "m",
    },
    delivered_twice=False,
    name="spring",
    kind=JobKind.PLAIN,
    rows=(
        Row({"token": TOKEN, "service": "GCM"}),
        Row({"token": "device-0000001", "service": "GCM"}),
        Row({"token": "left-out", "service": "FAX"}, "invalid_row", "unknown_service"),
    ),
    format="csv",
)
REQUEUED = {"row": 2, "token": "device-0000001", "outcome": "requeued", "reason": "THROTTLED"}
INVALID = {"row": 3, "token": "left-out", "outcome": "invalid_row", "reason": "unknown_service"}
COUNTS = {"accepted": 1, "requeued": 1, "invalid_row": 1, "rows": 3}
REPORT = {"job": "spring", "status": "SUCCEEDED", "rows": 3, "summary": COUNTS}


def errors_of_job(
    counts: dict[str, int] = COUNTS,
    rows: int = 3,
    lines: tuple[dict[str, Any], ...] = (REQUEUED, INVALID),
    statuses: tuple[str, ...] = ("SUCCEEDED",),
    *,
    reports: tuple[dict[str, Any], ...] = (REPORT,),
    parts: int = 1,
    also_accepted: str | None = None,
) -> list[str]:
    """Judge a job of which one row is accepted, one is requeued, and one is invalid."""
    ledger = Ledger()
    record_accepted(ledger)
    if also_accepted:
        ledger.accept(also_accepted, Acceptance(0, None, "run"))
    ledger.parts["job/spring"] = parts
    for report in reports:
        ledger.report_job(report)
    ledger.end_job(0, JobEnd(statuses, counts, rows, lines))
    return list(errors_of(JOB, ledger))


def test_a_job_that_counts_lists_and_reports_each_row_once_has_no_error() -> None:
    assert errors_of_job() == []
    stopped = {**REPORT, "status": "ABORTED", "summary": {}}
    assert errors_of_job(statuses=("ABORTED", "SUCCEEDED"), reports=(stopped, REPORT)) == []


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"counts": {**COUNTS, "accepted": 2}}, "counted 2 accepted"),
        ({"counts": {**COUNTS, "requeued": 2}}, "its lists have"),
        ({"counts": {**COUNTS, "rows": 6}}, "its children counted 6"),
        ({"rows": 2}, "the index found 2"),
        ({"lines": (INVALID, REQUEUED)}, "not in the order"),
        ({"lines": (REQUEUED, REQUEUED, INVALID)}, "listed 2 times"),
        ({"lines": ({**REQUEUED, "row": 1}, INVALID)}, "values of another row"),
        ({"lines": ({**REQUEUED, "outcome": "transient"}, INVALID)}, "is not requeued"),
        ({"lines": (REQUEUED,)}, "is no recipient"),
        ({"lines": (REQUEUED, INVALID, {**INVALID, "row": 9})}, "that the file has not"),
        ({"also_accepted": "left-out"}, "a provider has its push"),
        ({"reports": ()}, "no report says that it ended as SUCCEEDED"),
        ({"statuses": ("FAILED", "SUCCEEDED")}, "no report says that it ended as FAILED"),
        ({"reports": ({**REPORT, "summary": {"rows": 3}},)}, "its report says"),
        ({"parts": 0}, "no report of them"),
    ],
)
def test_a_row_that_a_job_does_not_count_list_or_report_once_is_an_error(
    given: dict[str, Any], expected: str
) -> None:
    assert any(expected in error for error in errors_of_job(**given))


def test_a_user_whose_device_left_with_its_outcome_needs_no_result_without_a_device() -> None:
    for outcome, expected in (("unknown", []), ("no_device", ["lost"])):
        ledger = Ledger()
        registered(ledger, USER, at=1.0)
        registered(ledger, None, at=3.0)
        left = {"token": None, "user_id": USER, "outcome": outcome, "reason": None}
        ledger.answer(0, {"results": [left], "summary": {}})

        assert breaches_of(judged_for_user(ledger, EntryPoint.HTTP)) == expected


def test_an_error_of_a_job_is_a_breach_and_its_lists_are_its_report() -> None:
    ledger = Ledger()
    ledger.end_job(0, JobEnd(("SUCCEEDED",), {}, 0, ()))
    ledger.answer(0, reported("accepted"))

    breaches = breaches_of(judge([JOB], ledger, ()))

    assert set(breaches) == {"miscounted", "lost"}
    assert breaches.count("lost") == 2, "reported as accepted, and in no place"


def test_every_kind_of_fault_happens_and_only_if_it_is_enabled() -> None:
    def calls(faults: Faults) -> set[CallFault | None]:
        return {
            faults.call_fault(f"t{n}", number, n, 600 if n % 9 == 0 else 1, 0)
            for n in range(20_000)
            for number in (0, 1)
        }

    cut_off = {CallFault.CUT_OFF, CallFault.LATE, CallFault.FORBIDDEN}
    killed = {CallFault.KILLED_BEFORE, CallFault.KILLED_AFTER}
    random = SeededRandom(1)
    planned = {None, *CallFault} - {CallFault.OVERDUE}
    assert calls(Faults(random)) == planned
    assert calls(Faults(random, cut_off=False)) == planned - cut_off
    assert calls(Faults(random, killed=False)) == planned - killed
    assert calls(Faults(random, enabled=False)) == {None}
    faults = Faults(random)
    behaviours = {faults.behaviour_of(f"t{n}", "GCM") for n in range(20_000)}
    assert behaviours | {faults.behaviour_of("t", "ADM")} == set(Behaviour)
    struck = {faults.service_fault("events", f"e{n}", 0) for n in range(20_000)}
    assert struck == {None, *ServiceFault}
    of_jobs = {faults.service_fault("job", f"j{n}", 0) for n in range(20_000)}
    assert of_jobs == {None, *ServiceFault} - {ServiceFault.REFUSED_ENTRIES}


def planned(entry_point: EntryPoint = EntryPoint.QUEUE) -> PlannedRequest:
    request: dict[str, Any] = {"recipients": [{"token": TOKEN, "service": "GCM"}], "message": "m"}
    return PlannedRequest(0, entry_point, request, delivered_twice=False)


def reported(outcome: str, reason: str | None = None) -> dict[str, Any]:
    return {"results": [{"token": TOKEN, "outcome": outcome, "reason": reason}]}


def judged(
    ledger: Ledger, entry_point: EntryPoint = EntryPoint.QUEUE, dead_letters: tuple[str, ...] = ()
) -> Verdict:
    message_bodies = [json.dumps({"recipients": [{"token": token}]}) for token in dead_letters]
    return judge([planned(entry_point)], ledger, message_bodies)


def test_a_push_before_its_time_and_one_that_is_only_scheduled_are_breaches() -> None:
    request = {**planned(EntryPoint.HTTP).request, "send_at": "2030-01-01T00:00:00Z"}
    for_later = replace(planned(EntryPoint.HTTP), request=request)
    ledger = Ledger()
    ledger.answer(0, {**reported("scheduled"), "summary": {}})
    assert breaches_of(judge([for_later], ledger, ())) == ["lost"]

    record_accepted(ledger)  # at no known time
    assert breaches_of(judge([for_later], ledger, ())) == []

    ledger.due = 7.0
    for at, expected in ((6.0, ["sent too early"]), (8.0, [])):
        ledger.accepted[TOKEN] = [Acceptance(0, None, "run", at)]
        assert breaches_of(judge([for_later], ledger, ())) == expected


def breaches_of(verdict: Verdict) -> list[str]:
    return [breach.what for breach in verdict.breaches]


def record_accepted(ledger: Ledger, fault: CallFault | None = None, run: str = "run") -> None:
    ledger.accept(TOKEN, Acceptance(0, fault, run))


def test_two_addresses_of_a_phone_in_one_call_are_two_devices() -> None:
    for address, call, expected in (
        ("new", 7, []),
        ("new", 8, ["sent twice"]),
        ("old", 7, ["sent twice"]),
    ):
        ledger = Ledger()
        ledger.accept(TOKEN, Acceptance(7, None, "run", address="old"))
        ledger.accept(TOKEN, Acceptance(call, None, "run", address=address))
        assert breaches_of(judged(ledger)) == expected


def test_a_push_whose_answer_was_late_for_lack_of_cpu_may_be_sent_again() -> None:
    ledger = Ledger()
    for call in (0, 1):
        ledger.accept(TOKEN, Acceptance(call, None, f"run {call}"))
    assert breaches_of(judged(ledger)) == ["sent twice"]

    ledger.mark_unheard([TOKEN], 0, CallFault.OVERDUE)

    assert breaches_of(judged(ledger)) == []
    assert judged(ledger).sent_twice == Counter({f"answer lost: {CallFault.OVERDUE}": 1})


def test_a_recipient_without_a_place_is_lost() -> None:
    for entry_point in EntryPoint:
        assert breaches_of(judged(Ledger(), entry_point)) == ["lost"]


def test_a_recipient_that_was_accepted_once_is_no_breach() -> None:
    ledger = Ledger()
    record_accepted(ledger)

    verdict = judged(ledger)

    assert breaches_of(verdict) == []
    assert verdict.places == {Place.ACCEPTED: Counter({"queue": 1})}


def test_a_second_push_is_a_breach_unless_an_answer_was_lost_or_a_process_killed() -> None:
    received, cut_off, killed = Ledger(), Ledger(), Ledger()
    for ledger, fault in ((received, None), (cut_off, CallFault.CUT_OFF), (killed, None)):
        record_accepted(ledger, fault)
        record_accepted(ledger, run="another")
    killed.kill("run")

    assert breaches_of(judged(received)) == ["sent twice"]
    assert breaches_of(judged(cut_off)) == breaches_of(judged(killed)) == []
    assert list(judged(cut_off).sent_twice) == ["answer lost: cut off before the answer"]
    assert list(judged(killed).sent_twice) == ["process killed"]


def test_a_process_that_lambda_ended_after_its_timeout_is_named_and_no_excuse() -> None:
    ledger = Ledger()
    record_accepted(ledger)
    record_accepted(ledger, run="another")
    line = {"message": "batch delivered", "results": [], "function_request_id": "id"}
    ledger.log(json.dumps({**line, "xray_trace_id": "run"}))
    ledger.log("2026-11-26T12:00:00Z id Task timed out after 29.00 seconds")

    (breach,) = judged(ledger).breaches

    assert (breach.what, "Lambda's timeout" in breach.why) == ("sent twice", True)


def test_the_first_of_two_pushes_needs_an_excuse_and_the_last_does_not() -> None:
    ledger = Ledger()
    record_accepted(ledger)
    record_accepted(ledger, CallFault.CUT_OFF, run="another")

    assert breaches_of(judged(ledger)) == ["sent twice"]


def test_a_dead_token_that_was_accepted_is_in_two_places() -> None:
    ledger = Ledger()
    record_accepted(ledger)
    ledger.record_event(TOKEN, "dead_token")

    assert breaches_of(judged(ledger)) == ["in several places"]


def test_a_recipient_with_two_outcomes_is_in_two_places() -> None:
    ledger = Ledger()
    ledger.record_event(TOKEN, "dead_token")
    ledger.record_event(TOKEN, "rejected")

    assert breaches_of(judged(ledger)) == ["in several places"]


def test_a_second_push_after_an_unreadable_answer_is_a_breach() -> None:
    for fault in UNREADABLE:
        ledger = Ledger()
        record_accepted(ledger, fault)
        record_accepted(ledger, run="another")

        assert breaches_of(judged(ledger)) == ["sent twice"], fault


def test_a_refused_push_must_not_be_accepted_in_a_call_whose_answer_was_lost() -> None:
    for word in ("misconfigured", "transient", "rejected", "dead_token"):
        ledger = Ledger()
        ledger.answer(0, reported(word))
        record_accepted(ledger, CallFault.CUT_OFF)
        assert breaches_of(judged(ledger, EntryPoint.HTTP)) == ["in several places"], word

        ledger.kill("run")  # what record_accepted its memory along
        assert breaches_of(judged(ledger, EntryPoint.HTTP)) == []


def test_an_accepted_push_needs_a_readable_answer() -> None:
    ledger = Ledger()
    ledger.answer(0, reported("accepted"))
    record_accepted(ledger, CallFault.NULL)

    assert breaches_of(judged(ledger, EntryPoint.HTTP)) == ["not confirmed"]


def test_an_answer_to_a_caller_that_no_document_describes_is_a_breach() -> None:
    ledger = Ledger()
    record_accepted(ledger)
    ledger.break_contract(0, "TypeError")

    assert breaches_of(judged(ledger, EntryPoint.HTTP)) == ["outside the contract"]


@pytest.mark.parametrize("fault", CALL_ANSWERS)
def test_the_function_handles_each_unusual_answer_to_a_call(
    fault: CallFault, push: Push, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = {"DeliveryStatus": "SUCCESSFUL", "StatusCode": 200}
    shown = json.dumps({"ApplicationId": "a", "Result": {TOKEN: result}}).encode()
    with answering(CALL_ANSWERS[fault](shown), Answer(200, shown)) as (url, calls):
        monkeypatch.setenv("AWS_ENDPOINT_URL_PINPOINT", url)
        (outcome,) = (each["outcome"] for each in push(planned().request)["results"])

    if fault is CallFault.FORBIDDEN:
        expected = ("misconfigured", 1)
    elif fault in UNREADABLE:
        expected = ("unknown", 1)
    else:
        expected = ("accepted", 2 if fault in REFUSED else 1)
    assert (outcome, len(calls)) == expected


@pytest.mark.usefixtures("push")
@pytest.mark.parametrize("fault", SERVICE_ANSWERS)
def test_the_function_handles_each_unusual_answer_of_a_service(
    fault: ServiceFault, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = SERVICE_ANSWERS[fault], Answer(200, b"{}")
    with answering(*answers) as (url, posts), answering(*answers) as (table_url, puts):
        monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", url)
        monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", table_url)
        queue = Queue(client("sqs", None), url, b"key")
        queue.post(QueueMessage("{}"), last_start=time.monotonic() + 10)
        record = RequestRecord("id", "fingerprint", "run", "run", lapses_at=0, expiration=0)
        Store(lambda: dynamodb_client(None), "table").put_part(record, 0, b"packed")

    assert (fault in SERVICE_REFUSED) != (fault in SERVICE_UNREADABLE)
    calls = 2 if fault in SERVICE_REFUSED else 1
    assert (len(posts), len(puts)) == (calls, calls)


@pytest.mark.parametrize("fault", S3_ANSWERS)
def test_the_function_handles_each_unusual_answer_of_s3(
    fault: ServiceFault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "any")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "any")
    headers = {"Content-Range": "bytes 0-3/4", "ETag": '"tag"'}
    shown, written = Answer(206, b"rows", headers), Answer(200, b"", {"ETag": '"tag"'})
    answers = S3_ANSWERS[fault](shown), shown, S3_ANSWERS[fault](written), written
    with answering(*answers) as (url, calls):
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", url)
        objects = Objects(s3_client("us-east-1"))
        end = time.monotonic() + 10
        try:
            body, *_ = objects.read("bucket", "key", 0, 4, etag='"tag"', last_start=end)
        except SourceUnavailable:  # the child of the job is repeated
            body, *_ = objects.read("bucket", "key", 0, 4, etag='"tag"', last_start=end)
        objects.write("bucket", "key", b"lines", last_start=end)

    assert (body, calls[-1]) == (b"rows", b"lines")


class _AlwaysNull(Faults):
    def service_fault(self, service: str, thing: str, number: int) -> ServiceFault | None:
        return ServiceFault.DONE_NULL


def test_an_unreadable_success_replaces_only_a_success() -> None:
    take_all, refused = Answer(200, b'{"MessageId": "1"}'), Answer(400, b'{"__type": "No"}')
    with answering(take_all, refused) as (url, _):
        services = Services(url, _AlwaysNull(SeededRandom(1)), Ledger(), lambda _: None)
        with serving(services.answer) as around:
            connection = HTTPConnection(urlsplit(around).netloc)
            shown = []
            for _ in range(2):
                connection.request("POST", "/", b"{}", {"X-Amz-Target": "AmazonSQS.SendMessage"})
                answer = connection.getresponse()
                shown.append((answer.status, answer.read()))
            connection.close()

    assert shown == [(200, b"null"), (400, refused.body)]


@contextmanager
def answering(*answers: Answer) -> Iterator[tuple[str, list[bytes]]]:
    """Send these answers in order; return the URL and the received bodies."""
    calls: list[bytes] = []

    def answer(handler: BaseHTTPRequestHandler, body: bytes, connection: Connection) -> None:
        connection.write(answers[len(calls)])
        calls.append(body)

    with serving(answer) as url:
        yield url, calls


def test_unknown_is_correct_only_if_an_answer_was_not_received() -> None:
    ledger = Ledger()
    ledger.record_event(TOKEN, "unknown")
    assert breaches_of(judged(ledger)) == ["in several places"]

    ledger.mark_uncertain([TOKEN], "cut off")
    record_accepted(ledger, CallFault.CUT_OFF)
    assert breaches_of(judged(ledger)) == []


def test_a_push_reported_as_accepted_must_be_accepted() -> None:
    ledger = Ledger()
    ledger.answer(0, reported("accepted"))

    assert breaches_of(judged(ledger, EntryPoint.HTTP)) == ["lost"]


def test_the_last_report_counts_and_requeued_is_no_place() -> None:
    ledger = Ledger()
    ledger.answer(0, reported("requeued"))
    assert breaches_of(judged(ledger, EntryPoint.REQUEUEING)) == ["lost"]

    ledger.record_event(TOKEN, "expired")
    assert judged(ledger, EntryPoint.REQUEUEING).places.keys() == {Place.EXPIRED}


def test_a_dead_letter_message_after_the_redrive_is_lost() -> None:
    verdict = judged(Ledger(), dead_letters=(TOKEN,))

    assert verdict.places.keys() == {Place.DEAD_LETTER}
    assert breaches_of(verdict) == ["lost"]


def test_the_log_is_a_place_only_for_asynchronous_invocations() -> None:
    ledger = Ledger()
    ledger.log(json.dumps({"message": "batch delivered", "results": [{"token": digest()}]}))

    for entry_point in EntryPoint:
        expected = [] if entry_point is EntryPoint.ASYNCHRONOUS else ["lost"]
        assert breaches_of(judged(ledger, entry_point)) == expected


def digest() -> str:
    from push_sender.telemetry.log import token_digest

    return token_digest(TOKEN)


def test_a_recipient_whose_caller_got_no_report_is_unknown_to_its_caller() -> None:
    ledger = Ledger()
    ledger.fail(0, "its process was killed")

    for entry_point in CALLER_WAITS:
        assert judged(ledger, entry_point).places.keys() == {Place.CALLER}


PHONE = Phone("phone-000020", (2, 3), "GCM")
USER, OTHER = (user_id(number) for number in PHONE.users)


def registered(ledger: Ledger, user: str | None, at: float, **members: Any) -> None:
    """Record a transaction that gives the phone to a user, or deletes it."""
    key = {"id": {"S": f"D#app#{PHONE.device_id()}"}}
    entry: dict[str, Any] = {"Delete": {"Key": key}}
    if user is not None:
        device = {"device_id": PHONE.device_id(), "token": PHONE.token(), "user_id": user}
        entry = {"Put": {"Item": {**key, "value": {"S": json.dumps({**device, **members})}}}}
    call = {"ClientRequestToken": f"{user} {at}", "TransactItems": [entry]}
    ledger.ownership.commit(call, at, at)


def pushed(ledger: Ledger, *, looked_up: float | None, at: float) -> None:
    """Record that an invocation looked up the user, and its accepted push to the phone."""
    if looked_up is not None:
        ledger.ownership.read("run", [f"U#app#{USER}"], looked_up)
    ledger.push(PhonePush(PHONE.token(), 0, "run", at))
    ledger.accept(f"{PHONE.name} of 0", Acceptance(0, None, "run"))


def judged_for_user(
    ledger: Ledger, entry_point: EntryPoint = EntryPoint.QUEUE, device_id: str | None = None
) -> Verdict:
    pair = {} if device_id is None else {"device_id": device_id}
    request = {"recipients": [{"user_id": USER, **pair}], "idempotency_key": "key"}
    ledger.began[0] = 2.0
    return judge([PlannedRequest(0, entry_point, request, delivered_twice=False)], ledger, [])


@pytest.mark.parametrize(
    ("owner", "looked_up", "at", "expected"),
    [
        (USER, 5.0, 6.0, []),
        (OTHER, 5.0, 6.0, ["lost", "not the user's"]),
        # It moves to the other user at 10.
        (None, 9.0, 11.0, []),
        (None, 10.5, 11.0, ["not the user's"]),
        (None, None, 11.0, ["not the user's"]),
        (None, None, 9.0, []),
    ],
)
def test_a_push_is_a_breach_if_the_token_was_not_the_users_since_the_look_up(
    owner: str | None, looked_up: float | None, at: float, expected: list[str]
) -> None:
    ledger = Ledger()
    registered(ledger, owner or USER, at=1.0)
    if owner is None:
        registered(ledger, OTHER, at=10.0)
    pushed(ledger, looked_up=looked_up, at=at)

    assert breaches_of(judged_for_user(ledger)) == expected


@pytest.mark.parametrize("member", ["opted_out", "invalid"])
def test_a_push_to_a_device_that_no_send_chooses_is_a_breach(member: str) -> None:
    ledger = Ledger()
    registered(ledger, USER, at=1.0, **{member: True})
    pushed(ledger, looked_up=5.0, at=6.0)

    assert breaches_of(judged_for_user(ledger)) == ["lost", "not the user's"]


def test_a_transaction_that_is_repeated_has_no_second_effect() -> None:
    ledger = Ledger()
    for user, at in ((USER, 1.0), (OTHER, 3.0), (USER, 1.0)):
        registered(ledger, user, at)

    assert [(spell.user, spell.since) for spell in ledger.ownership.spells] == [
        (USER, 1.0),
        (OTHER, 3.0),
    ]
    assert ledger.ownership.moved == 1


def test_the_phone_of_a_user_who_keeps_it_is_lost_without_a_place() -> None:
    ledger = Ledger()
    registered(ledger, USER, at=1.0)
    assert breaches_of(judged_for_user(ledger)) == ["lost", "lost"]

    ledger.record_event(f"{PHONE.name} of key", "dead_token")
    verdict = judged_for_user(ledger)
    assert breaches_of(verdict) == []
    assert verdict.places[Place.DEAD_TOKEN] == Counter({"queue": 1})


@pytest.mark.parametrize("device_id", [None, PHONE.device_id()])
def test_a_user_whose_phone_leaves_gets_a_push_or_no_device(device_id: str | None) -> None:
    ledger = Ledger()
    registered(ledger, USER, at=1.0)
    registered(ledger, OTHER, at=3.0)
    assert breaches_of(judged_for_user(ledger, device_id=device_id)) == ["lost"]

    ledger.miss("key", "key", 1)
    verdict = judged_for_user(ledger, device_id=device_id)
    assert breaches_of(verdict) == []
    assert verdict.places == {Place.NO_DEVICE: Counter({"queue": 1})}


def test_a_requeued_device_that_moved_ends_as_no_device() -> None:
    for missing, expected in ((0, ["lost"]), (1, [])):
        ledger = Ledger()
        registered(ledger, USER, at=1.0)
        registered(ledger, None, at=3.0)
        results = [{"token": PHONE.token(), "outcome": "requeued", "reason": None}]
        ledger.answer(0, {"results": results, "summary": {}})
        ledger.miss("key", "key#1.7", missing)

        assert breaches_of(judged_for_user(ledger, EntryPoint.REQUEUEING)) == expected


def test_a_second_push_to_a_phone_in_one_request_is_a_breach() -> None:
    ledger = Ledger()
    registered(ledger, USER, at=1.0)
    for _ in range(2):
        pushed(ledger, looked_up=5.0, at=6.0)

    assert breaches_of(judged_for_user(ledger)) == ["sent twice"]


def test_an_event_without_a_token_is_a_breach() -> None:
    ledger = Ledger()
    registered(ledger, USER, at=1.0)
    pushed(ledger, looked_up=5.0, at=6.0)
    ledger.odd_events += [("key", "an event says dead_token of no token"), ("another", "why")]

    assert breaches_of(judged_for_user(ledger)) == ["outside the contract"]


def test_the_proxy_records_the_reads_of_users_and_only_transactions_that_took_effect() -> None:
    def call(operation: str, body: dict[str, Any]) -> None:
        connection = HTTPConnection(urlsplit(around).netloc)
        headers = {"X-Amz-Target": f"DynamoDB_20120810.{operation}"}
        headers["X-Amzn-Trace-Id"] = "Root=run;Sampled=1"
        connection.request("POST", "/", json.dumps(body).encode(), headers)
        connection.getresponse().read()
        connection.close()

    def write(user: str) -> dict[str, Any]:
        device = {"device_id": PHONE.device_id(), "token": PHONE.token(), "user_id": user}
        item = {"id": {"S": "D#app#device"}, "value": {"S": json.dumps(device)}}
        return {"ClientRequestToken": user, "TransactItems": [{"Put": {"Item": item}}]}

    ledger, faults = Ledger(), Faults(SeededRandom(1), enabled=False)
    refused, done = Answer(400, b'{"__type": "TransactionCanceledException"}'), Answer(200, b"{}")
    with answering(refused, done, done) as (url, _):
        services = Services(url, faults, ledger, lambda _: None)
        with serving(services.answer) as around:
            call("TransactWriteItems", write(OTHER))
            call("TransactWriteItems", write(USER))
            keys = [{"id": {"S": f"U#app#{USER}"}}]
            call("BatchGetItem", {"RequestItems": {"devices": {"Keys": keys}}})

    now = time.monotonic()
    (spell,) = ledger.ownership.spells
    assert spell.user == USER
    assert spell.since <= ledger.ownership.looked_up_at("run", USER) <= now


def test_the_breach_with_the_shortest_history_comes_first() -> None:
    ledger = Ledger()
    requests = [
        PlannedRequest(
            number,
            EntryPoint.QUEUE,
            {"recipients": [{"token": f"t{number}", "service": "GCM"}]},
            delivered_twice=False,
        )
        for number in range(3)
    ]
    for number, lines in enumerate((5, 1, 3)):
        for _ in range(lines):
            ledger.note([f"t{number}"], "something")

    shown = shortest(judge(requests, ledger, []), ledger)

    assert [breach.token for breach in shown] == ["t1", "t2", "t0"]


@pytest.mark.parametrize("each", BREAKS, ids=lambda each: each.name)
def test_each_break_still_applies_to_the_function(each: Any) -> None:
    for change in each.changes:
        assert (SOURCE / "push_sender" / change.file).read_text().count(change.old) == 1
        assert change.old != change.new
