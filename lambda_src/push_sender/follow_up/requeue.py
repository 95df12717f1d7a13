"""What is left of a request, as requests of their own: smaller, later, under new keys.

A request that comes from here differs from its parent in three ways only: it holds the
recipients that have no final outcome, it has an ``idempotency_key`` derived from its
parent's, and it fits into one message. The ttl stays as it was: when it began to run
travels beside it. So the same parent with the same outcomes always gives the same children,
and whoever repeats a step repeats the same messages, which are sent once.
"""

from __future__ import annotations

import json
import random
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Any, Final, NamedTuple

from push_sender.delivery.batches import ADDRESSES
from push_sender.follow_up.queue_messages import (
    MAX_DELAY_SECONDS,
    MESSAGE_BYTES,
    QueueMessage,
    attribute_bytes,
    message_body,
)
from push_sender.follow_up.submission import Submission
from push_sender.request.services import SERVICES

DELAY_SECONDS: Final = (15, 45, 135, 405, 900, 900)
"""The upper bound of the wait before each further attempt: some 25 to 40 minutes in all.
A wait is drawn from the upper half of its bound, so that what failed together does not
come back together."""

ATTEMPTS: Final = len(DELAY_SECONDS)
"""How often a request is put back before it is a dead-letter message."""

_KEY_CHARACTERS: Final = 256
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_DERIVED_KEY: Final = re.compile(r"(?P<root>.+)#(?P<generation>[1-9][0-9]{0,8})\.[0-9]+", re.DOTALL)


class Split(NamedTuple):
    """Recipients, by position, in messages; and those that fit into none."""

    messages: Sequence[tuple[QueueMessage, Sequence[int]]]
    too_large: Sequence[int]


def messages_of(
    submission: Submission,
    positions: Sequence[int],
    *,
    delay_seconds: int = 0,
    attempt: int = 0,
    **attributes: str | int,
) -> Split:
    """Write the messages that hold some recipients of a request.

    Each holds whole batches where it can: up to 100 recipients of one service stay together.

    Parameters
    ----------
    submission
        The request.
    positions
        The recipients, counted from 0.
    delay_seconds
        How long the messages stay hidden.
    attempt
        Which attempt they are for; 0 starts anew.
    attributes
        Of each message, for operators.
    """
    everyone = recipients_of(submission.request)
    shared = {
        name: value
        for name, value in submission.request.items()
        if name not in ("recipient", "recipients")
    }
    steering = submission.steering(attempt)
    longest_key = "\\" * _KEY_CHARACTERS  # whose JSON is the longest, too
    empty = {**shared, "recipients": [], "idempotency_key": longest_key}
    room = MESSAGE_BYTES - len(message_body(empty).encode()) - attribute_bytes(attributes, steering)
    sizes = {at: len(message_body(everyone[at]).encode()) + len(",") for at in positions}

    messages = []
    for group in _pack(_batches(everyone, positions), sizes, room):
        recipients = [everyone[at] for at in group]
        key = derived_key(submission.key, recipients)
        request = {**shared, "recipients": recipients, "idempotency_key": key}
        message = QueueMessage(message_body(request), attributes, delay_seconds, steering)
        messages.append((message, group))
    return Split(messages, [at for at in positions if sizes[at] > room])


def delay(attempt: int) -> int:
    """Draw the seconds to wait before an attempt, counted from 1."""
    bound = DELAY_SECONDS[attempt - 1]
    seconds = random.uniform(bound / 2, bound)  # noqa: S311  jitter, not a secret
    return min(round(seconds), MAX_DELAY_SECONDS)


def recipients_of(request: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """Give the recipients of a checked request as they were written, by position."""
    several = request.get("recipients")
    return several if several is not None else [request["recipient"]]


def ttl_of(request: Mapping[str, Any], service: str) -> int | None:
    """Give the ttl of one service's pushes as a checked request has it."""
    own = request.get(SERVICES[service].shape.options) or {}
    ttl: int | None = own.get("ttl")
    return request.get("ttl") if ttl is None else ttl


def derived_key(key: str, recipients: Iterable[Mapping[str, Any]]) -> str:
    """Derive the key of a part of a request: ``{root}#{generation}.{part}``.

    The generation counts derivations, so no ancestor has this key. The part stands for the
    parent's key and the recipients, so no other part has it, and a parent that comes to
    other outcomes when it is repeated (no store remembered them) cannot give the key to
    another request, which would be refused.

    Examples
    --------
    >>> derived_key("order-1", [{"token": "t", "service": "GCM"}])
    'order-1#1.127085466434157'
    """
    found = _DERIVED_KEY.fullmatch(key)
    root, generation = (found["root"], int(found["generation"])) if found else (key, 0)
    named = [key, *((one["token"], SERVICES[one["service"]].name) for one in recipients)]
    part = int.from_bytes(sha256(json.dumps(named).encode()).digest()[:6])
    tail = f"#{generation + 1}.{part}"
    if len(root) + len(tail) > _KEY_CHARACTERS:
        root = sha256(root.encode()).hexdigest()
    return root + tail


def has_derived_key(request: object) -> bool:
    """Tell whether a request is a part of another, by its key: ``derived_key`` wrote it.

    Of the first generation the parent's key is known, unless it was too long, and so the
    part can be derived again. Of a later one the form must do.
    """
    match request:
        case {"idempotency_key": str(key), "recipients": [*recipients]}:
            found = _DERIVED_KEY.fullmatch(key)
        case _:
            return False
    if found is None or found["generation"] != "1" or _DIGEST.fullmatch(found["root"]):
        return found is not None
    try:
        return derived_key(found["root"], recipients) == key
    except (KeyError, TypeError):  # not a list of recipients
        return False


def _batches(
    everyone: Sequence[Mapping[str, Any]], positions: Iterable[int]
) -> Iterable[Sequence[int]]:
    """Group recipients as they will go out: up to 100 of one service."""
    by_service: defaultdict[str, list[int]] = defaultdict(list)
    for at in positions:
        by_service[SERVICES[everyone[at]["service"]].name].append(at)
    for of_service in by_service.values():
        for first in range(0, len(of_service), ADDRESSES):
            yield of_service[first : first + ADDRESSES]


def _pack(
    batches: Iterable[Sequence[int]], sizes: Mapping[int, int], room: int
) -> Sequence[Sequence[int]]:
    """Fill messages with batches. One that is larger than a message is broken up."""
    groups: list[list[int]] = []
    used = room
    for batch in batches:
        whole = sum(sizes[at] for at in batch)
        for part in [batch] if whole <= room else [[at] for at in batch if sizes[at] <= room]:
            size = sum(sizes[at] for at in part)
            if not groups or used + size > room:
                groups.append([])
                used = 0
            groups[-1].extend(part)
            used += size
    return groups
