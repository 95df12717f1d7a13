"""Read the registry of devices from its table, with the operator's credentials.

An item has ``id``, ``expiration`` (seconds of Unix time, from which on it does not count) and
``value`` (JSON): a device ``D#<project>#<device id>``, a token ``T#<digest>``, a user
``U#<project>#<user id>``.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from hashlib import sha256
from typing import Any, Final, NamedTuple

from operations.account import Account, FailedCall, OperationsError, call
from operations.deployed import DeployedStack, find_stack
from operations.json_values import as_dict, as_list, read_json

SERVICES: Final = (
    *("GCM", "APNS", "APNS_SANDBOX", "APNS_VOIP", "APNS_VOIP_SANDBOX", "BAIDU", "ADM"),
)

_NEEDED: Final = ("ApplicationId", "LogGroupName")
_OF_THE_REGISTRY: Final = ("DevicesTableName", "DevicesLogGroupName")

_KEYS_A_READ: Final = 100
"""Maximum number of keys in one BatchGetItem (DynamoDB API Reference)."""

ATTEMPTS: Final = 8
"""How often a reader tries a call: DynamoDB throttles a scan that is too fast, and CloudWatch Logs
allows few calls a second."""
_SEGMENTS: Final = 4
"""Parts of the table that a scan reads at the same time. More would take capacity from the
functions."""


class Item(NamedTuple):
    """An item of the registry.

    Attributes
    ----------
    value
        Its content.
    is_expired
        Whether it does not count any more: DynamoDB deletes it late.
    """

    value: dict[str, Any]
    is_expired: bool


class Page(NamedTuple):
    """A part of a scan.

    Attributes
    ----------
    devices
        The devices in it.
    items
        How many items of all kinds and projects were read.
    """

    devices: list[dict[str, Any]]
    items: int


def find_stack_with_registry(
    account: Account, stack_name: str, sender: str | None
) -> DeployedStack:
    """Read the outputs of a push sender with a registry of devices.

    Raises
    ------
    OperationsError
        As ``find_stack``, or if there is no registry.
    """
    stack = find_stack(account, stack_name, _NEEDED, sender)
    if not all(stack.outputs.get(name) for name in _OF_THE_REGISTRY):
        raise OperationsError(
            f"The stack {stack_name} has no registry of devices: it has no outputs "
            f"{' and '.join(_OF_THE_REGISTRY)}, as with the setting devices false."
        )
    return stack


class Registry:
    """The devices and users of one project.

    Parameters
    ----------
    account
        The operator's.
    table
        The table's name.
    project
        The push project.
    """

    def __init__(self, account: Account, table: str, project: str) -> None:
        self._client = account.client("dynamodb")
        self._table = table
        self._project = project

    def user(self, user_id: str) -> Item | None:
        """Read a user: ``{"ref", "devices": {device_id: …}}``."""
        key = f"U#{self._project}#{user_id}"
        return self._read([key]).get(key)

    def devices(self, device_ids: Iterable[str]) -> dict[str, Item]:
        """Read devices by id; those that do not exist are left out."""
        keys = {device_id: f"D#{self._project}#{device_id}" for device_id in device_ids}
        items = self._read(keys.values())
        return {device_id: items[key] for device_id, key in keys.items() if key in items}

    def holders(self, token: str) -> dict[str, Item]:
        """Read the devices that have a token, of whatever service."""
        lines = ("\n".join((self._project, service, token)) for service in SERVICES)
        items = self._read(f"T#{sha256(text.encode()).hexdigest()}" for text in lines)
        device_ids = (str(item.value.get("device_id")) for item in items.values())
        devices = self.devices(dict.fromkeys(device_ids))
        return {id_: item for id_, item in devices.items() if item.value.get("token") == token}

    def scan(self) -> Iterator[Page]:
        """Read the devices that have not expired, in no order.

        A device that is registered or deleted meanwhile may be there or not.
        """
        scan = {
            "TableName": self._table,
            # "value" is a reserved word.
            "ProjectionExpression": "#value",
            "FilterExpression": "begins_with(#id, :devices) AND #expiration > :now",
            "ExpressionAttributeNames": {
                "#id": "id",
                "#value": "value",
                "#expiration": "expiration",
            },
            "ExpressionAttributeValues": {
                ":devices": {"S": f"D#{self._project}#"},
                ":now": {"N": str(int(time.time()))},
            },
            "TotalSegments": _SEGMENTS,
        }
        with ThreadPoolExecutor(_SEGMENTS) as threads:
            # The next page of a segment is asked for after this one was written, so that few
            # pages are in memory.
            waiting = {threads.submit(self._page, scan, n, {}): n for n in range(_SEGMENTS)}
            while waiting:
                for done in wait(waiting, return_when=FIRST_COMPLETED).done:
                    segment = waiting.pop(done)
                    answer = done.result()
                    items = map(as_dict, as_list(answer.get("Items")))
                    yield Page([_value(item) for item in items], answer.get("ScannedCount", 0))
                    if last := answer.get("LastEvaluatedKey"):
                        start = {"ExclusiveStartKey": last}
                        waiting[threads.submit(self._page, scan, segment, start)] = segment

    def _page(
        self, scan: Mapping[str, Any], segment: int, start: Mapping[str, Any]
    ) -> dict[str, Any]:
        answer = call(self._client, "scan", **scan, Segment=segment, **start)
        return self._answered(answer)

    def _read(self, keys: Iterable[str]) -> dict[str, Item]:
        """Read items consistently."""
        waiting: list[Any] = [{"id": {"S": key}} for key in dict.fromkeys(keys)]
        found = {}
        while waiting:
            some, waiting = waiting[:_KEYS_A_READ], waiting[_KEYS_A_READ:]
            wanted = {self._table: {"Keys": some, "ConsistentRead": True}}
            answer = self._answered(call(self._client, "batch_get_item", RequestItems=wanted))
            for item in as_list(as_dict(answer.get("Responses")).get(self._table)):
                expiration = int(item["expiration"]["N"])
                found[item["id"]["S"]] = Item(_value(item), expiration <= time.time())
            unread = as_dict(as_dict(answer.get("UnprocessedKeys")).get(self._table))
            waiting += as_list(unread.get("Keys"))
        return found

    def _answered(self, answer: dict[str, Any] | FailedCall) -> dict[str, Any]:
        if isinstance(answer, FailedCall):
            raise OperationsError(
                f"The registry, table {self._table}, cannot be read: {answer.with_cure}"
            )
        return answer


def _value(item: Mapping[str, Any]) -> dict[str, Any]:
    return as_dict(read_json(item["value"]["S"].encode()))
