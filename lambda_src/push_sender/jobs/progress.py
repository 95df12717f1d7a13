"""The progress of a job, in the table of keys: one item with its counts, and one for each child.

A child's counts are added to the job's in the transaction that stores them as the child's. So a
child that runs again changes the job's counts by what differs from before, and nothing is counted
twice, whatever was killed or lost in between.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from botocore.exceptions import ClientError

from push_sender.clients.calls import CallError
from push_sender.clients.queue_and_bus import call_with_retries
from push_sender.jobs.errors import JobConflict, JobStoreUnavailable

MEMORY_SECONDS: Final = 30 * 24 * 3_600

_COUNT: Final = "count_"
_IDENTITY: Final = ("execution", "etag", "started_at")
"""The facts that tell a job from another one with the same name."""

_CONFLICTS: Final = frozenset(
    {
        "None",
        "ConditionalCheckFailed",
        "TransactionConflict",
        "ThrottlingError",
        "ProvisionedThroughputExceeded",
    }
)
"""Reasons of a cancelled transaction that a retry can remove (DynamoDB API Reference,
"TransactWriteItems"). Many children add to the item of one job."""

_WAIT_SECONDS: Final = 0.02
_LONGEST_WAIT_SECONDS: Final = 1.0

_Answer = TypeVar("_Answer")


class Progress:
    """Reads and writes the progress of jobs.

    Every method raises ``JobStoreUnavailable`` if DynamoDB does not answer in time.

    Parameters
    ----------
    client
        A DynamoDB client that does not retry by itself.
    table
        The table of keys.
    clock
        Returns seconds of Unix time.
    """

    def __init__(self, client: Any, table: str, *, clock: Callable[[], float] = time.time) -> None:
        self._client = client
        self._table = table
        self._clock = clock

    def start(self, job: str, facts: Mapping[str, Any], *, last_start: float) -> None:
        """Make the item of a job. One of the same execution and file stays as it is.

        Parameters
        ----------
        job
            The job's name.
        facts
            Texts and whole numbers: ``action``, ``execution``, ``etag``, ``started_at``.
        last_start
            On ``time.monotonic``: no call begins after that.

        Raises
        ------
        JobConflict
            If the name stands for another job.
        """
        item = {"id": _text(_job_id(job)), **_written(facts), "expiration": self._expiration()}

        def put() -> Mapping[str, Any] | None:
            try:
                self._client.put_item(
                    TableName=self._table,
                    Item=item,
                    ConditionExpression="attribute_not_exists(id) OR expiration <= :now",
                    ExpressionAttributeValues={":now": _number(int(self._clock()))},
                    ReturnValuesOnConditionCheckFailure="ALL_OLD",
                )
            except ClientError as error:
                response: Any = error.response
                found: Mapping[str, Any] | None = response.get("Item")
                if found:
                    return found
                raise
            return None

        existing = self._call(put, last_start)
        if existing and any(existing.get(name) != item.get(name) for name in _IDENTITY):
            raise JobConflict

    def complete(self, job: str, rows: int, *, last_start: float) -> None:
        """Set the number of rows that the index has found."""
        self._call(
            lambda: self._client.update_item(
                TableName=self._table,
                Key={"id": _text(_job_id(job))},
                UpdateExpression="SET #rows = :rows",
                ExpressionAttributeNames={"#rows": "rows"},
                ExpressionAttributeValues={":rows": _number(rows)},
            ),
            last_start,
        )

    def count(
        self, job: str, first_row: int, counts: Mapping[str, int], *, last_start: float
    ) -> None:
        """Count the rows of a child, in place of what an earlier run of it counted.

        Parameters
        ----------
        job, first_row
            The job, and the child's first row.
        counts
            The counts by their names.
        last_start
            On ``time.monotonic``: no call begins after that.
        """
        child = _job_id(job, first_row)
        counted: Mapping[str, int] = {}  # most children are new, so they are not read first
        number = 0
        while True:
            changes = {
                name: counts.get(name, 0) - counted.get(name, 0) for name in {*counts, *counted}
            }
            if not any(changes.values()):
                return
            writes = [self._put_child(child, counts, counted), self._add(job, changes)]
            if self._call(lambda: self._is_written(writes), last_start):  # noqa: B023  called at once
                return
            number += 1
            _pause(number, last_start)
            counted = self._counts(self._item(child, last_start))

    def read(self, job: str, *, last_start: float) -> Mapping[str, Any] | None:
        """Return the facts of a job, with its ``summary`` of counts; None if there is no item."""
        item = self._item(_job_id(job), last_start)
        if item is None:
            return None
        facts = {
            name: int(value["N"]) if "N" in value else value["S"]
            for name, value in item.items()
            if name != "id" and not name.startswith(_COUNT)
        }
        counts = {name: count for name, count in sorted(self._counts(item).items()) if count}
        return {"rows": 0, **facts, "summary": counts}

    def _item(self, id_: str, last_start: float) -> Mapping[str, Any] | None:
        """Read an item that has not expired."""
        wanted = {self._table: {"Keys": [{"id": _text(id_)}], "ConsistentRead": True}}

        def get() -> tuple[list[Mapping[str, Any]], bool]:
            answer = self._client.batch_get_item(RequestItems=wanted)
            items = [
                item
                for item in answer["Responses"].get(self._table, ())
                if int(item["expiration"]["N"]) > self._clock()
            ]
            return items, bool(answer.get("UnprocessedKeys"))

        number = 0
        while True:
            items, is_busy = self._call(get, last_start)
            if not is_busy:  # DynamoDB leaves out an item that it was too busy to read
                return items[0] if items else None
            number += 1
            _pause(number, last_start)

    def _counts(self, item: Mapping[str, Any] | None) -> dict[str, int]:
        return {
            name.removeprefix(_COUNT): int(value["N"])
            for name, value in (item or {}).items()
            if name.startswith(_COUNT)
        }

    def _put_child(
        self, child: str, counts: Mapping[str, int], counted: Mapping[str, int]
    ) -> Mapping[str, Any]:
        """Write a child's counts, on condition that they are the ones that were read."""
        place: dict[str, Any] = {
            "TableName": self._table,
            "ConditionExpression": "attribute_not_exists(id) OR expiration <= :now",
            "ExpressionAttributeValues": {":now": _number(int(self._clock()))},
        }
        if counted:
            names = {f"#{at}": f"{_COUNT}{name}" for at, name in enumerate(counted)}
            values = {f":{at}": _number(count) for at, count in enumerate(counted.values())}
            place["ConditionExpression"] = " AND ".join(
                f"#{at} = :{at}" for at in range(len(names))
            )
            place["ExpressionAttributeNames"] = names
            place["ExpressionAttributeValues"] = values
        item = {
            "id": _text(child),
            **{f"{_COUNT}{name}": _number(count) for name, count in counts.items()},
            "expiration": self._expiration(),
        }
        return {"Put": {"Item": item, **place}}

    def _add(self, job: str, changes: Mapping[str, int]) -> Mapping[str, Any]:
        """Add to a job's counts, and keep its item as long as those of its children."""
        added = {name: change for name, change in changes.items() if change}
        names = {f"#{at}": f"{_COUNT}{name}" for at, name in enumerate(added)}
        values = {f":{at}": _number(change) for at, change in enumerate(added.values())}
        terms = ", ".join(f"#{at} :{at}" for at in range(len(added)))
        return {
            "Update": {
                "TableName": self._table,
                "Key": {"id": _text(_job_id(job))},
                "UpdateExpression": f"SET expiration = :expiration ADD {terms}",
                "ExpressionAttributeNames": names,
                "ExpressionAttributeValues": {**values, ":expiration": self._expiration()},
            }
        }

    def _is_written(self, writes: list[Mapping[str, Any]]) -> bool:
        """Write in one transaction; return False if another writer was there at the same time."""
        try:
            self._client.transact_write_items(TransactItems=writes)
        except ClientError as error:
            if _is_conflict(error.response):
                return False
            raise
        return True

    def _expiration(self) -> Mapping[str, str]:
        return _number(int(self._clock()) + MEMORY_SECONDS)

    def _call(self, call: Callable[[], _Answer], last_start: float) -> _Answer:
        if time.monotonic() > last_start:
            raise JobStoreUnavailable("deadline")
        try:
            return call_with_retries(call, last_start=last_start)
        except CallError as error:
            raise JobStoreUnavailable(error.code) from None


def _is_conflict(response: Any) -> bool:
    reasons = {reason.get("Code", "None") for reason in response.get("CancellationReasons") or ()}
    code = response.get("Error", {}).get("Code")
    return code == "TransactionCanceledException" and reasons <= _CONFLICTS


def _pause(number: int, last_start: float) -> None:
    """Wait before a try, or raise if it would begin too late."""
    limit = min(_WAIT_SECONDS * 2.0**number, _LONGEST_WAIT_SECONDS)
    wait = random.uniform(0, limit)  # noqa: S311  jitter, not a secret
    if time.monotonic() + wait > last_start:
        raise JobStoreUnavailable("TransactionConflict")
    time.sleep(wait)


def _job_id(job: str, first_row: int | None = None) -> str:
    # A name has no "#", so no child of a job is another job.
    return f"J#{job}" if first_row is None else f"J#{job}#{first_row}"


def _written(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: _number(value) if isinstance(value, int) else _text(value)
        for name, value in facts.items()
    }


def _text(value: str) -> Mapping[str, str]:
    return {"S": value}


def _number(value: int) -> Mapping[str, str]:
    return {"N": str(value)}
