"""Requests with users from the queue, whose messages arrive twice while devices leave."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.account import Account
from tests.support.devices import Registry
from tests.support.dynamodb import running_table
from tests.support.invocation import ProcessQueue, Push
from tests.support.provider import Json, Provider, accepted, results

THROTTLED = {"DeliveryStatus": "THROTTLED", "StatusCode": 429, "StatusMessage": "slow"}


@pytest.fixture
def devices(account: Account, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    """Put the registry into the account."""
    with running_table(account.client("dynamodb"), "devices") as table:
        monkeypatch.setenv("DEVICES_TABLE", table.name)
        monkeypatch.setenv("DEVICE_EXPIRY_DAYS", "270")
        monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", table.url)
        yield Registry(table)


@pytest.mark.parametrize(
    ("names", "token", "expected"),
    [("abc", None, ["b", "c"]), ("a", "t", ["t"])],
    ids=["others are left", "no device of a user is left"],
)
def test_a_part_that_is_requeued_twice_is_sent_once_though_a_device_left(
    push: Push,
    provider: Provider,
    account: Account,
    devices: Registry,
    process_queue: ProcessQueue,
    names: str,
    token: str | None,
    expected: list[str],
) -> None:
    for name in names:
        devices.put(f"d-{name}", {"token": name, "service": "GCM", "user_id": "u-1"})
    provider.answer = lambda call: results(dict.fromkeys(call["Addresses"], THROTTLED))
    recipients = [{"user_id": "u-1"}, *([{"token": token, "service": "GCM"}] if token else [])]
    account.send({"recipients": recipients, "message": "m", "idempotency_key": "k"})
    event = account.receive()

    push(event)  # the process is killed before Lambda deletes the message
    devices.delete("d-a")
    account.delete(event, push(event))
    sizes = [len(each["body"]["recipients"]) for each in account.requeued()]
    assert sizes == [len(expected) + 1, len(expected)]

    sent: list[str] = []

    def accept(call: Json) -> Any:
        sent.extend(call["Addresses"])
        return results({token: accepted(token) for token in call["Addresses"]})

    provider.answer = accept
    account.wait()
    assert process_queue()["batchItemFailures"] == []
    assert sorted(sent) == expected
    assert account.dead_letter_messages() == []
