"""Let hours go by for everything that the table of keys holds.

The clock of the sandbox (``sandbox.clock``) decides what the tables delete, but the function's
processes keep this machine's time. With a clock ahead of them, each key that they write for a day
would be deleted at once. So the items get older instead, and those that have expired are deleted.
"""

from __future__ import annotations

from typing import Any, Final

from moto.dynamodb.models import dynamodb_backends
from moto.dynamodb.models.dynamo_type import DynamoType

from sandbox.dynamodb.expiry import sweep
from sandbox.dynamodb.patches import LOCK

_MOMENTS: Final = {"expiration": 1, "lapses_at": 1_000}
"""The attributes with a time, and how many of their units are a second."""


def age_items(table_name: str, hours: float) -> None:
    """Make the items of a table older, and delete those that have expired.

    No invocation may be under way, as none runs so long.
    """
    backends: list[Any] = [backend for _, _, backend in dynamodb_backends.iter_backends()]
    tables = [backend.tables[table_name] for backend in backends if table_name in backend.tables]
    with LOCK:
        for item in [item for table in tables for item in table.items.values()]:
            for name, units in _MOMENTS.items():
                if name in item.attrs:
                    moment = int(item.attrs[name].value) - round(hours * 3_600 * units)
                    item.attrs[name] = DynamoType({"N": str(moment)})
    sweep()
