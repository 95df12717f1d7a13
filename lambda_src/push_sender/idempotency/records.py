"""The format of stored outcomes: by position, in few bytes, without tokens and texts.

The outcomes of a hundred accepted addresses take some 150 bytes and their message ids, which are
most of a record if they are random. Not stored is what may repeat a text or a token:
``status_message``, ``replacement_token``, and delivery statuses and message ids of an unexpected
form.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from itertools import accumulate
from typing import Final, NamedTuple

from push_sender.outcomes.outcome import AddressResult, Outcome

_FORMAT: Final = b"1"

_DELIVERY_STATUSES: Final = frozenset(
    {
        "SUCCESSFUL",
        "THROTTLED",
        "TEMPORARY_FAILURE",
        "PERMANENT_FAILURE",
        "UNKNOWN_FAILURE",
        "OPT_OUT",
        "DUPLICATE",
    }
)

_MESSAGE_ID_CHARACTERS: Final = 100


class UnknownFormatError(Exception):
    """Another release wrote this format, and this one cannot read it."""


class Remembered(NamedTuple):
    """The stored result of one recipient.

    Attributes
    ----------
    result
        The result without status message and replacement token.
    attempts
        The number of calls for the address.
    replaced
        Whether there was a replacement token.
    """

    result: AddressResult
    attempts: int
    replaced: bool = False


def pack(
    results: Mapping[int, AddressResult],
    attempts: Mapping[int, int],
    *,
    has_message_ids: bool = True,
) -> bytes:
    """Write the results of some positions.

    Most positions share a result, so each result is written once, and every position has the
    number of its result. Positions are written as differences.
    """
    rows: dict[tuple[object, ...], int] = {}
    steps, numbers, ids = [], [], []
    previous = 0
    for position, result in sorted(results.items()):
        row = _row(result, attempts[position])
        numbers.append(rows.setdefault(row, len(rows)))
        steps.append(position - previous)
        previous = position
        ids.append(_message_id(result.message_id) if has_message_ids else None)
    document = [list(rows), steps, numbers, ids if any(ids) else []]
    return _FORMAT + zlib.compress(json.dumps(document, separators=(",", ":")).encode())


def unpack(packed: bytes) -> dict[int, Remembered]:
    """Read the results that ``pack`` wrote, by position.

    Raises
    ------
    UnknownFormatError
        If another release wrote another format.
    """
    if packed[:1] != _FORMAT:
        raise UnknownFormatError
    try:
        return _unpacked(packed[1:])
    except (ValueError, TypeError, zlib.error):  # e.g. an outcome that this release lacks
        raise UnknownFormatError from None


def _unpacked(compressed: bytes) -> dict[int, Remembered]:
    rows, steps, numbers, ids = json.loads(zlib.decompress(compressed))
    remembered = [
        Remembered(AddressResult(Outcome(outcome), status, code, reason), attempts, replaced)
        for outcome, status, code, reason, attempts, replaced in rows
    ]
    return {
        position: _with_message_id(remembered[number], message_id)
        for position, number, message_id in zip(
            accumulate(steps), numbers, ids or [None] * len(steps), strict=True
        )
    }


def _row(result: AddressResult, attempts: int) -> tuple[object, ...]:
    status = result.delivery_status
    return (
        result.outcome,
        status if status in _DELIVERY_STATUSES else None,
        result.status_code,
        result.reason,
        attempts,
        result.replacement_token is not None,
    )


def _message_id(message_id: str | None) -> str | None:
    if message_id is None or len(message_id) > _MESSAGE_ID_CHARACTERS:
        return None
    return message_id


def _with_message_id(remembered: Remembered, message_id: str | None) -> Remembered:
    if message_id is None:
        return remembered
    return remembered._replace(result=remembered.result._replace(message_id=message_id))
