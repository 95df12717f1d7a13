"""The table of keys, as DynamoDB holds it: one item a request, one for most of its batches.

Items are written whole, by PutItem, and read consistently, by BatchGetItem; nothing else is
asked of DynamoDB. It does not know what a request or an outcome is.

Not Powertools' persistence layer, which is there for this. It takes a record that
was left in progress for anybody's once it has lapsed: another request under the same key
overwrites it unseen, and nothing tells a run that goes on where another was ended from a
first one, so batches already sent would go out again. It also imports boto3, which nothing
else here does: 25 ms, beside the client itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Protocol, cast

from botocore.config import Config
from botocore.exceptions import ClientError

from push_sender.clients.calls import CallError, perform
from push_sender.clients.sdk import make_client

CONNECTIONS: Final = 8

_CONNECT_TIMEOUT_SECONDS: Final = 1
_READ_TIMEOUT_SECONDS: Final = 2
_TRIES: Final = 3
_KEYS_A_READ: Final = 100
"""What one BatchGetItem takes."""


class StoreError(Exception):
    """The table did not do what was asked, as far as is known.

    Attributes
    ----------
    reason
        DynamoDB's code or the exception's name.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class TableClient(Protocol):
    """What is needed of a DynamoDB client."""

    def put_item(self, **call: Any) -> Mapping[str, Any]:
        """Write an item whole."""

    def batch_get_item(self, **call: Any) -> Mapping[str, Any]:
        """Read items by their keys."""


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """What is remembered of a request.

    Attributes
    ----------
    id
        Of the record: a digest of project and key.
    fingerprint
        Of the request.
    run
        Names the first run and all that went on with it: batches of any other are not its.
    holder
        Names the invocation that writes the record.
    lapses_at
        Milliseconds of Unix time: if it is not done by then, its holder was ended.
    expiration
        Seconds of Unix time: from then on there is no such record.
    done
        Whether everything that there was to send has its outcome.
    outcomes
        Those that no batch record holds, packed.
    parts
        The first positions of the batches that have a record of their own, once done.
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


def dynamodb_client(region: str | None) -> TableClient:
    """Make a client whose calls come to an end soon, whatever becomes of them.

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
    """Reads and writes the table. Used by many threads at once.

    Every method raises ``StoreError`` where DynamoDB refuses, fails or does not answer.

    Parameters
    ----------
    make_client
        Makes the client, when the table is first used.
    table
        Its name.
    """

    def __init__(self, make_client: Callable[[], TableClient], table: str) -> None:
        self._make_client = make_client
        self._table = table

    @cached_property
    def _client(self) -> TableClient:
        return self._make_client()

    def put_new(self, record: RequestRecord, now: float) -> RequestRecord | None:
        """Write a request's record if there is none, or none any more.

        Returns
        -------
        RequestRecord or None
            The one that is there already, and stays; None if this one was written.
        """
        # DynamoDB deletes what has expired within days, not at once.
        return self._put_request(
            record,
            ConditionExpression="attribute_not_exists(id) OR expiration <= :now",
            ExpressionAttributeValues={":now": {"N": str(int(now))}},
        )

    def put_over(self, record: RequestRecord, holder: str) -> bool:
        """Write a request's record over that of a holder; False if that is no longer there."""
        refused = self._put_request(
            record,
            ConditionExpression="holder = :holder",
            ExpressionAttributeValues={":holder": {"S": holder}},
        )
        # A retry whose first try got through finds its own record.
        return refused is None or refused == record

    def put_part(self, record: RequestRecord, part: int, outcomes: bytes) -> None:
        """Write the record of a batch, named by its first position."""
        item = {
            "id": {"S": _part_id(record, part)},
            "part": {"N": str(part)},
            "outcomes": {"B": outcomes},
            "expiration": {"N": str(record.expiration)},
        }
        self._put({"TableName": self._table, "Item": item})

    def parts(self, record: RequestRecord, parts: Iterable[int]) -> dict[int, bytes]:
        """Read the outcomes of those of a run's batches that have a record, by part."""
        ids = [_part_id(record, part) for part in parts]
        found: dict[int, bytes] = {}
        for first in range(0, len(ids), _KEYS_A_READ):
            found |= self._read(ids[first : first + _KEYS_A_READ])
        return found

    def _read(self, ids: Sequence[str]) -> dict[int, bytes]:
        wanted: Any = {self._table: {"Keys": [{"id": {"S": id_}} for id_ in ids]}}
        wanted[self._table]["ConsistentRead"] = True
        found: dict[int, bytes] = {}
        for attempt in range(_TRIES):
            time.sleep(0.05 * attempt)  # what DynamoDB leaves out it was too busy to read
            try:
                part, wanted = perform(lambda: self._batch(wanted))  # noqa: B023  called at once
            except CallError as error:
                raise StoreError(error.code) from None
            found |= part
            if not wanted:
                return found
        raise StoreError("UnprocessedKeys")

    def _batch(self, wanted: Any) -> tuple[dict[int, bytes], Any]:
        """Read some items: the outcomes of those that were read, and what was left out."""
        answer = self._client.batch_get_item(RequestItems=wanted)
        items = answer["Responses"].get(self._table, ())
        found = {int(item["part"]["N"]): item["outcomes"]["B"] for item in items}
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
        """Write an item; give the one that is there where the condition does not hold."""

        def put() -> RequestRecord | None:
            try:
                self._client.put_item(**call)
            except ClientError as error:
                there: Any = error.response.get("Item")
                code = error.response.get("Error", {}).get("Code")
                if code == "ConditionalCheckFailedException" and there:
                    return _record(there)
                raise
            return None

        try:
            return perform(put)
        except CallError as error:
            if error.has_success_status:
                return None
            raise StoreError(error.code) from None


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
    )
