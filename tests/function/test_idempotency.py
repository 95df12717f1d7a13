"""The same key, the same effect: sent once, told again, refused for anything else."""

from __future__ import annotations

import json
import time
import zlib
from collections import Counter
from typing import Any

import pytest

from push_sender.request.errors import (
    IdempotencyConflict,
    IdempotencyInProgress,
    IdempotencyStoreUnavailable,
)
from tests.support.dynamodb import Table
from tests.support.function_process import CONTEXT, run_program
from tests.support.invocation import OTHER_PROJECT, PROJECT, Push
from tests.support.provider import Json, Provider, accepted, results

DAY = 86_400
DEAD = {"DeliveryStatus": "PERMANENT_FAILURE", "StatusCode": 410, "StatusMessage": "Unregistered"}


def to(*tokens: str, key: str | None = "key", **more: Any) -> Json:
    """Request a push to some tokens under a key."""
    recipients = [{"token": token, "service": "GCM"} for token in tokens]
    request = {"recipients": recipients, "message": "m", **more}
    return request if key is None else {**request, "idempotency_key": key}


def without_what_is_not_kept(report: Json) -> list[Json]:
    return [
        {**result, "status_message": None, "replacement_token": None}
        for result in report["results"]
    ]


def answer_last(provider: Provider, table: Table, token: str, *, records: int) -> None:
    """Accept everything, but the batch of one token only when so many others are recorded."""

    def answer(call: Json) -> Any:
        while token in call["Addresses"] and len(table.batch_records) < records:
            time.sleep(0.02)
        return results({token: accepted(token) for token in call["Addresses"]})

    provider.answer = answer


def test_a_repeated_request_gets_the_first_report_and_sends_nothing(
    push: Push, provider: Provider, table: Table
) -> None:
    first = push(to("a", "b"))
    sent = len(provider.calls)

    again = push(to("a", "b"))

    assert (first["replayed"], first["idempotency_key"], first["warnings"]) == (False, "key", [])
    assert sent == len(provider.calls) == 1
    assert again == {**first, "replayed": True, "results": without_what_is_not_kept(first)}


def test_a_replay_of_many_batches_has_every_outcome_unchanged(
    push: Push, provider: Provider, table: Table
) -> None:
    seen: Counter[str] = Counter()

    def one(token: str, _: Json) -> Json:
        seen[token] += 1
        number = int(token[1:])
        if number % 7 == 1:
            return DEAD
        if number % 11 == 1 and seen[token] == 1:
            return {"DeliveryStatus": "THROTTLED", "StatusCode": 429, "StatusMessage": "slow"}
        return {**accepted(token), "UpdatedToken": "new"} if number == 401 else accepted(token)

    provider.answer_each(one)
    recipients = [
        {"token": f"t{n % 600}", "service": ("GCM", "APNS")[n % 2], "title": f"To {n % 600}"}
        for n in range(800)
    ]
    event = {"recipients": recipients, "message": "m", "idempotency_key": "key"}
    first = push(event)
    sent = len(provider.calls)

    again = push(event)

    assert {"accepted", "dead_token", "duplicate"} <= first["summary"].keys()
    assert {result["attempts"] for result in first["results"]} == {0, 1, 2}
    assert len(provider.calls) == sent
    assert again["replayed"] is True
    assert again["summary"] == first["summary"]
    assert again["results"] == without_what_is_not_kept(first)
    (warning,) = again["warnings"]
    assert warning["path"] == "idempotency_key"
    assert "1 had a replacement_token" in warning["message"]


SAME: list[tuple[Json, Json]] = [
    (to("a"), {"recipient": {"token": "a", "service": "FCM"}, "message": "m"}),
    (to("a"), to("a", title=None, gcm={}, requeue=False, dry_run=False)),
    (to("a"), to("a", gcm={"format": "pinpoint"}, application_id=PROJECT)),
    (to("a", data={"x": "1", "y": "2"}), to("a", data={"y": "2", "x": "1"})),
    (
        to("a", gcm={"raw_content": {"x": 1, "y": {"p": 1, "q": 2}}}),
        to("a", gcm={"raw_content": '{"y": {"q": 2, "p": 1}, "x": 1}'}),
    ),
    (to("a", substitutions={"n": "Ann"}), to("a", substitutions={"n": ["Ann"]})),
]


@pytest.mark.parametrize(("first", "again"), SAME)
def test_equivalent_requests_count_as_the_same_request(
    push: Push, provider: Provider, table: Table, first: Json, again: Json
) -> None:
    push(first)

    assert push({**again, "idempotency_key": "key"})["replayed"] is True
    assert len(provider.calls) == 1


PERSONAL = {"token": "b", "service": "GCM", "title": "Hi"}
OTHERS = [
    to("a", "b", "c"),
    to("a"),
    to("b", "a"),
    to("a", "a", "b"),
    to("a", "B"),
    to("a", "b", message="other"),
    to("a", "b", title="m"),
    to("a", "b", ttl=0),
    to("a", "b", silent=False),
    to("a", "b", gcm={"ttl": 5}),
    to("a", "b", gcm={"format": "fcm_v1"}),
    to("a", "b", requeue=True),
    to("a", "b", context={"a": "b"}),
    {**to("a"), "recipients": [{"token": "a", "service": "GCM"}, PERSONAL]},
    {**to("a"), "recipients": [{"token": t, "service": "APNS"} for t in "ab"]},
]


@pytest.mark.parametrize("state", ["done", "in progress", "lapsed"])
def test_the_same_key_for_another_request_is_a_conflict_and_sends_nothing(
    push: Push, provider: Provider, table: Table, state: str
) -> None:
    push(to("a", "b"))
    if state != "done":
        table.undo(lapses_at=time.time() + (60 if state == "in progress" else -1))
    provider.calls.clear()
    before = table.items

    for other in OTHERS:
        with pytest.raises(IdempotencyConflict, match=r"^idempotency_key: "):
            push(other)

    assert provider.calls == []
    assert table.items == before


def test_each_project_has_its_own_keys(push: Push, provider: Provider, table: Table) -> None:
    push(to("a"))

    report = push(to("a", application_id=OTHER_PROJECT))

    assert report["replayed"] is False
    assert provider.application_ids == [PROJECT, OTHER_PROJECT]


def test_a_repetition_during_the_first_run_is_refused(
    push: Push, provider: Provider, table: Table
) -> None:
    refusals: list[IdempotencyInProgress] = []

    def ask_again(call: Json) -> Any:
        with pytest.raises(IdempotencyInProgress) as refused:
            push(to("a"))
        refusals.append(refused.value)
        return results({token: accepted(token) for token in call["Addresses"]})

    provider.answer = ask_again
    report = push(to("a"), seconds=20)

    assert report["summary"] == {"recipients": 1, "accepted": 1}
    assert len(provider.calls) == len(refusals) == 1
    assert 15 < refusals[0].seconds < 25  # when the first has surely ended


def test_a_repetition_continues_the_request_after_the_first_run_ended(
    push: Push, provider: Provider, table: Table
) -> None:
    push(to("a"))
    table.undo()
    record = table.request_record

    report = push(to("a"))

    assert (report["replayed"], len(provider.calls)) == (False, 2)
    assert table.request_record["run"] == record["run"]
    assert table.request_record["expiration"] == record["expiration"]
    assert push(to("a"))["replayed"] is True


def test_a_continued_run_sends_only_batches_without_a_record(
    push: Push, provider: Provider, table: Table
) -> None:
    event = to(*(f"t{n}" for n in range(350)))
    answer_last(provider, table, "t250", records=3)
    first = push(event)
    assert sorted(int(item["part"]["N"]) for item in table.batch_records) == [0, 100, 300]
    table.undo()
    provider.calls.clear()

    report = push(event)

    assert provider.tokens == [f"t{n}" for n in range(200, 300)]
    assert report["summary"] == first["summary"]
    assert report["replayed"] is False
    assert push(event)["replayed"] is True


def test_continuing_a_run_whose_batches_are_all_recorded_is_a_replay(
    push: Push, provider: Provider, table: Table
) -> None:
    push(to("a"))
    record = table.request_record
    table.put(  # as if there had been a second batch, whose call did not get out
        {
            "id": {"S": f"{record['id']['S']}#{record['run']['S']}#0"},
            "part": {"N": "0"},
            "outcomes": record["outcomes"],
            "expiration": record["expiration"],
        }
    )
    table.undo()

    report = push(to("a"))

    assert len(provider.calls) == 1
    assert (report["replayed"], report["summary"]["accepted"]) == (True, 1)
    assert push(to("a"))["summary"]["accepted"] == 1


def test_a_key_is_new_after_a_day_even_if_its_records_remain(
    push: Push, provider: Provider, table: Table
) -> None:
    event = to(*(f"t{n}" for n in range(250)))
    began = int(time.time())
    push(event)
    expirations = {int(item["expiration"]["N"]) for item in table.items}
    assert len(expirations) == 1
    assert began + DAY <= expirations.pop() <= time.time() + DAY
    table.change(expiration={"N": str(int(time.time()))})
    provider.calls.clear()

    report = push(event)

    assert report["replayed"] is False
    assert len(provider.calls) == 3

    table.change(expiration={"N": str(int(time.time()))})
    assert push(to("quite", "another"))["summary"]["accepted"] == 2


def test_records_of_an_expired_use_of_a_key_are_ignored(
    push: Push, provider: Provider, table: Table
) -> None:
    event = to(*(f"t{n}" for n in range(250)))
    answer_last(provider, table, "t249", records=2)
    push(event)
    stale = table.batch_records
    assert len(stale) == 2
    table.change(expiration={"N": str(int(time.time()))})
    push(event)
    for item in table.batch_records:
        if item not in stale:
            table.delete(item)
    table.undo()
    provider.calls.clear()

    assert push(event)["summary"]["accepted"] == 250
    assert len(provider.tokens) == 250  # the batch records of the day before count for nothing


def test_a_dry_run_neither_claims_nor_reads_a_key(
    push: Push, provider: Provider, table: Table
) -> None:
    dry = push(to("a", dry_run=True))
    sent = push(to("a", "b"))
    dry_again = push(to("a", dry_run=True))

    assert dry["summary"] == dry_again["summary"] == {"recipients": 1, "unsent": 1}
    assert dry["idempotency_key"] == "key"
    assert dry["warnings"] == []
    assert (sent["replayed"], sent["summary"]["accepted"]) == (False, 2)
    assert table.operations == ["PutItem", "PutItem"]


def test_without_a_table_a_request_with_a_key_is_sent_with_a_warning(
    push: Push, provider: Provider
) -> None:
    for _ in range(2):
        report = push(to("a"))
        assert (report["replayed"], report["idempotency_key"]) == (False, "key")
        (warning,) = report["warnings"]
        assert warning["path"] == "idempotency_key"
        assert "IDEMPOTENCY_TABLE" in warning["message"]

    assert len(provider.calls) == 2


def test_without_a_key_the_table_is_not_called_and_its_code_not_loaded(
    provider: Provider, table: Table
) -> None:
    script = (
        CONTEXT
        + """
import gc, json, sys
from botocore.client import BaseClient
from push_sender.handler import handler

handler(json.load(sys.stdin), Context())
loaded = [name for name in sys.modules if name.startswith("push_sender.")]
clients = [type(one).__name__ for one in gc.get_objects() if isinstance(one, BaseClient)]
print(json.dumps([loaded, clients]))
"""
    )
    process = run_program(
        script,
        stdin=json.dumps(to("a", key=None)),
        IDEMPOTENCY_TABLE=table.name,
        AWS_ENDPOINT_URL_PINPOINT=provider.url,
        AWS_ENDPOINT_URL_DYNAMODB=table.url,
    )

    loaded, clients = json.loads(process.stdout.splitlines()[-1])
    assert clients == ["Pinpoint"]
    assert {"push_sender.sender"} <= set(loaded)
    assert not [name for name in loaded if name.startswith("push_sender.idempotency")]
    assert table.calls == []
    assert len(provider.calls) == 1


def test_up_to_100_recipients_take_two_writes_and_no_read(
    push: Push, provider: Provider, table: Table
) -> None:
    push(to(*(f"t{n}" for n in range(100))))
    assert table.operations == ["PutItem", "PutItem"]

    push(to(*(f"t{n}" for n in range(100))))
    assert table.operations == ["PutItem"] * 3


def test_records_of_5000_recipients_are_small_and_hold_no_token_text_or_key(
    push: Push, provider: Provider, table: Table
) -> None:
    provider.answer_each(
        lambda token, _: {
            **accepted(token),
            "MessageId": None,
            "StatusMessage": f"echo KaNaRy {token}",
            "UpdatedToken": f"KaNaRy-{token}",
        }
    )
    event = to(
        *(f"KaNaRy-{n}" for n in range(5_000)),
        key="KaNaRy key",
        message="KaNaRy",
        title="KaNaRy",
        data={"KaNaRy": "KaNaRy"},
        context={"KaNaRy": "KaNaRy"},
    )

    first = push(event)
    again = push(event)

    assert again["results"] == without_what_is_not_kept(first)
    assert len(provider.calls) == 50
    assert "KaNaRy" not in table.text()
    assert all(len(repr(item)) < 1_500 for item in table.items)
    assert table.operations.count("PutItem") <= 50 + 2
    assert table.operations.count("BatchGetItem") == 1


def test_an_invalid_request_claims_no_key(push: Push, table: Table) -> None:
    from push_sender.request.errors import InvalidRequest

    with pytest.raises(InvalidRequest):
        push(to("a", ttl=-1))

    assert table.calls == []


LATER = json.dumps([[["postponed", None, None, None, 1, False]], [0], [0], []]).encode()


@pytest.mark.parametrize(
    "outcomes",
    [b"2whatever", b"1whatever", b"1" + zlib.compress(b"{}"), b"1" + zlib.compress(LATER)],
    ids=["format", "damaged", "no list", "outcome"],
)
def test_a_record_of_a_later_release_is_not_overwritten(
    push: Push, provider: Provider, table: Table, outcomes: bytes
) -> None:
    push(to("a"))
    table.change(outcomes={"B": outcomes})

    with pytest.raises(IdempotencyStoreUnavailable, match="UnknownFormat"):
        push(to("a"))

    assert len(provider.calls) == 1
