"""Split recipients into batches: at most 100 addresses of one service, within the API's size.

The same token with two services is in two batches, because a call uses tokens as keys.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from push_sender.delivery.push_service import Writer
from push_sender.recipients.audience import Audience, Group
from push_sender.request.errors import Finding, InvalidRequest
from push_sender.request.model import PushRequest
from push_sender.request.services import Service

ADDRESSES: Final = 100
"""Maximum number of addresses in one SendMessages call (Pinpoint quotas)."""

CALL_BYTES: Final = 6_500_000
"""Room for the caller's content: SendMessages takes 7 MB, less 100 of the longest tokens."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Recipients of one group, by position, that one call sends to."""

    group: Group
    positions: Sequence[int]

    @property
    def service(self) -> Service:
        """The service of all of them."""
        return self.group.service


def plan(request: PushRequest, audience: Audience, writer: Writer) -> list[Batch]:
    """Split an audience into batches, in the order of the request within each service.

    Raises
    ------
    InvalidRequest
        If the shared content, alone or together with a recipient's own fields, is too large
        for a call.
    """
    batches: list[Batch] = []
    too_large: dict[str, None] = {}
    for group, positions in audience.positions.items():
        shared = _wire_bytes(writer.call(group, ()))
        if shared > CALL_BYTES:
            too_large["request"] = None
            continue
        chunk: list[int] = []
        used = shared
        for position in positions:
            own = 0
            if position in audience.individual:
                own = _wire_bytes(writer.address(group, audience.recipients[position]))
                if shared + own > CALL_BYTES:
                    too_large[request.place_of(audience.index(position))] = None
            if len(chunk) == ADDRESSES or used + own > CALL_BYTES:
                batches.append(Batch(group, chunk))
                chunk, used = [], shared
            chunk.append(position)
            used += own
        batches.append(Batch(group, chunk))
    if too_large:
        raise InvalidRequest([Finding(place, _TOO_LARGE) for place in too_large])
    return batches


def _wire_bytes(value: object) -> int:
    """Count the bytes of a value as JSON in ASCII, as botocore writes it."""
    return len(json.dumps(value))


_TOO_LARGE: Final = "larger than the 7 MB that one SendMessages takes; shorten it"
