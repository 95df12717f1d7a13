"""Find the devices of users who are recipients, and give each device a position of the report.

The registry is passed in as what it knows about the users. A recipient with a token keeps one
position; a user has one for each device that fits, or one without a device.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, Final, Literal, NamedTuple

from push_sender.request.model import (
    DeviceFilter,
    PushRequest,
    Recipient,
    UserRecipient,
)
from push_sender.request.services import SERVICES

NoDevice = Literal["none_registered", "opted_out", "filtered", "invalid", "moved"]
"""Why a user has no device for a request, the reason of the outcome ``no_device``."""

DIGEST_BYTES: Final = 8

_NOT_VOIP: Final = frozenset(service.name for service in SERVICES.values()) - {
    "APNS_VOIP",
    "APNS_VOIP_SANDBOX",
}
"""The services of a filter that names none: a call must not ring because of a notification."""

_PLACEHOLDER: Final = Recipient.model_construct({"token", "service"}, token="", service="GCM")
"""The recipient of a position without a device. It is never sent to."""


class User(NamedTuple):
    """What the registry knows about a user, as far as a send needs it.

    Attributes
    ----------
    ref
        The random reference of the user in the logs.
    devices
        The devices by id: token, service, seen_at, ref, and where present language, tags,
        opted_out and invalid.
    """

    ref: str
    devices: Mapping[str, Mapping[str, Any]]


class Origin(NamedTuple):
    """The user whom a position of the report belongs to.

    Attributes
    ----------
    user_id
        The user.
    device_id
        The device; None if there is none, or if it is no longer the user's.
    user_ref, device_ref
        Their random references for the logs; None if they are not known.
    """

    user_id: str
    device_id: str | None = None
    user_ref: str | None = None
    device_ref: str | None = None


@dataclass(slots=True)
class Resolved:
    """The positions of a report, in the order of the request, then of the device ids.

    Attributes
    ----------
    recipients
        What to send to at each position. A position without a device has a placeholder.
    origins
        The user of each position; None for a recipient with a token.
    asked
        The recipient of the request that each position belongs to, counted from 0.
    missing
        The positions without a device, and why.
    """

    recipients: list[Recipient] = field(default_factory=list)
    origins: list[Origin | None] = field(default_factory=list)
    asked: list[int] = field(default_factory=list)
    missing: dict[int, NoDevice] = field(default_factory=dict)

    def add(self, asked: int, recipient: Recipient, origin: Origin | None) -> None:
        """Add a position with a recipient."""
        self.recipients.append(recipient)
        self.origins.append(origin)
        self.asked.append(asked)

    def add_missing(self, asked: int, origin: Origin, reason: NoDevice) -> None:
        """Add a position without a device."""
        self.missing[len(self.recipients)] = reason
        self.add(asked, _PLACEHOLDER, origin)


_CLOSEST_FIRST: Final[Sequence[NoDevice]] = ("opted_out", "invalid", "filtered")
"""The reason of a user is that of the device that came closest to fitting."""


def user_ids(request: PushRequest) -> list[str]:
    """List the users who are recipients, each once."""
    users = (each.user_id for each in request.everyone if isinstance(each, UserRecipient))
    return list(dict.fromkeys(users))


def resolve(
    request: PushRequest,
    users: Mapping[str, User],
    now: float,
    stored: Sequence[Sequence[bytes]] | None = None,
) -> Resolved:
    """Give the devices of the users their positions.

    Parameters
    ----------
    request
        A checked request.
    users
        What the registry knows about its users.
    now
        Seconds of Unix time.
    stored
        For each recipient who is a user, the digests of the devices that an earlier run of the
        same request chose. The positions are then those of the earlier run, a device that is
        new since has none, and one that is gone or no longer fits is missing.
    """
    resolved = Resolved()
    chosen = iter(stored) if stored is not None else None
    for asked, recipient in enumerate(request.everyone):
        if isinstance(recipient, Recipient):
            resolved.add(asked, recipient, None)
            continue
        ref, devices = users.get(recipient.user_id) or (None, {})
        reasons = _reasons(recipient, request.device_filter, devices, now)
        if chosen is None:
            found = [device_id for device_id, reason in reasons.items() if reason is None]
        else:
            known = {digest(device_id): device_id for device_id in reasons}
            found = [known.get(each, "") for each in next(chosen, ())]
        without_device = Origin(recipient.user_id, user_ref=ref)
        if not found:
            resolved.add_missing(asked, without_device, _closest(recipient, reasons))
        for device_id in found:
            reason = reasons.get(device_id, "moved")
            if reason is not None:
                resolved.add_missing(asked, without_device, reason)
                continue
            entry = devices[device_id]
            device = recipient.on_device(entry["token"], entry["service"], entry.get("language"))
            origin = without_device._replace(device_id=device_id, device_ref=entry.get("ref"))
            resolved.add(asked, device, origin)
    return resolved


def digest(device_id: str) -> bytes:
    """Return the digest that stands for a device in the record of a key."""
    return sha256(device_id.encode()).digest()[:DIGEST_BYTES]


def _reasons(
    recipient: UserRecipient,
    shared_filter: DeviceFilter | None,
    devices: Mapping[str, Mapping[str, Any]],
    now: float,
) -> dict[str, NoDevice | None]:
    """Return why each device of a user gets no push, ordered by id; None for one that gets it."""
    only = recipient.device_id
    passes = _Filter(recipient.device_filter or shared_filter, now) if only is None else None
    return {
        device_id: _reason(devices[device_id], passes)
        for device_id in sorted(devices)
        if only in (None, device_id)
    }


def _reason(entry: Mapping[str, Any], passes: _Filter | None) -> NoDevice | None:
    if passes is not None and not passes(entry):
        return "filtered"
    if entry.get("opted_out"):
        return "opted_out"
    return "invalid" if entry.get("invalid") else None


def _closest(recipient: UserRecipient, reasons: Mapping[str, NoDevice | None]) -> NoDevice:
    """Return why a user has no device."""
    none: NoDevice = "none_registered" if recipient.device_id is None else "moved"
    return next((each for each in _CLOSEST_FIRST if each in reasons.values()), none)


class _Filter:
    """Chooses devices by service, tags and the time when they were seen."""

    def __init__(self, given: DeviceFilter | None, now: float) -> None:
        services = given.services if given else None
        self._services = (
            frozenset(SERVICES[name].name for name in services) if services else _NOT_VOIP
        )
        self._tags = frozenset(given.tags or ()) if given else frozenset()
        self._exclude_tags = frozenset(given.exclude_tags or ()) if given else frozenset()
        self._seen_since = ""
        if given and given.seen_within_days is not None:
            since = datetime.fromtimestamp(now, UTC) - timedelta(days=given.seen_within_days)
            self._seen_since = since.date().isoformat()  # seen_at is written once a day

    def __call__(self, entry: Mapping[str, Any]) -> bool:
        tags = frozenset(entry.get("tags", ()))
        return (
            entry["service"] in self._services
            and tags >= self._tags
            and not tags & self._exclude_tags
            and entry["seen_at"] >= self._seen_since
        )
