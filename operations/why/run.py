"""Read the registry and the logs about a user, a device or a token."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from operations.account import Account, OperationsError
from operations.deployed import DeployedStack
from operations.json_values import as_dict
from operations.redaction import shortened_token
from operations.registry import ATTEMPTS, Item, Registry, find_stack_with_registry
from operations.why.findings import (
    Device,
    Findings,
    Kind,
    changes_in,
    gone_devices,
    iso,
    pushes_in,
    token_digest,
)
from operations.why.log import Line, find_lines
from operations.why.schedules import Wanted, find_scheduled

_UNITS: Final = {"m": 60, "h": 3_600, "d": 86_400}
_SINCE: Final = re.compile(r"(?P<number>[0-9]{1,4})(?P<unit>[mhd])")


@dataclass(frozen=True, slots=True)
class Question:
    """What the operator asks about: one of a user, a device and a token.

    Attributes
    ----------
    since
        How far back the log is read: a number and ``m``, ``h`` or ``d``.
    application_id
        Another project than the stack's own.
    """

    user_id: str | None
    device_id: str | None
    token: str | None
    since: str
    application_id: str | None


@dataclass(frozen=True, slots=True)
class _Subject:
    """What the registry says, and what stands for it in the logs."""

    kind: Kind
    name: str
    is_known: bool
    devices: Sequence[Device]
    refs: Sequence[str]
    digests: Mapping[str, str | None]


def why(
    stack_name: str, sender: str | None, question: Question, on_progress: Callable[[str], None]
) -> Findings:
    """Read what the registry and the logs of both functions say.

    Parameters
    ----------
    stack_name
        The stack's name in CloudFormation.
    sender
        The start of its outputs' keys, if a stack has several push senders.
    question
        Whom it is about, and since when.
    on_progress
        Gets a line about each step.

    Raises
    ------
    OperationsError
        If the question is malformed, or the registry or a log cannot be read.
    """
    seconds = _seconds(question.since)
    account = Account(attempts=ATTEMPTS)
    stack = find_stack_with_registry(account, stack_name, sender)
    project = question.application_id or stack.application_id
    table = stack.outputs["DevicesTableName"]
    on_progress(f"Reading the registry, table {table}")
    subject = _find(Registry(account, table, project), question)

    until = int(time.time() * 1_000)
    since = until - seconds * 1_000

    def lines(output: str, terms: Sequence[str]) -> list[Line]:
        return find_lines(account, stack.outputs[output], terms, since, until, on_progress)

    pushes = changes = gone = None
    refs = subject.refs
    if terms := [*subject.refs, *subject.digests]:
        pushes = list(
            pushes_in(
                lines("LogGroupName", terms),
                subject.refs,
                subject.devices,
                subject.digests,
                of_any_owner=question.token is not None,
            )
        )
        # A token that no device has may have belonged to one that is gone.
        refs = refs or list({push.device_ref: None for push in pushes if push.device_ref})
        # The line about an erasure has only the reference of the user.
        of_users = {push.user_ref: None for push in pushes if push.user_ref}
        changed = lines("DevicesLogGroupName", list(dict.fromkeys([*refs, *of_users])))
        changes = list(changes_in(changed, refs, subject.devices))
        gone = gone_devices(subject.devices, pushes, changes)
    scheduled, is_all = None, True
    if group := stack.outputs.get("ScheduleGroupName"):
        wanted = Wanted(
            project,
            project == stack.application_id,
            question.user_id,
            subject.devices,
            subject.digests.keys(),
        )
        scheduled, is_all = find_scheduled(account, group, wanted, on_progress)
    return Findings(
        kind=subject.kind,
        subject=subject.name,
        is_known=subject.is_known,
        application_id=project,
        since=iso(since),
        until=iso(until),
        looked_at=_looked_at(stack, subject, refs),
        devices=subject.devices,
        gone=gone,
        pushes=pushes,
        changes=changes,
        scheduled=scheduled,
        are_all_schedules_read=is_all,
    )


def _seconds(since: str) -> int:
    match = _SINCE.fullmatch(since)
    if match is None or int(match["number"]) == 0:
        raise OperationsError(
            "SINCE= (--since) must be a number and m, h or d, such as 90m, 12h or 2d."
        )
    return int(match["number"]) * _UNITS[match["unit"]]


def _find(registry: Registry, question: Question) -> _Subject:
    if question.user_id is not None:
        return _find_user(registry, question.user_id)
    if question.device_id is not None:
        kind: Kind = "device"
        name, items = question.device_id, registry.devices([question.device_id])
        digests: dict[str, str | None] = {}
    else:
        kind, token = "token", question.token or ""
        name, items = shortened_token(token), registry.holders(token)
        digests = {token_digest(token): None}
    devices = [Device.of(device_id, item) for device_id, item in items.items()]
    return _Subject(
        kind=kind,
        name=name,
        is_known=bool(devices),
        devices=devices,
        refs=[device.ref for device in devices if device.ref],
        digests=digests | {device.token_digest: device.device_id for device in devices},
    )


def _find_user(registry: Registry, user_id: str) -> _Subject:
    user = registry.user(user_id)
    entries = as_dict(user.value.get("devices")) if user else {}
    items = registry.devices(entries)
    devices = []
    for device_id in sorted(entries):
        entry = {"user_id": user_id, **as_dict(entries[device_id])}
        # DynamoDB may have deleted the device's item already, and not yet the user's.
        is_expired = entry.get("expiration", 0) <= time.time()
        device = items.get(device_id, Item(entry, is_expired))
        if device.value.get("user_id") == user_id:
            devices.append(Device.of(device_id, device))
    ref = user.value.get("ref") if user else None
    return _Subject(
        kind="user",
        name=user_id,
        is_known=user is not None,
        devices=devices,
        refs=[ref] if ref else [],
        digests={device.token_digest: device.device_id for device in devices},
    )


def _looked_at(stack: DeployedStack, subject: _Subject, refs: Sequence[str]) -> list[str]:
    """Name what was read."""
    read = [f"the table {stack.outputs['DevicesTableName']}"]
    if subject.refs or subject.digests:
        read.append(f"the log {stack.outputs['LogGroupName']}")
    if refs:
        read.append(f"the log {stack.outputs['DevicesLogGroupName']}")
    if group := stack.outputs.get("ScheduleGroupName"):
        read.append(f"the schedules of {group}")
    return read
