"""The patches of moto's DynamoDB: a condition and its write are one step.

moto reads the item, then checks the condition, then writes. Two conditional writes at the same
time can both succeed. moto fails if a table changes while it looks for items. With these patches
one write or search at a time uses the tables. BatchGetItem reads each item separately, as in AWS:
it can see one item before a transaction and another after it, but never an undone write.
"""

from __future__ import annotations

from threading import RLock
from typing import Final

from moto.dynamodb.models import DynamoDBBackend
from moto.dynamodb.responses import DynamoHandler

from sandbox.dynamodb import transactions
from sandbox.patches import Patch, serialized

LOCK: Final = RLock()
"""Held by each write."""

_ONE_AT_A_TIME: Final = (
    *("put_item", "update_item", "delete_item"),
    *("query", "scan"),
)

PATCHES: Final = (
    *(
        Patch(DynamoDBBackend, name, serialized(getattr(DynamoDBBackend, name), LOCK))
        for name in _ONE_AT_A_TIME
    ),
    Patch(
        DynamoDBBackend,
        "transact_write_items",
        serialized(transactions.transact_write_items, LOCK),
    ),
    Patch(DynamoHandler, "transact_write_items", transactions.idempotent(LOCK)),
    Patch(
        DynamoHandler,
        "transact_get_items",
        serialized(DynamoHandler.transact_get_items, LOCK),
    ),
)
