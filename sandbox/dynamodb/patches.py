"""The patches of moto's DynamoDB: a condition and its write are one step.

moto reads the item, then checks the condition, then writes. Two conditional writes at the same
time can both succeed. With these patches one write at a time changes the tables.
"""

from __future__ import annotations

from threading import RLock
from typing import Final

from moto.dynamodb.models import DynamoDBBackend

from sandbox.patches import Patch, serialized

_LOCK: Final = RLock()
_WRITES: Final = ("put_item", "update_item", "delete_item", "transact_write_items")

PATCHES: Final = tuple(
    Patch(DynamoDBBackend, name, serialized(getattr(DynamoDBBackend, name), _LOCK))
    for name in _WRITES
)
