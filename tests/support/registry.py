"""A registry of devices in a stack, with items as the function writes them."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from typing import Any

from tests.support.service_sandbox import ServiceSandbox
from tests.support.templates import output, resource


def create_registry(sandbox: ServiceSandbox) -> str:
    """Create a stack with an empty registry; give the name of its table."""
    table = resource(
        "DynamoDB::Table",
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
    )
    sandbox.create({"Table": table}, Outputs=output(DevicesTableName={"Ref": "Table"}))
    return sandbox.id_of("Table")


def register(
    sandbox: ServiceSandbox, project: str, device: dict[str, Any], *, seconds: float = 86_400
) -> None:
    """Write a device and its token, which expire after so many seconds."""
    lines = (project, device["service"], device["token"])
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    put(sandbox, f"T#{digest}", json.dumps({"device_id": device["device_id"]}), seconds=seconds)
    put(sandbox, f"D#{project}#{device['device_id']}", json.dumps(device), seconds=seconds)


def put(sandbox: ServiceSandbox, key: str, value: str, *, seconds: float = 86_400) -> None:
    """Write an item of the registry."""
    put_all(sandbox, {key: value}, seconds=seconds)


def put_all(sandbox: ServiceSandbox, values: Mapping[str, str], *, seconds: float = 86_400) -> None:
    """Write items of the registry by their keys, as many as a call takes at a time."""
    expiration = {"N": str(int(time.time() + seconds))}
    writes = [
        {
            "PutRequest": {
                "Item": {
                    "id": {"S": key},
                    "etag": {"S": "1"},
                    "expiration": expiration,
                    "value": {"S": value},
                }
            }
        }
        for key, value in values.items()
    ]
    client, table = sandbox.client("dynamodb"), sandbox.id_of("Table")
    for start in range(0, len(writes), 25):
        client.batch_write_item(RequestItems={table: writes[start : start + 25]})
