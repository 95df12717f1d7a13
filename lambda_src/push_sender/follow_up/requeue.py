"""Split the remaining recipients of a request into smaller requests, with new keys.

Such a request differs from its parent in only three ways: it holds recipients without a final
outcome, its ``idempotency_key`` is derived from the parent's, and it fits into one message. The
ttl stays the same; a message attribute says when it began to run. So the same parent with the
same outcomes always gives the same requests, and a repeated step queues the same messages again,
which are sent once.

The device of a user becomes a recipient by its id and the user's, without its token: if it is
another user's when the message is sent, nobody gets the push.
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
from push_sender.report import Report
from push_sender.request.model import PERSONAL
from push_sender.request.services import SERVICES

DELAY_SECONDS: Final = (15, 45, 135, 405, 900, 900)
"""The upper bound of the wait before each further attempt: some 25 to 40 minutes in total.
Each wait is random, from half its bound to the bound, so that messages that failed together are
not retried together."""

ATTEMPTS: Final = len(DELAY_SECONDS)
"""How often a request is requeued before it becomes a dead-letter message."""

_KEY_CHARACTERS: Final = 256
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_DERIVED_KEY: Final = re.compile(r"(?P<root>.+)#(?P<generation>[1-9][0-9]{0,8})\.[0-9]+", re.DOTALL)


class Split(NamedTuple):
    """Messages with the positions of their results, and the positions that fit into none."""

    messages: Sequence[tuple[QueueMessage, Sequence[int]]]
    too_large: Sequence[int]


def messages_of(
    submission: Submission,
    report: Report,
    positions: Sequence[int],
    *,
    delay_seconds: int = 0,
    attempt: int = 0,
    **attributes: str | int,
) -> Split:
    """Write the messages for some results of a request.

    If possible, a message holds whole batches: up to 100 recipients of one service.

    Parameters
    ----------
    submission, report
        The request and its report.
    positions
        The results, counted from 0.
    delay_seconds
        How long the messages stay hidden.
    attempt
        The number of the attempt; 0 starts again.
    attributes
        Attributes of each message, for operators.
    """
    results: Sequence[Mapping[str, Any]] = report["results"]
    asked: dict[_Identity, Mapping[str, Any]] = {}
    for recipient in recipients_of(submission.request):
        asked.setdefault(_identity(recipient), recipient)
    recipients = {at: _recipient_of(results[at], asked) for at in positions}
    has_users = any("user_id" in result for result in results)
    shared = _shared(submission)
    steering = submission.steering(attempt)
    longest_key = "\\" * _KEY_CHARACTERS  # the longest as JSON too
    empty = {**shared, "recipients": [], "idempotency_key": longest_key}
    room = MESSAGE_BYTES - len(message_body(empty).encode()) - attribute_bytes(attributes, steering)
    sizes = {at: len(message_body(recipients[at]).encode()) + len(",") for at in positions}
    if has_users:  # at most, so that the parts are the same if devices leave
        for at in positions:
            if "user_id" in results[at]:
                longest = {**recipients[at], "device_id": _LONGEST_ID}
                sizes[at] = len(message_body(longest).encode()) + len(",")

    batches = _chunks(sorted(positions)) if has_users else _batches(results, recipients)
    messages = []
    for group in _pack(batches, sizes, room):
        present = [at for at in group if not has_left(results[at])]
        if present:
            part = [recipients[at] for at in present]
            body = _body(submission, shared, part, group if has_users else None)
            message = QueueMessage(body, attributes, delay_seconds, steering, submission.group)
            messages.append((message, present))
    return Split(messages, [at for at in positions if sizes[at] > room])


def halves_of(submission: Submission) -> Sequence[QueueMessage]:
    """Write two messages with half of the recipients of a request each; none if it has only one.

    Recipients that are the same are in the same message, so that they stay duplicates.
    """
    recipients = recipients_of(submission.request)
    identities = list(map(_identity, recipients))
    different = list(dict.fromkeys(identities))
    if len(different) == 1:
        return ()
    of_first = frozenset(different[: len(different) // 2])
    halves: tuple[list[Mapping[str, Any]], ...] = ([], [])
    for recipient, identity in zip(recipients, identities, strict=True):
        halves[identity not in of_first].append(recipient)
    shared, steering = _shared(submission), submission.steering(submission.attempt)
    return [
        QueueMessage(_body(submission, shared, half), steering=steering, group=submission.group)
        for half in halves
    ]


def delay(attempt: int) -> int:
    """Choose a random wait in seconds before an attempt, counted from 1."""
    bound = DELAY_SECONDS[attempt - 1]
    seconds = random.uniform(bound / 2, bound)  # noqa: S311  jitter, not a secret
    return min(round(seconds), MAX_DELAY_SECONDS)


def _shared(submission: Submission) -> dict[str, Any]:
    """Return the members of a request without its recipients."""
    return {
        name: value
        for name, value in submission.request.items()
        if name not in ("recipient", "recipients")
    }


def _body(
    submission: Submission,
    shared: Mapping[str, Any],
    recipients: Sequence[Mapping[str, Any]],
    positions: Sequence[int] | None = None,
) -> str:
    """Write the request for a part of the recipients, as the body of a message.

    If there are users, the key comes from the positions of the part, also of devices that left.
    So a repetition queues the part under the same key, whatever devices left in between, and the
    part that comes second is not sent.
    """
    parts = positions if positions is not None else list(map(_identity, recipients))
    key = _derived_key(submission.key, parts)
    request = {**shared, "recipients": recipients, "idempotency_key": key}
    choosing = (each.get("device_id") is None for each in recipients if each.get("user_id"))
    if not any(choosing):
        request.pop("device_filter", None)  # no user is left whose devices it chooses
    return message_body(request)


def recipients_of(request: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """Return the recipients of a checked request in their original form, by position."""
    several = request.get("recipients")
    return several if several is not None else [request["recipient"]]


_Identity = tuple[str | None, ...]


def _identity(recipient: Mapping[str, Any]) -> _Identity:
    """Return what tells a recipient, or a result, from the others of its request.

    A user has three members, so that no token with its service is the same.
    """
    match recipient:
        case {"user_id": str(user_id)}:
            return "user", user_id, recipient.get("device_id")
    return recipient["token"], SERVICES[recipient["service"]].name


def has_left(result: Mapping[str, Any]) -> bool:
    """Return whether the device that a result is of has left its user since an earlier run."""
    return "user_id" in result and result["device_id"] is None


_LONGEST_ID: Final = "x" * 128


def _recipient_of(
    result: Mapping[str, Any], asked: Mapping[_Identity, Mapping[str, Any]]
) -> Mapping[str, Any]:
    """Return the recipient for a result: the one asked for, or the device of the user asked for."""
    identity = _identity(result)
    if "user_id" not in result:
        return asked[identity]
    user_id, device_id = result["user_id"], result["device_id"]
    user = asked.get(identity) or asked.get(_identity({"user_id": user_id}))
    if user is None:  # a pair whose device left: any pair of the user, which is only measured
        user = next(each for each in asked.values() if each.get("user_id") == user_id)
    personal = {name: value for name, value in user.items() if name in PERSONAL}
    return {"user_id": user_id, "device_id": device_id, **personal}


def ttl_of(request: Mapping[str, Any], service: str) -> int | None:
    """Return the ttl of one service's pushes in a checked request."""
    own = request.get(SERVICES[service].shape.options) or {}
    ttl: int | None = own.get("ttl")
    return request.get("ttl") if ttl is None else ttl


def derived_key(key: str, recipients: Iterable[Mapping[str, Any]]) -> str:
    """Derive the key of a part of a request: ``{root}#{generation}.{part}``.

    The generation counts derivations, so no ancestor has this key. The part is a digest of the
    parent's key and the recipients, so no other part has it. If a repeated parent has other
    outcomes, because none were stored, its parts get other keys: the same key for another
    request would be refused.

    Examples
    --------
    >>> derived_key("order-1", [{"token": "t", "service": "GCM"}])
    'order-1#1.127085466434157'
    """
    return _derived_key(key, list(map(_identity, recipients)))


def _derived_key(key: str, parts: Sequence[object]) -> str:
    found = _DERIVED_KEY.fullmatch(key)
    root, generation = (found["root"], int(found["generation"])) if found else (key, 0)
    named = [key, *parts]
    part = int.from_bytes(sha256(json.dumps(named).encode()).digest()[:6])
    tail = f"#{generation + 1}.{part}"
    if len(root) + len(tail) > _KEY_CHARACTERS:
        root = sha256(root.encode()).hexdigest()
    return root + tail


def has_derived_key(request: object) -> bool:
    """Return whether ``derived_key`` made a request's key, so that it is a part of another.

    In the first generation the key holds the parent's key, unless that was too long, so the part
    can be derived again and compared. In later generations only the form is checked.
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


def is_own_part(submission: Submission) -> bool:
    """Return whether a request is a part that this function queued.

    Two parts with one key come from one part, before and after a device left its user, because
    every other key comes from the recipients. The second part has nothing that was not in the
    first. It may have no user any more.
    """
    return submission.is_signed and _DERIVED_KEY.fullmatch(submission.key) is not None


def _chunks(positions: Sequence[int]) -> Iterable[Sequence[int]]:
    """Group positions by their order alone: the service of a device that left is not known."""
    for first in range(0, len(positions), ADDRESSES):
        yield positions[first : first + ADDRESSES]


def _batches(
    results: Sequence[Mapping[str, Any]], recipients: Mapping[int, Mapping[str, Any]]
) -> Iterable[Sequence[int]]:
    """Group recipients as they will be sent: up to 100 of one service and language."""
    groups: defaultdict[tuple[str, str | None], list[int]] = defaultdict(list)
    for at, recipient in recipients.items():
        groups[results[at]["service"], recipient.get("language")].append(at)
    for group in groups.values():
        for first in range(0, len(group), ADDRESSES):
            yield group[first : first + ADDRESSES]


def _pack(
    batches: Iterable[Sequence[int]], sizes: Mapping[int, int], room: int
) -> Sequence[Sequence[int]]:
    """Fill messages with batches. Split a batch that is larger than a message."""
    groups: list[list[int]] = []
    used = room
    for batch in batches:
        batch_size = sum(sizes[at] for at in batch)
        for part in [batch] if batch_size <= room else [[at] for at in batch if sizes[at] <= room]:
            size = sum(sizes[at] for at in part)
            if not groups or used + size > room:
                groups.append([])
                used = 0
            groups[-1].extend(part)
            used += size
    return groups
