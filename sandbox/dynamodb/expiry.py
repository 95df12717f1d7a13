"""Delete the items whose time to live has passed, which moto never does.

As DynamoDB's guide says of the attribute: it must be a number of Unix seconds, and a time of more
than five years ago deletes nothing. DynamoDB deletes within a few days. Here it takes a second, so
a reader must check the time as in AWS, but need not wait to see the deletion.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any, Final

from moto.core.base_backend import backend_lock
from moto.dynamodb.models import dynamodb_backends
from moto.dynamodb.models.dynamo_type import Item
from moto.dynamodb.models.table import Table

from sandbox import clock
from sandbox.dynamodb.patches import LOCK

_PERIOD_SECONDS: Final = 1.0
_OLDEST_SECONDS: Final = 5 * 365 * 86_400


@contextmanager
def expiring_items() -> Iterator[None]:
    """Delete expired items of all tables in the background, inside the block."""
    stopping = Event()

    def sweep_until_stopped() -> None:
        while not stopping.wait(_PERIOD_SECONDS):
            sweep()

    sweeper = Thread(target=sweep_until_stopped, name="dynamodb-expiry", daemon=True)
    sweeper.start()
    try:
        yield
    finally:
        stopping.set()
        sweeper.join()


def sweep() -> None:
    """Delete the expired items of all tables once."""
    now = clock.now()
    for table in _tables():
        if table.ttl["TimeToLiveStatus"] != "ENABLED":
            continue
        attribute = table.ttl["AttributeName"]
        for item in _items(table):
            if not _is_expired(item, attribute, now):
                continue
            with LOCK:
                place = (item.hash_key, item.range_key)
                current = table.get_item(*place)  # a write can have renewed it
                if current is not None and _is_expired(current, attribute, now):
                    table.delete_item(*place)


def _is_expired(item: Item, attribute: str, now: float) -> bool:
    value = item.attrs.get(attribute)
    return (
        value is not None
        and value.type == "N"
        and now - _OLDEST_SECONDS <= float(value.value) < now
    )


def _tables() -> list[Table]:
    with backend_lock:
        backends: list[Any] = [backend for _, _, backend in dynamodb_backends.iter_backends()]
    # While moto resets a backend, its vars are empty for a moment.
    return [
        table for backend in backends for table in list(vars(backend).get("tables", {}).values())
    ]


def _items(table: Table) -> list[Item]:
    # Copies, because other threads write. Without the lock, so that writes need not wait.
    rows: list[Any] = list(table.items.values())
    return [item for row in rows for item in list(row.values())] if table.has_range_key else rows
