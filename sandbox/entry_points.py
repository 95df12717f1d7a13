"""The entry point of the event that a function's process is working on.

Lambda gives every execution environment its own credentials, and an environment runs one
invocation at a time. So the access key that signs a request identifies the invocation that makes
it. Nothing is added to the request for this.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Final

DIRECT: Final = "direct"
ASYNCHRONOUS: Final = "asynchronous"
QUEUE: Final = "queue"
EVENTBRIDGE: Final = "eventbridge"
HTTP: Final = "http"
JOB: Final = "job"
SCHEDULER: Final = "scheduler"
ALL: Final = (DIRECT, ASYNCHRONOUS, QUEUE, EVENTBRIDGE, HTTP, JOB, SCHEDULER)

_lock: Final = Lock()
_running: Final[defaultdict[str, list[str]]] = defaultdict(list)


@contextmanager
def record_entry_point(entry_point: str, access_key_id: str) -> Iterator[None]:
    """Record, during the block, the entry point of the event that a key's owner works on."""
    with _lock:
        _running[access_key_id].append(entry_point)
    try:
        yield
    finally:
        with _lock:
            _running[access_key_id].remove(entry_point)
            if not _running[access_key_id]:
                del _running[access_key_id]


def entry_point_of(access_key_id: str) -> str | None:
    """Return the entry point, or None if it is unknown.

    It is unknown for callers that are no function, and for functions that share a key and work on
    events of different entry points.
    """
    with _lock:
        entry_points = set(_running.get(access_key_id, ()))
    return entry_points.pop() if len(entry_points) == 1 else None
