"""The registry's invariants, under concurrent writers and writers that are killed."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.exceptions import ClientError
from moto.dynamodb.exceptions import TransactionCanceledException
from moto.dynamodb.models import dynamodb_backends

from push_sender.clients.queue_and_bus import client
from push_sender.devices.registry import Registry as Core
from push_sender.devices.registry import TokenReport
from push_sender.devices.table import Table as CoreTable
from push_sender.request.errors import RegistryUnavailable
from tests.support.devices import IOS, Registry, check_invariants
from tests.support.dynamodb import refusing
from tests.support.function_process import function_environment
from tests.support.invocation import PROJECT
from tests.support.paths import REPOSITORY

WRITERS = 24
OPERATIONS = 1_800

FUTURE = "2100-01-01T00:00:00Z"

PROGRAM = """
import sys, time
sys.path.insert(0, sys.argv[2])
from push_sender.clients.queue_and_bus import client
from push_sender.devices.registry import Registry
from push_sender.devices.table import Table

registry = Registry(Table(client("dynamodb", None), sys.argv[1]), expiry_days=270)
members = {"token": "ios-token", "service": "APNS", "user_id": "u-2"}
registry.register(sys.argv[3], "tablet", members, deadline=time.monotonic() + 20)
"""


def core(registry: Registry) -> Core:
    return Core(CoreTable(client("dynamodb", None), registry.table.name), expiry_days=270)


def operate(core: Core, dice: random.Random) -> Any:
    """Make one of all changes, on few devices, tokens and users, so that writers collide."""
    deadline = time.monotonic() + 60
    device, user = f"d-{dice.randrange(40)}", f"u-{dice.randrange(12)}"
    token, service = f"t-{dice.randrange(40)}", dice.choice(["GCM", "APNS"])
    report = TokenReport(PROJECT, service, token, FUTURE, f"t-{dice.randrange(40)}")
    members = {"token": token, "service": service, "opted_out": dice.random() < 0.5}
    changes: list[tuple[int, Callable[[], Any]]] = [
        (
            8,
            lambda: core.register(PROJECT, device, {**members, "user_id": user}, deadline=deadline),
        ),
        (3, lambda: core.register(PROJECT, device, members, deadline=deadline)),
        (
            2,
            lambda: core.register(PROJECT, device, {**members, "user_id": None}, deadline=deadline),
        ),
        (
            2,
            lambda: core.add(
                PROJECT, device, {**members, "user_id": user}, origin="job/1", deadline=deadline
            ),
        ),
        (2, lambda: core.delete(PROJECT, device, deadline=deadline)),
        (1, lambda: core.delete(PROJECT, device, owner=user, deadline=deadline)),
        (1, lambda: core.erase(PROJECT, user, deadline=deadline)),
        (2, lambda: core.remove_dead(report, deadline=deadline)),
        (2, lambda: core.replace_token(report, deadline=deadline)),
        (2, lambda: core.flag_invalid(report, deadline=deadline)),
        (1, lambda: core.devices_of(PROJECT, user, deadline=deadline)),
    ]
    (chosen,) = dice.choices([each for _, each in changes], [weight for weight, _ in changes])
    return chosen()


class CheckedClient:
    """A DynamoDB client that checks the invariants after every transaction.

    It calls moto itself, without HTTP, which takes long for thousands of operations. A random
    wait before each call lets the writers interleave.
    """

    def __init__(self, name: str) -> None:
        self.accepted = self.refused = 0
        self._name = name
        self._dice = random.Random(name)  # noqa: S311  a test's choices, no secret
        self._commits = threading.Lock()
        (self._moto,) = [
            regions["us-east-1"]
            for regions in dynamodb_backends.values()
            if name in regions["us-east-1"].tables
        ]

    def batch_get_item(self, *, RequestItems: Any) -> Any:  # noqa: N803  the API's name
        self._wait()
        keys = RequestItems[self._name]["Keys"]
        found = [self._moto.get_item(self._name, key) for key in keys]
        return {"Responses": {self._name: [_attributes(item) for item in found if item]}}

    def transact_write_items(self, *, TransactItems: Any, **_: Any) -> None:  # noqa: N803
        self._wait()
        with self._commits:
            try:
                self._moto.transact_write_items(TransactItems)
                self.accepted += 1
            except TransactionCanceledException as cancelled:
                self.refused += 1
                response: Any = {
                    "Error": {"Code": "TransactionCanceledException"},
                    **json.loads(cancelled.description),
                }
                raise ClientError(response, "TransactWriteItems") from None
            finally:
                check_invariants(map(_attributes, self._moto.tables[self._name].all_items()))

    def _wait(self) -> None:
        time.sleep(self._dice.random() / 200)


def _attributes(item: Any) -> Any:
    return item.to_json()["Attributes"]


def test_the_invariants_hold_after_every_commit_of_24_writers(registry: Registry) -> None:
    checked = CheckedClient(registry.table.name)
    shared = Core(CoreTable(checked, registry.table.name), expiry_days=270)

    def work(seed: int) -> None:
        dice = random.Random(seed)  # noqa: S311  a test's choices, no secret
        for _ in range(OPERATIONS // WRITERS):
            operate(shared, dice)

    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(work, range(WRITERS)))

    # Writers did collide, and most changes took effect.
    assert checked.refused > OPERATIONS / 100
    assert checked.accepted > OPERATIONS / 4


def test_a_user_of_25_devices_stays_at_25_under_concurrent_registrations(
    registry: Registry,
) -> None:
    shared = core(registry)

    def register(number: int) -> None:
        members = {"token": f"t-{number}", "service": "GCM", "user_id": "u"}
        shared.register(PROJECT, f"d-{number}", members, deadline=time.monotonic() + 60)

    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(register, range(40)))

    check_invariants(registry.table.items)
    assert len(registry.of_user("u")) == 25


@pytest.mark.parametrize("written", [False, True])
def test_a_writer_killed_at_its_transaction_leaves_all_or_nothing(
    registry: Registry, written: bool
) -> None:
    registry.put("phone", {**IOS, "user_id": "u-1"})
    reached, killed = threading.Event(), threading.Event()

    def answer(operation: str, _: Any, forward: Any) -> Any:
        if operation != "TransactWriteItems" or reached.is_set():
            return forward()
        reply = forward() if written else refusing(500, "InternalServerError")
        reached.set()
        killed.wait(30)
        return reply

    registry.table.answer = answer
    arguments = [registry.table.name, str(REPOSITORY / "lambda_src"), PROJECT]
    writer = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *arguments],
        env=function_environment(
            AWS_ENDPOINT_URL_DYNAMODB=registry.table.url, HOME=os.environ.get("HOME", "/")
        ),
    )
    assert reached.wait(30)
    writer.kill()
    writer.wait()
    killed.set()

    check_invariants(registry.table.items)
    holder = ["tablet"] if written else []
    assert registry.of_user("u-2") == holder
    assert registry.of_user("u-1") == ([] if written else ["phone"])
    # No lock remains: the next writer of the same items needs no wait.
    assert registry.put("phone", {**IOS, "user_id": "u-3"}).status == (201 if written else 200)
    check_invariants(registry.table.items)


def test_a_write_between_reading_and_writing_makes_the_change_read_again(
    registry: Registry,
) -> None:
    registry.put("phone", {**IOS, "user_id": "u-1"})
    between: list[str] = []

    def answer(operation: str, _: Any, forward: Any) -> Any:
        if operation == "TransactWriteItems" and not between:
            between.append("another writer")
            registry.put("phone", {**IOS, "user_id": "u-2", "tags": ["theirs"]})
        return forward()

    registry.table.answer = answer
    answered = registry.put("phone", {**IOS, "language": "de"})

    assert (answered.body["user_id"], answered.body["tags"]) == ("u-2", ["theirs"])
    assert answered.body["language"] == "de"
    check_invariants(registry.table.items)


def test_a_device_deleted_and_created_between_is_not_overwritten(registry: Registry) -> None:
    registry.put("phone", {**IOS, "user_id": "u-1", "tags": ["before"]})
    between: list[str] = []

    def answer(operation: str, _: Any, forward: Any) -> Any:
        if operation == "TransactWriteItems" and not between:
            between.append("another writer")
            registry.delete("phone")
            registry.put("phone", {**IOS, "user_id": "u-2"})
        return forward()

    registry.table.answer = answer
    answered = registry.put("phone", {**IOS, "language": "de"})

    assert (answered.body["user_id"], answered.body["tags"]) == ("u-2", [])


def test_a_change_that_never_wins_ends_at_its_deadline(registry: Registry) -> None:
    registry.put("phone", IOS)
    cancelled = refusing(400, "TransactionCanceledException")
    registry.table.answer = lambda operation, _, forward: (
        cancelled if operation == "TransactWriteItems" else forward()
    )

    with pytest.raises(RegistryUnavailable, match=r"TransactionCanceled|deadline"):
        core(registry).delete(PROJECT, "phone", deadline=time.monotonic() + 2)

    tries = registry.table.operations.count("TransactWriteItems")
    assert tries > 1
