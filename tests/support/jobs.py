"""Jobs over files, with the real steps of the function in front of an account on loopback.

What the state machine does is done here: it runs the index step to its end, then each child. The
account stands behind a proxy that can refuse, lose or change any answer.
"""

from __future__ import annotations

import http.client
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from tests.support.account import Account
from tests.support.invocation import Push
from tests.support.loopback import LoopbackHandler, Reply, serving

Json = dict[str, Any]
Forward = Callable[[], Reply]

BUCKET = "jobs-of-the-stack"
MACHINE = "arn:aws:states:us-east-1:123456789012:execution:push-sender-jobs"
STARTED_AT = "2026-11-27T10:00:00.000Z"

_PUT_BACK = ("content-length", "connection", "date", "server", "transfer-encoding")


class Proxy:
    """A proxy in front of every service of the account.

    Attributes
    ----------
    calls
        The names of the operations, such as ``GetObject`` and ``SendMessage``.
    answer
        Takes an operation's name and a function that really makes the call, and returns the
        reply to the caller.
    """

    def __init__(self) -> None:
        self.url = ""
        self.calls: list[str] = []
        self.answer: Callable[[str, Forward], Reply]
        self.recover()

    def recover(self) -> None:
        """Answer every call as the account does."""
        self.answer = lambda operation, forward: forward()

    def fail(self, *operations: str, status: int = 503, lost: bool = False) -> None:
        """Refuse some operations; or make them, and lose the answers."""

        def answer(operation: str, forward: Forward) -> Reply:
            if operation not in operations:
                return forward()
            if lost:
                forward()
                return Reply(cut_off=True)
            return Reply(status, b"")

        self.answer = answer


@contextmanager
def running_proxy(url: str) -> Iterator[Proxy]:
    """Run a proxy in front of an account."""
    proxy, account, lock = Proxy(), urlsplit(url).netloc, threading.Lock()

    class Handler(LoopbackHandler):
        def reply(self, body: bytes) -> Reply:
            target = self.headers.get("X-Amz-Target")
            in_s3 = "GetObject" if self.command == "GET" else "PutObject"
            operation = target.partition(".")[2] if target else in_s3
            with lock:
                proxy.calls.append(operation)
            return proxy.answer(operation, lambda: self._forward(body))

        def _forward(self, body: bytes) -> Reply:
            connection = http.client.HTTPConnection(account, timeout=10)
            headers = {name: text for name, text in self.headers.items() if name.lower() != "host"}
            connection.request(self.command, self.path, body, headers)
            answer = connection.getresponse()
            kept = {k: v for k, v in answer.getheaders() if k.lower() not in _PUT_BACK}
            reply = Reply(answer.status, answer.read(), kept)
            connection.close()
            return reply

    with serving(Handler) as proxy.url:
        try:
            yield proxy
        finally:
            proxy.recover()


class JobRunner:
    """Runs jobs, as the state machine does.

    Attributes
    ----------
    account, proxy
        The account, and the proxy in front of it.
    """

    def __init__(self, account: Account, proxy: Proxy, push: Push) -> None:
        self.account = account
        self.proxy = proxy
        self._push = push
        self._s3 = account.client("s3")
        self._dynamodb = account.client("dynamodb")
        self._s3.create_bucket(Bucket=BUCKET)

    def upload(self, content: str | bytes, key: str = "uploads/people.csv") -> None:
        """Put a file into the bucket."""
        body = content.encode() if isinstance(content, str) else content
        self._s3.put_object(Bucket=BUCKET, Key=key, Body=body)

    def delete(self, key: str) -> None:
        """Delete an object."""
        self._s3.delete_object(Bucket=BUCKET, Key=key)

    def begin(self, job: str = "spring", **given: Any) -> Json:
        """Run the index step to its end, and return its output."""
        output: Json = {"position": 0, "rows": 0}
        while not output.get("is_complete"):
            output = self.index(job, output, **given)
        return output

    def index(self, job: str = "spring", before: Json | None = None, **given: Any) -> Json:
        """Make one pass of the index step."""
        seconds = given.pop("seconds", 29)
        return self._push(index_event(job, before or {"position": 0, "rows": 0}, **given), seconds)

    def children(self, output: Json) -> list[Json]:
        """Return the payload of each child."""
        return [
            {"job_step": "rows", "bucket": BUCKET, "plan": output["plan"], "range": entry}
            for entry in self.read(output["index_key"])
        ]

    def child(self, payload: Json, seconds: float = 29) -> Json:
        """Run a child."""
        return self._push(payload, seconds)

    def run(self, job: str = "spring", **given: Any) -> list[Json]:
        """Run a job, and return the payloads of its children."""
        children = self.children(self.begin(job, **given))
        for child in children:
            self.child(child)
        return children

    def read(self, key: str) -> Any:
        """Read an object of JSON."""
        return json.loads(self._s3.get_object(Bucket=BUCKET, Key=key)["Body"].read())

    def lines(self, job: str = "spring", first_row: int = 1) -> list[Json]:
        """Read the rows of a child that were not accepted."""
        key = f"jobs/{job}/rows/{first_row:012}.jsonl"
        body = self._s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()
        return [json.loads(line) for line in body.decode().splitlines()]

    def item(self, job: str = "spring") -> Json:
        """Read the item of a job."""
        found: Json = self._dynamodb.get_item(
            TableName=self.account.table, Key={"id": {"S": f"J#{job}"}}
        ).get("Item", {})
        return {
            name: int(value["N"]) if "N" in value else value["S"] for name, value in found.items()
        }

    def summary(self, job: str = "spring") -> dict[str, int]:
        """Return the counts of a job that are not 0."""
        return {
            name.removeprefix("count_"): value
            for name, value in self.item(job).items()
            if name.startswith("count_") and value
        }

    def items(self) -> list[Json]:
        """Return all items of the table, in DynamoDB's own notation."""
        return list(self._dynamodb.scan(TableName=self.account.table)["Items"])

    def put(self, item: Json) -> None:
        """Write an item of the table."""
        self._dynamodb.put_item(TableName=self.account.table, Item=item)

    def forget(self) -> None:
        """Delete all items of the table."""
        for item in self.items():
            self._dynamodb.delete_item(TableName=self.account.table, Key={"id": item["id"]})

    def change_items(self, **seconds: int) -> None:
        """Move the moments in the items of the table, as if the clock had."""
        for item in self.items():
            for name, by in seconds.items():
                if name in item:
                    item[name] = {"N": str(int(item[name]["N"]) + by)}
            self._dynamodb.put_item(TableName=self.account.table, Item=item)

    def move_clock(self, hours: float) -> None:
        """Let hours go by for everything that is kept."""
        seconds = -round(hours * 3_600)
        self.change_items(expiration=seconds, lapses_at=seconds * 1_000)


def index_event(job: str, before: Json, **given: Any) -> Json:
    """Make the payload of the index step."""
    key = given.pop("key", "uploads/people.csv")
    source = given.pop("source", {"key": key})
    given.setdefault("request", {"title": "t", "message": "m"})
    return {
        "job_step": "index",
        "bucket": BUCKET,
        "execution": {"name": job, "id": f"{MACHINE}:{job}", "started_at": STARTED_AT},
        "input": {"job": job, "source": source, **given},
        "pass": before,
    }


def rows_of_tokens(tokens: Sequence[str], service: str = "GCM") -> str:
    """Write a file with these tokens."""
    return "token,service\n" + "".join(f"{token},{service}\n" for token in tokens)


def sent_once(tokens: Sequence[str], sent: Sequence[str]) -> bool:
    """Return whether each token was sent to exactly once."""
    return Counter(sent) == Counter(tokens)
