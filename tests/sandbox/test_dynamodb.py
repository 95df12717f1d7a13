"""The sandbox's DynamoDB: conditional writes, transactions, expiry, as stock clients see them."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Barrier, Event
from typing import Any

import pytest
from botocore.exceptions import ClientError
from moto.dynamodb.models import dynamodb_backends

from sandbox.clock import moved_ahead
from sandbox.dynamodb.expiry import sweep
from tests.support.service_sandbox import ServiceSandbox, eventually, refusal
from tests.support.templates import ACCOUNT, REGION

TABLE = "devices"
WRITERS = 24
ROUNDS = 6
MOVES = 2

ABSENT = "attribute_not_exists(id)"


@pytest.fixture
def impatient_threads() -> Iterator[None]:
    """Have threads take turns as often as they can, so that a race is seen where there is one."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(usual)


@pytest.fixture
def tables(sandbox: ServiceSandbox) -> Any:
    """Give a client, and make a table."""
    client = sandbox.client("dynamodb")
    client.create_table(
        TableName=TABLE,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    return client


@contextmanager
def repeated(call: Callable[[], object], threads: int) -> Iterator[None]:
    """Call a function again and again in threads, during the block; raise what it raises."""
    done = Event()

    def repeat() -> None:
        while not done.is_set():
            call()

    with ThreadPoolExecutor(threads) as pool:
        running = [pool.submit(repeat) for _ in range(threads)]
        try:
            yield
        finally:
            done.set()
        for each in running:
            each.result()


def fill(items: int) -> None:
    """Write many items, without the server."""
    for number in range(items):
        dynamodb_backends[ACCOUNT][REGION].put_item(TABLE, {"id": {"S": str(number)}})


def put(key: str, /, *, etag: str = "1", **more: Any) -> dict[str, Any]:
    return {"Put": {"TableName": TABLE, "Item": {"id": {"S": key}, "etag": {"S": etag}}, **more}}


def delete(key: str, /, **more: Any) -> dict[str, Any]:
    return {"Delete": {"TableName": TABLE, "Key": {"id": {"S": key}}, **more}}


def check(key: str, condition: str = ABSENT, /, **more: Any) -> dict[str, Any]:
    key_of = {"TableName": TABLE, "Key": {"id": {"S": key}}}
    return {"ConditionCheck": {**key_of, "ConditionExpression": condition, **more}}


def with_etag(etag: str) -> dict[str, Any]:
    return {
        "ConditionExpression": "etag = :etag",
        "ExpressionAttributeValues": {":etag": {"S": etag}},
    }


def etags(tables: Any, *keys: str) -> list[str | None]:
    """Read items in one call; give their etags."""
    wanted = {"Keys": [{"id": {"S": key}} for key in keys], "ConsistentRead": True}
    found = tables.batch_get_item(RequestItems={TABLE: wanted})["Responses"][TABLE]
    by_key = {item["id"]["S"]: item["etag"]["S"] for item in found}
    return [by_key.get(key) for key in keys]


def reasons(error: ClientError) -> list[str]:
    """Give the codes of a cancelled transaction."""
    response: Any = error.response
    assert response["Error"]["Code"] == "TransactionCanceledException"
    return [reason["Code"] for reason in response["CancellationReasons"]]


def is_cancelled(tables: Any, *entries: dict[str, Any]) -> bool:
    try:
        tables.transact_write_items(TransactItems=list(entries))
    except tables.exceptions.TransactionCanceledException as error:
        return set(reasons(error)) == {"None", "ConditionalCheckFailed"}
    return False


@pytest.mark.usefixtures("impatient_threads")
@pytest.mark.parametrize("transactional", [False, True])
def test_of_concurrent_conditional_writers_exactly_one_succeeds(
    tables: Any, transactional: bool
) -> None:
    ready = Barrier(WRITERS)

    def take(key: str, writer: int) -> bool:
        ready.wait(timeout=60)
        wanted = put(key, ConditionExpression=ABSENT)
        # Single writes and transactions meet on the same item.
        if transactional or writer % 2:
            return not is_cancelled(tables, wanted, put(f"{key}-{writer}"))
        try:
            tables.put_item(**wanted["Put"])
        except tables.exceptions.ConditionalCheckFailedException:
            return False
        return True

    with ThreadPoolExecutor(WRITERS) as pool:
        for number in range(ROUNDS):
            key = f"key-{number}"
            taken = list(pool.map(take, [key] * WRITERS, range(WRITERS)))
            assert taken.count(True) == 1, f"{taken.count(True)} writers took one key"


@pytest.mark.usefixtures("impatient_threads")
def test_concurrent_transactions_lose_no_update(tables: Any) -> None:
    """Each writer moves both items to the next number if nobody else did."""
    tables.transact_write_items(TransactItems=[put("a", etag="0"), put("b", etag="0")])

    def move(writer: int) -> None:
        for _ in range(MOVES):
            while True:
                (number, other) = etags(tables, "a", "b")
                if number != other or number is None:  # another writer was between both reads
                    continue
                following = str(int(number) + 1)
                if not is_cancelled(
                    tables,
                    put("a", etag=following, **with_etag(number)),
                    put("b", etag=following, **with_etag(number)),
                    check(f"never-{writer}"),
                ):
                    break

    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(move, range(WRITERS)))

    assert etags(tables, "a", "b") == [str(WRITERS * MOVES)] * 2


@pytest.mark.usefixtures("impatient_threads")
def test_a_reader_sees_nothing_of_a_transaction_that_fails(tables: Any) -> None:
    keys = [f"item-{number}" for number in range(20)]
    tables.transact_write_items(TransactItems=[put(key, etag="kept") for key in keys])
    tables.put_item(TableName=TABLE, Item={"id": {"S": "blocks"}, "etag": {"S": "1"}})

    def fail(writer: int) -> None:
        for _ in range(ROUNDS):
            entries = [delete(key) if writer % 2 else put(key, etag="never") for key in keys]
            assert is_cancelled(tables, *entries, check("blocks"))

    def read() -> None:
        assert set(etags(tables, *keys)) == {"kept"}

    with repeated(read, 4), ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(fail, range(WRITERS)))


@pytest.mark.usefixtures("impatient_threads")
def test_a_transactional_reader_sees_all_items_of_a_transaction_or_none(tables: Any) -> None:
    keys = [f"item-{number}" for number in range(10)]
    gets = [{"Get": {"TableName": TABLE, "Key": {"id": {"S": key}}}} for key in keys]
    tables.transact_write_items(TransactItems=[put(key, etag="0") for key in keys])

    def write(writer: int) -> None:
        for number in range(ROUNDS):
            etag = f"{writer}-{number}"
            tables.transact_write_items(TransactItems=[put(key, etag=etag) for key in keys])

    def read() -> None:
        items = tables.transact_get_items(TransactItems=gets)["Responses"]
        assert len({each["Item"]["etag"]["S"] for each in items}) == 1

    with repeated(read, 4), ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(write, range(WRITERS)))


@pytest.mark.usefixtures("impatient_threads")
def test_a_table_can_be_scanned_while_it_is_written(tables: Any) -> None:
    fill(1_000)

    def write(writer: int) -> None:
        for number in range(ROUNDS):
            entries = [put(f"{writer}-{number}-{each}") for each in range(10)]
            tables.transact_write_items(TransactItems=entries)

    with (
        repeated(lambda: tables.scan(TableName=TABLE, Limit=1), 4),
        ThreadPoolExecutor(4) as pool,
    ):
        list(pool.map(write, range(4)))


def test_a_failed_condition_leaves_nothing_and_its_reason_is_in_order(tables: Any) -> None:
    tables.transact_write_items(TransactItems=[put("old"), put("gone"), put("blocks", etag="7")])
    fails = check("blocks", ReturnValuesOnConditionCheckFailure="ALL_OLD")

    with pytest.raises(ClientError) as error:
        tables.transact_write_items(
            TransactItems=[
                put("new"),
                put("old", etag="2", **with_etag("1")),
                delete("gone"),
                fails,
                check("absent"),
                delete("absent too", ConditionExpression="attribute_exists(id)"),
            ]
        )

    failed = "ConditionalCheckFailed"
    assert reasons(error.value) == ["None", "None", "None", failed, "None", failed]
    response: Any = error.value.response
    reason = response["CancellationReasons"][3]
    assert reason["Item"] == {"id": {"S": "blocks"}, "etag": {"S": "7"}}
    assert reason["Message"] == "The conditional request failed"
    assert response["Error"]["Message"].endswith(f"[None, None, None, {failed}, None, {failed}]")
    assert etags(tables, "new", "old", "gone", "blocks") == [None, "1", "1", "7"]


def test_a_transaction_writes_into_several_tables_and_updates_items(tables: Any) -> None:
    tables.create_table(
        TableName="others",
        KeySchema=[
            {"AttributeName": "id", "KeyType": "HASH"},
            {"AttributeName": "part", "KeyType": "RANGE"},
        ],
        AttributeDefinitions=[
            {"AttributeName": "id", "AttributeType": "S"},
            {"AttributeName": "part", "AttributeType": "N"},
        ],
        BillingMode="PAY_PER_REQUEST",
    )
    key = {"id": {"S": "a"}, "part": {"N": "1"}}
    arn = f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/others"
    update = {
        "TableName": arn,
        "Key": key,
        "UpdateExpression": "ADD amount :one",
        "ExpressionAttributeValues": {":one": {"N": "1"}},
    }
    tables.put_item(TableName="others", Item={**key, "amount": {"N": "1"}})

    assert is_cancelled(tables, {"Update": update}, put("x"), check("y", "attribute_exists(id)"))
    assert tables.get_item(TableName="others", Key=key)["Item"]["amount"] == {"N": "1"}
    second = {"Put": {"TableName": "others", "Item": {**key, "part": {"N": "2"}}}}
    tables.transact_write_items(TransactItems=[{"Update": update}, put("x"), second])

    assert tables.get_item(TableName="others", Key=key)["Item"]["amount"] == {"N": "2"}
    assert tables.describe_table(TableName="others")["Table"]["ItemCount"] == 2
    assert etags(tables, "x") == ["1"]
    tables.transact_write_items(TransactItems=[{"Delete": {"TableName": arn, "Key": key}}])
    assert tables.describe_table(TableName="others")["Table"]["ItemCount"] == 1


def test_a_transaction_has_at_most_one_hundred_items_each_only_once(tables: Any) -> None:
    write = tables.transact_write_items

    many = [put(f"key-{number}") for number in range(101)]
    assert "less than or equal to 100" in refusal(write, TransactItems=many)
    twice = "multiple operations on one item"
    assert twice in refusal(write, TransactItems=[put("a"), put("b"), delete("a")])
    assert twice in refusal(write, TransactItems=[check("a"), put("a")])
    gone = {"Delete": {"TableName": "gone", "Key": {"id": {"S": "a"}}}}
    assert "ResourceNotFoundException" in refusal(write, TransactItems=[put("a"), gone])
    assert tables.scan(TableName=TABLE)["Count"] == 0
    write(TransactItems=many[:100])
    assert tables.scan(TableName=TABLE)["Count"] == 100


@pytest.mark.parametrize("condition", [{"ConditionExpression": "etag = :etag"}, {}])
def test_a_value_that_no_expression_uses_is_refused(tables: Any, condition: dict[str, str]) -> None:
    values = {":etag": {"S": "1"}, ":et": {"S": "2"}} if condition else {":et": {"S": "2"}}
    entry = put("a", ExpressionAttributeValues=values, **condition)

    why = refusal(tables.transact_write_items, TransactItems=[put("b"), entry])

    assert "unused in expressions: keys: {:et}" in why
    assert etags(tables, "a", "b") == [None, None]


def test_a_repeated_token_has_no_second_effect_for_ten_minutes(tables: Any) -> None:
    asked = {"TransactItems": [put("a")], "ClientRequestToken": "token"}
    tables.transact_write_items(**asked)
    tables.delete_item(TableName=TABLE, Key={"id": {"S": "a"}})

    tables.transact_write_items(**asked, ReturnConsumedCapacity="TOTAL")

    assert etags(tables, "a") == [None]
    changed = {**asked, "TransactItems": [put("a", etag="2")]}
    assert "IdempotentParameterMismatch" in refusal(tables.transact_write_items, **changed)
    with moved_ahead(601):
        tables.transact_write_items(**changed)
    assert etags(tables, "a") == ["2"]


def test_a_repeated_token_of_a_failed_transaction_tries_it_again(tables: Any) -> None:
    asked = {"TransactItems": [put("a"), check("b")], "ClientRequestToken": "token"}
    tables.put_item(TableName=TABLE, Item={"id": {"S": "b"}})
    with pytest.raises(ClientError) as error:
        tables.transact_write_items(**asked)
    assert reasons(error.value) == ["None", "ConditionalCheckFailed"]
    tables.delete_item(TableName=TABLE, Key={"id": {"S": "b"}})

    tables.transact_write_items(**asked)

    assert etags(tables, "a") == ["1"]


@pytest.mark.usefixtures("impatient_threads")
def test_concurrent_calls_with_one_token_have_one_effect(tables: Any) -> None:
    ready = Barrier(WRITERS)
    add = {
        "TableName": TABLE,
        "Key": {"id": {"S": "a"}},
        "UpdateExpression": "ADD amount :one",
        "ExpressionAttributeValues": {":one": {"N": "1"}},
    }

    def call(_: int) -> None:
        ready.wait(timeout=60)
        tables.transact_write_items(TransactItems=[{"Update": add}], ClientRequestToken="token")

    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(call, range(WRITERS)))

    item = tables.get_item(TableName=TABLE, Key={"id": {"S": "a"}})["Item"]
    assert item["amount"] == {"N": "1"}


def work_of_a_transaction(*entries: dict[str, Any]) -> int:
    """Count the calls of Python functions that a transaction makes."""
    calls = 0

    def count(_frame: Any, event: str, _argument: Any) -> None:
        nonlocal calls
        calls += event == "call"

    sys.setprofile(count)
    try:
        dynamodb_backends[ACCOUNT][REGION].transact_write_items(list(entries))
    finally:
        sys.setprofile(None)
    return calls


def test_the_work_of_a_transaction_does_not_depend_on_the_size_of_the_table(tables: Any) -> None:
    entries = [put("a"), put("b"), put("c"), delete("d"), check("e")]
    tables.transact_write_items(TransactItems=[put("a"), put("b"), put("c")])
    in_small_table = work_of_a_transaction(*entries)
    fill(10_000)

    assert work_of_a_transaction(*entries) == in_small_table


def expire(tables: Any, **changed: Any) -> None:
    """Have the table's items expire by an attribute."""
    wanted = {"Enabled": True, "AttributeName": "expiration", **changed}
    tables.update_time_to_live(TableName=TABLE, TimeToLiveSpecification=wanted)


def put_expiring(tables: Any, key: str, at: Any) -> None:
    tables.put_item(TableName=TABLE, Item={"id": {"S": key}, "etag": {"S": "1"}, "expiration": at})


def in_seconds(seconds: float) -> dict[str, str]:
    return {"N": str(int(time.time() + seconds))}


def test_items_are_deleted_when_their_time_has_passed(tables: Any) -> None:
    expire(tables)
    put_expiring(tables, "old", in_seconds(-10))
    put_expiring(tables, "later", in_seconds(10_000))

    eventually(lambda: etags(tables, "old", "later") == [None, "1"])
    with moved_ahead(20_000):
        eventually(lambda: etags(tables, "later") == [None])


@pytest.mark.parametrize(
    "at",
    [
        in_seconds(10_000),
        in_seconds(-6 * 365 * 86_400),
        {"N": "0"},
        {"N": str(int(time.time() - 10) * 1_000)},  # milliseconds, which is far in the future
        {"S": str(int(time.time() - 10))},
        {"NULL": True},
    ],
    ids=["later", "six years ago", "zero", "milliseconds", "text", "null"],
)
def test_an_item_with_another_value_is_not_deleted(tables: Any, at: dict[str, Any]) -> None:
    expire(tables)
    put_expiring(tables, "other", at)
    tables.put_item(TableName=TABLE, Item={"id": {"S": "none"}, "etag": {"S": "1"}})

    sweep()

    assert etags(tables, "other", "none") == ["1", "1"]


@pytest.mark.parametrize("setting", [{"Enabled": False}, {"AttributeName": "else"}])
def test_without_the_setting_nothing_is_deleted(tables: Any, setting: dict[str, Any]) -> None:
    expire(tables)
    expire(tables, **setting)
    put_expiring(tables, "old", in_seconds(-10))

    sweep()

    assert etags(tables, "old") == ["1"]


def test_items_with_a_range_key_expire_separately(tables: Any) -> None:
    keys = {"id": "HASH", "part": "RANGE"}
    tables.create_table(
        TableName="parts",
        KeySchema=[{"AttributeName": name, "KeyType": kind} for name, kind in keys.items()],
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in keys],
        BillingMode="PAY_PER_REQUEST",
    )
    tables.update_time_to_live(
        TableName="parts",
        TimeToLiveSpecification={"Enabled": True, "AttributeName": "expiration"},
    )
    for part, at in {"old": in_seconds(-10), "new": in_seconds(10_000)}.items():
        item = {"id": {"S": "a"}, "part": {"S": part}, "expiration": at}
        tables.put_item(TableName="parts", Item=item)

    sweep()

    (left,) = tables.scan(TableName="parts")["Items"]
    assert left["part"] == {"S": "new"}


@pytest.mark.usefixtures("impatient_threads")
def test_a_renewed_item_is_never_deleted(tables: Any) -> None:
    """The deletion must not come between the check of an item and its renewal."""
    expire(tables)
    keys = [f"item-{number}" for number in range(300)]
    old, renewed = in_seconds(-10), in_seconds(10_000)
    backend = dynamodb_backends[ACCOUNT][REGION]

    with repeated(sweep, 1):
        for _ in range(ROUNDS):
            for key in keys:
                backend.put_item(TABLE, {"id": {"S": key}, "expiration": old})
            for key in keys:
                backend.put_item(TABLE, {"id": {"S": key}, "expiration": renewed})
            assert tables.scan(TableName=TABLE)["Count"] == len(keys)
