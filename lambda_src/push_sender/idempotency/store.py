"""The DynamoDB table of keys: one item for each request, and one for most of its batches.

PutItem writes whole items and BatchGetItem reads them consistently; no other operation is used.
This module does not know requests or outcomes.

Powertools' persistence layer is not used, although it is made for this. When a record in
progress times out, it lets any other request with the same key overwrite it, and it does not
distinguish a run that continues a killed one from a first run, so batches that were already
sent would be sent again. It also imports boto3, which takes 25 ms and nothing else needs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Protocol, TypeVar, cast

from botocore.config import Config
from botocore.exceptions import ClientError

from push_sender.clients.calls import CallError, perform
from push_sender.clients.sdk import make_client

CONNECTIONS: Final = 8

_CONNECT_TIMEOUT_SECONDS: Final = 1
_READ_TIMEOUT_SECONDS: Final = 2
_TRIES: Final = 3
_KEYS_A_READ: Final = 100
"""Maximum number of keys in one BatchGetItem."""


_T = TypeVar("_T")


class StoreError(Exception):
    """An operation of the table failed, as far as is known.

    Attributes
    ----------
    reason
        DynamoDB's code or the exception's name.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class TableClient(Protocol):
    """The methods of a DynamoDB client that are used."""

    def put_item(self, **call: Any) -> Mapping[str, Any]:
        """Write a whole item."""

    def batch_get_item(self, **call: Any) -> Mapping[str, Any]:
        """Read items by their keys."""


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """The stored record of a request.

    Attributes
    ----------
    id
        The id of the record: a digest of project and key.
    fingerprint
        The fingerprint of the request.
    run
        The id of the first run, which the runs that continue it keep. Batch records of other
        runs do not count.
    holder
        The id of the invocation that writes the record.
    lapses_at
        Milliseconds of Unix time: if it is not done by then, its holder was killed.
    expiration
        Seconds of Unix time: from then on the record does not count.
    done
        Whether every recipient has its outcome.
    outcomes
        The outcomes that no batch record holds, packed.
    parts
        The first positions of the batches with their own record; set when it is done.
    targets
        The devices that the first run chose, packed; None for a request without users.
    """

    id: str
    fingerprint: str
    run: str
    holder: str
    lapses_at: int
    expiration: int
    done: bool = False
    outcomes: bytes | None = None
    parts: tuple[int, ...] = ()
    targets: bytes | None = None


def dynamodb_client(region: str | None) -> TableClient:
    """Create a client with short time limits.

    Raises
    ------
    BotoCoreError, ValueError
        As ``make_client``.
    """
    config = Config(
        connect_timeout=_CONNECT_TIMEOUT_SECONDS,
        read_timeout=_READ_TIMEOUT_SECONDS,
        max_pool_connections=CONNECTIONS,
        retries={"mode": "standard", "total_max_attempts": _TRIES},
    )
    return cast("TableClient", make_client("dynamodb", region, config))


class Store:
    """Reads and writes the table, for many threads at once.

    Every method raises ``StoreError`` if DynamoDB refuses, fails or does not answer.

    Parameters
    ----------
    make_client
        Creates the client when the table is first used.
    table
        The name of the table.
    """

    def __init__(self, make_client: Callable[[], TableClient], table: str) -> None:
        self._make_client = make_client
        self._table = table

    @cached_property
    def _client(self) -> TableClient:
        return self._make_client()

    def put_new(self, record: RequestRecord, now: float) -> RequestRecord | None:
        """Write a request's record if none exists or the existing one has expired.

        Returns
        -------
        RequestRecord or None
            The existing record, which stays; None if the new one was written.
        """
        # DynamoDB deletes expired items within days, not at once.
        return self._put_request(
            record,
            ConditionExpression="attribute_not_exists(id) OR expiration <= :now",
            ExpressionAttributeValues={":now": {"N": str(int(now))}},
        )

    def put_over(self, record: RequestRecord, holder: str) -> bool:
        """Replace a holder's record; return False if the record is no longer that holder's."""
        refused = self._put_request(
            record,
            ConditionExpression="holder = :holder",
            ExpressionAttributeValues={":holder": {"S": holder}},
        )
        # If the first try was written, its retry finds the own record.
        return refused is None or refused == record

    def put_part(self, record: RequestRecord, part: int, outcomes: bytes) -> None:
        """Write the record of a batch, which its first position identifies."""
        item = {
            "id": {"S": _part_id(record, part)},
            "part": {"N": str(part)},
            "outcomes": {"B": outcomes},
            "expiration": {"N": str(record.expiration)},
        }
        self._put({"TableName": self._table, "Item": item})

    def parts(self, record: RequestRecord, parts: Iterable[int]) -> dict[int, bytes]:
        """Read the outcomes of a run's batch records, by part. A part may have no record."""
        ids = [_part_id(record, part) for part in parts]
        found: dict[int, bytes] = {}
        for first in range(0, len(ids), _KEYS_A_READ):
            found.update(self._read(ids[first : first + _KEYS_A_READ], _part_of))
        return found

    def request(self, id_: str, now: float) -> RequestRecord | None:
        """Read a request's record, or None if it does not exist or has expired."""
        found = self._read([id_], _record)
        return found[0] if found and found[0].expiration > now else None

    def _read(self, ids: Sequence[str], read: Callable[[Mapping[str, Any]], _T]) -> list[_T]:
        wanted: Any = {self._table: {"Keys": [{"id": {"S": id_}} for id_ in ids]}}
        wanted[self._table]["ConsistentRead"] = True
        found: list[_T] = []
        for attempt in range(_TRIES):
            time.sleep(0.05 * attempt)  # DynamoDB leaves out items that it was too busy to read
            try:
                part, wanted = perform(lambda: self._batch(wanted, read))  # noqa: B023  called at once
            except CallError as error:
                raise StoreError(error.code) from None
            found += part
            if not wanted:
                return found
        raise StoreError("UnprocessedKeys")

    def _batch(self, wanted: Any, read: Callable[[Mapping[str, Any]], _T]) -> tuple[list[_T], Any]:
        """Read some items; return what ``read`` makes of them, and the keys that were left out."""
        answer = self._client.batch_get_item(RequestItems=wanted)
        found = [read(item) for item in answer["Responses"].get(self._table, ())]
        return found, answer.get("UnprocessedKeys")

    def _put_request(self, record: RequestRecord, **condition: Any) -> RequestRecord | None:
        return self._put(
            {
                "TableName": self._table,
                "Item": _item(record),
                "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
                **condition,
            }
        )

    def _put(self, call: Mapping[str, Any]) -> RequestRecord | None:
        """Write an item; return the existing one if the condition does not hold."""

        def put() -> RequestRecord | None:
            try:
                self._client.put_item(**call)
            except ClientError as error:
                existing: Any = error.response.get("Item")
                code = error.response.get("Error", {}).get("Code")
                if code == "ConditionalCheckFailedException" and existing:
                    return _record(existing)
                raise
            return None

        try:
            return perform(put)
        except CallError as error:
            if error.has_success_status:
                return None
            raise StoreError(error.code) from None


def _part_of(item: Mapping[str, Any]) -> tuple[int, bytes]:
    return int(item["part"]["N"]), item["outcomes"]["B"]


def _part_id(record: RequestRecord, part: int) -> str:
    return f"{record.id}#{record.run}#{part}"


def _item(record: RequestRecord) -> dict[str, Any]:
    item: dict[str, Any] = {
        "id": {"S": record.id},
        "fingerprint": {"S": record.fingerprint},
        "run": {"S": record.run},
        "holder": {"S": record.holder},
        "lapses_at": {"N": str(record.lapses_at)},
        "expiration": {"N": str(record.expiration)},
    }
    if record.done:
        item["done"] = {"BOOL": True}
    if record.outcomes is not None:
        item["outcomes"] = {"B": record.outcomes}
    if record.parts:
        item["parts"] = {"L": [{"N": str(part)} for part in record.parts]}
    if record.targets is not None:
        item["targets"] = {"B": record.targets}
    return item


def _record(item: Mapping[str, Any]) -> RequestRecord:
    return RequestRecord(
        id=item["id"]["S"],
        fingerprint=item["fingerprint"]["S"],
        run=item["run"]["S"],
        holder=item["holder"]["S"],
        lapses_at=int(item["lapses_at"]["N"]),
        expiration=int(item["expiration"]["N"]),
        done="done" in item,
        outcomes=item["outcomes"]["B"] if "outcomes" in item else None,
        parts=tuple(int(part["N"]) for part in item["parts"]["L"]) if "parts" in item else (),
        targets=item["targets"]["B"] if "targets" in item else None,
    )
