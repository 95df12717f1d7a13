"""The DynamoDB table of the registry: items with etags, changed in transactions.

A change reads its items consistently, then writes all of them in one transaction. The transaction
is conditional on the etag of every item that was read, so it takes effect only if none of them
has changed since. A cancelled transaction is tried again, from the reading on.

An etag is random. A counter would start again when an item is deleted and created again, and a
transaction that read the first item would then overwrite the second one.

An item holds its value as JSON text, which is read several times faster than DynamoDB's nested
attributes, and needs no mapping of types.
"""

from __future__ import annotations

import json
import random
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any, Final, NamedTuple, TypeVar

from botocore.exceptions import ClientError

from push_sender.clients.calls import CallError
from push_sender.clients.queue_and_bus import call_with_retries
from push_sender.request.errors import RegistryUnavailable
from push_sender.request.json_text import compact_json

KEYS_A_READ: Final = 100
"""Maximum number of keys in one BatchGetItem (DynamoDB API Reference)."""

_CONFLICTS: Final = frozenset(
    {
        "None",  # the reason of an item that was not the cause
        "ConditionalCheckFailed",
        "TransactionConflict",
        "ThrottlingError",
        "ProvisionedThroughputExceeded",
    }
)
"""Reasons of a cancelled transaction that a retry can remove (DynamoDB API Reference,
"TransactWriteItems")."""

_WAIT_SECONDS: Final = 0.01
_LONGEST_WAIT_SECONDS: Final = 0.5
"""A wait before a try is random, up to a limit that doubles from try to try until this."""

Result = TypeVar("Result")


class _StaleReadError(Exception):
    """Another writer changed the items between two reads of one try, so they do not agree."""


class Item(NamedTuple):
    """An item as it was read.

    Attributes
    ----------
    etag
        A random text that every write replaces.
    expiration
        Seconds of Unix time: from then on the item does not count.
    value
        Its content, an object of JSON.
    """

    etag: str
    expiration: int
    value: dict[str, Any]


class Transaction:
    """One try of a change: it collects the items that were read and the items to write.

    Attributes
    ----------
    now
        Seconds of Unix time. Every decision of this try uses it.
    """

    def __init__(self, table: Table, deadline: float) -> None:
        self.now = table.clock()
        self.writes: dict[str, Item | None] = {}
        self._table = table
        self._deadline = deadline
        self._read: dict[str, Item | None] = {}

    @property
    def etags(self) -> Mapping[str, str | None]:
        """The etag of every item that was read; None for an item that does not exist."""
        return {id_: item.etag if item else None for id_, item in self._read.items()}

    def read(self, *ids: str | None) -> None:
        """Read the items that were not read before, in one call. None stands for no item."""
        new = [id_ for id_ in dict.fromkeys(ids) if id_ is not None and id_ not in self._read]
        if new:
            found = self._table.read(new, deadline=self._deadline)
            self._read.update({id_: found.get(id_) for id_ in new})

    def stored(self, id_: str) -> dict[str, Any] | None:
        """Return an item's value as this try left it, even if the item has expired."""
        item = self._item(id_)
        return item.value if item else None

    def expiration(self, id_: str) -> int:
        """Return when an item expires; 0 if it does not exist."""
        item = self._item(id_)
        return item.expiration if item else 0

    def live(self, id_: str) -> dict[str, Any] | None:
        """Return an item's value, or None if the item has expired: DynamoDB deletes it late."""
        return self.stored(id_) if self.expiration(id_) > self.now else None

    def put(self, id_: str, value: dict[str, Any], expiration: int) -> None:
        """Write an item that was read."""
        self.writes[id_] = Item(secrets.token_urlsafe(12), expiration, value)

    def delete(self, id_: str) -> None:
        """Delete an item that was read."""
        self.writes[id_] = None

    def _item(self, id_: str) -> Item | None:
        if id_ in self.writes:
            return self.writes[id_]
        if id_ not in self._read:  # items that agree with each other lead to all that are needed
            raise _StaleReadError
        return self._read[id_]


class Table:
    """Reads and changes the items of the registry, for many threads at once.

    Every method raises ``RegistryUnavailable`` if DynamoDB does not answer in time.

    Parameters
    ----------
    client
        A DynamoDB client that does not retry by itself.
    name
        The name of the table.
    clock
        Returns seconds of Unix time.
    """

    def __init__(self, client: Any, name: str, *, clock: Callable[[], float] = time.time) -> None:
        self.clock = clock
        self._client = client
        self._name = name

    def change(self, step: Callable[[Transaction], Result], *, deadline: float) -> Result:
        """Make a change that takes effect as a whole or not at all.

        Parameters
        ----------
        step
            Reads items and says what to write. Called again if another writer came between.
        deadline
            On ``time.monotonic``: no call begins after that.

        Returns
        -------
        Result
            The result of the step that took effect.
        """
        number = 0
        while True:
            transaction = Transaction(self, deadline)
            with suppress(_StaleReadError):
                result = step(transaction)
                if not transaction.writes or self._commit(transaction, deadline):
                    return result
            number += 1
            _pause(number, deadline, "TransactionCanceledException")

    def read(self, ids: Iterable[str], *, deadline: float) -> dict[str, Item]:
        """Read items consistently, 100 a call. An item that does not exist is left out."""
        waiting = list(dict.fromkeys(ids))
        found: dict[str, Item] = {}
        number = 0
        while waiting:
            some, waiting = waiting[:KEYS_A_READ], waiting[KEYS_A_READ:]
            items, unread = self._call(lambda: self._batch(some), deadline)  # noqa: B023  called at once
            found |= items
            waiting += unread
            # DynamoDB leaves out items that it was too busy to read, or beyond 16 MB.
            number = number + 1 if unread else 0
            if unread:
                _pause(number, deadline, "UnprocessedKeys")
        return found

    def _batch(self, ids: Iterable[str]) -> tuple[dict[str, Item], list[str]]:
        keys = [{"id": {"S": id_}} for id_ in ids]
        wanted = {self._name: {"Keys": keys, "ConsistentRead": True}}
        answer = self._client.batch_get_item(RequestItems=wanted)
        items = {
            item["id"]["S"]: Item(
                item["etag"]["S"], int(item["expiration"]["N"]), json.loads(item["value"]["S"])
            )
            for item in answer["Responses"].get(self._name, ())
        }
        unread = (answer.get("UnprocessedKeys") or {}).get(self._name, {}).get("Keys", ())
        return items, [key["id"]["S"] for key in unread]

    def _commit(self, transaction: Transaction, deadline: float) -> bool:
        """Write a transaction; return False if an item has changed since it was read."""
        entries = [
            self._entry(id_, etag, transaction.writes) for id_, etag in transaction.etags.items()
        ]
        # With the same token, a retry after a lost answer has no second effect, for 10 minutes.
        token = secrets.token_hex(16)

        def write() -> bool:
            try:
                self._client.transact_write_items(TransactItems=entries, ClientRequestToken=token)
            except ClientError as error:
                if _is_conflict(error.response):
                    return False
                raise
            return True

        return self._call(write, deadline)

    def _entry(
        self, id_: str, etag: str | None, writes: Mapping[str, Item | None]
    ) -> Mapping[str, Any]:
        """Write one entry of a transaction, with the condition that the item is as it was read."""
        key = {"id": {"S": id_}}
        place: dict[str, Any] = {"TableName": self._name}
        if etag is None:
            place["ConditionExpression"] = "attribute_not_exists(id)"
        else:
            place["ConditionExpression"] = "etag = :etag"
            place["ExpressionAttributeValues"] = {":etag": {"S": etag}}
        if id_ not in writes:
            return {"ConditionCheck": {"Key": key, **place}}
        item = writes[id_]
        if item is None:
            return {"Delete": {"Key": key, **place}}
        attributes = {
            **key,
            "etag": {"S": item.etag},
            "expiration": {"N": str(item.expiration)},
            "value": {"S": compact_json(item.value)},
        }
        return {"Put": {"Item": attributes, **place}}

    def _call(self, call: Callable[[], Result], deadline: float) -> Result:
        if time.monotonic() > deadline:
            raise RegistryUnavailable("deadline")
        try:
            return call_with_retries(call, last_start=deadline)
        except CallError as error:
            raise RegistryUnavailable(error.code) from None


def _pause(number: int, deadline: float, reason: str) -> None:
    """Wait before a try, or raise if it would begin too late."""
    limit = min(_WAIT_SECONDS * 2.0**number, _LONGEST_WAIT_SECONDS)
    wait = random.uniform(0, limit)  # noqa: S311  jitter, not a secret
    if time.monotonic() + wait > deadline:
        raise RegistryUnavailable(reason)
    time.sleep(wait)


def _is_conflict(response: Any) -> bool:
    """Return whether a refused transaction can succeed after its items were read again."""
    code = response.get("Error", {}).get("Code")
    if code == "TransactionInProgressException":  # the first try of this transaction still runs
        return True
    reasons = {reason.get("Code", "None") for reason in response.get("CancellationReasons") or ()}
    return code == "TransactionCanceledException" and reasons <= _CONFLICTS
