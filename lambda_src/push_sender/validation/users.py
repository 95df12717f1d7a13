"""Checks what a request asks for users: before their devices are known, and after.

Before, the rules check the message for each service that a device could have. A request is
refused only if some user could get it on no device. After, a device that cannot get its message
is found alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from operator import attrgetter
from typing import Final, NamedTuple

from push_sender.recipients.audience import Audience, sort_recipients
from push_sender.request.errors import Finding
from push_sender.request.model import (
    PERSONAL,
    Contents,
    DeviceFilter,
    PushRequest,
    Recipient,
    UserRecipient,
)
from push_sender.request.services import SERVICES, Service
from push_sender.validation.combinations import (
    Judged,
    given_without_place,
    needs_format,
    of_messages,
    places_of,
    well_formed,
)

_Users = dict[int, UserRecipient]
"""The users of a request, by their positions in it."""

_VOIP: Final = frozenset({"APNS_VOIP", "APNS_VOIP_SANDBOX"})

_ALIKE: Final = {
    (service.shape, service.payload_bytes): service for service in reversed(list(SERVICES.values()))
}
"""One service of those with the same rules."""

_RULES_OF: Final = {
    name: _ALIKE[service.shape, service.payload_bytes] for name, service in SERVICES.items()
}
_ANY: Final = frozenset(_RULES_OF.values())
_USUAL: Final = frozenset(rules for name, rules in _RULES_OF.items() if name not in _VOIP)

_selected: Final = attrgetter(*DeviceFilter.model_fields)
_members: Final = attrgetter("device_id", *PERSONAL)


def as_tokens(request: PushRequest) -> tuple[Sequence[Recipient], Collection[int]]:
    """Put a stand-in in the place of each user.

    Returns
    -------
    tuple
        The recipients in the order asked, and the positions of the users.
    """
    stand_in = Recipient.model_construct(token="user", service="GCM")  # noqa: S106  no password
    users = _users_of(request)
    recipients = [
        stand_in if isinstance(each, UserRecipient) else each for each in request.everyone
    ]
    return recipients, users


def findings(
    request: PushRequest, *, has_registry: bool, malformed: Collection[str] = frozenset()
) -> Iterator[Finding]:
    """Find what is impossible about the users of a request.

    Parameters
    ----------
    request
        The request.
    has_registry
        Whether there is a registry of devices.
    malformed
        The paths of malformed fields.
    """
    users = _users_of(request)
    if not has_registry:
        yield from _no_registry(request, users, malformed)
    for judged in well_formed(_filters(request, users), malformed):
        yield judged.finding
    for judged in well_formed(_listed_twice(request, users), malformed):
        yield judged.finding
    yield from _unreachable(request, users, malformed)


def unfit(
    request: PushRequest,
    recipients: Sequence[Recipient],
    positions: Sequence[int],
    asked: Sequence[int] | None = None,
) -> dict[int, Finding]:
    """Find devices that cannot get the message, because it breaks a rule of their service.

    Parameters
    ----------
    request
        The request, checked.
    recipients
        The recipients of the report, without the fields that ``without_place`` names.
    positions
        Those of them to look at: the devices of users.
    asked
        By position in the report, the index in the request, for the paths of the findings.
        Without it, both are the same.

    Returns
    -------
    dict
        The first finding of each such device, by its position in the report.
    """
    places = positions if asked is None else [asked[position] for position in positions]
    devices = [recipients[position] for position in positions]
    audience = sort_recipients(devices, request.choose, asked=places)
    found: dict[int, Finding] = {}
    for judged in of_messages(request, audience, _contents(request, audience)):
        for device in judged.positions:
            found.setdefault(positions[device], judged.finding)
    return found


def without_place(request: PushRequest, recipient: Recipient) -> list[str]:
    """List the personal fields of a recipient that the format of its service has no place for."""
    places = places_of(request, SERVICES[recipient.service].shape)
    return given_without_place(recipient, places)


def _users_of(request: PushRequest) -> _Users:
    return {
        position: each
        for position, each in enumerate(request.everyone)
        if isinstance(each, UserRecipient)
    }


def _no_registry(
    request: PushRequest, users: _Users, malformed: Collection[str]
) -> Iterator[Finding]:
    paths = [f"{request.place_of(position)}.user_id" for position in users]
    well = [path for path in paths if path not in malformed]
    if well:
        others = f" (and {len(well) - 1:,} more recipients)" if len(well) > 1 else ""
        yield Finding(
            well[0],
            f"needs the registry of devices; deploy the stack with the setting devices{others}",
        )


def _filters(request: PushRequest, users: _Users) -> Iterator[Judged]:
    """Find filters that select nothing, and those beside the id of a device."""
    filters = {"device_filter": request.device_filter}
    for position, user in users.items():
        path = f"{request.place_of(position)}.device_filter"
        filters[path] = user.device_filter
        if user.device_filter is not None and user.device_id is not None:
            yield Judged(Finding(path, "give device_id or device_filter, not both"), ())
    for path, given in filters.items():
        if given is not None and not any(_selected(given)):
            yield Judged(Finding(path, _EMPTY), (path,))


_EMPTY: Final = f"is empty; give {', '.join(DeviceFilter.model_fields)} or leave it out"


def _listed_twice(request: PushRequest, users: _Users) -> Iterator[Judged]:
    """Find users who are listed again with other members.

    Pairs of one user with different devices are different recipients. A user and a pair of the
    same user are not.
    """
    first_of: dict[str, int] = {}
    first_of_pair: dict[tuple[str, str | None], int] = {}
    for position, user in users.items():
        first = first_of.setdefault(user.user_id, position)
        if user.device_id is not None and users[first].device_id is not None:
            first = first_of_pair.setdefault((user.user_id, user.device_id), position)
        if first == position or _same(users[first], user):
            continue
        yield Judged(
            Finding(
                request.place_of(position),
                f"the user is listed at {request.place_of(first)} already, with other members; "
                "keep one of the two",
            ),
            [
                f"{request.place_of(each)}.{field}"
                for each in (first, position)
                for field in UserRecipient.model_fields
            ],
        )


def _same(one: UserRecipient, other: UserRecipient) -> bool:
    filters = [each.device_filter and _selected(each.device_filter) for each in (one, other)]
    return filters[0] == filters[1] and _members(one) == _members(other)


class _Alike(NamedTuple):
    """Users for whom the rules find the same: most users have no fields of their own.

    Attributes
    ----------
    user, position
        The first of them.
    services
        Those that their devices may have, one for those with the same rules.
    languages
        Those of their devices as far as they make a difference. None is the request's own text.
    """

    user: UserRecipient
    position: int
    services: frozenset[Service]
    languages: Sequence[str | None]


def _unreachable(
    request: PushRequest, users: _Users, malformed: Collection[str]
) -> Iterator[Finding]:
    """Find what prevents a user from getting the message on any device."""
    plain, own = _kinds(request, users, malformed)
    for judged in well_formed(_nowhere(request, own), malformed):
        yield judged.finding
    if sum(len(kind.languages) for kind in own) > _STAND_INS:
        own = [kind for kind in own if len(kind.languages) == 1]
    kinds = [*plain, *own]
    found: list[tuple[Finding, set[int]]] = []
    remaining = set(range(len(kinds)))
    for service in dict.fromkeys(_RULES_OF.values()):
        devices: list[Recipient] = []
        owners: list[int] = []
        for number in sorted(remaining):
            kind = kinds[number]
            for language in kind.languages if service in kind.services else ():
                device = kind.user.on_device(f"token-{len(devices)}", service.name, language)
                for field in without_place(request, device):
                    setattr(device, field, None)
                devices.append(device)
                owners.append(number)
        places = [kinds[number].position for number in owners]
        audience = sort_recipients(devices, request.choose, asked=places)
        stopped: set[int] = set()
        for judged in of_messages(request, audience, _contents(request, audience), malformed):
            stopped.update(judged.positions)
            found.append((judged.finding, {owners[device] for device in judged.positions}))
        remaining.difference_update(
            number for device, number in enumerate(owners) if device not in stopped
        )
    for finding, numbers in found:
        if numbers & remaining:
            yield finding


_STAND_INS: Final = 10_000
"""With more stand-ins than this for users with own fields, the rules check only those users whose
language is known. ``unfit`` checks the others, once their devices are known."""


def _kinds(
    request: PushRequest, users: _Users, malformed: Collection[str]
) -> tuple[Sequence[_Alike], Sequence[_Alike]]:
    """Group users who are alike: those without own fields, and those with."""
    any_language = (None, *(request.translations or ()))
    plain: dict[object, _Alike] = {}
    own: list[_Alike] = []
    for position, user in users.items():
        services = _services_of(request, position, user, malformed)
        if not services:
            continue
        languages = any_language if user.language is None else (None,)
        kind = _Alike(user, position, services, languages)
        if not user.model_fields_set.isdisjoint(_OWN):
            own.append(kind)
        else:
            plain.setdefault((user.language, services), kind)
    return list(plain.values()), own


_OWN: Final = frozenset(PERSONAL) - {"language"}


def _services_of(
    request: PushRequest, position: int, user: UserRecipient, malformed: Collection[str]
) -> frozenset[Service]:
    """Return the services that a device of a user may have, one for those with the same rules.

    Returns none if the filter is malformed, so that the services are not known.
    """
    if user.device_id is not None:
        return _ANY
    own = f"{request.place_of(position)}.device_filter"
    has_own = user.device_filter is not None or own in malformed
    given = user.device_filter if has_own else request.device_filter
    if (own if has_own else "device_filter") in malformed:
        return frozenset()
    names = given.services if given is not None else None
    return _USUAL if not names else frozenset(_RULES_OF[name] for name in names)


def _nowhere(request: PushRequest, kinds: Sequence[_Alike]) -> Iterator[Judged]:
    """Find personal fields that no service of a user has a place for."""
    for user, position, services, _ in kinds:
        shapes = list({service.shape for service in services})
        somewhere = frozenset().union(*(places_of(request, shape) for shape in shapes))
        for field in given_without_place(user, somewhere):
            yield needs_format(request.place_of(position), field, shapes)


def _contents(request: PushRequest, audience: Audience) -> Contents:
    return {variant: request.content_for(variant) for variant in audience.variants}
