"""What a key's records hold: fingerprints that last, and outcomes in a few bytes."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest

from push_sender.idempotency.fingerprint import fingerprint, record_id
from push_sender.idempotency.records import UnknownFormatError, pack, unpack
from push_sender.outcomes.outcome import NO_ANSWER, AddressResult, Outcome
from push_sender.validation.check import check
from tests.support.function_process import run_program
from tests.support.paths import LAMBDA_SOURCE, REPOSITORY
from tests.support.provider import Json

EVERYTHING: Json = {
    "recipients": [
        {"token": "g", "service": "FCM", "title": "é", "substitutions": {"n": "Ann"}},
        {"token": "a", "service": "APNS", "context": {"k": "v", "c": "d"}},
        {"token": "b", "service": "ADM", "raw_content": {"y": 1, "x": [1.5, None]}},
    ],
    "title": "t",
    "message": "m",
    "priority": "high",
    "ttl": 60,
    "data": {"k": "v"},
    "silent": False,
    "gcm": {"format": "fcm_v1"},
    "apns": {"badge": 0},
    "baidu": {},
    "context": {"c": "d"},
    "trace_id": "trace",
    "idempotency_key": "key",
    "requeue": True,
}


def fingerprint_of(event: Json) -> str:
    request, _, _ = check(event, ["project"], has_registry=True)
    return fingerprint(request, request.everyone)


def test_a_fingerprint_is_stable_across_releases() -> None:
    # Keys are remembered over a deployment: a change here lets every retry of the day
    # before it end as a conflict. A new field of the request must not change it.
    assert (
        fingerprint_of(EVERYTHING)
        == "8c982b726e74553251b4239547544314b1e37f1a525c8d7b78d00e14efe9c763"
    )
    assert record_id("project", "key") == (
        "a444b35870549083d939a667e17cdf7e2927ae6e6558a1806b2f9c07b8e45a43"
    )


USERS: Json = {
    "recipients": [
        {"user_id": "ann", "title": "é", "data": {"k": "v"}},
        {"user_id": "ben", "device_id": "phone"},
        {"user_id": "eve", "device_filter": {"services": ["FCM", "ADM"], "seen_within_days": 30}},
        {"token": "g", "service": "GCM"},
    ],
    "message": "m",
    "gcm": {"format": "fcm_v1"},
    "device_filter": {"tags": ["a", "b"], "exclude_tags": ["c"]},
}


def test_the_fingerprint_of_users_is_stable_across_releases() -> None:
    assert (
        fingerprint_of(USERS) == "e09c592334701a11e57b9545f2f513e531e37a329c7c5509dc3b713db08defe6"
    )


def changed(at: int, **members: Any) -> Json:
    recipients = [*USERS["recipients"]]
    recipients[at] = {**recipients[at], **members}
    return {**USERS, "recipients": recipients}


@pytest.mark.parametrize(
    "event",
    [
        changed(0, user_id="una"),
        changed(0, title="e"),
        changed(0, device_filter={"services": ["GCM"]}),
        changed(1, device_id="tablet"),
        changed(1, device_id=None),
        changed(2, device_filter=None),
        changed(2, device_filter={"services": ["GCM", "ADM"], "seen_within_days": 31}),
        {**USERS, "recipients": USERS["recipients"][::-1]},
        {**USERS, "device_filter": {"tags": ["a"], "exclude_tags": ["c"]}},
        {**USERS, "device_filter": {"tags": ["c"], "exclude_tags": ["a", "b"]}},
        {**USERS, "device_filter": None},
    ],
)
def test_what_is_asked_for_users_is_part_of_the_fingerprint(event: Json) -> None:
    assert fingerprint_of(event) != fingerprint_of(USERS)


@pytest.mark.parametrize(
    "event",
    [
        changed(0, device_id=None, badge=None),
        changed(2, device_filter={"services": ["ADM", "GCM", "FCM"], "seen_within_days": 30.0}),
        {**USERS, "device_filter": {"tags": ["b", "a", "b"], "exclude_tags": ["c"]}},
    ],
)
def test_another_way_to_write_a_filter_gives_the_same_fingerprint(event: Json) -> None:
    assert fingerprint_of(event) == fingerprint_of(USERS)


def test_equal_numbers_give_equal_fingerprints() -> None:
    as_float = {**EVERYTHING, "ttl": 60.0, "apns": {"badge": -0.0}}

    assert fingerprint_of(as_float) == fingerprint_of(EVERYTHING)


def test_a_fingerprint_is_the_same_in_every_process() -> None:
    script = "import json, sys; from tests.function.test_fingerprint import *; " + (
        "print(fingerprint_of(json.load(sys.stdin)))"
    )
    path = f"{REPOSITORY}:{LAMBDA_SOURCE}"
    printed = {
        run_program(
            script, stdin=json.dumps(EVERYTHING), PYTHONPATH=path, PYTHONHASHSEED=seed
        ).stdout.strip()
        for seed in ("1", "2")
    }

    assert printed == {fingerprint_of(EVERYTHING)}


def test_keys_of_different_projects_never_collide() -> None:
    assert record_id("ab", "c") != record_id("a", "bc")


RESULTS = {
    3: AddressResult(Outcome.ACCEPTED, "SUCCESSFUL", 200, None, "sent", "id-1", "new-token"),
    7: AddressResult(Outcome.ACCEPTED, "SUCCESSFUL", 200, None, "sent", "id-2"),
    8: AddressResult(Outcome.DEAD_TOKEN, "PERMANENT_FAILURE", 410, "Unregistered", "gone", "id-3"),
    4_999: NO_ANSWER,
    40: AddressResult(Outcome.UNSENT, reason="deadline"),
}


def test_outcomes_are_stored_by_position_without_texts_of_providers() -> None:
    remembered = unpack(pack(RESULTS, {3: 1, 7: 2, 8: 1, 4_999: 4, 40: 0}))

    assert {position: one.result for position, one in remembered.items()} == {
        position: result._replace(status_message=None, replacement_token=None)
        for position, result in RESULTS.items()
    }
    assert [remembered[at].attempts for at in (3, 7, 8, 4_999, 40)] == [1, 2, 1, 4, 0]
    assert [at for at, one in remembered.items() if one.replaced] == [3]


def test_invalid_statuses_and_ids_are_not_stored() -> None:
    result = AddressResult(Outcome.UNKNOWN, "KaNaRy", 200, None, None, "KaNaRy" * 40)

    (remembered,) = unpack(pack({0: result}, {0: 1})).values()

    assert remembered.result == AddressResult(Outcome.UNKNOWN, None, 200)


def test_a_hundred_outcomes_take_a_few_hundred_bytes_and_their_ids() -> None:
    sent = AddressResult(Outcome.ACCEPTED, "SUCCESSFUL", 200)
    plain = dict.fromkeys(range(4_900, 5_000), sent)
    random = {at: sent._replace(message_id=uuid.uuid4().hex) for at in plain}

    assert len(pack(plain, dict.fromkeys(plain, 1))) < 150
    assert len(pack(random, dict.fromkeys(plain, 1))) < 150 + 100 * 20


def test_records_of_an_unknown_version_are_refused() -> None:
    with pytest.raises(UnknownFormatError):
        unpack(b"2" + pack(RESULTS, dict.fromkeys(RESULTS, 1))[1:])
