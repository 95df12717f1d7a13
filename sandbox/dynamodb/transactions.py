"""TransactWriteItems as DynamoDB has it.

moto copies each table of a transaction with all its items, writes into the table that others read,
and puts the copy in its place after a failure. So readers see writes that are then undone, a
transaction takes time for each item of the table, and a table can be replaced behind the back of
its owner. moto ignores the ClientRequestToken, and values that no expression uses.

Here moto works on copies that have only the items of the transaction. They are written into the
tables once the whole transaction has succeeded.
"""

from __future__ import annotations

import copy
import hashlib
import json
import re
from collections import defaultdict
from contextlib import AbstractContextManager
from typing import Any, Final, NamedTuple, Self

from moto.core.responses import ActionResult
from moto.dynamodb.exceptions import ERROR_TYPE_PREFIX, DynamodbException
from moto.dynamodb.models import DynamoDBBackend
from moto.dynamodb.models.dynamo_type import DynamoType, Item
from moto.dynamodb.models.table import Table
from moto.dynamodb.responses import DynamoHandler, validate_attributes_used

from sandbox import clock

TOKEN_SECONDS: Final = 600.0
"""How long DynamoDB knows a ClientRequestToken."""

_VALUE: Final = re.compile(r":\w+")
_TOKENS: Final = "push_sandbox_tokens"
_NOT_COMPARED: Final = frozenset({"ClientRequestToken", "ReturnConsumedCapacity"})

_ORIGINAL: Final = DynamoDBBackend.transact_write_items
_ORIGINAL_RESPONSE: Final = DynamoHandler.transact_write_items


class IdempotentParameterMismatchError(DynamodbException):
    """A ClientRequestToken came again, with another request."""

    def __init__(self) -> None:
        super().__init__(
            f"{ERROR_TYPE_PREFIX}IdempotentParameterMismatchException",
            "The request uses the same client token as a previous, but non-identical request.",
        )


class _Success(NamedTuple):
    content: bytes
    until: float


class _TouchedItems(Table):
    """The copy of a table that has only the items of one transaction."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self  # moto makes a backup first, and there is nothing to restore


def transact_write_items(self: DynamoDBBackend, transact_items: list[dict[str, Any]]) -> None:
    """Write all items of a transaction, or none; the caller holds the lock of all writes."""
    copies: dict[str, _TouchedItems] = {}
    written: list[tuple[Table, tuple[DynamoType, DynamoType | None]]] = []
    for entry in transact_items:
        for action, parameters in entry.items():
            table = self.get_table(parameters["TableName"])
            touched = copies.setdefault(table.name, _without_items(table))
            key = parameters["Item"] if action == "Put" else parameters["Key"]
            place = self.get_keys_value(table, key)
            item = table.get_item(*place)
            if item is not None:
                # moto changes an item in its place, and puts a new one into the place of another.
                _set(touched, *place, copy.deepcopy(item) if action == "Update" else item)
            if action != "ConditionCheck":
                written.append((table, place))
    backend = copy.copy(self)
    backend.tables = copies  # type: ignore[assignment]  # moto's own type is narrower
    _ORIGINAL(backend, transact_items)
    for table, place in written:
        before, after = table.get_item(*place), copies[table.name].get_item(*place)
        if after is None:
            table.delete_item(*place)
            continue
        _set(table, *place, after)
        if table.stream_shard is not None:
            table.stream_shard.add(before, after)


def idempotent(lock: AbstractContextManager[Any]) -> Any:
    """Make the response that checks values, and repeats no transaction with a known token.

    Parameters
    ----------
    lock
        The lock of all writes, so that a repetition waits for the first call.
    """

    def transact_write_items(self: DynamoHandler) -> Any:
        _refuse_unused_values(self.body["TransactItems"])
        token = self.body.get("ClientRequestToken")
        if token is None:
            return _ORIGINAL_RESPONSE(self)
        with lock:
            # In the backend's own attributes, so that moto's reset empties them.
            known = vars(self.dynamodb_backend).setdefault(_TOKENS, {})
            while known and next(iter(known.values())).until < clock.now():  # the oldest is first
                del known[next(iter(known))]
            compared = {name: self.body[name] for name in self.body.keys() - _NOT_COMPARED}
            text = json.dumps(compared, sort_keys=True, default=repr)  # binary values have no JSON
            content = hashlib.sha256(text.encode()).digest()
            if token not in known:
                answer = _ORIGINAL_RESPONSE(self)
                known[token] = _Success(content, clock.now() + TOKEN_SECONDS)
                return answer
            if known[token].content != content:
                raise IdempotentParameterMismatchError
            return ActionResult({})

    return transact_write_items


def _refuse_unused_values(transact_items: list[dict[str, Any]]) -> None:
    """Refuse values that no expression uses, as DynamoDB does; moto does it for single writes."""
    for parameters in (each for entry in transact_items for each in entry.values()):
        expressions = (
            parameters.get(f"{kind}Expression") or "" for kind in ("Condition", "Update")
        )
        used = _VALUE.findall(" ".join(expressions))
        values = parameters.get("ExpressionAttributeValues")
        validate_attributes_used(values, used, "Values", validation_error_prefix=False)


def _without_items(table: Table) -> _TouchedItems:
    # Not by the constructor: moto keeps every model that it makes until its next reset.
    made: _TouchedItems = object.__new__(_TouchedItems)  # type: ignore[type-abstract]  # as Table is
    vars(made).update(vars(table), items=defaultdict(dict), stream_shard=None)
    return made


def _set(table: Table, hash_key: DynamoType, range_key: DynamoType | None, item: Item) -> None:
    items: Any = table.items  # by the hash key, and by the range key if the table has one
    if range_key is None:
        items[hash_key] = item
    else:
        items[hash_key][range_key] = item
