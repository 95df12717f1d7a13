"""Time in the request queue goes faster, and what may be delivered twice is.

The waits before a further attempt are up to 15 minutes; here they are a second. A message
that shall come twice becomes visible again once while it is being worked off, as SQS says of
itself that it may. All else keeps its time: a claim lapses when it does, and a message that
failed is seen again after the visibility timeout.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from moto.sqs.models import Message, Queue

from sandbox.sqs.queues import LOCK, queue_of

WAIT_SECONDS: Final = 1.0

_LOOK_SECONDS: Final = 0.1


@contextmanager
def lapsing(queue_arn: str, comes_twice: Callable[[Any], bool]) -> Iterator[None]:
    """Let time lapse in a queue, inside a ``with`` block.

    Parameters
    ----------
    queue_arn
        Of a queue in this process.
    comes_twice
        Is asked of each message in flight, by its body as JSON.
    """
    stopping = threading.Event()
    seen: set[str] = set()

    def look() -> None:
        while not stopping.wait(_LOOK_SECONDS):
            with LOCK:
                for message in _messages(queue_arn):
                    _hurry(message)
                    if message.id not in seen and not message.visible and not message.delayed:
                        seen.add(message.id)
                        if comes_twice(json.loads(message.body)):
                            message.visible_at = 0

    thread = threading.Thread(target=look, name="lapse")
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join()


def waiting(queue_arn: str) -> int:
    """Count everything that lies in a queue, seen or not."""
    with LOCK:
        return len(_messages(queue_arn))


def bodies(queue_arn: str) -> list[str]:
    """Read everything that lies in a queue, and leave it there."""
    with LOCK:
        return [message.body for message in _messages(queue_arn)]


def taken(queue_arn: str) -> list[str]:
    """Take everything out of a queue, and give the bodies.

    Not by SQS's API: a run tells faster than ten messages a call can be received and deleted.
    """
    queue: Queue | None = queue_of(queue_arn)
    if queue is None:
        return []
    with LOCK:
        found = [message.body for message in queue._messages]
        queue._messages = []
    return found


def oldest_seconds(queue_arn: str) -> float:
    """Tell how old the oldest message in a queue is; 0 where there is none."""
    with LOCK:
        sent = [message.sent_timestamp or 0 for message in _messages(queue_arn)]
    return max(time.time() - min(sent) / 1_000, 0.0) if sent else 0.0


def _messages(queue_arn: str) -> list[Message]:
    queue: Queue | None = queue_of(queue_arn)
    return [] if queue is None else list(queue._messages)


def _hurry(message: Message) -> None:
    soon = (time.time() + WAIT_SECONDS) * 1_000
    if message.delayed_until > soon:
        message.delayed_until = soon
