"""Read the registry of devices of the deployed stacks, as far as the inbox shows it.

The output ``DevicesTableName`` of a stack names its table. An item has the key ``id``, the content
``value`` as JSON, and its end ``expiration`` in Unix seconds, after which it does not count:

- ``T#`` and the SHA-256 of project, service and token, a line each: which device has the token
- ``D#project#device``: the device
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from moto.dynamodb.models.table import Table

_OUTPUT: Final = "DevicesTableName"
_LISTED: Final = 500
_SHOWN_OF_TOKEN: Final = 12
_SHOWN: Final = (
    *("device_id", "user_id", "service", "language", "tags"),
    *("seen_at", "invalid", "opted_out"),
)


def registries() -> list[Table]:
    """Find the tables of all registries; there is none without a stack."""
    # Not imported: the inbox alone installs fewer packages than moto's CloudFormation needs.
    cloudformation = sys.modules.get("moto.cloudformation.models")
    if cloudformation is None:
        return []
    tables = {
        (account_id, region, output["OutputValue"])
        for account_id, region, backend in cloudformation.cloudformation_backends.iter_backends()
        # While moto resets a backend, its vars are empty for a moment.
        for stack in list(vars(backend).get("stacks", {}).values())
        for output in stack.outputs or ()
        if output["OutputKey"] == _OUTPUT
    }
    if not tables:
        return []
    from moto.dynamodb.models import dynamodb_backends  # as above

    found = (
        vars(dynamodb_backends[account_id][region]).get("tables", {}).get(name)
        for account_id, region, name in sorted(tables)
    )
    return [table for table in found if table is not None]


def owner(
    tables: list[Table], application_id: str, service: str, token: str
) -> dict[str, Any] | None:
    """Return the ``device_id`` and ``user_id`` of a token, or None if no registry knows it."""
    digest = hashlib.sha256("\n".join((application_id, service, token)).encode()).hexdigest()
    for table in tables:
        device_id = _content(table, f"T#{digest}").get("device_id")
        if isinstance(device_id, str):
            device = _content(table, f"D#{application_id}#{device_id}")
            if device:
                return {"device_id": device_id, "user_id": device.get("user_id")}
    return None


def listing() -> dict[str, Any]:
    """List the devices of all registries, ordered by project and device id.

    Returns
    -------
    dict
        ``registries``, their number; ``count``, the number of devices; and the first of them as
        ``devices``, each with its project, the beginning of its token, and the members that it has.
    """
    tables = registries()
    now = time.time()
    # Copies, because other threads write.
    items: list[Any] = [item for table in tables for item in list(table.items.values())]
    kept = sorted(
        (
            (item.hash_key.value, item.attrs)
            for item in items
            if item.hash_key.value.startswith("D#") and _counts(item.attrs, now)
        ),
        key=lambda pair: pair[0],
    )
    return {
        "registries": len(tables),
        "count": len(kept),
        "devices": list(_rows(kept[:_LISTED])),
    }


def _rows(items: list[tuple[str, Any]]) -> Iterator[dict[str, Any]]:
    for key, attributes in items:
        device = _value(attributes)
        token = str(device.get("token", ""))
        shortened = token if len(token) <= _SHOWN_OF_TOKEN else f"{token[:_SHOWN_OF_TOKEN]}…"
        yield {
            "application_id": key.split("#")[1],
            **{name: device.get(name) for name in _SHOWN},
            "token": shortened,
        }


def _content(table: Table, key: str) -> dict[str, Any]:
    """Read an item; a missing or expired one is empty."""
    from moto.dynamodb.models.dynamo_type import DynamoType  # as above

    item = table.get_item(DynamoType({"S": key}))
    if item is None or not _counts(item.attrs, time.time()):
        return {}
    return _value(item.attrs)


def _counts(attributes: Any, now: float) -> bool:
    expiration = attributes.get("expiration")
    return expiration is None or expiration.type != "N" or float(expiration.value) >= now


def _value(attributes: Any) -> dict[str, Any]:
    """Return an item's content; any program can have written the table."""
    try:
        value = json.loads(attributes["value"].value)
    except (KeyError, TypeError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
