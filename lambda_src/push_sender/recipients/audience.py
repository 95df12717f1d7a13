"""The recipients of a request, sorted by service and language, with those listed twice.

One pass over up to 5,000 recipients, whose result both the rules and the batches read.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Final, NamedTuple

from push_sender.request.model import PERSONAL, Recipient, Variant
from push_sender.request.services import SERVICES, Service

_personal: Final = attrgetter(*PERSONAL)


class Group(NamedTuple):
    """The recipients of one service who get one message."""

    service: Service
    variant: Variant


@dataclass(slots=True)
class Audience:
    """The recipients of one request by group. Positions count from 0, in the order asked.

    Attributes
    ----------
    recipients
        All recipients, in the order asked.
    positions
        For each group, the positions to send to, each token once.
    individual
        Positions of the recipients that have more than a token, a service and a language.
    repeated
        Position of a recipient that is listed before and is the same, to its first position.
    conflicting
        Position of a recipient that is listed before and differs, to its first position.
    asked
        By position, the index in the request, if the recipients are devices of users. None if
        it is the position.
    """

    recipients: Sequence[Recipient]
    positions: dict[Group, list[int]] = field(default_factory=dict)
    individual: set[int] = field(default_factory=set)
    repeated: dict[int, int] = field(default_factory=dict)
    conflicting: dict[int, int] = field(default_factory=dict)
    asked: Sequence[int] | None = None

    def index(self, position: int) -> int:
        """Return the index in the request of a recipient."""
        return position if self.asked is None else self.asked[position]

    @property
    def variants(self) -> list[Variant]:
        """The messages that some recipient gets, each once."""
        return list(dict.fromkeys(group.variant for group in self.positions))


def sort_recipients(
    recipients: Sequence[Recipient],
    choose: Callable[[str | None], str | None] | None = None,
    left_out: Collection[int] = (),
    asked: Sequence[int] | None = None,
) -> Audience:
    """Sort recipients by service and language, and find those listed twice.

    Parameters
    ----------
    recipients
        All recipients, in the order asked.
    choose
        Gives the translation's tag for a recipient's language. None without translations.
    left_out
        Positions that are not looked at.
    asked
        As the attribute of ``Audience``.
    """
    audience = Audience(recipients, asked=asked)
    first_seen: dict[tuple[str, Service], int] = {}
    groups: dict[tuple[str, str | None], Group] = {}
    for position, recipient in enumerate(recipients):
        if position in left_out:
            continue
        kind = (recipient.service, recipient.language if choose else None)
        if (group := groups.get(kind)) is None:
            service = SERVICES[recipient.service]
            language = choose(recipient.language) if choose else None
            group = groups[kind] = Group(service, Variant(service.shape, language))
        first = first_seen.setdefault((recipient.token, group.service), position)
        if first != position:
            alike = _personal(recipients[first]) == _personal(recipient)
            (audience.repeated if alike else audience.conflicting)[position] = first
            continue
        positions = audience.positions.get(group)
        if positions is None:
            positions = audience.positions[group] = []
        positions.append(position)
        if recipient.is_individual:
            audience.individual.add(position)
    return audience
