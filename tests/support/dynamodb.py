"""moto's DynamoDB on loopback, behind a proxy that can misbehave.

Each test creates its own table and can have single calls refused, lost or delayed.
"""

from __future__ import annotations

import http.client
import json
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import botocore.session

from tests.support.loopback import LoopbackHandler, Reply, serving
from tests.support.provider import Json

Forward = Callable[[], Reply]


def refusing(status: int, code: str) -> Reply:
    """Refuse a call, in DynamoDB's way."""
    kind = f"com.amazonaws.dynamodb.v20120810#{code}"
    body = json.dumps({"__type": kind, "message": "refused"}).encode()
    return Reply(status, body, {"Content-Type": "application/x-amz-json-1.0"})


def dynamodb_client(url: str) -> Any:
    """Make a client that asks DynamoDB itself."""
    return botocore.session.Session().create_client(
        "dynamodb",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="any",
        aws_secret_access_key="any",
    )


class Table:
    """A table of keys, and every call to it.

    ``answer`` takes an operation's name, its arguments and a function that really asks
    DynamoDB, and returns the reply to the caller.
    """

    def __init__(self, client: Any, name: str) -> None:
        self.url = ""
        self.name = name
        self.calls: list[tuple[str, Json]] = []
        self.answer: Callable[[str, Json, Forward], Reply]
        self._client = client
        self.recover()

    def create(self) -> None:
        self._client.create_table(
            TableName=self.name,
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )

    def recover(self) -> None:
        """Answer every call as DynamoDB does."""
        self.answer = lambda operation, call, forward: forward()

    @property
    def operations(self) -> list[str]:
        return [operation for operation, _ in self.calls]

    @property
    def items(self) -> list[Json]:
        """All items, in DynamoDB's own notation."""
        return list(self._client.scan(TableName=self.name, ConsistentRead=True)["Items"])

    @property
    def request_record(self) -> Json:
        (record,) = [item for item in self.items if "fingerprint" in item]
        return record

    @property
    def batch_records(self) -> list[Json]:
        return [item for item in self.items if "part" in item]

    def put(self, item: Json) -> None:
        """Write an item, in place of one with the same key."""
        self._client.put_item(TableName=self.name, Item=item)

    def change(self, **attributes: Any) -> None:
        """Change attributes of the only request's record."""
        self.put({**self.request_record, **attributes})

    def undo(self, *, lapses_at: float = 1) -> None:
        """Leave the only request as a run that was killed before its final record."""
        record = self.request_record
        for written_last in ("done", "outcomes", "parts"):
            record.pop(written_last, None)
        self.put({**record, "lapses_at": {"N": str(int(lapses_at * 1_000))}})

    def delete(self, item: Json) -> None:
        self._client.delete_item(TableName=self.name, Key={"id": item["id"]})

    def text(self) -> str:
        """All items as text, with packed outcomes unpacked."""
        return "".join(
            repr(item) + zlib.decompress(item["outcomes"]["B"][1:]).decode()
            if "outcomes" in item
            else repr(item)
            for item in self.items
        )


@contextmanager
def running_table(client: Any, name: str) -> Iterator[Table]:
    """Run the proxy in front of a new table on a free port of loopback."""
    table = Table(client, name)
    dynamodb = urlsplit(client.meta.endpoint_url).netloc
    table.create()
    lock = threading.Lock()

    class Handler(LoopbackHandler):
        def reply(self, body: bytes) -> Reply:
            operation = self.headers["X-Amz-Target"].partition(".")[2]
            call = json.loads(body)
            with lock:
                table.calls.append((operation, call))
            return table.answer(operation, call, lambda: self._forward(body))

        def _forward(self, body: bytes) -> Reply:
            connection = http.client.HTTPConnection(dynamodb, timeout=10)
            headers = {name: text for name, text in self.headers.items() if name.lower() != "host"}
            connection.request("POST", "/", body, headers)
            answer = connection.getresponse()
            reply = Reply(answer.status, answer.read())
            connection.close()
            reply.headers["Content-Type"] = "application/x-amz-json-1.0"
            return reply

    with serving(Handler) as table.url:
        try:
            yield table
        finally:
            table.recover()
