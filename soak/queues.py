"""The sandbox's queues, read and hurried from inside its process.

The delays before a further attempt are up to 15 minutes; here they are a second. A message that
is to be delivered twice becomes visible again once while it is being processed, as SQS says that
it may. Everything else keeps its time: a claim still lapses, and a failed message becomes visible
after the visibility timeout.
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

_POLL_SECONDS: Final = 0.1


@contextmanager
def fast_queue(queue_arn: str, is_delivered_twice: Callable[[Any], bool]) -> Iterator[None]:
    """Shorten the delays of a queue, inside a ``with`` block.

    Parameters
    ----------
    queue_arn
        A queue in this process.
    is_delivered_twice
        Decides for each message in flight, by its body as JSON.
    """
    stopping = threading.Event()
    seen: set[str] = set()

    def hurry() -> None:
        while not stopping.wait(_POLL_SECONDS):
            with LOCK:
                for message in _messages(queue_arn):
                    _shorten_delay(message)
                    if message.id not in seen and not message.visible and not message.delayed:
                        seen.add(message.id)
                        if is_delivered_twice(json.loads(message.body)):
                            message.visible_at = 0

    thread = threading.Thread(target=hurry, name="fast-queue")
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join()


def message_count(queue_arn: str) -> int:
    """Count the messages of a queue, visible or not."""
    with LOCK:
        return len(_messages(queue_arn))


def message_bodies(queue_arn: str) -> list[str]:
    """Return the bodies of a queue's messages, and leave them there."""
    with LOCK:
        return [message.body for message in _messages(queue_arn)]


def take_all(queue_arn: str) -> list[str]:
    """Remove all messages from a queue, and return their bodies.

    Not through SQS's API, because the function sends events faster than ten messages a call can
    be received and deleted.
    """
    queue: Queue | None = queue_of(queue_arn)
    if queue is None:
        return []
    with LOCK:
        found = [message.body for message in queue._messages]
        queue._messages = []
    return found


def oldest_seconds(queue_arn: str) -> float:
    """Return the age of a queue's oldest message in seconds; 0 for an empty queue."""
    with LOCK:
        sent = [message.sent_timestamp or 0 for message in _messages(queue_arn)]
    return max(time.time() - min(sent) / 1_000, 0.0) if sent else 0.0


def _messages(queue_arn: str) -> list[Message]:
    queue: Queue | None = queue_of(queue_arn)
    return [] if queue is None else list(queue._messages)


def _shorten_delay(message: Message) -> None:
    soon = (time.time() + WAIT_SECONDS) * 1_000
    if message.delayed_until > soon:
        message.delayed_until = soon
