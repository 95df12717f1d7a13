"""The sandbox's DynamoDB: what the promise of one send a key stands on."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from moto.dynamodb.exceptions import ConditionalCheckFailed
from moto.dynamodb.models import DynamoDBBackend

from sandbox.dynamodb.patches import PATCHES
from sandbox.patches import applied

WRITERS = 4
KEYS = 200


@pytest.fixture
def impatient_threads() -> Iterator[None]:
    """Have threads take turns as often as they can, so that a race is seen where there is one."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


@pytest.mark.usefixtures("impatient_threads")
def test_of_concurrent_conditional_writers_exactly_one_succeeds() -> None:
    backend = DynamoDBBackend("eu-west-1", "123456789012")
    backend.create_table(
        name="keys",
        schema=[{"AttributeName": "id", "KeyType": "HASH"}],
        attr=[{"AttributeName": "id", "AttributeType": "S"}],
        throughput=None,
        global_indexes=[],
        indexes=[],
        streams=None,
        billing_mode="PAY_PER_REQUEST",
        sse_specification=None,
        tags=[],
        deletion_protection_enabled=False,
        warm_throughput=None,
    )
    ready = Barrier(WRITERS)

    def take(key: str) -> bool:
        ready.wait(timeout=30)
        try:
            backend.put_item(
                "keys", {"id": {"S": key}}, condition_expression="attribute_not_exists(id)"
            )
        except ConditionalCheckFailed:
            return False
        return True

    with applied(PATCHES), ThreadPoolExecutor(WRITERS) as pool:
        for number in range(KEYS):
            taken = list(pool.map(take, [f"key-{number}"] * WRITERS))
            assert taken.count(True) == 1, f"{taken.count(True)} writers took one key"
