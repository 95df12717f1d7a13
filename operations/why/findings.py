"""What the registry and the logs say about a user, a device or a token, as data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Literal

from operations.json_values import as_dict, as_list
from operations.redaction import shortened_token
from operations.registry import Item
from operations.why import meanings
from operations.why.log import Line

Kind = Literal["user", "device", "token"]


@dataclass(frozen=True, slots=True)
class Device:
    """A device that the registry has.

    Attributes
    ----------
    token
        Only its start.
    token_digest
        As the log has it.
    ref
        The reference that stands for the device in the log.
    """

    device_id: str
    service: str
    token: str
    token_digest: str
    user_id: str | None
    language: str | None
    created_at: str | None
    seen_at: str | None
    opted_out: bool
    invalid: bool
    expired: bool
    ref: str | None

    @classmethod
    def of(cls, device_id: str, item: Item) -> Device:
        """Read an item of the registry."""
        value = item.value
        token = str(value.get("token", ""))
        return cls(
            device_id=device_id,
            service=str(value.get("service")),
            token=shortened_token(token),
            token_digest=token_digest(token),
            user_id=value.get("user_id"),
            language=value.get("language"),
            created_at=value.get("created_at"),
            seen_at=value.get("seen_at"),
            opted_out=bool(value.get("opted_out")),
            invalid=bool(value.get("invalid")),
            expired=item.is_expired,
            ref=value.get("ref"),
        )


@dataclass(frozen=True, slots=True)
class Push:
    """A result in the log of the function that sends.

    Attributes
    ----------
    device_id
        None if the result has no device, or one that is gone.
    device_ref
        None for a result without a device, and for a recipient that was named by its token.
    user_ref
        None for a recipient that was named by its token.
    path
        Of the field that does not fit the device, for the reason unfit.
    request_id
        Of the function's invocation.
    """

    at: str
    device_id: str | None
    device_ref: str | None
    user_ref: str | None
    outcome: str
    status_code: int | None
    reason: str | None
    path: str | None
    meaning: str
    request_id: str | None


@dataclass(frozen=True, slots=True)
class Change:
    """A change of the registry in the log.

    Attributes
    ----------
    request_id
        Of the request whose push caused the change, else of the function's invocation.
    """

    at: str
    device_id: str | None
    device_ref: str | None
    change: str
    meaning: str
    request_id: str | None


@dataclass(frozen=True, slots=True)
class Gone:
    """A device of the log that the registry does not have for this user any more.

    Attributes
    ----------
    at, change
        None if no line says it.
    """

    device_ref: str
    at: str | None
    change: str | None
    meaning: str


@dataclass(frozen=True, slots=True)
class Scheduled:
    """A request for later that holds the subject.

    Attributes
    ----------
    at
        When it is sent, in UTC.
    schedule_id
        The schedule's name.
    recipients
        How many recipients the request has.
    """

    at: str
    schedule_id: str
    recipients: int


@dataclass(frozen=True, slots=True)
class Findings:
    """Everything that was found, in the order of its time.

    Attributes
    ----------
    kind, subject
        What was asked for; of a token only its start.
    is_known
        Whether the registry has it.
    since, until
        The time of the log that was read.
    looked_at
        What was read.
    gone, pushes, changes
        None if the log was not read, because nothing stands for the subject in it.
    scheduled
        Requests for later, the first one first; None if the stack has no schedules.
    are_all_schedules_read
        False if there are more schedules than are read.
    """

    kind: Kind
    subject: str
    is_known: bool
    application_id: str
    since: str
    until: str
    looked_at: Sequence[str]
    devices: Sequence[Device]
    gone: Sequence[Gone] | None
    pushes: Sequence[Push] | None
    changes: Sequence[Change] | None
    scheduled: Sequence[Scheduled] | None
    are_all_schedules_read: bool

    @property
    def summary(self) -> str:
        """The findings in one sentence."""
        if self.pushes is None:
            return f"{self._devices()}, so pushes to the {self.kind} are not known."
        counts = Counter(push.outcome for push in self.pushes)
        outcomes = ", ".join(f"{number} {outcome}" for outcome, number in counts.most_common())
        since = f"since {self.since[:16].replace('T', ' ')} UTC"
        pushes = f"{_counted(len(self.pushes), 'push')} {since}"
        return f"{self._devices()}; {pushes}{f': {outcomes}' if outcomes else ''}."

    def _devices(self) -> str:
        name = self.subject if self.kind == "user" else f"The {self.kind} {self.subject}"
        if not self.is_known:
            return f"The registry does not know the {self.kind} {self.subject}"
        states = {
            "opted out": sum(device.opted_out for device in self.devices),
            "invalid": sum(device.invalid for device in self.devices),
            "expired": sum(device.expired for device in self.devices),
        }
        notes = ", ".join(f"{number} {state}" for state, number in states.items() if number)
        devices = _counted(len(self.devices), "device")
        has = f"has {devices}" if self.kind != "device" else "is registered"
        return f"{name} {has}{f' ({notes})' if notes else ''}"

    def shown(self) -> dict[str, Any]:
        """Return the findings as JSON."""
        return {"summary": self.summary, **asdict(self)}


def token_digest(token: str) -> str:
    """Return the digits that stand for a token in the log."""
    return sha256(token.encode()).hexdigest()[:12]


def pushes_in(
    lines: Iterable[Line],
    refs: Collection[str],
    devices: Sequence[Device],
    digests: Mapping[str, str | None],
    *,
    of_any_owner: bool,
) -> Iterator[Push]:
    """Read the results about a user or a device.

    Parameters
    ----------
    lines
        The log of the function that sends.
    refs
        The references of the user and of the devices that are meant.
    devices
        The devices that the registry has.
    digests
        The device id by the digest of its token, for recipients that were named by their token;
        None if no device has the token.
    of_any_owner
        Whether a push to one of the tokens counts also for an earlier owner of the token.
    """
    ids = {device.ref: device.device_id for device in devices if device.ref}
    for line in lines:
        for result in map(as_dict, as_list(line.fields.get("results"))):
            user_ref, device_ref = result.get("user_ref"), result.get("device_ref")
            digest = result.get("token")
            is_by_token = of_any_owner or (user_ref is None and device_ref is None)
            is_meant = user_ref in refs or device_ref in refs or (is_by_token and digest in digests)
            if not is_meant:
                continue
            outcome, reason = str(result.get("outcome")), result.get("reason")
            status_code, path = result.get("status_code"), result.get("path")
            yield Push(
                at=iso(line.time),
                device_id=ids.get(device_ref) if device_ref else digests.get(str(digest)),
                device_ref=device_ref,
                user_ref=user_ref,
                outcome=outcome,
                status_code=status_code,
                reason=reason,
                path=path,
                meaning=meanings.of_result(outcome, reason, status_code, path),
                request_id=line.fields.get("function_request_id"),
            )


def changes_in(
    lines: Iterable[Line], refs: Collection[str], devices: Sequence[Device]
) -> Iterator[Change]:
    """Read the changes about a user or a device in the log of the registry.

    A device goes with its user if the lines have the erasure of the user, too.
    """
    lines = list(lines)
    erasures = {
        line.fields.get("function_request_id")
        for line in lines
        if line.fields.get("change") == "UserErased"
    }
    ids = {device.ref: device.device_id for device in devices if device.ref}
    for line in lines:
        fields = line.fields
        if fields.get("change") and {fields.get("user_ref"), fields.get("device_ref")} & set(refs):
            yield Change(
                at=iso(line.time),
                device_id=ids.get(str(fields.get("device_ref"))),
                device_ref=fields.get("device_ref"),
                change=str(fields["change"]),
                meaning=meanings.of_change(
                    str(fields["change"]),
                    has_user=fields.get("user_ref") is not None,
                    is_erasure=fields.get("function_request_id") in erasures,
                ),
                request_id=fields.get("request_id") or fields.get("function_request_id"),
            )


def gone_devices(
    devices: Sequence[Device], pushes: Sequence[Push], changes: Sequence[Change]
) -> list[Gone]:
    """Find the devices of the log that the registry does not have any more, and why."""
    present = {device.ref for device in devices}
    removals = {
        change.device_ref: change for change in changes if change.change in meanings.REMOVALS
    }
    entries: list[Change | Push] = [*changes, *pushes]
    refs = dict.fromkeys(entry.device_ref for entry in entries)
    return [
        Gone(ref, removal.at, removal.change, removal.meaning)
        if (removal := removals.get(ref))
        else Gone(ref, None, None, meanings.GONE_WITHOUT_A_LINE)
        for ref in refs
        if ref is not None and ref not in present
    ]


def iso(milliseconds: int) -> str:
    """Write a time as 2026-12-24T18:00:00.000Z."""
    time = datetime.fromtimestamp(milliseconds / 1_000, UTC)
    return time.isoformat(timespec="milliseconds")[:23] + "Z"


def _counted(number: int, noun: str) -> str:
    plural = f"{noun}es" if noun.endswith("sh") else f"{noun}s"
    return f"{number} {noun if number == 1 else plural}"
