"""By which door what a process does just now came in.

Lambda gives every execution environment credentials of its own, and an environment has one
invocation at a time. So the key that signs a request tells which invocation makes it.
Nothing is added to a request for this, and what was sent says nothing of it.
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
ALL: Final = (DIRECT, ASYNCHRONOUS, QUEUE, EVENTBRIDGE, HTTP)

_lock: Final = Lock()
_under_way: Final[defaultdict[str, list[str]]] = defaultdict(list)


@contextmanager
def came_by(door: str, access_key_id: str) -> Iterator[None]:
    """Note for the block's time that a key's owner works on what came by a door."""
    with _lock:
        _under_way[access_key_id].append(door)
    try:
        yield
    finally:
        with _lock:
            _under_way[access_key_id].remove(door)
            if not _under_way[access_key_id]:
                del _under_way[access_key_id]


def door_of(access_key_id: str) -> str | None:
    """Name the door; nothing where it cannot be told.

    That is so of whoever is no function, and of functions that share a key and work on what
    came by different doors.
    """
    with _lock:
        doors = set(_under_way.get(access_key_id, ()))
    return doors.pop() if len(doors) == 1 else None
