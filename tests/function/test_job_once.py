"""The walks of a child: repeated, killed, redriven. Each row gets its push and counts once."""

from __future__ import annotations

import os
import time
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress

import pytest

from push_sender.follow_up.queue_messages import QueueUnavailable
from push_sender.jobs.errors import JobStoreUnavailable, MostlyRefused, SourceUnavailable
from push_sender.request.errors import IdempotencyInProgress, IdempotencyStoreUnavailable
from tests.support.invocation import ProcessQueue
from tests.support.jobs import Forward, JobRunner, rows_of_tokens, sent_once
from tests.support.killed_function import KilledFunction, running_function
from tests.support.loopback import Reply
from tests.support.paths import LAMBDA_SOURCE
from tests.support.provider import Json, Provider, accepted, results

THROTTLED = {"DeliveryStatus": "THROTTLED", "StatusCode": 429, "StatusMessage": "slow"}
REJECTED = {"DeliveryStatus": "PERMANENT_FAILURE", "StatusCode": 400, "StatusMessage": "bad"}
DEAD = {"DeliveryStatus": "PERMANENT_FAILURE", "StatusCode": 410, "StatusMessage": "Unregistered"}
NO_CHANNEL = {"DeliveryStatus": "PERMANENT_FAILURE", "StatusCode": 403, "StatusMessage": "denied"}


@pytest.fixture
def function(jobs: JobRunner) -> Iterator[KilledFunction]:
    with running_function({**os.environ, "PYTHONPATH": str(LAMBDA_SOURCE)}) as running:
        yield running


def answer_some(provider: Provider, answers: Mapping[str, Json]) -> None:
    """Answer pushes to some tokens so; accept all others."""
    provider.answer_each(lambda token, _: answers.get(token, accepted(token)))


def kill_at(jobs: JobRunner, function: KilledFunction, number: int) -> list[str]:
    """Kill the function before its nth call of the account has its effect; list the calls."""
    calls: list[str] = []

    def answer(operation: str, forward: Forward) -> Reply:
        calls.append(operation)
        if len(calls) - 1 != number:
            return forward()
        function.kill()
        return Reply(cut_off=True)

    jobs.proxy.answer = answer
    return calls


def rows_that_stand(jobs: JobRunner) -> set[str]:
    """Name the rows whose outcome is stored: those of a batch record, or all if all is done."""
    items = jobs.items()
    records = [item for item in items if "fingerprint" in item]
    if any("done" in record for record in records):
        return set(EVERYONE)
    runs = [f"{record['id']['S']}#{record['run']['S']}#" for record in records]
    parts = [item["part"]["N"] for item in items if item["id"]["S"].startswith(tuple(runs))]
    return {token for part in map(int, parts) for token in EVERYONE[part : part + 100]}


LATE = ("t-140", "t-149")
EVERYONE = [f"t-{n}" for n in range(150)]


def test_a_child_killed_before_any_of_its_calls_and_repeated_sends_and_counts_each_row_once(
    jobs: JobRunner, provider: Provider, function: KilledFunction, process_queue: ProcessQueue
) -> None:
    """Two rows are throttled, so that they go through the queue. Only what is in flight doubles.

    The first five calls come before that, and a throttled batch is slow, so it is left out there.
    """
    jobs.upload(rows_of_tokens(EVERYONE))
    number, was_killed = 0, True
    while was_killed:
        jobs.forget()
        (child,) = jobs.children(jobs.begin(f"job-{number}"))
        provider.calls.clear()
        late = LATE if number > 4 else ()
        answer_some(provider, dict.fromkeys(late, THROTTLED))
        calls = kill_at(jobs, function, number)

        was_killed = function(child) is None

        jobs.proxy.recover()
        standing = rows_that_stand(jobs)
        jobs.change_items(lapses_at=-60_000)
        assert isinstance(function(child), dict), calls
        sent = Counter(token for token in provider.tokens if token not in late)
        assert sent.keys() | set(late) == set(EVERYONE)
        assert {token for token in sent if sent[token] > 1}.isdisjoint(standing), calls
        counts = {"accepted": 150, "rows": 150}
        if late:
            counts |= {"accepted": 148, "requeued": 2}
            provider.answer_each(lambda token, _: accepted(token))
            provider.calls.clear()
            jobs.account.wait()
            process_queue()
            assert provider.tokens == list(LATE)
        assert jobs.summary(f"job-{number}") == counts, calls
        number += 1
    assert number >= 9


def test_a_redriven_child_killed_before_any_of_its_calls_sends_and_counts_each_row_once(
    jobs: JobRunner, provider: Provider, function: KilledFunction
) -> None:
    """Every second row was misconfigured; those are sent again, and no other one."""
    jobs.upload(rows_of_tokens(EVERYONE))
    wrong = EVERYONE[::2]
    number, was_killed = 0, True
    while was_killed:
        jobs.forget()
        (child,) = jobs.children(jobs.begin(f"job-{number}"))
        provider.answer_each(lambda token, _: NO_CHANNEL if token in wrong else accepted(token))
        assert isinstance(function(child), dict)
        assert jobs.summary(f"job-{number}") == {
            "accepted": 75,
            "misconfigured": 75,
            "rows": 150,
        }
        provider.answer_each(lambda token, _: accepted(token))
        provider.calls.clear()
        jobs.move_clock(25)
        calls = kill_at(jobs, function, number)

        was_killed = function(child) is None

        jobs.proxy.recover()
        standing = rows_that_stand(jobs)
        jobs.change_items(lapses_at=-60_000)
        assert isinstance(function(child), dict), calls
        sent = Counter(provider.tokens)
        assert sent.keys() == set(wrong)
        assert {token for token in sent if sent[token] > 1}.isdisjoint(standing), calls
        assert jobs.summary(f"job-{number}") == {"accepted": 150, "rows": 150}, calls
        number += 1
    assert number >= 8


@pytest.mark.parametrize("lost", [False, True], ids=["refused", "lost"])
@pytest.mark.parametrize(
    "operation",
    [
        "GetObject",
        "PutItem",
        "SendMessage",
        "BatchGetItem",
        "TransactWriteItems",
        "PutObject",
        "PutEvents",
    ],
)
def test_a_call_that_always_fails_or_loses_its_answer_loses_and_doubles_nothing(
    jobs: JobRunner,
    provider: Provider,
    process_queue: ProcessQueue,
    operation: str,
    lost: bool,
) -> None:
    late = ["late"] if operation == "SendMessage" else []  # to be throttled takes a second
    jobs.upload(rows_of_tokens(["a", "dead", *late]))
    (child,) = jobs.children(jobs.begin())
    answers = {"late": THROTTLED, "dead": DEAD}
    provider.answer_each(lambda token, _: answers.get(token, accepted(token)))
    jobs.proxy.fail(operation, lost=lost)

    with suppress(
        SourceUnavailable, IdempotencyStoreUnavailable, QueueUnavailable, JobStoreUnavailable
    ):
        jobs.child(child)
    jobs.proxy.recover()
    jobs.move_clock(0.1)
    jobs.child(child)

    assert sent_once(["a", "dead"], [token for token in provider.tokens if token != "late"])
    counts = {"accepted": 1, "dead_token": 1, "rows": 2}
    if late:
        counts |= {"requeued": 1, "rows": 3}
        provider.answer_each(lambda token, _: accepted(token))
        provider.calls.clear()
        jobs.account.wait()
        process_queue()
        assert provider.tokens == ["late"]
    assert jobs.summary() == counts
    assert [line["row"] for line in jobs.lines()] == list(range(2, len(late) + 3))


def test_a_child_of_a_wrong_message_fails_and_sends_again_once_it_is_put_right(
    jobs: JobRunner, provider: Provider
) -> None:
    jobs.upload(rows_of_tokens([f"t-{n}" for n in range(5)]))
    (child,) = jobs.children(jobs.begin())
    provider.answer = lambda call: results(
        {token: accepted(token) if token == "t-0" else NO_CHANNEL for token in call["Addresses"]}
    )
    for _ in range(2):
        with pytest.raises(MostlyRefused):
            jobs.child(child)
        assert jobs.summary() == {"accepted": 1, "misconfigured": 4, "rows": 5}
        assert len(jobs.lines()) == 4
    provider.answer_each(lambda token, _: accepted(token))
    provider.calls.clear()
    jobs.move_clock(25)

    jobs.child(child)
    jobs.child(child)

    assert sent_once(["t-1", "t-2", "t-3", "t-4"], provider.tokens)
    assert jobs.summary() == {"accepted": 5, "rows": 5}
    assert jobs.lines() == []


def test_a_redrive_passes_a_child_whose_rows_the_services_rejected_for_good(
    jobs: JobRunner, provider: Provider
) -> None:
    jobs.upload(rows_of_tokens(["t-0", "t-1"]))
    (child,) = jobs.children(jobs.begin())
    provider.answer_each(lambda token, _: REJECTED)
    with pytest.raises(MostlyRefused):
        jobs.child(child)
    provider.calls.clear()

    jobs.child(child)

    assert provider.calls == []
    assert jobs.summary() == {"rejected": 2, "rows": 2}


def test_what_is_queued_is_not_queued_again_by_a_redrive_after_a_day(
    jobs: JobRunner, provider: Provider, process_queue: ProcessQueue
) -> None:
    jobs.upload(rows_of_tokens(["a", "late"]))
    (child,) = jobs.children(jobs.begin())
    provider.answer_each(lambda token, _: THROTTLED if token == "late" else accepted(token))
    jobs.child(child)
    jobs.account.wait()
    provider.answer_each(lambda token, _: accepted(token))
    process_queue()
    provider.calls.clear()
    jobs.move_clock(25)

    jobs.child(child)

    assert jobs.account.requeued() == []
    assert provider.calls == []
    assert jobs.summary() == {"accepted": 1, "requeued": 1, "rows": 2}


def test_rows_that_were_queued_before_a_kill_are_sent_once_after_a_redrive_a_day_later(
    jobs: JobRunner, provider: Provider, function: KilledFunction, process_queue: ProcessQueue
) -> None:
    """The record does not say that they are queued; their own key still does."""
    jobs.upload(rows_of_tokens(["a", "late"]))
    (child,) = jobs.children(jobs.begin())
    provider.answer_each(lambda token, _: THROTTLED if token == "late" else accepted(token))
    queued: list[str] = []

    def killed(operation: str, forward: Forward) -> Reply:
        if queued:
            function.kill()
            return Reply(cut_off=True)
        if operation == "SendMessage":
            queued.append(operation)
        return forward()

    jobs.proxy.answer = killed
    assert function(child) is None
    jobs.proxy.recover()
    provider.answer_each(lambda token, _: accepted(token))
    provider.calls.clear()
    jobs.account.wait()
    process_queue()
    assert provider.tokens == ["late"]
    jobs.move_clock(25)

    jobs.child(child)
    jobs.account.wait()
    process_queue()

    assert provider.tokens == ["late"]
    assert jobs.summary() == {"accepted": 1, "requeued": 1, "rows": 2}


def test_without_its_queue_a_child_fails_and_loses_no_row(
    jobs: JobRunner, provider: Provider, process_queue: ProcessQueue
) -> None:
    jobs.upload(rows_of_tokens(["a", "late"]))
    (child,) = jobs.children(jobs.begin())
    provider.answer_each(lambda token, _: THROTTLED if token == "late" else accepted(token))
    jobs.proxy.fail("SendMessage")
    for _ in range(2):
        with pytest.raises(QueueUnavailable):
            jobs.child(child)
    assert jobs.summary() == {}
    jobs.proxy.recover()
    provider.calls.clear()

    jobs.child(child)

    assert provider.calls == []
    assert len(jobs.account.requeued()) == 1
    assert jobs.summary() == {"accepted": 1, "requeued": 1, "rows": 2}


def test_what_must_be_sent_at_once_or_never_is_sent_again_by_a_redrive(
    jobs: JobRunner, provider: Provider
) -> None:
    jobs.upload(rows_of_tokens(["late"]))
    (child,) = jobs.children(jobs.begin(request={"message": "m", "ttl": 0}))
    provider.answer_each(lambda token, _: THROTTLED)
    jobs.child(child)
    assert jobs.summary() == {"rows": 1, "transient": 1}
    provider.answer_each(lambda token, _: accepted(token))

    jobs.child(child)

    assert jobs.summary() == {"accepted": 1, "rows": 1}


def test_a_child_waits_for_another_run_of_it_that_was_killed(
    jobs: JobRunner, provider: Provider
) -> None:
    jobs.upload(rows_of_tokens(["a"]))
    (child,) = jobs.children(jobs.begin())
    jobs.child(child)
    (record,) = [item for item in jobs.items() if "fingerprint" in item]
    for name in ("done", "outcomes", "parts"):
        record.pop(name, None)
    jobs.put({**record, "lapses_at": {"N": str(round(time.time() * 1_000) + 300)}})

    jobs.child(child)

    assert provider.tokens == ["a", "a"]  # the killed run may have had it in flight
    assert jobs.summary() == {"accepted": 1, "rows": 1}
    jobs.put({**record, "lapses_at": {"N": str(round(time.time() * 1_000) + 60_000)}})
    with pytest.raises(IdempotencyInProgress):
        jobs.child(child)


def test_the_record_of_a_child_is_small_and_lasts_a_month(
    jobs: JobRunner, provider: Provider
) -> None:
    jobs.upload(rows_of_tokens([f"token-{n}" for n in range(1_000)]))
    (child,) = jobs.children(jobs.begin())
    provider.answer_each(
        lambda token, _: (
            THROTTLED if token.endswith("7") else {**accepted(token), "MessageId": token}
        )
    )
    jobs.child(child)

    (record,) = [item for item in jobs.items() if "fingerprint" in item]
    assert len(record["outcomes"]["B"]) < 1_000
    assert "token-" not in zlib.decompress(record["outcomes"]["B"][1:]).decode()
    assert int(record["expiration"]["N"]) > time.time() + 29 * 86_400
