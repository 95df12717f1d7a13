"""What a store that fails, a process that is killed and a short time do to the promise."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections import Counter
from typing import Any

import pytest

from push_sender.delivery.run import Delivered
from push_sender.idempotency.fingerprint import record_id
from push_sender.request.errors import (
    IdempotencyConflict,
    IdempotencyInProgress,
    IdempotencyStoreUnavailable,
)
from tests.function.test_delivery import THROTTLED
from tests.function.test_idempotency import answer_last, to, without_what_is_not_kept
from tests.support.dynamodb import Forward, Table, refusing
from tests.support.function_process import CONTEXT, function_environment
from tests.support.invocation import PROJECT, Push, log_lines, metric_lines
from tests.support.loopback import Reply
from tests.support.provider import Json, Provider, accepted, results
from tests.support.senders import Clock, IgnoringObserver, sender_with

RUN = (
    CONTEXT
    + """
import json, sys
from push_sender.handler import handler

handler(json.load(sys.stdin), Context())
"""
)


def is_last_word(call: Json) -> bool:
    return "done" in call.get("Item", {})


def is_of_a_batch(call: Json) -> bool:
    return "part" in call.get("Item", {})


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "AccessDeniedException"),
        (400, "ProvisionedThroughputExceededException"),
        (400, "ResourceNotFoundException"),
        (500, "InternalServerError"),
    ],
)
def test_if_the_store_refuses_nothing_is_sent_and_no_key_claimed(
    push: Push, provider: Provider, table: Table, status: int, code: str
) -> None:
    table.answer = lambda *_: refusing(status, code)
    with pytest.raises(IdempotencyStoreUnavailable, match=code) as refused:
        push(to("KaNaRy", key="secret key"))
    assert "KaNaRy" not in str(refused.value)
    assert "secret" not in str(refused.value)
    assert provider.calls == []
    table.recover()

    report = push(to("KaNaRy", key="secret key"))

    assert (report["replayed"], report["summary"]["accepted"]) == (False, 1)


def test_if_the_store_is_down_nothing_is_sent(
    push: Push, provider: Provider, table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", "http://127.0.0.1:9")

    with pytest.raises(IdempotencyStoreUnavailable, match="EndpointConnectionError"):
        push(to("a"))

    assert provider.calls == []


def test_without_a_region_for_the_store_nothing_is_sent() -> None:
    from push_sender.idempotency.store import RequestRecord, Store, StoreError, dynamodb_client

    store = Store(lambda: dynamodb_client(None), "keys")
    with pytest.MonkeyPatch.context() as environment:
        for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
            environment.delenv(name, raising=False)
        environment.setenv("AWS_CONFIG_FILE", "/nowhere")
        with pytest.raises(StoreError, match="NoRegionError"):
            store.put_new(RequestRecord("id", "fingerprint", "run", "holder", 0, 0), 0)


def test_a_store_that_does_not_answer_leaves_the_caller_time(
    push: Push, provider: Provider, table: Table
) -> None:
    released = threading.Event()

    def hang(*_: object) -> Reply:
        released.wait()
        return Reply(cut_off=True)

    table.answer = hang
    try:
        with pytest.raises(IdempotencyStoreUnavailable, match=r"\(Timeout\)"):
            push(to("a"), seconds=2)
        assert provider.calls == []
        table.recover()
        assert push(to("a"))["summary"]["accepted"] == 1  # by its own threads
    finally:
        released.set()


def test_a_claim_whose_answer_was_lost_still_holds(
    push: Push, provider: Provider, table: Table
) -> None:
    def lose_the_first(_: str, call: Json, forward: Forward) -> Reply:
        reply = forward()
        return Reply(cut_off=True) if len(table.calls) == 1 else reply

    table.answer = lose_the_first

    report = push(to("a"))

    assert (report["replayed"], report["summary"]["accepted"]) == (False, 1)
    assert len(provider.calls) == 1


@pytest.mark.parametrize(
    "code", ["AccessDeniedException", "ProvisionedThroughputExceededException"]
)
def test_a_store_that_fails_after_the_send_loses_no_result(
    push: Push,
    provider: Provider,
    table: Table,
    capsys: pytest.CaptureFixture[str],
    code: str,
) -> None:
    table.answer = lambda _, call, forward: refusing(400, code) if is_last_word(call) else forward()

    report = push(to("a", "b"))

    assert report["summary"] == {"recipients": 2, "accepted": 2}
    assert report["replayed"] is False
    (warning,) = report["warnings"]
    assert warning["path"] == "idempotency_key"
    assert code in warning["message"]
    assert len(provider.calls) == 1
    output = capsys.readouterr().out
    (warned,) = [line for line in log_lines(output) if line["level"] == "WARNING"]
    assert warned["reason"] == code
    assert sum(line.get("SendsNotRemembered", [0])[0] for line in metric_lines(output)) == 1
    table.recover()
    with pytest.raises(IdempotencyInProgress):
        push(to("a", "b"))
    assert len(provider.calls) == 1


def test_a_store_that_hangs_after_the_send_delays_the_report_at_most_to_the_deadline(
    push: Push, provider: Provider, table: Table
) -> None:
    released = threading.Event()

    def hang(_: str, call: Json, forward: Forward) -> Reply:
        if is_last_word(call):
            released.wait()
            return Reply(cut_off=True)
        return forward()

    table.answer = hang
    try:
        report = push(to("a"), seconds=6)
    finally:
        released.set()

    assert report["summary"] == {"recipients": 1, "accepted": 1}
    assert "(Timeout)" in report["warnings"][0]["message"]


def test_the_final_record_keeps_outcomes_whose_batch_records_failed(
    push: Push, provider: Provider, table: Table
) -> None:
    table.answer = lambda _, call, forward: (
        refusing(400, "AccessDeniedException") if is_of_a_batch(call) else forward()
    )
    event = to(*(f"t{n}" for n in range(350)))

    first = push(event)
    again = push(event)

    assert first["warnings"] == []
    assert table.batch_records == []
    assert len(provider.calls) == 4
    assert again["replayed"] is True
    assert again["results"] == without_what_is_not_kept(first)


def test_a_slow_store_delays_neither_calls_nor_retries(
    push: Push, provider: Provider, table: Table
) -> None:
    # More batches than the store has threads, whose records all wait for the last retry.
    event = to(*(f"t{n}" for n in range(3_000)))
    seen: Counter[str] = Counter()
    retried = threading.Event()

    def one(token: str, _: Json) -> Json:
        seen[token] += 1
        if seen["t2999"] == 2:
            retried.set()
        throttled = int(token[1:]) % 100 == 99 and seen[token] == 1
        return THROTTLED if throttled else accepted(token)

    provider.answer_each(one)

    def wait(_: str, call: Json, forward: Forward) -> Reply:
        if is_of_a_batch(call) and not retried.wait(timeout=25):
            return refusing(400, "NobodyTriedAgain")
        return forward()

    table.answer = wait
    report = push(event)

    assert retried.is_set()
    assert report["summary"] == {"recipients": 3_000, "accepted": 3_000}
    assert push(event)["results"] == without_what_is_not_kept(report)


def test_hanging_batch_records_delay_neither_the_final_record_nor_the_next_request(
    push: Push, provider: Provider, table: Table
) -> None:
    released = threading.Event()
    hanging = tuple(record_id(PROJECT, key) for key in ("one", "two"))

    def hang(_: str, call: Json, forward: Forward) -> Reply:
        if is_of_a_batch(call) and call["Item"]["id"]["S"].startswith(hanging):
            released.wait()
            return Reply(cut_off=True)
        return forward()

    table.answer = hang
    try:
        for key in ("one", "two"):
            event = to(*(f"t{n}" for n in range(1_500)), key=key)
            report = push(event, seconds=8)
            assert report["summary"] == {"recipients": 1_500, "accepted": 1_500}
            assert report["warnings"] == []
            assert push(event)["replayed"] is True
        assert table.batch_records == []
        answer_last(provider, table, "t1499", records=14)
        report = push({**event, "idempotency_key": "three"}, seconds=8)
        assert report["summary"] == {"recipients": 1_500, "accepted": 1_500}
    finally:
        released.set()

    assert len(provider.calls) == 3 * 15


def test_nothing_is_written_after_the_report(push: Push, provider: Provider, table: Table) -> None:
    begun, ended = [], []

    def dawdle(_: str, call: Json, forward: Forward) -> Reply:
        begun.append(call)
        time.sleep(0.3 if is_of_a_batch(call) else 0)
        reply = forward()
        ended.append(call)
        return reply

    table.answer = dawdle
    push(to(*(f"t{n}" for n in range(2_000))))

    assert sum(map(is_of_a_batch, begun)) > 1
    assert len(begun) == len(ended)


def test_outcomes_are_stored_even_when_the_deadline_has_passed(
    push: Push, provider: Provider, table: Table
) -> None:
    event = to(*(f"t{n}" for n in range(1_700)))
    provider.hang()
    clock = Clock()
    deadline = clock() + 5
    clock.stops_at = deadline - 0.3  # sending must have ended: more is kept for the last word

    class Observer(IgnoringObserver):
        def delivered(self, delivered: Delivered, *_: object) -> None:
            clock.ahead = -60  # so that the last word is in time on a busy machine, too

    def take_time(_: str, call: Json, forward: Forward) -> Reply:
        time.sleep(0.5 if is_last_word(call) else 0)
        return forward()

    table.answer = take_time
    sender = sender_with(table, clock=clock, concurrency=16, observer=Observer())
    first: Any = sender.send(event, deadline=deadline)
    provider.reset()
    again = push(event)

    assert first["summary"] == {"recipients": 1_700, "unknown": 1_600, "unsent": 100}
    assert [w for w in first["warnings"] if w["path"] == "idempotency_key"] == []
    assert again["replayed"] is True
    assert again["results"] == without_what_is_not_kept(first)
    assert provider.calls == []


def test_after_a_kill_between_two_batches_only_the_open_batch_is_repeated(
    push: Push, provider: Provider, table: Table
) -> None:
    event = to(*(f"t{n}" for n in range(300)))
    let_go = threading.Event()

    def answer(call: Json) -> Reply:
        if "t100" in call["Addresses"] and not let_go.is_set():
            let_go.wait()  # the second batch is at the provider when the process dies
            return Reply(cut_off=True)
        return results({token: accepted(token) for token in call["Addresses"]})

    provider.answer = answer
    process = subprocess.Popen(
        [sys.executable, "-c", RUN],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        env=function_environment(
            SEND_CONCURRENCY="1",
            IDEMPOTENCY_TABLE=table.name,
            AWS_ENDPOINT_URL_PINPOINT=provider.url,
            AWS_ENDPOINT_URL_DYNAMODB=table.url,
        ),
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps(event))
    process.stdin.close()
    while len(provider.calls) < 2 or not table.batch_records:
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.wait()
    let_go.set()
    assert "done" not in table.request_record

    lapses_at = int(table.request_record["lapses_at"]["N"]) / 1_000
    asked = time.time()
    with pytest.raises(IdempotencyInProgress) as running:
        push(event)
    assert lapses_at - time.time() <= running.value.seconds <= lapses_at - asked <= 22
    table.change(lapses_at={"N": str(int(time.time() * 1_000))})  # as if we had waited
    for another in (301, 299):
        with pytest.raises(IdempotencyConflict):
            push(to(*(f"t{n}" for n in range(another))))
    assert len(provider.calls) == 2
    report = push(event)

    assert (report["replayed"], report["idempotency_key"]) == (False, "key")
    assert report["summary"] == {"recipients": 300, "accepted": 300}
    assert Counter(provider.tokens) == {f"t{n}": 2 if 100 <= n < 200 else 1 for n in range(300)}
    assert push(event)["replayed"] is True


def test_records_that_dynamodb_returns_unprocessed_are_read_again(
    push: Push, provider: Provider, table: Table
) -> None:
    event = to(*(f"t{n}" for n in range(350)))
    answer_last(provider, table, "t349", records=3)
    first = push(event)

    def half(operation: str, call: Json, forward: Forward) -> Reply:
        reply = forward()
        answer = json.loads(reply.body)
        if operation == "BatchGetItem" and len(answer["Responses"][table.name]) > 1:
            left_out = answer["Responses"][table.name].pop()
            keys = {"Keys": [{"id": left_out["id"]}], "ConsistentRead": True}
            answer["UnprocessedKeys"] = {table.name: keys}
            reply.body = json.dumps(answer).encode()
        return reply

    table.answer = half
    again = push(event)

    assert table.operations.count("BatchGetItem") == 2
    assert again["results"] == without_what_is_not_kept(first)


def test_if_records_cannot_be_read_nothing_is_sent(
    push: Push, provider: Provider, table: Table
) -> None:
    event = to(*(f"t{n}" for n in range(150)))
    answer_last(provider, table, "t149", records=1)
    push(event)
    table.undo()
    sent = len(provider.calls)
    left_out = {table.name: {"Keys": [{"id": {"S": "x"}}]}}
    never = json.dumps({"Responses": {}, "UnprocessedKeys": left_out}).encode()

    def read_as(reply: Reply) -> None:
        table.answer = lambda operation, call, forward: (
            reply if operation == "BatchGetItem" else forward()
        )

    read_as(Reply(body=never))
    with pytest.raises(IdempotencyStoreUnavailable, match="UnprocessedKeys"):
        push(event)
    read_as(refusing(400, "AccessDeniedException"))
    with pytest.raises(IdempotencyStoreUnavailable, match="AccessDeniedException"):
        push(event)
    assert len(provider.calls) == sent
    table.recover()
    assert push(event)["summary"]["accepted"] == 150  # no other claim exists


def test_only_one_of_two_repetitions_continues_a_run(
    push: Push, provider: Provider, table: Table
) -> None:
    twin = sender_with(table)
    push(to("a"))
    table.undo()

    def be_quicker(_: str, call: Json, forward: Forward) -> Reply:
        if "holder = :holder" in call.get("ConditionExpression", ""):
            table.recover()
            twin.send(to("a"), deadline=time.monotonic() + 20)  # between our look and our write
        return forward()

    table.answer = be_quicker
    with pytest.raises(IdempotencyInProgress):
        push(to("a"))

    assert len(provider.calls) == 2
    assert push(to("a"))["replayed"] is True


def test_records_are_read_in_several_calls_if_needed(table: Table) -> None:
    from push_sender.idempotency.store import RequestRecord, Store, dynamodb_client

    store = Store(lambda: dynamodb_client("us-east-1"), table.name)
    record = RequestRecord("id", "fingerprint", "run", "holder", 0, int(time.time()) + 60)
    for part in range(0, 12_000, 100):
        store.put_part(record, part, b"%d" % part)

    found = store.parts(record, range(0, 15_000, 100))

    assert found == {part: b"%d" % part for part in range(0, 12_000, 100)}
