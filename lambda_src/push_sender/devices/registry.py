"""The registry: which device belongs to which user, and which token a device has.

Three kinds of items hold this, all of a project: a device with everything about it, a token with
the device that it belongs to, and a user with the user's devices, as far as a send needs them. A
change writes all items that it concerns in one transaction (``table``), so that at every moment

- a device belongs to at most one user,
- a token belongs to at most one device,
- a user has at most 25 devices.

A change makes at most three reads and one transaction.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final, Literal, NamedTuple

from typing_extensions import TypedDict

from push_sender.devices.table import Item, Table, Transaction
from push_sender.recipients.resolution import User

DEVICES_A_USER: Final = 25

_DAY_SECONDS: Final = 86_400

_OF_THE_USER: Final = ("tags", "attributes", "opted_out")
"""The members that say something about the user, and do not pass to another one."""

_FOR_SENDING: Final = (
    *("token", "service", "language", "tags", "opted_out", "invalid", "seen_at", "ref"),
)
"""The members of a device that its user's item repeats."""


class Device(TypedDict):
    """A registered device, as the registry answers with it. Times are in ISO 8601, UTC."""

    device_id: str
    token: str
    service: str
    user_id: str | None
    language: str | None
    time_zone: str | None
    app_version: str | None
    tags: list[str]
    attributes: dict[str, str]
    opted_out: bool
    invalid: bool
    created_at: str
    seen_at: str


Change = Literal[
    "DeviceCreated",
    "DeviceUpdated",
    "DeviceMoved",
    "DeviceDeleted",
    "DeviceEvicted",
    "TokenTakenOver",
    "UserErased",
    "DeadDeviceRemoved",
    "TokenReplaced",
    "InvalidTokenFlagged",
]
"""What a change can do to a device or a user. The names are those of the metrics."""


class Effect(NamedTuple):
    """One thing that a change did, for the log and the metrics.

    Attributes
    ----------
    name
        What it did.
    device, user
        The random references of the device and its user; None if there is none.
    """

    name: Change
    device: str | None = None
    user: str | None = None


class Registered(NamedTuple):
    """The result of a registration.

    Attributes
    ----------
    device
        The device as it is now.
    is_new
        Whether the device was not registered before.
    effects
        What was written; empty if nothing changed.
    """

    device: Device
    is_new: bool
    effects: Sequence[Effect]


class Added(NamedTuple):
    """The result of an addition.

    Attributes
    ----------
    outcome
        ``registered`` also if the same addition was made before. The others have changed nothing:
        another device or token of this name is registered, or the user has 25 devices.
    effects
        What was written; empty if nothing changed.
    """

    outcome: Literal["registered", "device_known", "token_known", "user_has_25_devices"]
    effects: Sequence[Effect] = ()


class TokenReport(NamedTuple):
    """What a push service reported about a token.

    Attributes
    ----------
    project, service, token
        The token.
    pushed_at
        When the push was accepted, in ISO 8601, UTC. A device that was registered in a later
        second is not changed: the report says nothing about it.
    replacement
        The token that replaces it, if there is one.
    """

    project: str
    service: str
    token: str
    pushed_at: str
    replacement: str | None = None


class Registry:
    """Registers, reads and forgets devices.

    Every method raises ``RegistryUnavailable`` if the table does not answer in time, or if other
    writers changed the same devices until then. A ``deadline`` is on ``time.monotonic``.

    Parameters
    ----------
    table
        The table.
    expiry_days
        Days after which a device counts as gone if its app has not registered it again.
    """

    def __init__(self, table: Table, *, expiry_days: int) -> None:
        self._table = table
        self._expiry_seconds = expiry_days * _DAY_SECONDS

    def register(
        self, project: str, device_id: str, members: Mapping[str, Any], *, deadline: float
    ) -> Registered:
        """Register a device, or change its registration.

        Parameters
        ----------
        project, device_id
            The push project and the device's id in it.
        members
            The members to set, with token and service. None removes a value. A member that is
            left out keeps its value.
        """

        def step(transaction: Transaction) -> Registered:
            return self._register(_Steps(transaction, project), device_id, members)

        return self._table.change(step, deadline=deadline)

    def add(
        self,
        project: str,
        device_id: str,
        members: Mapping[str, Any],
        *,
        origin: str,
        deadline: float,
    ) -> Added:
        """Register a device if neither it nor its token is registered.

        No other device changes: none is removed so that its user has room for this one.

        Parameters
        ----------
        project, device_id, members
            As for ``register``.
        origin
            Where the registration comes from. The device keeps it, so that a repeated addition
            of the same origin is told from a device that was there before.
        deadline
            When to stop, on ``time.monotonic``.
        """

        def step(transaction: Transaction) -> Added:
            steps = _Steps(transaction, project)
            key = _device_key(project, device_id)
            token_id = token_key(project, members["service"], members["token"])
            user_id: str | None = members.get("user_id")
            transaction.read(key, token_id, user_id and _user_key(project, user_id))
            if known := transaction.live(key):
                is_same = known.get("origin") == origin
                return Added("registered" if is_same else "device_known")
            if transaction.live(token_id):
                return Added("token_known")
            leaving = steps.to_evict(user_id, device_id, None) if user_id else {}
            if any(entry["expiration"] > transaction.now for entry in leaving.values()):
                return Added("user_has_25_devices")
            made = self._register(steps, device_id, {**members, "origin": origin})
            return Added("registered", made.effects)

        return self._table.change(step, deadline=deadline)

    def device(self, project: str, device_id: str, *, deadline: float) -> Device | None:
        """Return a device, or None if it is not registered."""
        id_ = _device_key(project, device_id)
        item = self._table.read([id_], deadline=deadline).get(id_)
        return _shown(item.value) if item and self._counts(item) else None

    def delete(
        self, project: str, device_id: str, *, owner: str | None = None, deadline: float
    ) -> Sequence[Effect]:
        """Delete a device, with its token.

        Parameters
        ----------
        project, device_id
            The device.
        owner
            Delete only a device of this user.

        Returns
        -------
        sequence
            What was written; empty if there is no such device.
        """

        def step(transaction: Transaction) -> Sequence[Effect]:
            steps = _Steps(transaction, project)
            key = _device_key(project, device_id)
            transaction.read(key)
            device = transaction.live(key)
            if device is None or (owner is not None and device.get("user_id") != owner):
                return ()
            transaction.read(*steps.keys_of(device))
            return [steps.remove(device, "DeviceDeleted")]

        return self._table.change(step, deadline=deadline)

    def devices_of(self, project: str, user_id: str, *, deadline: float) -> list[Device]:
        """Return the devices of a user, ordered by id."""
        user = self.users(project, [user_id], deadline=deadline).get(user_id)
        keys = [
            _device_key(project, device_id) for device_id in sorted(user.devices if user else ())
        ]
        items = self._table.read(keys, deadline=deadline)
        devices = [items[key] for key in keys if key in items]
        return [
            _shown(item.value)
            for item in devices
            if self._counts(item) and item.value.get("user_id") == user_id
        ]

    def users(self, project: str, user_ids: Iterable[str], *, deadline: float) -> dict[str, User]:
        """Return the users that are known, with their devices: 100 users a call."""
        keys = {user_id: _user_key(project, user_id) for user_id in user_ids}
        items = self._table.read(keys.values(), deadline=deadline)
        now = self._table.clock()
        return {
            user_id: User(
                items[key].value["ref"],
                {
                    device_id: entry
                    for device_id, entry in items[key].value["devices"].items()
                    if entry["expiration"] > now
                },
            )
            for user_id, key in keys.items()
            if key in items
        }

    def erase(self, project: str, user_id: str, *, deadline: float) -> Sequence[Effect]:
        """Forget a user, with all devices and tokens, also expired ones.

        Returns
        -------
        sequence
            What was written; empty if the user was not known.
        """

        def step(transaction: Transaction) -> Sequence[Effect]:
            steps = _Steps(transaction, project)
            key = _user_key(project, user_id)
            transaction.read(key)
            user = transaction.stored(key)
            if user is None:
                return ()
            transaction.read(*steps.keys_of_entries(user["devices"]))
            effects = [Effect("UserErased", user=user["ref"])]
            for device_id in list(user["devices"]):
                device = transaction.stored(_device_key(project, device_id))
                if device is not None and device.get("user_id") == user_id:
                    effects.append(steps.remove(device, "DeviceDeleted"))
            transaction.delete(key)
            return effects

        return self._table.change(step, deadline=deadline)

    def known_tokens(
        self, project: str, tokens: Iterable[tuple[str, str]], *, deadline: float
    ) -> list[tuple[str, str]]:
        """Return those pairs of service and token that belong to a device: 100 a call."""
        keys = {pair: token_key(project, *pair) for pair in tokens}
        items = self._table.read(keys.values(), deadline=deadline)
        return [pair for pair, key in keys.items() if key in items]

    def remove_dead(self, report: TokenReport, *, deadline: float) -> Sequence[Effect]:
        """Delete the device of a token that the push service reported as dead."""

        def step(transaction: Transaction) -> Sequence[Effect]:
            steps = _Steps(transaction, report.project)
            device = steps.holder_of(report)
            return [steps.remove(device, "DeadDeviceRemoved")] if device else ()

        return self._table.change(step, deadline=deadline)

    def replace_token(self, report: TokenReport, *, deadline: float) -> Sequence[Effect]:
        """Give a device the token by which the push service replaced its own.

        If another device has that token already, the app has registered itself anew, and the
        device with the old token is deleted.
        """

        def step(transaction: Transaction) -> Sequence[Effect]:
            steps = _Steps(transaction, report.project)
            device = steps.holder_of(report)
            if device is None or report.replacement in (None, report.token):
                return ()
            new_key = token_key(report.project, report.service, report.replacement)
            transaction.read(new_key)
            if transaction.live(new_key) is not None:
                return [steps.remove(device, "DeadDeviceRemoved")]
            transaction.delete(token_key(report.project, report.service, report.token))
            valid = {name: value for name, value in device.items() if name != "invalid"}
            return [steps.store_again({**valid, "token": report.replacement}, "TokenReplaced")]

        return self._table.change(step, deadline=deadline)

    def flag_invalid(self, report: TokenReport, *, deadline: float) -> Sequence[Effect]:
        """Mark the device of an invalid token, so that sends skip it until it registers again."""

        def step(transaction: Transaction) -> Sequence[Effect]:
            steps = _Steps(transaction, report.project)
            device = steps.holder_of(report)
            if device is None or device.get("invalid"):
                return ()
            return [steps.store_again({**device, "invalid": True}, "InvalidTokenFlagged")]

        return self._table.change(step, deadline=deadline)

    def _register(self, steps: _Steps, device_id: str, members: Mapping[str, Any]) -> Registered:
        transaction, project = steps.transaction, steps.project
        key = _device_key(project, device_id)
        token_id = token_key(project, members["service"], members["token"])
        named_user: str | None = members.get("user_id")
        transaction.read(key, token_id, named_user and _user_key(project, named_user))

        stored, known = transaction.stored(key), transaction.live(key)
        device, name = _merged(device_id, known, members, _iso(transaction.now))
        holder_id = (transaction.stored(token_id) or {}).get("device_id")
        if known is not None and holder_id == device_id and _is_current(known, device):
            return Registered(_shown(known), is_new=False, effects=())

        user_id = device.get("user_id")
        other_key = _device_key(project, holder_id) if holder_id not in (None, device_id) else None
        evicted = steps.to_evict(named_user, device_id, holder_id) if named_user else {}
        transaction.read(
            other_key,
            user_id and _user_key(project, user_id),
            *(steps.keys_of(stored) if stored else ()),
            *steps.keys_of_entries(evicted),
        )
        other = transaction.stored(other_key) if other_key else None
        if other is not None:
            transaction.read(*steps.keys_of(other))

        effects = []
        if stored is not None:
            steps.unlink(stored)
        if other is not None and other["token"] == members["token"]:
            effects.append(steps.remove(other, "TokenTakenOver"))
        if named_user:
            effects.extend(each for id_ in evicted for each in steps.evict(named_user, id_))
        expiration = math.ceil(transaction.now) + self._expiry_seconds
        effects.append(steps.store(device, expiration, name))
        return Registered(_shown(device), is_new=known is None, effects=effects)

    def _counts(self, item: Item) -> bool:
        return item.expiration > self._table.clock()


class _Steps:
    """The steps that a change of devices consists of, within one transaction.

    Each keeps the items of device, token and user in agreement.
    """

    def __init__(self, transaction: Transaction, project: str) -> None:
        self.transaction = transaction
        self.project = project

    def keys_of(self, device: Mapping[str, Any]) -> list[str]:
        """Name the items of a device beside its own: its token and its user."""
        user_id = device.get("user_id")
        return [
            token_key(self.project, device["service"], device["token"]),
            *([_user_key(self.project, user_id)] if user_id else ()),
        ]

    def keys_of_entries(self, entries: Mapping[str, Any]) -> list[str]:
        """Name the items of a user's devices and of their tokens."""
        return [
            key
            for device_id, entry in entries.items()
            for key in (
                _device_key(self.project, device_id),
                token_key(self.project, entry["service"], entry["token"]),
            )
        ]

    def holder_of(self, report: TokenReport) -> dict[str, Any] | None:
        """Read the device that had a token at the time of a push, with all its items."""
        key = token_key(self.project, report.service, report.token)
        self.transaction.read(key)
        held_by = (self.transaction.live(key) or {}).get("device_id")
        if held_by is None:
            return None
        device_key = _device_key(self.project, held_by)
        self.transaction.read(device_key)
        device = self.transaction.live(device_key)
        if device is None or device["token"] != report.token:
            return None
        # An event's time has no fractions of a second.
        if device["seen_at"][:_TO_THE_SECOND] > report.pushed_at[:_TO_THE_SECOND]:
            return None
        self.transaction.read(*self.keys_of(device))
        return device

    def remove(self, device: Mapping[str, Any], name: Change) -> Effect:
        """Delete a device with its token, and take it from its user. All items were read."""
        effect = Effect(name, device["ref"], self._user_ref(device))
        self.unlink(device)
        self.transaction.delete(_device_key(self.project, device["device_id"]))
        return effect

    def unlink(self, device: Mapping[str, Any]) -> None:
        """Delete a device's token, and take the device from its user."""
        key = token_key(self.project, device["service"], device["token"])
        token = self.transaction.stored(key)
        if token is not None and token["device_id"] == device["device_id"]:
            self.transaction.delete(key)
        if user_id := device.get("user_id"):
            self._set_entry(user_id, device["device_id"], None)

    def store(self, device: Mapping[str, Any], expiration: int, name: Change) -> Effect:
        """Write a device, its token, and its user's entry."""
        transaction, device_id = self.transaction, device["device_id"]
        transaction.put(_device_key(self.project, device_id), dict(device), expiration)
        key = token_key(self.project, device["service"], device["token"])
        transaction.put(key, {"device_id": device_id}, expiration)
        if user_id := device.get("user_id"):
            entry = {member: device[member] for member in _FOR_SENDING if member in device}
            self._set_entry(user_id, device_id, {**entry, "expiration": expiration})
        return Effect(name, device["ref"], self._user_ref(device))

    def store_again(self, device: Mapping[str, Any], name: Change) -> Effect:
        """Write a device that was read, without a new expiration."""
        key = _device_key(self.project, device["device_id"])
        return self.store(device, self.transaction.expiration(key), name)

    def to_evict(
        self, user_id: str, device_id: str, leaving_id: str | None
    ) -> dict[str, dict[str, Any]]:
        """Choose the entries that leave so that a user has room for a device.

        They are those longest unseen. The user's item was read.

        Parameters
        ----------
        user_id
            The user.
        device_id, leaving_id
            The device that comes, and the one that leaves because its token is taken over.
        """
        user = self.transaction.stored(_user_key(self.project, user_id))
        others = {
            id_: entry
            for id_, entry in (user["devices"] if user else {}).items()
            if id_ not in (device_id, leaving_id)
        }
        by_age = sorted(others, key=lambda id_: str(others[id_]["seen_at"]))
        return {id_: others[id_] for id_ in by_age[: max(len(others) + 1 - DEVICES_A_USER, 0)]}

    def evict(self, user_id: str, device_id: str) -> list[Effect]:
        """Delete a user's device. If the device is no longer the user's, only remove the entry."""
        device = self.transaction.stored(_device_key(self.project, device_id))
        if device is not None and device.get("user_id") == user_id:
            return [self.remove(device, "DeviceEvicted")]
        self._set_entry(user_id, device_id, None)
        return []

    def _set_entry(self, user_id: str, device_id: str, entry: dict[str, Any] | None) -> None:
        """Write the entry of a device into its user's item, or take it out.

        A user without devices keeps the item, and so the reference, until it expires.
        """
        key = _user_key(self.project, user_id)
        user = self.transaction.stored(key)
        if user is None and entry is None:
            return
        user = user or {"ref": secrets.token_hex(8), "devices": {}}
        devices = {id_: each for id_, each in user["devices"].items() if id_ != device_id}
        if entry is not None:
            devices[device_id] = entry
        expirations = [each["expiration"] for each in devices.values()]
        expiration = max(expirations, default=self.transaction.expiration(key))
        self.transaction.put(key, {**user, "devices": devices}, expiration)

    def _user_ref(self, device: Mapping[str, Any]) -> str | None:
        user_id = device.get("user_id")
        user = self.transaction.stored(_user_key(self.project, user_id)) if user_id else None
        return user["ref"] if user else None


_TO_THE_SECOND: Final = len("2026-12-24T18:00:00")
_TO_THE_DAY: Final = len("2026-12-24")


def token_key(project: str, service: str, token: str) -> str:
    """Return the id of a token's item. It is a digest, because a token can be long."""
    text = "\n".join((project, service, token))
    return f"T#{sha256(text.encode()).hexdigest()}"


def _device_key(project: str, device_id: str) -> str:
    return f"D#{project}#{device_id}"


def _user_key(project: str, user_id: str) -> str:
    return f"U#{project}#{user_id}"


def _iso(seconds: float) -> str:
    """Write a time as 2026-12-24T18:00:00.000Z."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")[:23] + "Z"


def _merged(
    device_id: str, known: Mapping[str, Any] | None, members: Mapping[str, Any], now: str
) -> tuple[dict[str, Any], Change]:
    """Set the members of a device; return the device, and what the change is."""
    kept = dict(known or {})
    user_id = {**kept, **members}.get("user_id")
    has_left = kept.get("user_id") not in (None, user_id)
    if has_left:
        # The new reference cuts the link between the log lines of the two users.
        kept = {name: kept[name] for name in kept if name not in (*_OF_THE_USER, "ref", "origin")}
    device = {
        "device_id": device_id,
        "created_at": now,
        "ref": secrets.token_hex(8),
        **kept,
        **members,
        "seen_at": now,
        "invalid": False,
    }
    name: Change = (
        "DeviceCreated" if known is None else "DeviceMoved" if has_left else "DeviceUpdated"
    )
    return {name: value for name, value in device.items() if value}, name


def _is_current(known: Mapping[str, Any], device: Mapping[str, Any]) -> bool:
    """Return whether a registration changes nothing but the time, and that was set today."""
    apart = {"seen_at", "created_at"}
    return known["seen_at"][:_TO_THE_DAY] == device["seen_at"][:_TO_THE_DAY] and all(
        known.get(name) == device.get(name) for name in (known.keys() | device.keys()) - apart
    )


def _shown(device: Mapping[str, Any]) -> Device:
    return {
        "device_id": device["device_id"],
        "token": device["token"],
        "service": device["service"],
        "user_id": device.get("user_id"),
        "language": device.get("language"),
        "time_zone": device.get("time_zone"),
        "app_version": device.get("app_version"),
        "tags": device.get("tags", []),
        "attributes": device.get("attributes", {}),
        "opted_out": device.get("opted_out", False),
        "invalid": device.get("invalid", False),
        "created_at": device["created_at"],
        "seen_at": device["seen_at"],
    }
