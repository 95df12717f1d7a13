"""Find the devices of users who are recipients, and give each device a position of the report.

The registry is passed in as what it knows about the users. A recipient with a token keeps one
position; a user has one for each device that fits, or one without a device.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
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


class Devices(NamedTuple):
    """The devices of one recipient who is a user.

    Attributes
    ----------
    fitting
        The devices to send to, by id, in its order.
    others
        The other devices of the user, by id, and why none of them is sent to.
    """

    fitting: Mapping[str, Mapping[str, Any]]
    others: Mapping[str, NoDevice]

    @property
    def reason(self) -> NoDevice:
        """Why no device fits: the reason of the device that came closest to fitting."""
        reasons = set(self.others.values())
        return next((each for each in _CLOSEST_FIRST if each in reasons), "none_registered")


_CLOSEST_FIRST: Final[Sequence[NoDevice]] = ("opted_out", "invalid", "filtered")


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
        user = users.get(recipient.user_id)
        devices = _devices(recipient, recipient.device_filter or request.device_filter, user, now)
        found: Iterable[tuple[str | None, NoDevice]]
        if chosen is None:
            found = [(device_id, "moved") for device_id in devices.fitting]
        else:
            found = _as_before(next(chosen, ()), devices)
        _add(resolved, asked, recipient, user, devices, list(found))
    return resolved


def digest(device_id: str) -> bytes:
    """Return the digest that stands for a device in the record of a key."""
    return sha256(device_id.encode()).digest()[:DIGEST_BYTES]


def _devices(
    recipient: UserRecipient, device_filter: DeviceFilter | None, user: User | None, now: float
) -> Devices:
    """Sort the devices of a user into those that a request is for, and the others."""
    fitting: dict[str, Mapping[str, Any]] = {}
    others: dict[str, NoDevice] = {}
    if recipient.device_id is not None:
        entry = user.devices.get(recipient.device_id) if user else None
        entries: Mapping[str, Any] = {} if entry is None else {recipient.device_id: entry}
        passes = None
    else:
        entries = user.devices if user else {}
        passes = _Filter(device_filter, now)
    for device_id in sorted(entries):
        entry = entries[device_id]
        if passes is not None and not passes(entry):
            others[device_id] = "filtered"
        elif entry.get("opted_out"):
            others[device_id] = "opted_out"
        elif entry.get("invalid"):
            others[device_id] = "invalid"
        else:
            fitting[device_id] = entry
    return Devices(fitting, others)


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
            self._seen_since = since.isoformat(timespec="milliseconds")[:23]  # as in the registry

    def __call__(self, entry: Mapping[str, Any]) -> bool:
        tags = frozenset(entry.get("tags", ()))
        return (
            entry["service"] in self._services
            and tags >= self._tags
            and not tags & self._exclude_tags
            and entry["seen_at"] >= self._seen_since
        )


def _as_before(digests: Sequence[bytes], devices: Devices) -> Iterator[tuple[str | None, NoDevice]]:
    """Find the devices that an earlier run chose; None with the reason for one that left."""
    known = {digest(device_id): device_id for device_id in (*devices.fitting, *devices.others)}
    for each in digests:
        device_id = known.get(each)
        if device_id is not None and device_id in devices.fitting:
            yield device_id, "moved"
        else:
            yield None, devices.others.get(device_id or "", "moved")


def _add(
    resolved: Resolved,
    asked: int,
    recipient: UserRecipient,
    user: User | None,
    devices: Devices,
    found: Sequence[tuple[str | None, NoDevice]],
) -> None:
    """Add the positions of one recipient who is a user."""
    nobody = Origin(recipient.user_id, user_ref=user.ref if user else None)
    if not found:
        is_pair = recipient.device_id is not None and not devices.others
        resolved.add_missing(asked, nobody, "moved" if is_pair else devices.reason)
        return
    for device_id, reason in found:
        if device_id is None:
            resolved.add_missing(asked, nobody, reason)
            continue
        entry = devices.fitting[device_id]
        origin = Origin(recipient.user_id, device_id, nobody.user_ref, entry.get("ref"))
        device = recipient.on_device(entry["token"], entry["service"], entry.get("language"))
        resolved.add(asked, device, origin)
