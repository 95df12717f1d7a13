"""The recipients of a request, sorted: who goes where, who is listed twice.

One pass over up to 5,000 recipients, whose result both the rules and the batches read.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Final

from push_sender.request.model import PERSONAL, Recipient
from push_sender.request.services import SERVICES, MessageShape, Service


@dataclass(slots=True)
class Audience:
    """The recipients of one request by service. Positions count from 0, in the order asked.

    Attributes
    ----------
    recipients
        Everyone, in the order asked.
    positions
        Of each service that somebody uses, the positions to send to, each token once.
    individual
        Positions whose recipient gets something for itself alone.
    repeated
        Position of a recipient listed before and alike in all, to where it first stands.
    conflicting
        Position of a recipient listed before but not alike, to where it first stands.
    """

    recipients: Sequence[Recipient]
    positions: dict[Service, list[int]] = field(default_factory=dict)
    individual: set[int] = field(default_factory=set)
    repeated: dict[int, int] = field(default_factory=dict)
    conflicting: dict[int, int] = field(default_factory=dict)

    @property
    def shapes(self) -> list[MessageShape]:
        """The message shapes that somebody uses, each once."""
        return list(dict.fromkeys(service.shape for service in self.positions))


def sort_recipients(recipients: Sequence[Recipient], passed_over: Collection[int] = ()) -> Audience:
    """Sort recipients by service, and find those listed twice.

    Parameters
    ----------
    recipients
        Everyone, in the order asked.
    passed_over
        Positions to leave out.
    """
    audience = Audience(recipients)
    first_seen: dict[tuple[str, Service], int] = {}
    for position, recipient in enumerate(recipients):
        if position in passed_over:
            continue
        service = SERVICES[recipient.service]
        first = first_seen.setdefault((recipient.token, service), position)
        if first != position:
            alike = _personal(recipients[first]) == _personal(recipient)
            (audience.repeated if alike else audience.conflicting)[position] = first
            continue
        positions = audience.positions.get(service)
        if positions is None:
            positions = audience.positions[service] = []
        positions.append(position)
        if recipient.is_individual:
            audience.individual.add(position)
    return audience


_personal: Final = attrgetter(*PERSONAL)
