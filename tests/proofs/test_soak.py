"""The proof of nothing lost and nothing doubled: a short run, and what its judge finds."""

from __future__ import annotations

import json
import os
import socket
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from queue import SimpleQueue
from threading import Event
from typing import Any
from urllib.parse import urlsplit

import pytest

from infra.bundle import SOURCE
from push_sender.clients.retries import client
from push_sender.follow_up.queue_messages import Queue, QueueMessage
from push_sender.idempotency.store import RequestRecord, Store, dynamodb_client
from soak.answers import OF_CALL, OF_SERVICE, Answer
from soak.breaks import BREAKS
from soak.faults import (
    REFUSED,
    SERVICE_REFUSED,
    SERVICE_UNREADABLE,
    UNREADABLE,
    CallFault,
    Fate,
    Faults,
    ServiceFault,
)
from soak.ledger import Acceptance, Ledger
from soak.loopback import strangers
from soak.plan import ATTENDED, Asked, Door, plan
from soak.provider import Wire, listening
from soak.run import run
from soak.seeded_random import Chance
from soak.services import Services
from soak.summary import shortest
from soak.verdict import Place, Verdict, judge
from tests.support.invocation import Push

TOKEN = "device-0000000"


def test_after_a_short_run_with_faults_every_recipient_is_in_one_place() -> None:
    chance = Chance(25)
    requests = list(plan(400, chance))

    # Killed processes take half a minute each until their claims have lapsed.
    outcome = run(requests, Faults(chance, killed=False), minutes=5)

    assert outcome.verdict.breaches == []
    assert outcome.verdict.recipients == 400
    assert {asked.door for asked in requests} == set(Door)
    assert outcome.verdict.places[Place.ACCEPTED].total() > 250
    assert sum(outcome.ledger.troubles.values()) > 20, "too little went wrong to prove anything"


def test_an_answer_after_its_client_left_is_recorded_as_unread() -> None:
    heard: SimpleQueue[bool] = SimpleQueue()
    gone = Event()

    def answer(handler: BaseHTTPRequestHandler, body: bytes, wire: Wire) -> None:
        if body == b"impatient":
            gone.wait(timeout=10)
        heard.put(wire.give(Answer(200, b"{}")) and wire.is_there())

    with listening(answer) as url:
        address = urlsplit(url).netloc
        patient, impatient = HTTPConnection(address), HTTPConnection(address)
        patient.request("POST", "/", b"patient")
        assert patient.getresponse().read() == b"{}"
        assert heard.get(timeout=10) is True
        impatient.request("POST", "/", b"impatient")
        impatient.close()
        gone.set()
        assert heard.get(timeout=10) is False
        patient.close()


def test_a_connection_to_another_machine_is_detected(tmp_path: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()),
    ):
        assert strangers([os.getpid()]) == []
    # As Linux writes it: one's own to loopback, one's own beyond, and somebody else's beyond.
    own, net = tmp_path / "7" / "fd", tmp_path / "7" / "net"
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

    assert strangers([7, 8], tmp_path) == ["192.0.2.1", "2001:db8::1"]


def test_the_same_seed_gives_the_same_plan() -> None:
    one, other, third = (list(plan(1_000, Chance(seed))) for seed in (3, 3, 4))

    assert one == other != third
    assert sum(len(asked.recipients) for asked in one) == 1_000
    tokens = [recipient["token"] for asked in one for recipient in asked.recipients]
    assert len(set(tokens)) == 1_000


def test_every_kind_of_fault_is_injected_only_if_enabled() -> None:
    def calls(faults: Faults) -> set[CallFault | None]:
        return {
            faults.of_call(f"t{n}", number, n, 600 if n % 9 == 0 else 1, 0)
            for n in range(20_000)
            for number in (0, 1)
        }

    cut_off = {CallFault.CUT_OFF, CallFault.LATE, CallFault.FORBIDDEN}
    killed = {CallFault.KILLED_BEFORE, CallFault.KILLED_AFTER}
    chance = Chance(1)
    planned = {None, *CallFault} - {CallFault.OVERDUE}
    assert calls(Faults(chance)) == planned
    assert calls(Faults(chance, cut_off=False)) == planned - cut_off
    assert calls(Faults(chance, killed=False)) == planned - killed
    assert calls(Faults(chance, any_=False)) == {None}
    faults = Faults(chance)
    fates = {faults.fate_of(f"t{n}", "GCM") for n in range(20_000)}
    assert fates | {faults.fate_of("t", "ADM")} == set(Fate)
    struck = {faults.of_service("events", f"e{n}", 0) for n in range(20_000)}
    assert struck == {None, *ServiceFault}


def asked(door: Door = Door.QUEUE) -> Asked:
    request: dict[str, Any] = {"recipients": [{"token": TOKEN, "service": "GCM"}], "message": "m"}
    return Asked(0, door, request, twice=False)


def reported(outcome: str, reason: str | None = None) -> dict[str, Any]:
    return {"results": [{"token": TOKEN, "outcome": outcome, "reason": reason}]}


def found(ledger: Ledger, door: Door = Door.QUEUE, letters: tuple[str, ...] = ()) -> Verdict:
    bodies = [json.dumps({"recipients": [{"token": token}]}) for token in letters]
    return judge([asked(door)], ledger, bodies)


def broken(verdict: Verdict) -> list[str]:
    return [breach.what for breach in verdict.breaches]


def took(ledger: Ledger, fault: CallFault | None = None, run: str = "run") -> None:
    ledger.accept(TOKEN, Acceptance(0, fault, run))


def test_a_push_whose_answer_was_delayed_by_a_busy_cpu_may_be_repeated() -> None:
    ledger = Ledger()
    for call in (0, 1):
        ledger.accept(TOKEN, Acceptance(call, None, f"run {call}"))
    assert broken(found(ledger)) == ["doubled"]

    ledger.unhear([TOKEN], 0, CallFault.OVERDUE)

    assert broken(found(ledger)) == []
    assert found(ledger).twice == Counter({f"answer lost: {CallFault.OVERDUE}": 1})


def test_a_recipient_in_no_place_is_lost() -> None:
    for door in Door:
        assert broken(found(Ledger(), door)) == ["lost"]


def test_a_recipient_accepted_once_is_fine() -> None:
    ledger = Ledger()
    took(ledger)

    verdict = found(ledger)

    assert broken(verdict) == []
    assert verdict.places == {Place.ACCEPTED: Counter({"queue": 1})}


def test_a_recipient_accepted_twice_is_doubled_unless_an_answer_was_lost_or_a_process_killed() -> (
    None
):
    heard, cut_off, killed = Ledger(), Ledger(), Ledger()
    for ledger, fault in ((heard, None), (cut_off, CallFault.CUT_OFF), (killed, None)):
        took(ledger, fault)
        took(ledger, run="another")
    killed.kill("run")

    assert broken(found(heard)) == ["doubled"]
    assert broken(found(cut_off)) == broken(found(killed)) == []
    assert list(found(cut_off).twice) == ["answer lost: cut off before the answer"]
    assert list(found(killed).twice) == ["process killed"]


def test_a_lambda_timeout_is_named_and_excuses_no_repetition() -> None:
    ledger = Ledger()
    took(ledger)
    took(ledger, run="another")
    line = {"message": "batch delivered", "results": [], "function_request_id": "id"}
    ledger.log(json.dumps({**line, "xray_trace_id": "run"}))
    ledger.log("2026-11-26T12:00:00Z id Task timed out after 29.00 seconds")

    (breach,) = found(ledger).breaches

    assert (breach.what, "Lambda's timeout" in breach.why) == ("doubled", True)


def test_only_the_first_of_two_accepted_pushes_needs_an_excuse() -> None:
    ledger = Ledger()
    took(ledger)
    took(ledger, CallFault.CUT_OFF, run="another")

    assert broken(found(ledger)) == ["doubled"]


def test_a_recipient_reported_dead_and_accepted_is_in_two_places() -> None:
    ledger = Ledger()
    took(ledger)
    ledger.tell(TOKEN, "dead_token")

    assert broken(found(ledger)) == ["in several places"]


def test_a_recipient_with_two_final_reports_is_in_two_places() -> None:
    ledger = Ledger()
    ledger.tell(TOKEN, "dead_token")
    ledger.tell(TOKEN, "rejected")

    assert broken(found(ledger)) == ["in several places"]


def test_a_repetition_after_an_unreadable_answer_is_doubled() -> None:
    for fault in UNREADABLE:
        ledger = Ledger()
        took(ledger, fault)
        took(ledger, run="another")

        assert broken(found(ledger)) == ["doubled"], fault


def test_a_recipient_reported_refused_was_not_accepted_in_a_lost_call() -> None:
    for word in ("misconfigured", "transient", "rejected", "dead_token"):
        ledger = Ledger()
        ledger.answer(0, reported(word))
        took(ledger, CallFault.CUT_OFF)
        assert broken(found(ledger, Door.HTTP)) == ["in several places"], word

        ledger.kill("run")  # what took its memory along
        assert broken(found(ledger, Door.HTTP)) == []


def test_a_recipient_reported_accepted_has_a_readable_accepting_answer() -> None:
    ledger = Ledger()
    ledger.answer(0, reported("accepted"))
    took(ledger, CallFault.NULL)

    assert broken(found(ledger, Door.HTTP)) == ["claimed"]


def test_an_undocumented_answer_to_a_caller_is_a_breach() -> None:
    ledger = Ledger()
    took(ledger)
    ledger.break_contract(0, "TypeError")

    assert broken(found(ledger, Door.HTTP)) == ["outside the contract"]


@pytest.mark.parametrize("fault", OF_CALL)
def test_the_function_classifies_an_odd_call_answer_by_its_kind(
    fault: CallFault, push: Push, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = {"DeliveryStatus": "SUCCESSFUL", "StatusCode": 200}
    told = json.dumps({"ApplicationId": "a", "Result": {TOKEN: result}}).encode()
    with answering(OF_CALL[fault](told), Answer(200, told)) as (url, calls):
        monkeypatch.setenv("AWS_ENDPOINT_URL_PINPOINT", url)
        (outcome,) = (each["outcome"] for each in push(asked().request)["results"])

    if fault is CallFault.FORBIDDEN:
        expected = ("misconfigured", 1)
    elif fault in UNREADABLE:
        expected = ("unknown", 1)
    else:
        expected = ("accepted", 2 if fault in REFUSED else 1)
    assert (outcome, len(calls)) == expected


@pytest.mark.usefixtures("push")
@pytest.mark.parametrize("fault", OF_SERVICE)
def test_the_function_classifies_an_odd_service_answer_by_its_kind(
    fault: ServiceFault, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = OF_SERVICE[fault], Answer(200, b"{}")
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


class _DoneNull(Faults):
    def of_service(self, service: str, thing: str, number: int) -> ServiceFault | None:
        return ServiceFault.DONE_NULL


def test_an_unreadable_success_replaces_only_a_success() -> None:
    taken, refused = Answer(200, b'{"MessageId": "1"}'), Answer(400, b'{"__type": "No"}')
    with answering(taken, refused) as (url, _):
        services = Services(url, _DoneNull(Chance(1)), Ledger(), lambda _: None)
        with listening(services.answer) as around:
            connection = HTTPConnection(urlsplit(around).netloc)
            told = []
            for _ in range(2):
                connection.request("POST", "/", b"{}", {"X-Amz-Target": "AmazonSQS.SendMessage"})
                answer = connection.getresponse()
                told.append((answer.status, answer.read()))
            connection.close()

    assert told == [(200, b"null"), (400, refused.body)]


@contextmanager
def answering(*answers: Answer) -> Iterator[tuple[str, list[bytes]]]:
    """Give these answers, one after the other; give the URL, and the bodies that come."""
    calls: list[bytes] = []

    def answer(handler: BaseHTTPRequestHandler, body: bytes, wire: Wire) -> None:
        wire.give(answers[len(calls)])
        calls.append(body)

    with listening(answer) as url:
        yield url, calls


def test_unknown_is_correct_only_if_an_answer_was_not_read() -> None:
    ledger = Ledger()
    ledger.tell(TOKEN, "unknown")
    assert broken(found(ledger)) == ["in several places"]

    ledger.doubt([TOKEN], "cut off")
    took(ledger, CallFault.CUT_OFF)
    assert broken(found(ledger)) == []


def test_a_reported_acceptance_must_have_happened() -> None:
    ledger = Ledger()
    ledger.answer(0, reported("accepted"))

    assert broken(found(ledger, Door.HTTP)) == ["lost"]


def test_the_last_report_counts_and_requeued_is_no_final_place() -> None:
    ledger = Ledger()
    ledger.answer(0, reported("requeued"))
    assert broken(found(ledger, Door.REQUEUEING)) == ["lost"]

    ledger.tell(TOKEN, "expired")
    assert found(ledger, Door.REQUEUEING).places.keys() == {Place.EXPIRED}


def test_a_dead_letter_message_that_remains_after_all_fixes_is_lost() -> None:
    verdict = found(Ledger(), letters=(TOKEN,))

    assert verdict.places.keys() == {Place.DEAD_LETTER}
    assert broken(verdict) == ["lost"]


def test_the_log_is_a_place_only_for_asynchronous_requests() -> None:
    ledger = Ledger()
    ledger.log(json.dumps({"message": "batch delivered", "results": [{"token": digest()}]}))

    for door in Door:
        expected = [] if door is Door.ASYNCHRONOUS else ["lost"]
        assert broken(found(ledger, door)) == expected


def digest() -> str:
    from push_sender.telemetry.log import token_digest

    return token_digest(TOKEN)


def test_a_caller_without_a_report_is_a_place() -> None:
    ledger = Ledger()
    ledger.fail(0, "its process was killed")

    for door in ATTENDED:
        assert found(ledger, door).places.keys() == {Place.CALLER}


def test_the_shortest_history_of_a_breach_is_shown_first() -> None:
    ledger = Ledger()
    requests = [
        Asked(
            number,
            Door.QUEUE,
            {"recipients": [{"token": f"t{number}", "service": "GCM"}]},
            twice=False,
        )
        for number in range(3)
    ]
    for number, lines in enumerate((5, 1, 3)):
        for _ in range(lines):
            ledger.note([f"t{number}"], "something")

    told = shortest(judge(requests, ledger, []), ledger)

    assert [breach.token for breach in told] == ["t1", "t2", "t0"]


@pytest.mark.parametrize("each", BREAKS, ids=lambda each: each.name)
def test_each_deliberate_break_still_applies_to_the_function(each: Any) -> None:
    for change in each.changes:
        assert (SOURCE / "push_sender" / change.file).read_text().count(change.old) == 1
        assert change.old != change.new
