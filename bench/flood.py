"""A flood of the queue: thousands of messages of one caller, which the function works off.

Two invocations take messages from the queue (``worker_concurrency`` 2), and each of their pushes
takes half a second. With faster pushes the sandbox's own services would take both cores of a small
machine, and the figure would show only that.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from bench.client_process import CONTENT
from bench.processes import BenchError
from bench.service import SLOW
from sandbox.stack.account import client
from sandbox.stack.deployment import Deployment

MESSAGES: Final = 2_000
WORKERS: Final = 2

_GROUP: Final = "flood"
_ENTRIES: Final = 10
_LIMIT_SECONDS: Final = 60.0


@contextmanager
def flooded(deployment: Deployment, handled: Callable[[], int]) -> Iterator[None]:
    """Keep the queue full of one caller's messages inside a ``with`` block.

    Parameters
    ----------
    deployment
        The stack.
    handled
        Returns how many messages of the queue the function has handled so far.

    Raises
    ------
    BenchError
        If the function does not begin with the messages, or if most of them did not wait to the
        end of the block.
    """
    sqs: Any = client("sqs", deployment.url)
    queue = deployment.outputs["QueueUrl"]
    recipient = {"token": f"{SLOW}1", "service": "GCM"}
    body = json.dumps({"recipient": recipient, **CONTENT})
    entries = [
        {"Id": str(at), "MessageBody": body, "MessageGroupId": _GROUP} for at in range(_ENTRIES)
    ]
    before = handled()
    for _ in range(0, MESSAGES, _ENTRIES):
        sqs.send_message_batch(QueueUrl=queue, Entries=entries)
    _wait(lambda: handled() > before + WORKERS)
    yield
    if handled() - before > MESSAGES / 2:
        raise BenchError("the flood of the queue was almost over before its end")
    sqs.purge_queue(QueueUrl=queue)
    name = "ApproximateNumberOfMessagesNotVisible"
    in_flight = {"QueueUrl": queue, "AttributeNames": [name]}
    _wait(lambda: sqs.get_queue_attributes(**in_flight)["Attributes"][name] == "0")


def _wait(done: Callable[[], bool]) -> None:
    end = time.monotonic() + _LIMIT_SECONDS
    while not done():
        if time.monotonic() > end:
            raise BenchError("the function does not work off the queue")
        time.sleep(0.1)
